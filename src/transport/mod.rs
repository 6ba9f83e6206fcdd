//! Tokens in requests and responses: in a cookie, or in a header.

mod candidates;
mod cipher;
mod cookie;
mod header;

use http::HeaderMap;
use http::header::SET_COOKIE;

pub(crate) use self::candidates::Candidates;
#[cfg(feature = "migrate")]
pub(crate) use self::cipher::CookieCipher;
#[cfg(any(feature = "signed", feature = "private"))]
pub(crate) use self::cipher::CookieKeys;
pub(crate) use self::cookie::{CookieOptions, CookieTemplate};
#[cfg(feature = "migrate")]
pub(crate) use self::cookie::{check_domain, check_path, has_prefix};
pub use self::header::TokenHeader;

use crate::token::Token;

/// The place of the token in a request. The response carries a new one in the same place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TokenLocation {
    #[default]
    Cookie,
    Header,
}

/// The places where a layer reads and writes tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transport {
    pub(crate) cookie: CookieTemplate,
    pub(crate) header: Option<TokenHeader>,
    /// Only the header is used.
    pub(crate) without_cookie: bool,
}

impl Transport {
    /// Returns the values of a request that may be tokens.
    pub(crate) fn candidates(&self, headers: &HeaderMap) -> Candidates {
        let Some(header) = &self.header else { return self.cookie.candidates(headers) };
        match header.value(headers) {
            Some(value) => Candidates::from_header(value),
            None if self.without_cookie => Candidates::from_header(b""),
            None => self.cookie.candidates(headers),
        }
    }

    /// Returns the cookie or header name that both layers use, if they share one.
    pub(crate) fn shared_name<'a>(&'a self, other: &Self) -> Option<&'a str> {
        let cookie = self.cookie.name();
        if !self.without_cookie && !other.without_cookie && cookie == other.cookie.name() {
            return Some(cookie);
        }
        let (one, other) = (self.header.as_ref()?, other.header.as_ref()?);
        (one.request_name() == other.request_name()).then(|| one.request_name().as_str())
    }

    /// Sends a token to the client.
    pub(crate) fn send(&self, headers: &mut HeaderMap, location: TokenLocation, token: &Token, max_age: Option<u64>) {
        match (location, &self.header) {
            (TokenLocation::Header, Some(header)) => header.send(headers, Some(token)),
            _ => drop(headers.append(SET_COOKIE, self.cookie.set(token, max_age))),
        }
    }

    /// Removes the client's token.
    pub(crate) fn clear(&self, headers: &mut HeaderMap, location: TokenLocation) {
        match (location, &self.header) {
            (TokenLocation::Header, Some(header)) => header.send(headers, None),
            _ => drop(headers.append(SET_COOKIE, self.cookie.removal())),
        }
    }
}
