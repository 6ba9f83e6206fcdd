//! The session cookie: found in a request byte for byte, written from a template.

use std::borrow::Cow;
use std::fmt::Write;

use http::header::{COOKIE, HeaderMap, HeaderValue};
use tower_cookies::cookie::{Cookie, SameSite};

use super::Carrier;
use super::protection::{Opened, Protection, Sealing};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::Token;

/// The longest name and value together that user agents accept (RFC 6265bis §5.6).
const LONGEST_COOKIE: usize = 4096;
/// The longest attribute value that they do not ignore (the same).
const LONGEST_ATTRIBUTE: usize = 1024;

/// The attributes of the session cookie, as asked for.
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
    pub(crate) sealing: Option<Sealing>,
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
            sealing: None,
        }
    }
}

impl CookieOptions {
    /// Refuses what user agents would ignore or reject.
    pub(crate) fn build(self) -> Result<CookieTemplate, ConfigError> {
        self.check_name()?;
        self.check_scope()?;
        let insecure = !self.secure;
        if insecure && self.same_site == SameSite::None {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                "SameSite=None without Secure: user agents reject the cookie",
            ));
        }
        if insecure && self.partitioned {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                "Partitioned without Secure: user agents reject the cookie",
            ));
        }
        if self.http_prefix && (insecure || !self.http_only) {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                "the Http prefix without both Secure and HttpOnly: user agents reject it",
            ));
        }
        let mut template = self.render();
        if let Some(sealing) = self.sealing {
            template.protection = Some(sealing.build(&template.name)?);
        }
        if template.name.len() + template.value_length() > LONGEST_COOKIE {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                "the cookie's name and value exceed 4,096 bytes (RFC 6265bis §5.6)",
            ));
        }
        Ok(template)
    }

    fn check_name(&self) -> Result<(), ConfigError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                format!("the cookie name {:?} is not a token (RFC 9110 §5.6.2)", self.name),
            ));
        }
        let lower = self.name.to_ascii_lowercase();
        if ["__host-", "__secure-", "__http-", "__host-http-"].iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                format!("the cookie name {:?} brings its own prefix; it is computed from the attributes", self.name),
            ));
        }
        Ok(())
    }

    fn check_scope(&self) -> Result<(), ConfigError> {
        let is_printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b';';
        if !self.path.starts_with('/') || !self.path.bytes().all(is_printable) {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                format!(
                    "the cookie path {:?} does not begin with a slash, or has a character that ends the attribute",
                    self.path
                ),
            ));
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let domain = self.domain.as_deref();
        if domain.is_some_and(|domain| domain.is_empty() || !domain.bytes().all(is_host)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                format!("the cookie domain {:?} is not a host name", self.domain),
            ));
        }
        if self.path.len() > LONGEST_ATTRIBUTE || domain.is_some_and(|domain| domain.len() > LONGEST_ATTRIBUTE) {
            return Err(ConfigError::new(
                ConfigErrorKind::Cookie,
                "a cookie attribute exceeds 1,024 bytes: user agents ignore it",
            ));
        }
        Ok(())
    }

    /// The strongest prefix that the attributes allow.
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

    fn render(&self) -> CookieTemplate {
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
        CookieTemplate { name, attributes, removal, protection: None }
    }
}

/// The session cookie, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct CookieTemplate {
    name: String,
    /// All attributes but `Max-Age`, each with its semicolon before it.
    attributes: String,
    removal: HeaderValue,
    /// What signs or encrypts its value.
    protection: Option<Protection>,
}

impl CookieTemplate {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn is_secure(&self) -> bool {
        self.attributes.contains("; Secure")
    }

    /// `Set-Cookie` for a token; `max_age` in seconds, none for until the browser is closed.
    pub(crate) fn set(&self, token: &Token, max_age: Option<u64>) -> HeaderValue {
        let length = self.name.len() + 1 + self.value_length() + self.attributes.len();
        let mut text = String::with_capacity(length + max_age.map_or(0, |_| 24));
        text.push_str(&self.name);
        text.push('=');
        match &self.protection {
            None => token.write_to(&mut text),
            Some(protection) => text.push_str(&protection.seal(&self.name, token.expose_secret())),
        }
        text.push_str(&self.attributes);
        if let Some(seconds) = max_age {
            write!(text, "; Max-Age={seconds}").expect("a string takes all that is written to it");
        }
        header_value(text)
    }

    /// `Set-Cookie` that removes the cookie: with the same scope, or it would remove another.
    pub(crate) fn removal(&self) -> HeaderValue {
        self.removal.clone()
    }

    /// What a request carries in cookies of this name that may be a token.
    pub(crate) fn candidates(&self, headers: &HeaderMap) -> Candidates {
        let mut found = Candidates::default();
        for header in headers.get_all(COOKIE) {
            for pair in pairs(header.as_bytes()) {
                let Some(value) = value_of(pair, self.name.as_bytes()) else { continue };
                match &self.protection {
                    None => found.add(value),
                    Some(protection) => self.open(protection, value, &mut found),
                }
            }
        }
        found
    }

