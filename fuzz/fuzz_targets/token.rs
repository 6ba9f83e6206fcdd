//! Arbitrary tokens: a text that parses is the only encoding of its token, and holds a UUIDv7.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::Token;

fuzz_target!(|text: &[u8]| {
    let Some(token) = Token::parse(text) else { return };
    assert_eq!(token.expose_secret().as_bytes(), text);
    assert_eq!(token.id().as_uuid().get_version_num(), 7);
    assert!(!format!("{token:?}").contains(std::str::from_utf8(text).unwrap()));
});
