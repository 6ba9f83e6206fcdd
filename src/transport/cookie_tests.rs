//! Properties of the two parsers that read what a client sends: of tokens, and of cookies.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{CookieOptions, CookieTemplate, pairs, value_of};
use crate::token::Token;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() }
}

/// Bytes as base64url without padding, the plain way.
fn encode(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |group: &[u8]| (0..6).fold(0, |digit, bit| digit << 1 | group.get(bit).copied().unwrap_or(0));
    bits.chunks(6).map(|group| char::from(DIGITS[usize::from(digit(group))])).collect()
}

/// The 32 bytes of a token.
fn token_bytes() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>().prop_map(|mut bytes| {
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    })
}

fn token_text() -> impl Strategy<Value = String> {
    token_bytes().prop_map(|bytes| encode(&bytes))
}

/// What comes close to a token: of its length and its characters, or nearly.
fn nearly_a_token() -> impl Strategy<Value = Vec<u8>> {
    let digits = vec((0..DIGITS.len()).prop_map(|digit| DIGITS[digit]), 40..46);
    let damaged = (token_text(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, place, byte)| {
        let mut text = text.into_bytes();
        let place = place.index(text.len());
        text[place] = byte;
        text
    });
    let cut = (token_text(), 0..60usize).prop_map(|(text, length)| {
        let doubled = format!("{text}{text}").into_bytes();
        doubled[..length].to_vec()
    });
    prop_oneof![
        digits,
        damaged,
        cut,
        vec(any::<u8>(), 0..100),
        any::<[u8; 32]>().prop_map(|bytes| encode(&bytes).into())
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_token_is_read_as_it_was_written(bytes in token_bytes()) {
        let text = encode(&bytes);
        let token = Token::parse(text.as_bytes()).expect("it is well-formed");
        let id = token.id();
        prop_assert_eq!(id.as_uuid().as_bytes(), &bytes[..16]);
        prop_assert_eq!(token.expose_secret(), text);
    }

    #[test]
    fn what_is_read_as_a_token_is_exactly_its_written_form(bytes in nearly_a_token()) {
        if let Some(token) = Token::parse(&bytes) {
            prop_assert_eq!(token.expose_secret().into_bytes(), bytes);
        }
    }

    #[test]
    fn bytes_around_any_uuid_are_a_token_if_it_is_of_version_7(bytes in any::<[u8; 32]>()) {
        let well_formed = bytes[6] >> 4 == 7 && bytes[8] >> 6 == 0b10;
        prop_assert_eq!(Token::parse(encode(&bytes).as_bytes()).is_some(), well_formed);
    }

    #[test]
    fn a_token_with_one_character_changed_is_another_or_none(
        bytes in token_bytes(),
        place in 0..Token::LENGTH,
        byte in any::<u8>(),
    ) {
        let text = encode(&bytes).into_bytes();
        let mut changed = text.clone();
        changed[place] = byte;
        prop_assume!(changed != text);
        let original = Token::parse(&text).expect("it is well-formed");
        if let Some(other) = Token::parse(&changed) {
            let same_secret = other.verifier().matches(&original.verifier());
            prop_assert!(other.id() != original.id() || !same_secret);
        }
    }

    #[test]
    fn no_token_shows_its_secret_when_it_is_debugged(text in token_text()) {
        let token = Token::parse(text.as_bytes()).expect("it is well-formed");
        let shown = format!("{token:?} {token:#?}");
        prop_assert!(!shown.contains(&text) && !shown.contains(&text[22..]), "{}", shown);
    }
}

/// Every change of every character of one token.
#[test]
fn of_all_single_changes_of_a_token_none_is_read_as_the_same() {
    let bytes: [u8; 32] = std::array::from_fn(|n| match n {
        6 => 0x7a,
        8 => 0x9b,
        n => u8::try_from(n * 7).unwrap_or(0),
    });
    let text = encode(&bytes).into_bytes();
    let (mut read, original) = (0, Token::parse(&text).expect("it is well-formed"));
    for place in 0..text.len() {
        for byte in (0..=u8::MAX).filter(|byte| *byte != text[place]) {
            let mut changed = text.clone();
            changed[place] = byte;
            if let Some(token) = Token::parse(&changed) {
                read += 1;
                assert_eq!(token.expose_secret().into_bytes(), changed);
                assert!(token.id() != original.id() || !token.verifier().matches(&original.verifier()));
            }
        }
    }
    assert!(read > 2_000, "most other digits make another token, and {read} did");
}

fn template(name: &str) -> CookieTemplate {
    let options = CookieOptions { name: name.to_owned().into(), secure: false, ..CookieOptions::default() };
    options.build().expect("these options work")
}

/// What is left without the spaces and tabs around it, found the plain way.
fn plainly_trimmed(bytes: &[u8]) -> Vec<u8> {
    let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let mut bytes: Vec<u8> = bytes.iter().copied().skip_while(is_space).collect();
    while bytes.last().is_some_and(is_space) {
        bytes.pop();
    }
    bytes
}

/// The value of a pair of this name, found the plain way: what is before the first `=`, and what is after it.
fn plain_value(pair: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    (plainly_trimmed(&pair[..equals]) == name).then(|| plainly_trimmed(&pair[equals + 1..]))
}

/// The tokens in cookies of this name, found the plain way: by whole pairs, and with a trim of their own.
fn reference(headers: &[Vec<u8>], name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for header in headers {
        for pair in header.split(|byte| *byte == b';') {
            let Some(value) = plain_value(pair, name.as_bytes()) else { continue };
            match Token::parse(&value).map(|token| token.expose_secret()) {
                Some(token) if !found.contains(&token) => found.push(token),
                _ => {}
            }
        }
    }
    found
}

fn found(headers: &[Vec<u8>], name: &str) -> Vec<String> {
    let mut map = HeaderMap::new();
    for header in headers {
        map.append(COOKIE, HeaderValue::from_bytes(header).expect("the strategy makes only what a header may hold"));
    }
    let candidates = template(name).candidates(&map);
    candidates.tokens().iter().flatten().map(Token::expose_secret).collect()
}

/// Names that are ours, look like ours, or are any.
fn pair_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"sid".to_vec()),
        prop::sample::select(vec![
            &b"SID"[..],
            b"si",
            b"sidd",
            b"xsid",
            b"\"sid\"",
            b"$sid",
            b"s id",
            b"",
            b"\xa0sid",
            b"\xe2\x80\x80sid",
            b"sid\x85"
        ])
        .prop_map(<[u8]>::to_vec),
        vec(header_byte(), 0..6),
    ]
}

