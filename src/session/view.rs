//! What a request sees of its session: the data as loaded, and its own edits on top.

use std::sync::Arc;

use crate::record::{Data, Frame, Value, filled};

/// After how many edits they are worked into the data, so that a look-up does not walk a long list.
const MOST_EDITS: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct View {
    base: Data,
    edits: Vec<Edit>,
    /// The bytes of all frames, were they written now.
    length: usize,
}

#[derive(Clone, Debug)]
enum Edit {
    Put(Frame),
    Removed(Box<str>),
}

impl Edit {
    fn key(&self) -> &str {
        match self {
            Self::Put(frame) => frame.key(),
            Self::Removed(key) => key,
        }
    }
}

impl View {
    pub(crate) fn new(base: Data) -> Self {
        let length = base.len();
        Self { base, edits: Vec::new(), length }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Data::empty())
    }

    /// The bytes of all keys and values with their lengths.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        match self.edit(key) {
            Some(Edit::Put(frame)) => Some(frame.value()),
            Some(Edit::Removed(_)) => None,
            None => self.base.get(key),
        }
    }

    /// Whether this key's value is what was loaded, rather than what this request made of it.
    pub(crate) fn is_as_loaded(&self, key: &str) -> bool {
        self.edit(key).is_none()
    }

    /// What the length would be with this frame in it.
    pub(crate) fn len_with(&self, frame: &Frame) -> usize {
        self.length - self.frame_len(frame.key()) + frame.as_bytes().len()
    }

    pub(crate) fn put(&mut self, frame: Frame) {
        self.length = self.len_with(&frame);
        self.push(Edit::Put(frame));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.length -= self.frame_len(key);
        self.push(Edit::Removed(key.into()));
    }

    /// The keys, in the order in which they will be stored.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        self.each(|key, _| keys.push(key.to_owned()));
        keys
    }

    /// A state: the header, and the data with all edits.
    pub(crate) fn state(&self, header: &[u8]) -> Arc<[u8]> {
        filled(header.len() + self.length, |out| {
            out.write(header);
            self.each(|_, frame| out.write(frame));
        })
    }

    /// Each frame as it is now: those that were loaded in their place, then those that are new.
    fn each<'a>(&'a self, mut visit: impl FnMut(&'a str, &'a [u8])) {
        for frame in self.base.frames() {
            match self.edit(frame.key) {
                None => visit(frame.key, frame.bytes),
                Some(Edit::Put(new)) => visit(frame.key, new.as_bytes()),
                Some(Edit::Removed(_)) => {}
            }
        }
        for edit in &self.edits {
            match edit {
                Edit::Put(frame) if !self.base.contains(frame.key()) => visit(frame.key(), frame.as_bytes()),
                _ => {}
            }
        }
    }

    fn edit(&self, key: &str) -> Option<&Edit> {
        self.edits.iter().find(|edit| edit.key() == key)
    }

    /// How many bytes the key's frame takes now.
    fn frame_len(&self, key: &str) -> usize {
        match self.edit(key) {
            Some(Edit::Put(frame)) => frame.as_bytes().len(),
            Some(Edit::Removed(_)) => 0,
            None => self.base.frames().find(|frame| frame.key == key).map_or(0, |frame| frame.bytes.len()),
        }
    }

    fn push(&mut self, edit: Edit) {
        if let Some(known) = self.edits.iter_mut().find(|known| known.key() == edit.key()) {
            *known = edit;
            return;
        }
        self.edits.push(edit);
        if self.edits.len() > MOST_EDITS {
            self.base = Data::parse(self.state(&[]), 0).expect("these frames were whole when they were taken in");
            self.edits.clear();
        }
    }
}
