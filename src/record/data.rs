//! The values of a session: one shared buffer, in the stored form.
//!
//! The buffer is a sequence of frames. Each is a key and a value, with their lengths before them; a value is MessagePack. A
//! look-up scans the frames and decodes no value.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::wire::{Reader, Sink, varint};
use crate::error::StoreError;

/// The values of one state. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Data {
    state: Arc<[u8]>,
    start: usize,
}

impl Data {
    /// Checks that the state consists of complete frames from `start` to its end.
    pub(crate) fn check(state: &[u8], start: usize) -> Result<(), StoreError> {
        let mut input = Reader::starting_at(state, start);
        while !input.is_at_end() {
            let key = input.length()?;
            let key = input.take(key)?;
            if !key.is_ascii() {
                std::str::from_utf8(key).map_err(StoreError::corrupt)?;
            }
            let value = input.length()?;
            input.take(value)?;
        }
        Ok(())
    }

    /// Creates the data from `start` to the end of a state that was [checked](Self::check) or just encoded.
    pub(crate) const fn new(state: Arc<[u8]>, start: usize) -> Self {
        Self { state, start }
    }

    pub(crate) fn empty() -> Self {
        Self { state: Arc::default(), start: 0 }
    }

    pub(crate) fn frames(&self) -> Frames<'_> {
        Frames { input: Reader::starting_at(&self.state, self.start) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        let frame = self.find(key)?;
        Some(Value { bytes: Arc::clone(&self.state), range: frame.value })
    }

    /// Returns the frame of a key.
    pub(crate) fn find(&self, key: &str) -> Option<FrameRef<'_>> {
        self.frames().find(|frame| frame.key == key.as_bytes())
    }

    /// Returns the bytes of a range of the state.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.state[range]
    }

    pub(crate) const fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn end(&self) -> usize {
        self.state.len()
    }

    /// Returns the length of all frames in bytes.
    pub(crate) fn len(&self) -> usize {
        self.state.len() - self.start
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.frames().map(|frame| frame.key())).finish()
    }
}

#[cfg(test)]
thread_local! {
    /// Number of frames that this thread has scanned, as a measure of work that no clock disturbs.
    pub(crate) static SCANNED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The frames of a [`Data`], in order.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    input: Reader<'a>,
}

/// A frame of a [`Data`], and its place in the state.
#[derive(Debug)]
pub(crate) struct FrameRef<'a> {
    pub(crate) key: &'a [u8],
    /// Place of the value in the state.
    pub(crate) value: Range<usize>,
    /// Place of the frame in the state, lengths included.
    pub(crate) whole: Range<usize>,
}

impl<'a> FrameRef<'a> {
    pub(crate) fn key(&self) -> String {
        self.text().to_owned()
    }

    /// Returns the key as text, which `Data::check` has checked.
    pub(crate) fn text(&self) -> &'a str {
        std::str::from_utf8(self.key).unwrap_or_default()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = FrameRef<'a>;

    fn next(&mut self) -> Option<FrameRef<'a>> {
        if self.input.is_at_end() {
            return None;
        }
        #[cfg(test)]
        SCANNED.set(SCANNED.get() + 1);
        // `Data::check` has refused a broken state.
        let start = self.input.position();
        let length = self.input.length().ok()?;
        let key = self.input.take(length).ok()?;
        let length = self.input.length().ok()?;
        let value = self.input.position();
        self.input.take(length).ok()?;
        let end = self.input.position();
        Some(FrameRef { key, value: value..end, whole: start..end })
    }
}

/// A value in its encoded form. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Value {
    bytes: Arc<[u8]>,
    range: Range<usize>,
}

impl Value {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.range.len())
    }
}

/// A frame outside a state: a value that a request writes. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Frame {
    bytes: Arc<[u8]>,
    key: Range<usize>,
    value: Range<usize>,
}

impl Frame {
    pub(crate) fn new(key: &str, value: &[u8]) -> Self {
        let (key_length, key_digits) = varint(key.len() as u64);
        let (value_length, value_digits) = varint(value.len() as u64);
        let value_at = key_digits + key.len() + value_digits;
        let bytes = filled(value_at + value.len(), |out| {
            out.write(&key_length[..key_digits]);
            out.write(key.as_bytes());
            out.write(&value_length[..value_digits]);
            out.write(value);
        });
        Self { bytes, key: key_digits..key_digits + key.len(), value: value_at..value_at + value.len() }
    }

    pub(crate) fn key(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.key.clone()]).unwrap_or_default()
    }

    pub(crate) fn value(&self) -> Value {
        Value { bytes: Arc::clone(&self.bytes), range: self.value.clone() }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:?}, {} bytes)", self.key(), self.value.len())
    }
}

/// Creates a shared buffer of this length and fills it in place, with one allocation.
pub(crate) fn filled(length: usize, fill: impl FnOnce(&mut Gap<'_>)) -> Arc<[u8]> {
    let mut whole: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
    let mut gap = Gap(Arc::get_mut(&mut whole).expect("a new Arc has one owner"));
    fill(&mut gap);
    debug_assert!(gap.0.is_empty(), "{} bytes were not written", gap.0.len());
    whole
}

/// The rest of a buffer that is being filled.
#[derive(Debug)]
pub(crate) struct Gap<'a>(&'a mut [u8]);

impl Sink for Gap<'_> {
    fn write(&mut self, bytes: &[u8]) {
        let (here, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.0 = rest;
    }
}
