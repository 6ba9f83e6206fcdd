//! A request's view of its session: the loaded data with the request's own edits on top.

use std::ops::Range;

use smallvec::SmallVec;

use crate::config::Limits;
use crate::error::{Error, ErrorKind};
use crate::record::{Data, Frame, Gap, NOTES_KEY, STAMPS_KEY, Sink, Value, filled};

/// Most edits before they are merged into the data, so that a look-up does not scan a long list.
const MAX_EDITS: usize = 64;

/// The values of a session as a request sees them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    base: Data,
    /// One for each changed key, in the order of their places in the base.
    edits: SmallVec<[Edit; 1]>,
    /// Length of all frames in bytes, with the edits.
    length: usize,
    origin: Origin,
}

/// The origin of a view's base.
#[derive(Clone, Debug)]
enum Origin {
    /// The data as loaded.
    Loaded,
    /// The loaded data with edits merged in; this holds the loaded data.
    Edited(Data),
    /// Written by this request alone.
    Own,
}

#[derive(Clone, Debug)]
struct Edit {
    /// Range of the base that it replaces; empty and at the end for a new key.
    place: Range<usize>,
    change: Replacement,
}

#[derive(Clone, Debug)]
enum Replacement {
    Put(Frame),
    Removed(Box<str>),
}

impl Edit {
    fn key(&self) -> &str {
        match &self.change {
            Replacement::Put(frame) => frame.key(),
            Replacement::Removed(key) => key,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.change {
            Replacement::Put(frame) => frame.as_bytes(),
            Replacement::Removed(_) => &[],
        }
    }
}

impl View {
    pub(crate) fn new(base: Data) -> Self {
        let length = base.len();
        Self { base, edits: SmallVec::new(), length, origin: Origin::Loaded }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Data::empty())
    }

    /// Returns the view without any value: only the notes and the stamps stay.
    pub(crate) fn cleared(&self) -> Self {
        // A removed value counts as written by this request.
        let mut cleared = Self { origin: Origin::Own, ..Self::empty() };
        for key in [NOTES_KEY, STAMPS_KEY] {
            if let Some(kept) = self.get(key) {
                let frame = Frame::new(key, kept.as_bytes());
                let length = cleared.length + frame.as_bytes().len();
                cleared.set(cleared.place(key), Replacement::Put(frame), length);
            }
        }
        cleared
    }

    /// Returns the length of all keys and values in bytes, with their length prefixes.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        match self.edit(key) {
            Some(edit) => match &edit.change {
                Replacement::Put(frame) => Some(frame.value()),
                Replacement::Removed(_) => None,
            },
            None => self.base.get(key),
        }
    }

    /// Checks whether the value of a key is the loaded one, rather than one that this request wrote.
    pub(crate) fn is_as_loaded(&self, key: &str) -> bool {
        let in_base = match &self.origin {
            Origin::Loaded => true,
            Origin::Edited(loaded) => self.base.get(key) == loaded.get(key),
            Origin::Own => false,
        };
        in_base && self.edit(key).is_none()
    }

    /// Writes a frame, unless that would make the view exceed a limit, or exceed it further.
    pub(crate) fn put(&mut self, frame: Frame, limits: Limits) -> Result<(), Error> {
        let place = self.place(frame.key());
        let length = self.length - self.length_at(&place) + frame.as_bytes().len();
        if length > limits.bytes.max(self.length) {
            return Err(too_large(length, "bytes", limits.bytes));
        }
        // A frame takes at least two bytes, so a small view need not be counted.
        if self.is_new(&place) && self.length / 2 >= limits.keys {
            let keys = self.key_count() + 1;
            if keys > limits.keys {
                return Err(too_large(keys, "keys", limits.keys));
            }
        }
        self.set(place, Replacement::Put(frame), length);
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let place = self.place(key);
        let length = self.length - self.length_at(&place);
        self.set(place, Replacement::Removed(key.into()), length);
    }

    /// Returns the keys, in the order in which they are stored.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.merged().frames().map(|frame| frame.key()).collect()
    }

    /// Writes all frames, with the edits: [`len`](Self::len) bytes.
    pub(crate) fn write_to(&self, out: &mut Gap<'_>) {
        let mut at = self.base.start();
        for edit in &self.edits {
            out.write(self.base.bytes(at..edit.place.start));
            out.write(edit.as_bytes());
            at = edit.place.end;
        }
        out.write(self.base.bytes(at..self.base.end()));
    }

    fn merged(&self) -> Data {
        Data::new(filled(self.length, |out| self.write_to(out)), 0)
    }

    fn edit(&self, key: &str) -> Option<&Edit> {
        self.edits.iter().find(|edit| edit.key() == key)
    }

    fn place(&self, key: &str) -> Place {
        if let Some(known) = self.edits.iter().position(|edit| edit.key() == key) {
            return Place::Edited(known);
        }
        let end = self.base.end();
        Place::Base(self.base.find(key).map_or(end..end, |frame| frame.whole))
    }

    /// Checks whether a place has no value.
    fn is_new(&self, place: &Place) -> bool {
        match place {
            Place::Edited(known) => matches!(self.edits[*known].change, Replacement::Removed(_)),
            Place::Base(range) => range.is_empty(),
        }
    }

    /// Returns the number of keys that have a value.
    fn key_count(&self) -> usize {
        let (mut added, mut removed) = (0, 0);
        for edit in &self.edits {
            match edit.change {
                Replacement::Put(_) => added += usize::from(edit.place.is_empty()),
                Replacement::Removed(_) => removed += usize::from(!edit.place.is_empty()),
            }
        }
        self.base.frames().count() + added - removed
    }

    fn length_at(&self, place: &Place) -> usize {
        match place {
            Place::Edited(known) => self.edits[*known].as_bytes().len(),
            Place::Base(range) => range.len(),
        }
    }

    fn set(&mut self, place: Place, change: Replacement, length: usize) {
        self.length = length;
        match place {
            Place::Edited(known) => self.edits[known].change = change,
            Place::Base(place) => {
                let order = self.edits.partition_point(|edit| edit.place.start <= place.start);
                self.edits.insert(order, Edit { place, change });
            }
        }
        if self.edits.len() > MAX_EDITS {
            let merged = self.merged();
            let before = std::mem::replace(&mut self.base, merged);
            self.edits.clear();
            if let Origin::Loaded = self.origin {
                self.origin = Origin::Edited(before);
            }
        }
    }
}

fn too_large(needed: usize, unit: &str, limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge).with_context(format!("{needed} {unit}, and the limit is {limit}"))
}

/// The place of a key.
enum Place {
    /// Among the edits.
    Edited(usize),
    /// In the base; empty and at its end for a new key.
    Base(Range<usize>),
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
