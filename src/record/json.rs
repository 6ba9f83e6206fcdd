//! Numbers of `serde_json`, which its features write in a form that only `serde_json` reads.
//!
//! With the feature `arbitrary_precision`, which any dependency can switch on, a number is a struct of one text field.

use memchr::memchr_iter;

use super::message_pack::Head;

/// Map of one entry, a key of 28 bytes, and the key.
const NUMBER: &[u8] = b"\x81\xbc$serde_json::private::Number";
/// Map of one entry, a key of 30 bytes, and the key.
const RAW_VALUE: &[u8] = b"\x81\xbe$serde_json::private::RawValue";
/// Number of bytes before the key.
const PREFIX: usize = 2;

/// Encodes each JSON number as the number that it is.
///
/// A number that neither an integer of 64 bits nor an `f64` holds exactly stays as it is: `serde_json` can read it back. A
/// `RawValue` is refused, since nothing can.
pub(super) fn without_json_numbers(bytes: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let is_key =
        |at: usize| bytes[at..].starts_with(&NUMBER[PREFIX..]) || bytes[at..].starts_with(&RAW_VALUE[PREFIX..]);
    if !memchr_iter(b'$', &bytes).any(is_key) {
        return Ok(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[..];
    while let Some(head) = Head::read(rest) {
        if rest.starts_with(RAW_VALUE) {
            return Err("it contains a `serde_json` raw value, which cannot be read back; parse it");
        }
        let length = write_number(rest, &mut plain).unwrap_or_else(|| {
            plain.extend_from_slice(&rest[..head.length]);
            head.length
        });
        rest = &rest[length..];
    }
    plain.extend_from_slice(rest);
    Ok(plain)
}

/// Writes the JSON number that `bytes` begin with, if they do, and returns its length there.
fn write_number(bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let encoded = bytes.strip_prefix(NUMBER)?;
    let text: &str = rmp_serde::from_slice(encoded).ok()?;
    if let Ok(number) = text.parse::<u64>() {
        rmp_serde::encode::write(out, &number).ok()?;
    } else if let Ok(number) = text.parse::<i64>() {
        rmp_serde::encode::write(out, &number).ok()?;
    } else {
        let number = text.parse::<f64>().ok()?;
        if digits(text) != digits(&format!("{number:e}")) {
            return None;
        }
        rmp_serde::encode::write(out, &number).ok()?;
    }
    Some(NUMBER.len() + Head::read(encoded)?.length)
}

/// Returns the significant digits of a number.
fn digits(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::super::{decode, encode};
    use crate::error::{Error, ErrorKind};

    /// A number as `serde_json` writes it with the feature `arbitrary_precision`.
    #[derive(Serialize)]
    #[serde(rename = "$serde_json::private::Number")]
    struct Number<'a> {
        #[serde(rename = "$serde_json::private::Number")]
        text: &'a str,
    }

    /// A raw value as `serde_json` writes it.
    #[derive(Serialize)]
    #[serde(rename = "$serde_json::private::RawValue")]
    struct RawValue {
        #[serde(rename = "$serde_json::private::RawValue")]
        text: &'static str,
    }

    fn stored<T: serde::de::DeserializeOwned>(value: &impl Serialize) -> Result<T, Error> {
        decode("n", encode("n", value)?.value().as_bytes())
    }

    /// Integers and decimals are read as Rust's own numbers, on any level.
    #[test]
    fn json_numbers_are_stored_as_numbers() -> Result<(), Error> {
        assert_eq!(stored::<u8>(&Number { text: "5" })?, 5);
        assert_eq!(stored::<i64>(&Number { text: "-9223372036854775808" })?, i64::MIN);
        assert_eq!(stored::<u64>(&Number { text: "18446744073709551615" })?, u64::MAX);
        for (text, expected) in [("0.1", 0.1), ("-1.50", -1.5), ("1e3", 1000.0), ("0.0", 0.0), ("5E-324", 5e-324)] {
            assert_eq!(stored::<f64>(&Number { text })?.to_bits(), f64::to_bits(expected), "{text}");
        }
        let nested = ("ab", [Number { text: "1" }, Number { text: "2" }], "$serde_json::private::Number", 3);
        assert_eq!(
            stored::<(String, [u8; 2], String, u8)>(&nested)?,
            ("ab".to_owned(), [1, 2], "$serde_json::private::Number".to_owned(), 3)
        );
        Ok(())
    }

    /// A number with more digits than an `f64` has keeps them all.
    #[test]
    fn longer_json_numbers_keep_their_digits() -> Result<(), Error> {
        for text in ["0.12345678901234567890", "123456789012345678901", "1e400", "no number"] {
            let read: std::collections::BTreeMap<String, String> = stored(&Number { text })?;
            assert_eq!(read["$serde_json::private::Number"], text);
        }
        Ok(())
    }

    /// Texts and bytes that look like a number are left alone.
    #[test]
    fn text_that_resembles_a_json_number_is_kept() -> Result<(), Error> {
        // In UTF-8 these characters end with the head of such a map and begin with the head of a text.
        for text in ["\u{107c}$serde_json::private::Number\u{641}5", "$serde_json::private::RawValue"] {
            assert_eq!(stored::<String>(&text)?, text);
        }
        Ok(())
    }

    /// A raw value is refused, since its type cannot be read back.
    #[test]
    fn raw_json_values_are_refused() {
        let error = encode("n", &[RawValue { text: "a canary" }]).expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::Serialize);
        assert!(error.to_string().contains("raw value") && !format!("{error:?}").contains("canary"), "{error:?}");
    }
}