    /// Takes in what a protected cookie carried, if it is one of ours. How many are looked at is bounded.
    fn open(&self, protection: &Protection, value: &[u8], found: &mut Candidates) {
        if value.len() != self.value_length() || found.opened >= Candidates::MOST_OPENED {
            return;
        }
        found.opened += 1;
        let Some(Opened { value, outdated }) = protection.open(&self.name, value) else { return };
        found.add(value.as_bytes());
        if let (true, Ok(candidate)) = (outdated, Candidate::try_from(value.as_bytes())) {
            found.more.get_or_insert_default().outdated.push(candidate);
        }
    }

    /// How long the cookie's value is.
    fn value_length(&self) -> usize {
        self.protection.as_ref().map_or(Token::LENGTH, |protection| protection.length(Token::LENGTH))
    }

    /// The cookie's value for a token.
    #[cfg(feature = "testing")]
    pub(crate) fn value(&self, token: &Token) -> String {
        let value = token.expose_secret();
        self.protection.as_ref().map_or_else(|| value.clone(), |protection| protection.seal(&self.name, value.clone()))
    }
}

impl Default for CookieTemplate {
    fn default() -> Self {
        CookieOptions::default().render()
    }
}

/// The pairs of a `Cookie` header. Browsers send the cookies of the whole site, so this looks at sixteen bytes at a time.
fn pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let here = rest.take()?;
        let Some(end) = first_semicolon(here) else { return Some(here) };
        rest = Some(&here[end + 1..]);
        Some(&here[..end])
    })
}

fn first_semicolon(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let has_one = |chunk: &[u8; 16]| chunk.iter().fold(false, |found, &byte| found | (byte == b';'));
    let (before, chunk) = match chunks.iter().position(has_one) {
        Some(at) => (at * 16, chunks[at].as_slice()),
        None => (chunks.len() * 16, rest),
    };
    chunk.iter().position(|&byte| byte == b';').map(|at| before + at)
}

/// The value of a cookie pair of this name. Only spaces and tabs are trimmed: a name that merely looks the same
/// to a Unicode-aware trim is another name. A quote is a character like any other (RFC 6265bis §5.6).
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = trim(pair).strip_prefix(name)?;
    Some(trim(trim(rest).strip_prefix(b"=")?))
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn header_value(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("what could break a header was refused when it was built");
    value.set_sensitive(true);
    value
}

/// What may be the tokens of one request, without duplicates, at most four: what is asked of the store is bounded.
///
/// They are kept as they came, and parsed when the session is loaded: a request that does not use it need not pay.
#[derive(Clone, Default)]
pub(crate) struct Candidates {
    first: Option<Candidate>,
    /// What few requests have.
    more: Option<Box<More>>,
    /// How many protected cookies were looked at.
    opened: u8,
    carrier: Carrier,
}

#[derive(Clone, Default)]
struct More {
    /// Those after the first.
    others: Vec<Candidate>,
    /// Those that an old key had signed or encrypted.
    outdated: Vec<Candidate>,
}

type Candidate = [u8; Token::LENGTH];

impl Candidates {
    const MOST: usize = 4;
    /// How many protected cookies are looked at.
    const MOST_OPENED: u8 = 16;

    /// What came in a header.
    pub(crate) fn in_header(value: &[u8]) -> Self {
        let mut found = Self { carrier: Carrier::Header, ..Self::default() };
        found.add(value);
        found
    }

    /// What they came in.
    pub(crate) const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Whether this token came in a cookie that an old key had written.
    pub(crate) fn is_outdated(&self, token: &Token) -> bool {
        self.more.as_ref().is_some_and(|more| {
            let token = token.expose_secret();
            more.outdated.iter().any(|candidate| candidate == token.as_bytes())
        })
    }

    /// The tokens among them.
    pub(crate) fn tokens(&self) -> [Option<Token>; Self::MOST] {
        let first = self.first.as_ref().and_then(|candidate| Token::parse(candidate));
        if self.more.is_none() {
            return [first, None, None, None];
        }
        let mut tokens = first.into_iter().chain(self.others().iter().filter_map(|candidate| Token::parse(candidate)));
        std::array::from_fn(|_| tokens.next())
    }

    fn add(&mut self, value: &[u8]) {
        let Ok(candidate) = Candidate::try_from(value) else { return };
        let Some(first) = self.first else {
            self.first = Some(candidate);
            return;
        };
        // Where there are several, those that are no tokens must not crowd out the one that is.
        if Token::parse(&first).is_none() {
            self.first = Some(candidate);
        } else if 1 + self.others().len() < Self::MOST
            && candidate != first
            && !self.others().contains(&candidate)
            && Token::parse(&candidate).is_some()
        {
            self.more.get_or_insert_default().others.push(candidate);
        }
    }

    fn others(&self) -> &[Candidate] {
        self.more.as_ref().map_or(&[], |more| &more.others)
    }
}

#[cfg(test)]
#[path = "cookie_tests.rs"]
mod tests;
