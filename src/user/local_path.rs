//! Paths of this site, for redirects after a sign-in.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use serde::{Deserialize, Deserializer};

/// A path of this site, with its query: safe to redirect to, whatever the client has sent.
///
/// A redirect to an address from the request may lead to another site (CWE-601, OWASP "Unvalidated Redirects"). A path starts
/// with one slash that no slash and no backslash follows, has visible ASCII characters alone, and no segment `.` or `..`; and the same
/// holds for its percent-decoded form. So schemes, hosts, control characters and encoded forms of them are refused, also those that
/// appear after a proxy or a script has resolved the path, as in `/.//evil.test`.
///
/// It may be any page of this site, also one that the sign-in did not come from: no `GET` request should have an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPath(Box<str>);

impl LocalPath {
    /// Longest path, in bytes.
    pub const MAX_LENGTH: usize = 2_048;

    /// Creates a path; `None` if it may lead to another site.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        let is_visible = path.bytes().all(|byte| byte.is_ascii_graphic());
        let is_valid = is_visible
            && path.len() <= Self::MAX_LENGTH
            && is_local(path)
            && is_local(&decoded(path))
            && is_resolved(&decoded(without_query(path)));
        is_valid.then(|| Self(path.into()))
    }

    /// Creates a path that the application knows.
    ///
    /// # Panics
    ///
    /// If it may lead to another site.
    #[must_use]
    pub fn from_static(path: &'static str) -> Self {
        Self::new(path).expect("a path of this site")
    }

    /// Returns the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address of a page that leads to `next` afterwards: this path, with `next` in its query for [`NextPath`] to read.
    ///
    /// ```
    /// use sessile::user::LocalPath;
    ///
    /// let page = LocalPath::from_static("/sign-in");
    /// let next = LocalPath::from_static("/orders?page=2");
    /// assert_eq!(page.with_next(Some(&next)), "/sign-in?next=%2Forders%3Fpage%3D2");
    /// assert_eq!(page.with_next(None), "/sign-in");
    /// ```
    #[must_use]
    pub fn with_next(&self, next: Option<&Self>) -> String {
        let Some(next) = next else { return self.0.to_string() };
        let separator = if self.0.contains('?') { '&' } else { '?' };
        let next: String = form_urlencoded::byte_serialize(next.0.as_bytes()).collect();
        format!("{}{separator}next={next}", self.0)
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The path of a request, as its client knows it.
#[derive(Clone, Debug)]
pub(super) struct RequestPath {
    /// The part that the layer did not see.
    prefix: Option<Arc<str>>,
    uri: Uri,
}

impl RequestPath {
    pub(super) const fn new(prefix: Option<Arc<str>>, uri: Uri) -> Self {
        Self { prefix, uri }
    }

    /// Returns the path with its query; `None` if it may lead to another site.
    pub(super) fn local(&self) -> Option<LocalPath> {
        let seen = self.uri.path_and_query()?.as_str();
        match &self.prefix {
            Some(prefix) => LocalPath::new(&format!("{prefix}{seen}")),
            None => LocalPath::new(seen),
        }
    }

    /// Checks whether the request is for this page, whatever their queries.
    pub(super) fn is_of(&self, page: &LocalPath) -> bool {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        without_query(page.as_str()).strip_prefix(prefix) == Some(self.uri.path())
    }
}

/// The query of a sign-in page: where to go on afterwards. A path that may lead to another site counts as missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct NextPath {
    /// The path.
    #[serde(default, deserialize_with = "lenient")]
    pub next: Option<LocalPath>,
}

impl NextPath {
    /// Returns the path, or this one.
    ///
    /// # Panics
    ///
    /// If the query has no path, and `path` may lead to another site.
    #[must_use]
    pub fn next_or(self, path: &'static str) -> LocalPath {
        self.next.unwrap_or_else(|| LocalPath::from_static(path))
    }
}

fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LocalPath>, D::Error> {
    Ok(LocalPath::new(&String::deserialize(deserializer)?))
}

