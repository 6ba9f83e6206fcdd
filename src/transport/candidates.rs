//! The values of a request that may be tokens.

use super::TokenLocation;
use crate::token::Token;

/// Values of one request that may be tokens, without duplicates. At most four, so that the store operations are bounded.
///
/// They are parsed when the session is loaded, since most requests never load it.
#[derive(Clone, Default)]
pub(crate) struct Candidates {
    first: Option<Candidate>,
    /// Boxed, since few requests have any.
    more: Option<Box<More>>,
    /// Number of protected cookies that were decoded.
    decoded: u8,
    /// The request has a cookie or header of the layer's name, whatever its value.
    is_present: bool,
    /// The request has more tokens than are tried.
    has_too_many: bool,
    /// None of the keys has written one of the protected cookies.
    is_forged: bool,
    location: TokenLocation,
}

#[derive(Clone, Default)]
struct More {
    /// Candidates after the first.
    others: Vec<Candidate>,
    /// Candidates from cookies that an old key has signed or encrypted.
    outdated: Vec<Candidate>,
}

type Candidate = [u8; Token::LENGTH];

impl Candidates {
    const MAX: usize = 4;
    /// Most protected cookies of one request that are decoded.
    const MAX_DECODED: u8 = 16;

    /// Creates the candidates of a request that carries its token in a header.
    pub(crate) fn from_header(value: &[u8]) -> Self {
        let is_present = !value.is_empty();
        let mut found = Self { location: TokenLocation::Header, is_present, ..Self::default() };
        found.add(value);
        found
    }

    /// Returns where the request carried its token.
    pub(crate) const fn location(&self) -> TokenLocation {
        self.location
    }

    /// Checks whether the request has more tokens than are tried.
    pub(crate) const fn has_too_many(&self) -> bool {
        self.has_too_many
    }

    /// Checks whether the request has a cookie or header of the layer's name, whatever its value.
    pub(crate) const fn is_present(&self) -> bool {
        self.is_present
    }

    pub(super) fn set_present(&mut self) {
        self.is_present = true;
    }

    /// Checks whether the cookie of a token must be sent again, because an old key has signed or encrypted it.
    pub(crate) fn must_resend(&self, token: &Token) -> bool {
        self.more.as_ref().is_some_and(|more| {
            let token = token.expose_secret();
            more.outdated.iter().any(|candidate| candidate == token.as_bytes())
        })
    }

    /// Returns the candidates that are well-formed tokens.
    pub(crate) fn tokens(&self) -> [Option<Token>; Self::MAX] {
        let first = self.first.as_ref().and_then(|candidate| Token::parse(candidate));
        if self.more.is_none() {
            return [first, None, None, None];
        }
        let mut tokens = first.into_iter().chain(self.others().iter().filter_map(|candidate| Token::parse(candidate)));
        std::array::from_fn(|_| tokens.next())
    }

    pub(super) fn add(&mut self, value: &[u8]) {
        let Ok(candidate) = Candidate::try_from(value) else { return };
        let Some(first) = self.first else {
            self.first = Some(candidate);
            return;
        };
        // A malformed value must not displace a token.
        if Token::parse(&first).is_none() {
            self.first = Some(candidate);
        } else if candidate != first && !self.others().contains(&candidate) && Token::parse(&candidate).is_some() {
            if 1 + self.others().len() < Self::MAX {
                self.more.get_or_insert_default().others.push(candidate);
            } else {
                self.has_too_many = true;
            }
        }
    }

    /// Marks the cookie of a candidate as written by an old key.
    pub(super) fn mark_outdated(&mut self, value: &[u8]) {
        if let Ok(candidate) = Candidate::try_from(value) {
            self.more.get_or_insert_default().outdated.push(candidate);
        }
    }

    /// Notes a protected cookie that none of the keys has written.
    pub(super) const fn note_forged(&mut self) {
        self.is_forged = true;
    }

    /// Checks whether the request has a protected cookie that none of the keys has written.
    pub(crate) const fn is_forged(&self) -> bool {
        self.is_forged
    }

    /// Counts a protected cookie that is about to be decoded; returns `false` if there were too many.
    pub(super) fn count_decoded(&mut self) -> bool {
        if self.decoded >= Self::MAX_DECODED {
            self.has_too_many = true;
            return false;
        }
        self.decoded += 1;
        true
    }

    fn others(&self) -> &[Candidate] {
        self.more.as_ref().map_or(&[], |more| &more.others)
    }
}
