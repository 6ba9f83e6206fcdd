//! The session cookie: parsed byte by byte from a request, written from a template.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use http::header::{COOKIE, HeaderMap, HeaderValue};
use memchr::memchr;
use tower_cookies::cookie::{Cookie, SameSite};

use super::Candidates;
use super::cipher::{CookieCipher, CookieKeys, Decoded};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::Token;

/// Most bytes of name and value together that user agents accept (RFC 6265bis §5.6).
const MAX_COOKIE_LENGTH: usize = 4096;
/// Most bytes of an attribute value that user agents accept (RFC 6265bis §5.6).
const MAX_ATTRIBUTE_LENGTH: usize = 1024;

/// Requested attributes of the session cookie.
#[derive(Clone, Debug)]
pub(crate) struct CookieOptions {
    pub(crate) name: Cow<'static, str>,
    pub(crate) path: Cow<'static, str>,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) http_prefix: bool,
    pub(crate) same_site: SameSite,
    pub(crate) partitioned: bool,
    pub(crate) keys: Option<CookieKeys>,
}

impl Default for CookieOptions {
    fn default() -> Self {
        Self {
            name: "id".into(),
            path: "/".into(),
            domain: None,
            secure: true,
            http_only: true,
            http_prefix: false,
            same_site: SameSite::Lax,
            partitioned: false,
            keys: None,
        }
    }
}

impl CookieOptions {
    /// Builds the template, unless user agents would ignore or reject the cookie.
    pub(crate) fn build(self) -> Result<CookieTemplate, ConfigError> {
        self.check_name()?;
        self.check_scope()?;
        let insecure = !self.secure;
        if insecure && self.same_site == SameSite::None {
            return refused("SameSite=None requires Secure: user agents reject the cookie without it");
        }
        if insecure && self.partitioned {
            return refused("Partitioned requires Secure: user agents reject the cookie without it");
        }
        if self.http_prefix && (insecure || !self.http_only) {
            return refused("the Http prefix requires Secure and HttpOnly: user agents reject the cookie without them");
        }
        let mut template = self.clone().render();
        if let Some(keys) = self.keys {
            template.cipher = Some(keys.build(&template.name)?);
        }
        if template.name.len() + template.value_length() > MAX_COOKIE_LENGTH {
            return refused("cookie name and value exceed 4,096 bytes; choose a shorter name (RFC 6265bis §5.6)");
        }
        Ok(template)
    }

    fn check_name(&self) -> Result<(), ConfigError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return refused(format!("cookie name {:?} is not a token (RFC 9110 §5.6.2)", self.name));
        }
        if has_prefix(&self.name) {
            return refused(format!(
                "cookie name {:?} has a prefix; leave it out, the layer adds the one that the attributes allow",
                self.name
            ));
        }
        Ok(())
    }

    fn check_scope(&self) -> Result<(), ConfigError> {
        check_path(&self.path)?;
        self.domain.as_deref().map_or(Ok(()), check_domain)
    }

    /// Returns the strongest prefix that the attributes allow.
    fn prefix(&self) -> &'static str {
        let host = self.domain.is_none() && self.path == "/";
        match (self.secure, host, self.http_prefix) {
            (false, _, _) => "",
            (true, true, false) => "__Host-",
            (true, false, false) => "__Secure-",
            (true, true, true) => "__Host-Http-",
            (true, false, true) => "__Http-",
        }
    }

    fn render(self) -> CookieTemplate {
        let name = format!("{}{}", self.prefix(), self.name);
        let mut cookie = Cookie::build((name.clone(), ""))
            .path(self.path.clone().into_owned())
            .secure(self.secure)
            .http_only(self.http_only)
            .same_site(self.same_site)
            .partitioned(self.partitioned);
        if let Some(domain) = self.domain.clone() {
            cookie = cookie.domain(domain);
        }
        let mut cookie = cookie.build();
        let attributes = cookie.to_string()[name.len() + 1..].to_owned();
        cookie.make_removal();
        let removal = header_value(cookie.to_string());
        CookieTemplate { name, options: Arc::new(self), attributes, removal, cipher: None }
    }
}

/// Checks whether user agents ask more of a cookie of this name, in any case of its letters (RFC 6265bis §5.7).
pub(crate) fn has_prefix(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["__host-", "__secure-", "__http-", "__host-http-"].iter().any(|prefix| lower.starts_with(prefix))
}

pub(crate) fn check_path(path: &str) -> Result<(), ConfigError> {
    let is_printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b';';
    if !path.starts_with('/') || !path.bytes().all(is_printable) {
        return refused(format!(
            "cookie path {path:?} must start with a slash and contain neither semicolons nor control characters"
        ));
    }
    check_attribute_length(path)
}

pub(crate) fn check_domain(domain: &str) -> Result<(), ConfigError> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if domain.is_empty() || !domain.bytes().all(is_host) {
        return refused(format!("cookie domain {domain:?} is not a host name"));
    }
    check_attribute_length(domain)
}

