//! Tokens in a header, for clients that keep no cookies.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::Token;

/// The header by which clients that keep no cookies present their token: mobile applications, and other services.
///
/// A client that sends the header is answered in a header, and its cookies are not looked at. One that has no token yet
/// sends the header without one (`Authorization: Bearer`, or the named header with an empty value) to be given one. The response
/// carries a token only when it changes, and an empty value when the session was ended; where a proxy or a browser is to see it,
/// name it in `Access-Control-Expose-Headers`.
///
/// Such a client does by itself what browsers do for cookies: it must keep the token as it would a password, and out of its logs.
/// A site cannot make a browser send these headers across origins, unless CORS lets it; so CSRF does not concern them.
#[derive(Clone, Debug)]
pub struct TokenHeader {
    request: HeaderName,
    response: HeaderName,
}

impl TokenHeader {
    /// `Authorization: Bearer …` (RFC 6750 §2.1) in requests, and `session-token` in responses.
    #[must_use]
    pub fn bearer() -> Self {
        Self { request: AUTHORIZATION, response: HeaderName::from_static("session-token") }
    }

    /// A header of this name, in requests and responses.
    ///
    /// # Errors
    ///
    /// A name that is no header's, and `cookie`, `set-cookie` and `authorization`, which have a form of their own.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        let name = Self::name(name)?;
        Ok(Self { request: name.clone(), response: name })
    }

    /// The name of the header in responses. Default: the request's, or `session-token` for [`bearer`](TokenHeader::bearer).
    ///
    /// # Errors
    ///
    /// Those of [`named`](TokenHeader::named).
    pub fn with_response_name(mut self, name: &str) -> Result<Self, ConfigError> {
        self.response = Self::name(name)?;
        Ok(self)
    }

    fn name(name: &str) -> Result<HeaderName, ConfigError> {
        let refused =
            |why: &str| ConfigError::new(ConfigErrorKind::Header, format!("{name:?} cannot carry tokens: {why}"));
        let parsed = HeaderName::try_from(name).map_err(|_| refused("it is no name of a header (RFC 9110 §5.1)"))?;
        match parsed.as_str() {
            "cookie" | "set-cookie" | "authorization" => Err(refused("its values have a form of their own")),
            _ => Ok(parsed),
        }
    }

    /// The name in requests.
    pub(crate) const fn request_name(&self) -> &HeaderName {
        &self.request
    }

    /// What the request brings: `None` where it is not a client of this kind. More than one value is none of a token.
    pub(crate) fn value<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let mut values = headers.get_all(&self.request).iter().filter_map(|value| self.credential(value.as_bytes()));
        let first = values.next()?;
        Some(if values.next().is_some() { b"" } else { first })
    }

    /// The token in a value: of another scheme's there is none.
    fn credential<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let value = value.trim_ascii();
        if self.request != AUTHORIZATION {
            return Some(value);
        }
        let (scheme, rest) = value.split_at_checked(6)?;
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && (rest.is_empty() || rest.starts_with(b" "));
        is_bearer.then(|| rest.trim_ascii())
    }

    /// Sends a token, or none: the session is over.
    pub(crate) fn answer(&self, headers: &mut HeaderMap, token: Option<&Token>) {
        let text = token.map(Token::expose_secret).unwrap_or_default();
        let mut value = HeaderValue::try_from(text).expect("a token is plain text");
        value.set_sensitive(true);
        headers.insert(self.response.clone(), value);
    }
}
