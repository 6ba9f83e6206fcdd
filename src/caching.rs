//! Response headers that keep caches from storing a token, or from showing the page of one client to another.

use http::header::{CACHE_CONTROL, EXPIRES, Entry, HeaderMap, HeaderName, HeaderValue, VARY};

/// Adds a request header to `Vary`, since the response depends on it.
pub(crate) fn vary_by(headers: &mut HeaderMap, name: &HeaderName) {
    let is_listed = |value: &HeaderValue| {
        let mut listed = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        listed.any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    match headers.entry(VARY) {
        Entry::Vacant(vary) => {
            vary.insert(name.clone().into());
        }
        Entry::Occupied(mut vary) => {
            if !vary.iter().any(is_listed) {
                vary.append(name.clone().into());
            }
        }
    }
}

/// Forbids every cache to store a response that carries a token, whatever the handler set (RFC 9111 §5.2.2.5).
pub(crate) fn forbid_storing(headers: &mut HeaderMap) {
    let keeps_form = directives(headers).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"));
    let value = if keeps_form { "no-store, no-transform" } else { "no-store" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
    if let Entry::Occupied(mut expires) = headers.entry(EXPIRES) {
        // A time in the past (RFC 9111 §5.3), for caches that do not read `Cache-Control`.
        expires.insert(HeaderValue::from_static("0"));
    }
    remove_targeted(headers);
}

/// Forbids shared caches to store a response that was made from a session (RFC 9111 §5.2.2.7).
///
/// `private` replaces `public` and `s-maxage`; the other directives of the handler stay. `Vary: Cookie` would not be enough,
/// since some content delivery networks ignore it.
pub(crate) fn make_private(headers: &mut HeaderMap) {
    remove_targeted(headers);
    let is_shared = |directive: &[u8]| {
        let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"public") || name.eq_ignore_ascii_case(b"s-maxage")
    };
    let is_private = |directive: &[u8]| directive.eq_ignore_ascii_case(b"private");
    let forbids = |directive: &[u8]| is_private(directive) || directive.eq_ignore_ascii_case(b"no-store");
    if let Entry::Vacant(cache_control) = headers.entry(CACHE_CONTROL) {
        cache_control.insert(HeaderValue::from_static("private"));
        return;
    }
    if directives(headers).any(forbids) && !directives(headers).any(is_shared) {
        return;
    }
    // First, since caches may use the first of several directives of one name (RFC 9111 §4.2.1), such as `private="x-name"`.
    let mut tightened = b"private".to_vec();
    for directive in directives(headers).filter(|directive| !is_shared(directive) && !is_private(directive)) {
        tightened.extend_from_slice(b", ");
        tightened.extend_from_slice(directive);
    }
    let tightened = HeaderValue::from_bytes(&tightened).unwrap_or(HeaderValue::from_static("private"));
    headers.insert(CACHE_CONTROL, tightened);
}

/// Returns the directives of `Cache-Control`.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CACHE_CONTROL).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    values.map(<[u8]>::trim_ascii).filter(|directive| !directive.is_empty())
}

/// Removes the headers that some shared caches read instead of `Cache-Control`, so that this one counts.
fn remove_targeted(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_targeted(name)).cloned() {
        headers.remove(name);
    }
}

/// Checks whether a header is for some shared caches only: `CDN-Cache-Control` (RFC 9213), the like of vendors, and older ones.
fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
}