/// Checks the start of a path, and that it has no control character, which browsers remove before they read the rest.
fn is_local(path: &str) -> bool {
    let rest = path.strip_prefix('/');
    rest.is_some_and(|rest| !rest.starts_with(['/', '\\'])) && !path.chars().any(char::is_control)
}

/// Checks that no segment of a path stands for its own or its parent folder.
fn is_resolved(path: &str) -> bool {
    path.split(['/', '\\']).all(|segment| segment != "." && segment != "..")
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Decodes percent-encoded ASCII characters, as often as they were encoded.
fn decoded(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' && byte.is_ascii() => {
                bytes.splice(at..at + 3, [byte]);
                // The decoded character may start an encoded one, together with those after it or before it.
                at = at.saturating_sub(2);
            }
            _ => at += 1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths of this site are kept as they are.
    #[test]
    fn paths_of_this_site_are_accepted() {
        for path in [
            "/",
            "/account",
            "/a/b?c=d&e=/f",
            "/search?q=50%25",
            "/caf%C3%A9",
            "/a//b",
            "/?next=https%3A%2F%2Fa.test",
            "/a:b@c",
            "/a;b=c",
            "/.well-known/change-password",
            "/a../..b/...",
            "/a?b=../..&c=/./",
            "/a#/../b",
        ] {
            assert_eq!(LocalPath::new(path).expect(path).as_str(), path);
        }
    }

    /// Addresses of other sites, in each form that a browser may understand as one.
    #[test]
    fn addresses_of_other_sites_are_refused() {
        for path in [
            "",
            "account",
            "https://evil.test",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "\\/evil.test",
            "javascript:alert(1)",
            "data:text/html,x",
            " //evil.test",
            "/\t/evil.test",
            "/\n/evil.test",
            "\r\n//evil.test",
            "/\0/evil.test",
            "/%2Fevil.test",
            "/%2fevil.test",
            "/%5Cevil.test",
            "/%5cevil.test",
            "%2F%2Fevil.test",
            "/%09/evil.test",
            "/%0D%0ASet-Cookie:a=b",
            "/%252Fevil.test",
            "/%25252Fevil.test",
            "/%255Cevil.test",
            "/%2%46evil.test",
            "/ö",
            "/\u{202e}/evil.test",
            "/a b",
            "?//evil.test",
            "#//evil.test",
            "http:evil.test",
            "/%00",
            "/.//evil.test",
            "/..//evil.test",
            "/./\\evil.test",
            "/a/..//evil.test",
            "/a\\..\\\\evil.test",
            "/%2e//evil.test",
            "/%2E%2e//evil.test",
            "/.%252e//evil.test",
            "/a%2F..%2F%2Fevil.test",
            "/a%3F/../..//evil.test",
            "/a%23/../..//evil.test",
            "/..",
            "/.",
            "/a/.",
            "/a/..?b",
        ] {
            assert_eq!(LocalPath::new(path), None, "{path:?}");
        }
        assert_eq!(LocalPath::new(&format!("/{}", "a".repeat(LocalPath::MAX_LENGTH))), None);
    }

    /// The path comes back whole from the query of the sign-in page.
    #[test]
    fn next_is_encoded_and_read_back() {
        let next = LocalPath::from_static("/orders?page=2&sort=a%26b");
        for (page, expected) in [("/sign-in", "/sign-in?next="), ("/sign-in?lang=de", "/sign-in?lang=de&next=")] {
            let address = LocalPath::new(page).expect("a path").with_next(Some(&next));
            assert!(address.starts_with(expected), "{address}");
            let query: NextPath =
                serde_urlencoded::from_str(address.split_once('?').expect("a query").1).expect("a query");
            assert_eq!(query.next.as_ref(), Some(&next));
        }
        for query in ["", "next=", "next=//evil.test", "next=%2F%2Fevil.test", "other=1"] {
            let read: NextPath = serde_urlencoded::from_str(query).expect("a query");
            assert_eq!(read.next_or("/").as_str(), "/", "{query}");
        }
    }
}
