//! The structure of MessagePack: where a value ends, and of which kind it is.

use smallvec::SmallVec;

/// Deepest nesting of a value, exclusive. A deeper one could exhaust the stack of its reader.
pub(crate) const MAX_DEPTH: usize = 128;

/// Reason why bytes are not exactly one value.
pub(super) const MALFORMED: &str = "its `Serialize` writes more or fewer elements than it announces";

/// The first bytes of a value.
pub(super) struct Head {
    /// Number of bytes: the whole value, or what precedes the elements of an array or a map.
    pub(super) length: usize,
    /// Number of elements that follow: two for each entry of a map. `None` if the value has no elements.
    elements: Option<usize>,
}

impl Head {
    /// Reads the head of the value that `bytes` begin with; `None` if it is invalid or incomplete.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let marker = *bytes.first()?;
        // Reads a length of `digits` bytes after the marker.
        let number = |digits: usize| {
            bytes
                .get(1..=digits)?
                .iter()
                .try_fold(0usize, |number, digit| number.checked_mul(256)?.checked_add(usize::from(*digit)))
        };
        let scalar = |length: usize| Some((length, None));
        let text = |digits: usize, rest: usize| scalar((1 + digits + rest).checked_add(number(digits)?)?);
        let elements = |digits: usize, each: usize| Some((1 + digits, Some(number(digits)?.checked_mul(each)?)));
        let small = usize::from(marker);
        let (length, elements) = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2..=0xc3 => scalar(1),
            0x80..=0x8f => Some((1, Some(2 * (small & 0x0f)))),
            0x90..=0x9f => Some((1, Some(small & 0x0f))),
            0xa0..=0xbf => scalar(1 + (small & 0x1f)),
            0xc1 => None,
            0xc4..=0xc6 => text(1 << (marker - 0xc4), 0),
            // The type of an extension is one byte more.
            0xc7..=0xc9 => text(1 << (marker - 0xc7), 1),
            0xca => scalar(5),
            0xcb => scalar(9),
            0xcc..=0xcf => scalar(1 + (1 << (marker - 0xcc))),
            0xd0..=0xd3 => scalar(1 + (1 << (marker - 0xd0))),
            0xd4..=0xd8 => scalar(2 + (1 << (marker - 0xd4))),
            0xd9..=0xdb => text(1 << (marker - 0xd9), 0),
            0xdc..=0xdd => elements(2 << (marker - 0xdc), 1),
            0xde..=0xdf => elements(2 << (marker - 0xde), 2),
        }?;
        (length <= bytes.len()).then_some(Self { length, elements })
    }
}

/// Splits off the value that `bytes` begin with. The error says why no reader could read it.
pub(super) fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    // The elements that each open array or map still lacks.
    let mut open = SmallVec::<[usize; 16]>::new();
    let mut at = 0;
    loop {
        let head = Head::read(&bytes[at..]).ok_or(MALFORMED)?;
        at += head.length;
        if let Some(elements) = head.elements {
            if open.len() + 1 >= MAX_DEPTH {
                return Err("it nests too deep");
            }
            open.push(elements.checked_add(1).ok_or(MALFORMED)?);
        }
        // The head closes each array and map whose last element it ends.
        while let Some(lacking) = open.last_mut() {
            *lacking -= 1;
            if *lacking > 0 {
                break;
            }
            open.pop();
        }
        if open.is_empty() {
            return Ok(bytes.split_at(at));
        }
    }
}

/// Returns the number of entries of a map and the bytes after its head; `None` if the value is no map.
pub(super) fn map(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let head = Head::read(bytes).filter(|_| matches!(bytes[0], 0x80..=0x8f | 0xde | 0xdf))?;
    Some((head.elements? / 2, &bytes[head.length..]))
}

/// Returns the kind of an encoded value, for an error.
pub(super) fn kind_of(bytes: &[u8]) -> &'static str {
    match bytes.first() {
        Some(0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff) => "an integer",
        Some(0x80..=0x8f | 0xde | 0xdf) => "a map",
        Some(0x90..=0x9f | 0xdc | 0xdd) => "an array",
        Some(0xa0..=0xbf | 0xd9..=0xdb) => "a string",
        Some(0xc0) => "null",
        Some(0xc2 | 0xc3) => "a boolean",
        Some(0xc4..=0xc6) => "binary data",
        Some(0xc7..=0xc9 | 0xd4..=0xd8) => "an extension",
        Some(0xca | 0xcb) => "a floating-point number",
        Some(0xc1) | None => "no valid value",
    }
}

#[cfg(test)]
mod tests {
    use rmpv::Value;

    use super::{kind_of, split};

    /// Returns values of each kind, at the lengths where their heads change.
    fn values() -> Vec<(Value, &'static str)> {
        let lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536];
        let integers = [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, -1, -32, -33, -128, -129, -40_000, i64::MIN];
        let mut values: Vec<_> = integers.map(|number| (Value::from(number), "an integer")).into();
        values.extend([(Value::Nil, "null"), (true.into(), "a boolean"), (u64::MAX.into(), "an integer")]);
        values.extend([(0.5_f32.into(), "a floating-point number"), (0.5_f64.into(), "a floating-point number")]);
        for length in lengths {
            values.push(("x".repeat(length).into(), "a string"));
            values.push((vec![0; length].into(), "binary data"));
            values.push((Value::Array(vec![Value::Nil; length]), "an array"));
            values.push((Value::Map(vec![(Value::Nil, 1.into()); length]), "a map"));
            values.push((Value::Ext(1, vec![0; length]), "an extension"));
        }
        values.extend([2, 4, 8].map(|length| (Value::Ext(1, vec![0; length]), "an extension")));
        values
    }

    /// A value ends where its encoder has ended, before other bytes, and a shorter one is refused.
    #[test]
    fn each_value_ends_where_it_was_written() {
        let nested = values().into_iter().map(|(value, _)| value).collect();
        for (value, kind) in values().into_iter().chain([(Value::Array(nested), "an array")]) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).expect("memory");
            let whole = bytes.len();
            assert_eq!(kind_of(&bytes), kind);
            assert!(split(&bytes[..whole - 1]).is_err(), "{kind} of {whole} bytes");
            bytes.extend([0xc1, 0x01]);
            assert_eq!(split(&bytes).map(|(value, rest)| (value.len(), rest)), Ok((whole, &[0xc1, 0x01][..])));
        }
        assert!(split(&[]).is_err() && split(&[0xc1]).is_err() && split(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
