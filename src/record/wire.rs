//! Reader and writer for the bytes of a record.

use crate::clock::Timestamp;
use crate::error::StoreError;

/// A cursor over a slice, which never reads beyond its end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(whole: &'a [u8]) -> Self {
        Self { whole, at: 0 }
    }

    pub(super) const fn starting_at(whole: &'a [u8], at: usize) -> Self {
        Self { whole, at }
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at >= self.whole.len()
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let end = self.at.checked_add(length).ok_or_else(truncated)?;
        let taken = self.whole.get(self.at..end).ok_or_else(truncated)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.whole.get(self.at..).unwrap_or_default();
        self.at = self.whole.len();
        rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, StoreError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.try_into().map_err(|_| truncated())
    }

    pub(super) fn timestamp(&mut self) -> Result<Timestamp, StoreError> {
        self.array().map(i64::from_be_bytes).map(Timestamp::from_milliseconds)
    }

    /// Reads a number in groups of seven bits, lowest first (LEB128), in its shortest form.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, StoreError> {
        match *self.whole.get(self.at..).unwrap_or_default() {
            [byte @ 0..=0x7f, ..] => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            [low @ 0x80..=0xff, high @ 1..=0x7f, ..] => {
                self.at += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, StoreError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            if (shift == 63 && group > 1) || (shift > 0 && byte == 0) {
                break;
            }
            number |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(StoreError::corrupt("number is not in its shortest form"))
    }

    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, StoreError> {
        usize::try_from(self.varint()?).map_err(|_| truncated())
    }

    pub(super) fn text(&mut self) -> Result<&'a str, StoreError> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(StoreError::corrupt)
    }
}

fn truncated() -> StoreError {
    StoreError::corrupt("record is truncated")
}

/// A receiver of bytes.
pub(crate) trait Sink {
    fn write(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the bytes that are written.
#[derive(Debug, Default)]
pub(super) struct Length(pub(super) usize);

impl Sink for Length {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes numbers and times to a [`Sink`].
#[derive(Debug)]
pub(super) struct Writer<'a, S>(pub(super) &'a mut S);

impl<S: Sink> Writer<'_, S> {
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(super) fn timestamp(&mut self, at: Timestamp) {
        self.bytes(&at.milliseconds().to_be_bytes());
    }

    pub(super) fn varint(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(byte @ 0..=0x7f) => self.byte(byte),
            _ => {
                let (bytes, length) = varint(number);
                self.bytes(&bytes[..length]);
            }
        }
    }
}

/// Encodes a number in groups of seven bits, lowest first; returns the groups and their count.
pub(super) fn varint(mut number: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut length = 0;
    loop {
        let group = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        bytes[length] = if number == 0 { group } else { group | 0x80 };
        length += 1;
        if number == 0 {
            return (bytes, length);
        }
    }
}
