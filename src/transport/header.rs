//! Tokens in a header, for clients without cookies.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::Token;

/// The header that carries the token of clients without cookies, such as mobile applications.
///
/// If a request has the header, the layer ignores its cookies and answers in a header. A client without a token sends the
/// header without one (`Authorization: Bearer`, or the named header with an empty value). The response carries a token when it
/// changes, and an empty value when the session has ended. A browser's script sees it only if
/// `Access-Control-Expose-Headers` names it. Under [`bearer`](TokenHeader::bearer), a response with status 401 gets
/// `WWW-Authenticate: Bearer`.
///
/// The client must store the token like a password, and keep it out of its logs. Another site cannot make a browser send these
/// headers, unless CORS allows it, so such requests need no CSRF token.
#[derive(Clone, Debug)]
pub struct TokenHeader {
    request: HeaderName,
    response: HeaderName,
}

impl TokenHeader {
    /// Uses `Authorization: Bearer …` (RFC 6750 §2.1) in requests, and `session-token` in responses.
    #[must_use]
    pub fn bearer() -> Self {
        Self { request: AUTHORIZATION, response: HeaderName::from_static("session-token") }
    }

    /// Uses a header of this name in requests and responses.
    ///
    /// # Errors
    ///
    /// An invalid header name, and `cookie`, `set-cookie` and `authorization`, whose values have another syntax.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        let name = Self::name(name)?;
        Ok(Self { request: name.clone(), response: name })
    }

    /// Sets the header name in responses. Default: that of requests, or `session-token` for [`bearer`](TokenHeader::bearer).
    ///
    /// # Errors
    ///
    /// Those of [`named`](TokenHeader::named).
    pub fn with_response_name(mut self, name: &str) -> Result<Self, ConfigError> {
        self.response = Self::name(name)?;
        Ok(self)
    }

    fn name(name: &str) -> Result<HeaderName, ConfigError> {
        let refused = |why: &str| {
            ConfigError::new(ConfigErrorKind::Header, format!("header {name:?} cannot carry tokens: {why}"))
        };
        let invalid = |error| refused("it is not a header name (RFC 9110 §5.1)").with_source(error);
        let parsed = HeaderName::try_from(name).map_err(invalid)?;
        match parsed.as_str() {
            "cookie" | "set-cookie" | "authorization" => {
                Err(refused("its values have another syntax; choose another name"))
            }
            _ => Ok(parsed),
        }
    }

    /// Returns the header name in requests.
    pub(crate) const fn request_name(&self) -> &HeaderName {
        &self.request
    }

    /// Returns the value of the header, empty if it occurs twice; `None` if the request does not have it.
    pub(crate) fn value<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let mut values = headers.get_all(&self.request).iter().filter_map(|value| self.credential(value.as_bytes()));
        let first = values.next()?;
        Some(if values.next().is_some() { b"" } else { first })
    }

    /// Returns the token part of a value; `None` for another authorization scheme.
    fn credential<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let value = value.trim_ascii();
        if self.request != AUTHORIZATION {
            return Some(value);
        }
        let (scheme, rest) = value.split_at_checked(6)?;
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && (rest.is_empty() || rest.starts_with(b" "));
        is_bearer.then(|| rest.trim_ascii())
    }

    /// Adds the challenge of a response with status 401 (RFC 9110 §11.6.1, RFC 6750 §3), unless the application has added one.
    ///
    /// Only for bearer tokens: a header of another name belongs to no registered scheme.
    pub(crate) fn challenge(&self, headers: &mut HeaderMap) {
        if self.request == AUTHORIZATION {
            headers.entry(WWW_AUTHENTICATE).or_insert(HeaderValue::from_static("Bearer"));
        }
    }

    /// Sends a token, or an empty value if the session has ended.
    pub(crate) fn send(&self, headers: &mut HeaderMap, token: Option<&Token>) {
        let text = token.map(Token::expose_secret).unwrap_or_default();
        let mut value = HeaderValue::try_from(text).expect("a token is ASCII");
        value.set_sensitive(true);
        headers.insert(self.response.clone(), value);
    }
}
