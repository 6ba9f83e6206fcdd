//! Detection of handlers outside the cookie's path: they get no cookie from the browser, so each write starts a new session.

#[cfg(feature = "tracing")]
use std::sync::atomic::{AtomicBool, Ordering};

/// Warns once about a cookie that is set for a path other than the one of its request.
///
/// Only after a request within the path, since a proxy or a nested router may remove its start from all that the layer sees.
#[derive(Debug, Default)]
pub(crate) struct CookiePathDetector {
    #[cfg(feature = "tracing")]
    has_seen_inside: AtomicBool,
    #[cfg(feature = "tracing")]
    is_done: AtomicBool,
}

#[cfg(not(feature = "tracing"))]
impl CookiePathDetector {
    #[expect(clippy::unused_self, reason = "the same call as with a log")]
    pub(crate) const fn is_outside(&self, _: &str, _: &str) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "the same call as with a log")]
    pub(crate) const fn note_cookie(&self, _: bool, _: &str, _: &str) {}
}

#[cfg(feature = "tracing")]
impl CookiePathDetector {
    /// Checks whether a request is outside the cookie's path.
    pub(crate) fn is_outside(&self, cookie_path: &str, request_path: &str) -> bool {
        if cookie_path == "/" {
            return false;
        }
        let is_inside = is_inside(cookie_path, request_path);
        if is_inside {
            self.has_seen_inside.store(true, Ordering::Relaxed);
        }
        !is_inside
    }

    /// Notes that a cookie is set, and logs a warning if the browser will not send it with the next request to this handler.
    pub(crate) fn note_cookie(&self, is_outside: bool, cookie: &str, path: &str) {
        if is_outside && self.has_seen_inside.load(Ordering::Relaxed) && !self.is_done.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cookie,
                path,
                "a handler outside the path of the session cookie writes to its session; the browser does not send the cookie \
                 there, so every such request starts a new session: set a path that covers the handler (with_path), or move it"
            );
        }
    }
}

/// Checks whether a user agent sends a cookie of this path with a request (RFC 6265 §5.1.4).
#[cfg(feature = "tracing")]
fn is_inside(cookie_path: &str, request_path: &str) -> bool {
    let rest = request_path.strip_prefix(cookie_path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}
