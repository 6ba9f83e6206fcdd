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
