//! Base64url without padding, of the one length that a token has: a decoder for any length takes twice as long.

/// The alphabet (RFC 4648 §5).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The value of each character; [`NONE`] for those that are no digits.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Has the high bit, which no value has.
const NONE: u8 = 0xff;

pub(crate) fn encode(bytes: &[u8; 32]) -> [u8; 43] {
    let mut text = [0; 43];
    let (whole, rest) = bytes.as_chunks();
    let (groups, last) = text.as_chunks_mut();
    for ([a, b, c], group) in whole.iter().zip(groups) {
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        *group = [bits >> 18, bits >> 12, bits >> 6, bits].map(digit);
    }
    if let ([a, b], last @ [_, _, _]) = (rest, last) {
        let bits = u32::from_be_bytes([0, *a, *b, 0]);
        last.copy_from_slice(&[bits >> 18, bits >> 12, bits >> 6].map(digit));
    }
    text
}

/// `None` for what [`encode`] does not write: another alphabet, or bits beyond the last byte.
pub(crate) fn decode(text: &[u8; 43]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut seen = 0;
    let (groups, rest) = text.as_chunks();
    let (whole, last) = bytes.as_chunks_mut();
    let mut value = |character: u8| {
        let value = VALUES[usize::from(character)];
        seen |= value;
        u32::from(value)
    };
    for ([a, b, c, d], whole) in groups.iter().zip(whole) {
        let bits = value(*a) << 18 | value(*b) << 12 | value(*c) << 6 | value(*d);
        let [_, bytes @ ..] = bits.to_be_bytes();
        *whole = bytes;
    }
    let [a, b, c] = rest else { return None };
    let bits = value(*a) << 18 | value(*b) << 12 | value(*c) << 6;
    let [_, bytes_of_last @ .., beyond] = bits.to_be_bytes();
    last.copy_from_slice(&bytes_of_last);
    (seen & 0x80 == 0 && beyond == 0).then_some(bytes)
}

fn digit(bits: u32) -> u8 {
    DIGITS[(bits & 0x3f) as usize]
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_base64url_and_is_read_again(bytes: [u8; 32]) {
            let text = encode(&bytes);
            let plain = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(text.as_slice(), plain.as_bytes());
            prop_assert_eq!(decode(&text), Some(bytes));
        }

        #[test]
        fn what_is_read_is_what_a_strict_decoder_reads(bytes: [u8; 32], place in 0..43_usize, character: u8) {
            let mut text = encode(&bytes);
            text[place] = character;
            prop_assert_eq!(decode(&text).map(Vec::from), URL_SAFE_NO_PAD.decode(text).ok());
        }
    }

    #[test]
    fn the_last_character_is_one_of_the_sixteen_that_end_a_token() {
        let mut text = [b'A'; 43];
        let read = DIGITS.iter().filter(|&&digit| {
            text[42] = digit;
            decode(&text).is_some()
        });
        assert_eq!(read.count(), 16);
    }
}
