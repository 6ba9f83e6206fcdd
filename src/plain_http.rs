//! Detection of a cookie that the browser drops: `Secure`, over plain http, from a host that is not the browser's own machine.
//!
//! It is the most common reason why sessions do not work, and no other message tells the developer. The layer checks requests
//! until it has sent its first cookie to another machine. Without the feature `tracing` there is no log, and it checks none.

use http::header::HeaderMap;
use http::uri::Uri;

#[cfg(feature = "tracing")]
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "tracing")]
use http::header::{FORWARDED, HOST, HeaderName, ORIGIN};
#[cfg(feature = "tracing")]
use http::uri::Scheme;

/// The scheme of a request, as far as its head shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "without a log no request is checked"))]
pub(crate) enum RequestScheme {
    /// Not checked, or the head does not show it.
    #[default]
    Unknown,
    /// From the same machine: browsers accept the cookie.
    Local,
    Https,
    PlainHttp,
}

/// Warns once about a `Secure` cookie over plain http.
#[derive(Debug, Default)]
pub(crate) struct PlainHttpDetector {
    #[cfg(feature = "tracing")]
    is_done: AtomicBool,
}

#[cfg(not(feature = "tracing"))]
impl PlainHttpDetector {
    #[expect(clippy::unused_self, reason = "the same call as with a log")]
    pub(crate) const fn check(&self, _: &Uri, _: &HeaderMap) -> RequestScheme {
        RequestScheme::Unknown
    }

    #[expect(clippy::unused_self, reason = "the same call as with a log")]
    pub(crate) const fn note_cookie(&self, _: RequestScheme, _: &str) {}
}

#[cfg(feature = "tracing")]
impl PlainHttpDetector {
    /// Returns how a request reached the server, while that still matters.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> RequestScheme {
        if self.is_done.load(Ordering::Relaxed) {
            RequestScheme::Unknown
        } else {
            RequestScheme::from_head(uri, headers)
        }
    }

    /// Notes that a `Secure` cookie is sent, and logs a warning if the browser will drop it.
    pub(crate) fn note_cookie(&self, scheme: RequestScheme, cookie: &str) {
        let is_first_warning = match scheme {
            RequestScheme::Unknown | RequestScheme::Local => false,
            RequestScheme::Https => {
                self.is_done.store(true, Ordering::Relaxed);
                false
            }
            RequestScheme::PlainHttp => !self.is_done.swap(true, Ordering::Relaxed),
        };
        if is_first_warning {
            tracing::warn!(
                cookie,
                "a Secure session cookie is sent over plain http to another machine, so the browser will drop it and every \
                 request will start a new session: serve https (a proxy in front says so in X-Forwarded-Proto), use \
                 http://localhost, or, in a private network, with_secure(false)"
            );
        }
    }
}

#[cfg(feature = "tracing")]
impl RequestScheme {
    fn from_head(uri: &Uri, headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(host) = uri.authority().map(http::uri::Authority::as_str).or_else(|| text(&HOST)) else {
            return Self::Unknown;
        };
        if is_local(host) {
            return Self::Local;
        }
        let is_https = uri.scheme() == Some(&Scheme::HTTPS)
            || text(&HeaderName::from_static("x-forwarded-proto")).is_some_and(starts_with_https)
            || text(&FORWARDED).is_some_and(|forwarded| forwarded.to_ascii_lowercase().contains("proto=https"))
            || text(&ORIGIN).is_some_and(starts_with_https)
            // Browsers send it over trustworthy connections only.
            || headers.contains_key("sec-fetch-site");
        if is_https { Self::Https } else { Self::PlainHttp }
    }
}

#[cfg(feature = "tracing")]
fn starts_with_https(text: &str) -> bool {
    text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("https"))
}

/// Checks whether browsers treat a host as their own machine.
#[cfg(feature = "tracing")]
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
