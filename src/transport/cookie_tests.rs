//! Properties of the parser of `Cookie` headers, and of the cookie that is set.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{CookieOptions, CookieTemplate, value_of};
use crate::token::Token;
use crate::token::tests::{any_token, near_token};

fn template(name: &str) -> CookieTemplate {
    let options = CookieOptions { name: name.to_owned().into(), secure: false, ..CookieOptions::default() };
    options.build().expect("valid options")
}

/// Returns the tokens that the parser finds in these headers.
fn found(headers: &[Vec<u8>], name: &str) -> Vec<String> {
    let mut map = HeaderMap::new();
    for header in headers {
        map.append(COOKIE, HeaderValue::from_bytes(header).expect("a valid header"));
    }
    let candidates = template(name).candidates(&map);
    candidates.tokens().iter().flatten().map(Token::expose_secret).collect()
}

/// Reads bytes as Latin-1, which has a character for each byte.
fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Returns the value of a pair of this name, as RFC 6265bis §5.7 splits it, without the quotes that RFC 6265 §4.1.1 allows.
fn reference_value(pair: &[u8], name: &str) -> Option<String> {
    let text = latin_1(pair);
    let (left, value) = text.split_once('=')?;
    let value = value.trim_matches([' ', '\t']);
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    (left.trim_matches([' ', '\t']) == name).then(|| bare.to_owned())
}

/// Returns the distinct tokens of these headers, found by whole pairs.
fn reference(headers: &[Vec<u8>], name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pair in headers.iter().flat_map(|header| header.split(|byte| *byte == b';')) {
        let is_token = |value: &String| Token::parse(value.as_bytes()).is_some();
        found.extend(reference_value(pair, name).filter(|value| is_token(value) && !found.contains(value)));
    }
    found
}

fn token_text() -> impl Strategy<Value = String> {
    any_token().prop_map(|token| token.expose_secret())
}

const fn is_header_byte(byte: &u8) -> bool {
    *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)
}

fn header_bytes(max_length: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_filter("a header cannot hold it", is_header_byte), 0..max_length)
}

/// The name, names that resemble it, and any.
fn pair_name() -> impl Strategy<Value = Vec<u8>> {
    let near = ["SID", "si", "sidd", "xsid", "\"sid\"", "$sid", "s id", "", "\u{2000}sid"].map(str::as_bytes);
    let near = [&near[..], &[b"\xa0sid", b"sid\x85"]].concat();
    prop_oneof![Just(b"sid".to_vec()), prop::sample::select(near).prop_map(<[u8]>::to_vec), header_bytes(6)]
}

fn pair_value() -> impl Strategy<Value = Vec<u8>> {
    let quoted = token_text().prop_map(|text| format!("\"{text}\"").into_bytes());
    let near = near_token().prop_map(|bytes| bytes.into_iter().filter(is_header_byte).collect());
    prop_oneof![4 => token_text().prop_map(String::into_bytes), 1 => quoted, 2 => near]
}

fn pair() -> impl Strategy<Value = Vec<u8>> {
    let blank = || "[ \t]{0,2}".prop_map(String::into_bytes);
    (blank(), pair_name(), blank(), blank(), pair_value(), blank())
        .prop_map(|(a, name, b, c, value, d)| [a, name, b, b"=".to_vec(), c, value, d].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    /// Blanks, quotes and further equals signs around the name and the value are read as the RFC says.
    #[test]
    fn a_pair_is_split_at_its_first_equals_sign(
        pair in "[ \t]{0,2}(sid|sid|si|xsid|SID|\"sid\"|\u{a0}sid)?([=\" \t]|sid|x|\u{a0}){0,12}",
    ) {
        let value = value_of(pair.as_bytes(), b"sid").map(latin_1);
        prop_assert_eq!(value, reference_value(pair.as_bytes(), "sid"));
    }

    /// The parser agrees with a simpler one. At most four pairs, so that the bound on candidates does not matter.
    #[test]
    fn tokens_are_found_in_any_headers(
        headers in vec(vec(pair(), 0..3), 0..3).prop_filter("at most four pairs", |headers| {
            headers.iter().map(Vec::len).sum::<usize>() <= 4
        }),
    ) {
        let headers: Vec<Vec<u8>> = headers.iter().map(|pairs| pairs.join(&b';')).collect();
        prop_assert_eq!(found(&headers, "sid"), reference(&headers, "sid"));
    }

    /// No header makes the parser panic.
    #[test]
    fn any_headers_hold_at_most_four_tokens(headers in vec(header_bytes(300), 0..4)) {
        prop_assert!(found(&headers, "sid").len() <= 4);
        prop_assert!(found(&headers, "a").len() <= 4);
    }

    /// It does not matter whether the cookies stand in one header or in many.
    #[test]
    fn the_first_four_tokens_are_tried(tokens in vec(token_text(), 0..12), is_split in any::<bool>()) {
        let pairs: Vec<Vec<u8>> = tokens.iter().map(|token| format!("sid={token}").into_bytes()).collect();
        let headers = if is_split { pairs } else { vec![pairs.join(&b"; "[..])] };
        prop_assert_eq!(found(&headers, "sid"), &tokens[..tokens.len().min(4)]);
    }

    /// Neither another case nor a longer name is accepted.
    #[test]
    fn cookie_names_are_compared_by_bytes(name in "[!-:<>-~]{0,12}", ours in "[a-z]{1,12}", token in token_text()) {
        for name in [&name, &ours, &ours.to_uppercase(), &format!("{ours}{name}"), &format!("{name}{ours}")] {
            let header = format!("{name}={token}").into_bytes();
            prop_assert_eq!(found(&[header], &ours).len(), usize::from(*name == ours), "{}", name);
        }
    }

    /// `Set-Cookie` holds the pair and `Max-Age`, and the parser finds the token in the pair.
    #[test]
    fn a_cookie_that_is_set_is_found(
        name in "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,40}".prop_filter("a prefix", |name| !name.starts_with("__")),
        token in any_token(),
        max_age in any::<Option<u64>>(),
    ) {
        let set = template(&name).set(&token, max_age);
        let mut parts = set.to_str().expect("a text").split("; ");
        let (pair, token) = (parts.next().expect("a pair"), token.expose_secret());
        prop_assert_eq!(pair, format!("{name}={token}"));
        let ages: Vec<&str> = parts.filter_map(|part| part.strip_prefix("Max-Age=")).collect();
        prop_assert_eq!(ages, max_age.iter().map(u64::to_string).collect::<Vec<_>>());
        prop_assert_eq!(found(&[pair.as_bytes().to_vec()], &name), vec![token]);
    }

    /// Names, paths and domains that could add an attribute are refused.
    #[test]
    fn options_cannot_set_an_attribute_twice(
        name in "[a-z;= ]{1,3}",
        path in "/[a-z;= \n]{0,3}",
        domain in prop::option::of("[a-z.;= ]{1,3}"),
    ) {
        let options = CookieOptions { name: name.into(), path: path.into(), domain, ..CookieOptions::default() };
        if let Ok(template) = options.build() {
            let removal = template.removal();
            let text = removal.to_str().expect("a text");
            let names = text.split("; ").skip(1).map(|part| part.split('=').next());
            let distinct: std::collections::BTreeSet<_> = names.clone().collect();
            prop_assert_eq!(distinct.len(), names.count(), "{}", text);
        }
    }
}
