//! A cookie that the browser will drop: `Secure`, over plain http, to a host that is not this machine.
//!
//! It is the most common way in which sessions do not work at all, and nothing else says so. The layer looks at the requests
//! until its first cookie has gone out to a host that is not this machine, and never after.

use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, ORIGIN};
use http::uri::{Scheme, Uri};

/// What a request tells of its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nobody looked, or there is no telling.
    #[default]
    Unknown,
    /// To this machine: user agents accept the cookie.
    Local,
    Https,
    /// As far as can be seen.
    PlainHttp,
}

/// Whether requests are still looked at.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    done: AtomicBool,
}

impl Watch {
    pub(crate) fn look(&self, uri: &Uri, headers: &HeaderMap) -> Way {
        if self.done.load(Ordering::Relaxed) { Way::Unknown } else { Way::of(uri, headers) }
    }

    /// A `Secure` cookie goes out. Says whether that is worth a warning: once.
    pub(crate) fn is_worth_a_warning(&self, way: Way) -> bool {
        match way {
            Way::Unknown | Way::Local => false,
            Way::Https => {
                self.done.store(true, Ordering::Relaxed);
                false
            }
            Way::PlainHttp => !self.done.swap(true, Ordering::Relaxed),
        }
    }
}

impl Way {
    fn of(uri: &Uri, headers: &HeaderMap) -> Self {
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
            // Browsers send it over connections that they trust alone.
            || headers.contains_key("sec-fetch-site");
        if is_https { Self::Https } else { Self::PlainHttp }
    }
}

fn starts_with_https(text: &str) -> bool {
    text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("https"))
}

/// Whether browsers take this host for their own machine.
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
