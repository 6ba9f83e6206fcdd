//! How a token travels.

mod cookie;
mod header;
mod protection;

use http::HeaderMap;
use http::header::SET_COOKIE;

pub(crate) use self::cookie::{Candidates, CookieOptions, CookieTemplate};
pub use self::header::TokenHeader;
#[cfg(any(feature = "signed", feature = "private"))]
pub(crate) use self::protection::Sealing;

use crate::token::Token;

/// What carries a client's token: it is answered in kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Carrier {
    #[default]
    Cookie,
    Header,
}

/// What carries tokens under a layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transport {
    pub(crate) cookie: CookieTemplate,
    pub(crate) header: Option<TokenHeader>,
    /// The header alone: no cookie is read or sent.
    pub(crate) without_cookie: bool,
}

impl Transport {
    /// What a request carries that may be a token.
    pub(crate) fn candidates(&self, headers: &HeaderMap) -> Candidates {
        let Some(header) = &self.header else { return self.cookie.candidates(headers) };
        match header.value(headers) {
            Some(value) => Candidates::in_header(value),
            None if self.without_cookie => Candidates::in_header(b""),
            None => self.cookie.candidates(headers),
        }
    }

    /// The name of what both layers would take for theirs, one inside the other.
    pub(crate) fn conflict<'a>(&'a self, other: &Self) -> Option<&'a str> {
        let cookie = self.cookie.name();
        if !self.without_cookie && !other.without_cookie && cookie == other.cookie.name() {
            return Some(cookie);
        }
        let (one, other) = (self.header.as_ref()?, other.header.as_ref()?);
        (one.request_name() == other.request_name()).then(|| one.request_name().as_str())
    }

    /// Gives the client its token.
    pub(crate) fn give(&self, headers: &mut HeaderMap, carrier: Carrier, token: &Token, max_age: Option<u64>) {
        match (carrier, &self.header) {
            (Carrier::Header, Some(header)) => header.answer(headers, Some(token)),
            _ => drop(headers.append(SET_COOKIE, self.cookie.set(token, max_age))),
        }
    }

    /// Tells the client that its token is over.
    pub(crate) fn take_back(&self, headers: &mut HeaderMap, carrier: Carrier) {
        match (carrier, &self.header) {
            (Carrier::Header, Some(header)) => header.answer(headers, None),
            _ => drop(headers.append(SET_COOKIE, self.cookie.removal())),
        }
    }
}