fn pair_value() -> impl Strategy<Value = Vec<u8>> {
    let quoted = token_text().prop_map(|text| format!("\"{text}\"").into_bytes());
    let headed = nearly_a_token().prop_map(|bytes| bytes.into_iter().filter(|byte| is_header_byte(*byte)).collect());
    prop_oneof![4 => token_text().prop_map(String::into_bytes), 1 => quoted, 2 => headed]
}

fn space() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b' '), Just(b'\t')], 0..3)
}

const fn is_header_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

fn header_byte() -> impl Strategy<Value = u8> {
    any::<u8>().prop_filter("a header cannot hold it", |byte| is_header_byte(*byte))
}

fn pair() -> impl Strategy<Value = Vec<u8>> {
    (space(), pair_name(), space(), space(), pair_value(), space())
        .prop_map(|(a, name, b, c, value, d)| [a, name, b, b"=".to_vec(), c, value, d].concat())
}

/// Headers of nothing but what matters to the scanner: what separates, what is trimmed, and our name or nearly.
fn hard_header() -> impl Strategy<Value = Vec<u8>> {
    let separators = prop::sample::select(vec!["=", ";", "\"", " ", "\t"]);
    let names = prop::sample::select(vec!["sid", "sid=", "si", "id", "s", "d", "xsid", "sidx", "SID", "\u{a0}", "x"]);
    vec(prop_oneof![3 => separators, 2 => names], 0..48).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_pairs_of_a_header_and_their_values_are_those_of_a_plain_split(header in hard_header()) {
        let found: Vec<&[u8]> = pairs(&header).collect();
        let split: Vec<&[u8]> = header.split(|byte| *byte == b';').collect();
        prop_assert_eq!(&found, &split);
        for pair in split {
            prop_assert_eq!(value_of(pair, b"sid").map(<[u8]>::to_vec), plain_value(pair, b"sid"), "{:?}", pair);
        }
    }

    // Four pairs at most, so that the bound on what is tried does not come into play.
    #[test]
    fn tokens_are_found_where_the_plain_parser_finds_them(
        headers in vec(vec(pair(), 0..3), 0..3).prop_filter("at most four pairs", |headers| {
            headers.iter().map(Vec::len).sum::<usize>() <= 4
        }),
    ) {
        let headers: Vec<Vec<u8>> = headers.iter().map(|pairs| pairs.join(&b';')).collect();
        prop_assert_eq!(found(&headers, "sid"), reference(&headers, "sid"));
    }

    #[test]
    fn no_header_makes_the_parser_panic_or_find_more_than_four(headers in vec(vec(header_byte(), 0..300), 0..4)) {
        prop_assert!(found(&headers, "sid").len() <= 4);
        prop_assert!(found(&headers, "a").len() <= 4);
    }

    #[test]
    fn of_many_tokens_the_first_four_are_tried(tokens in vec(token_text(), 0..12), split in any::<bool>()) {
        let pairs: Vec<Vec<u8>> = tokens.iter().map(|token| format!("sid={token}").into_bytes()).collect();
        let headers = if split { pairs } else { vec![pairs.join(&b"; "[..])] };
        prop_assert_eq!(found(&headers, "sid"), &tokens[..tokens.len().min(4)]);
    }

    #[test]
    fn a_pair_is_found_if_its_name_is_ours_byte_for_byte(name in "[!-:<>-~]{0,12}", ours in "[a-z]{1,12}", token in token_text()) {
        for name in [&name, &ours, &ours.to_uppercase(), &format!("{ours}{name}"), &format!("{name}{ours}")] {
            let header = format!("{name}={token}").into_bytes();
            prop_assert_eq!(found(&[header], &ours).len(), usize::from(*name == ours), "{}", name);
        }
    }

    #[test]
    fn what_is_set_is_found_again(name in "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,40}", token in token_text(), max_age in any::<Option<u64>>()) {
        prop_assume!(!name.starts_with("__"));
        let template = template(&name);
        let parsed = Token::parse(token.as_bytes()).expect("it is well-formed");
        let set = template.set(&parsed, max_age);
        let text = set.to_str().expect("it is text").to_owned();
        let mut parts = text.split("; ");
        let pair = parts.next().expect("there is a first");
        prop_assert_eq!(pair, format!("{name}={token}"));
        let said: Vec<&str> = parts.filter_map(|part| part.strip_prefix("Max-Age=")).collect();
        let seconds: Vec<String> = max_age.iter().map(u64::to_string).collect();
        prop_assert_eq!(said, seconds);
        prop_assert_eq!(found(&[pair.as_bytes().to_vec()], &name), vec![token]);
    }

    #[test]
    fn options_are_refused_or_make_a_header_that_is_whole(name in any::<String>(), path in any::<String>(), domain in any::<Option<String>>()) {
        let options = CookieOptions { name: name.into(), path: path.into(), domain, ..CookieOptions::default() };
        if let Ok(template) = options.build() {
            let removal = template.removal();
            let text = removal.to_str().expect("it is text");
            let mut names: Vec<&str> = text.split("; ").skip(1).map(|part| part.split('=').next().unwrap_or(part)).collect();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), text.split("; ").count() - 1, "{}", text);
        }
    }
}