fn check_attribute_length(value: &str) -> Result<(), ConfigError> {
    if value.len() > MAX_ATTRIBUTE_LENGTH {
        return refused("cookie attribute exceeds 1,024 bytes; user agents ignore it");
    }
    Ok(())
}

fn refused<T>(reason: impl Into<Box<str>>) -> Result<T, ConfigError> {
    Err(ConfigError::new(ConfigErrorKind::Cookie, reason))
}

/// The session cookie, except for its value and `Max-Age`.
#[derive(Clone, Debug)]
pub(crate) struct CookieTemplate {
    name: String,
    options: Arc<CookieOptions>,
    /// All attributes but `Max-Age`, each after a semicolon.
    attributes: String,
    removal: HeaderValue,
    /// Signs or encrypts the value.
    cipher: Option<CookieCipher>,
}

impl CookieTemplate {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &str {
        &self.options.path
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.options.secure
    }

    /// Builds the same cookie with `suffix` after its name.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Result<Self, ConfigError> {
        let options = CookieOptions::clone(&self.options);
        CookieOptions { name: format!("{}{suffix}", options.name).into(), ..options }.build()
    }

    /// Returns the `Set-Cookie` value for a token. `max_age` is in seconds; `None` until the browser is closed.
    pub(crate) fn set(&self, token: &Token, max_age: Option<u64>) -> HeaderValue {
        let length = self.name.len() + 1 + self.value_length() + self.attributes.len();
        let mut text = String::with_capacity(length + max_age.map_or(0, |_| 24));
        text.push_str(&self.name);
        text.push('=');
        match &self.cipher {
            None => token.write_to(&mut text),
            Some(cipher) => text.push_str(&cipher.encode(&self.name, token.expose_secret())),
        }
        text.push_str(&self.attributes);
        if let Some(seconds) = max_age {
            write!(text, "; Max-Age={seconds}").expect("writing to a string cannot fail");
        }
        header_value(text)
    }

    /// Returns the `Set-Cookie` value that removes the cookie, with the same scope.
    pub(crate) fn removal(&self) -> HeaderValue {
        self.removal.clone()
    }

    /// Returns the values of a request's cookies of this name that may be tokens.
    pub(crate) fn candidates(&self, headers: &HeaderMap) -> Candidates {
        let mut found = Candidates::default();
        for header in headers.get_all(COOKIE) {
            for pair in pairs(header.as_bytes()) {
                let Some(value) = value_of(pair, self.name.as_bytes()) else { continue };
                found.set_present();
                match &self.cipher {
                    None => found.add(value),
                    Some(cipher) => self.decode(cipher, value, &mut found),
                }
            }
        }
        found
    }

    /// Adds the value of a signed or encrypted cookie, if one of the keys has written it.
    fn decode(&self, cipher: &CookieCipher, value: &[u8], found: &mut Candidates) {
        if value.len() != self.value_length() {
            return found.note_forged();
        }
        if !found.count_decoded() {
            return;
        }
        let Some(Decoded { value, is_outdated }) = cipher.decode(&self.name, value) else { return found.note_forged() };
        found.add(value.as_bytes());
        if is_outdated {
            found.mark_outdated(value.as_bytes());
        }
    }

    /// Returns the length of the cookie's value.
    fn value_length(&self) -> usize {
        self.cipher.as_ref().map_or(Token::LENGTH, |cipher| cipher.length(Token::LENGTH))
    }

    /// Returns the cookie's value for a token.
    #[cfg(feature = "testing")]
    pub(crate) fn value(&self, token: &Token) -> String {
        let value = token.expose_secret();
        self.cipher.as_ref().map_or_else(|| value.clone(), |cipher| cipher.encode(&self.name, value.clone()))
    }
}

impl Default for CookieTemplate {
    fn default() -> Self {
        CookieOptions::default().render()
    }
}

/// Returns the pairs of a `Cookie` header.
fn pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let pairs = rest?;
        let end = memchr(b';', pairs);
        rest = end.map(|end| &pairs[end + 1..]);
        Some(&pairs[..end.unwrap_or(pairs.len())])
    })
}

/// Returns the value of a cookie pair of this name.
///
/// Only spaces and tabs are trimmed, so that no other whitespace can disguise another name. One pair of quotes around the value
/// is removed (RFC 6265 §4.1.1). In any other place a quote is an ordinary octet (RFC 6265bis §5.6): it spans no semicolon.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = trim(pair).strip_prefix(name)?;
    let value = trim(trim(rest).strip_prefix(b"=")?);
    Some(match value {
        [b'"', quoted @ .., b'"'] => quoted,
        bare => bare,
    })
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn header_value(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("the builder has refused invalid characters");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
#[path = "cookie_tests.rs"]
mod tests;
