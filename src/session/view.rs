//! What a request sees of its session: the data as loaded, and its own edits on top.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::notes::NOTES;
use crate::record::{Data, Frame, Gap, Sink, Value, filled};

/// After how many edits they are worked into the data, so that a look-up does not walk a long list.
const MOST_EDITS: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct View {
    base: Data,
    /// One for each key, in the order of the places where they apply.
    edits: SmallVec<[Edit; 1]>,
    /// The bytes of all frames, were they written now.
    length: usize,
    origin: Origin,
}

/// What the base is.
#[derive(Clone, Debug)]
enum Origin {
    /// What was loaded.
    Loaded,
    /// That with edits worked in; this is what it was before.
    Edited(Data),
    /// All of it is this request's doing.
    Own,
}

#[derive(Clone, Debug)]
struct Edit {
    /// Where in the base the frame lies that it replaces: at the end, and empty, for a key that is new.
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

    /// What is left of it when everything is removed: the notes.
    pub(crate) fn cleared(&self) -> Self {
        // What is not there any more is this request's doing, and not what was loaded.
        let mut cleared = Self { origin: Origin::Own, ..Self::empty() };
        if let Some(notes) = self.get(NOTES.name()) {
            let frame = Frame::new(NOTES.name(), notes.as_bytes());
            let length = frame.as_bytes().len();
            cleared.set(Place::Base(0..0), Replacement::Put(frame), length);
        }
        cleared
    }

    /// The bytes of all keys and values with their lengths.
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

    /// Whether this key's value is what was loaded, rather than what this request made of it.
    pub(crate) fn is_as_loaded(&self, key: &str) -> bool {
        let in_base = match &self.origin {
            Origin::Loaded => true,
            Origin::Edited(loaded) => self.base.get(key) == loaded.get(key),
            Origin::Own => false,
        };
        in_base && self.edit(key).is_none()
    }

    /// Puts a frame in, unless the view would be longer than `limit`: then it says how long.
    pub(crate) fn put(&mut self, frame: Frame, limit: usize) -> Result<(), usize> {
        let place = self.place(frame.key());
        let length = self.length - self.length_at(&place) + frame.as_bytes().len();
        if length > limit {
            return Err(length);
        }
        self.set(place, Replacement::Put(frame), length);
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let place = self.place(key);
        let length = self.length - self.length_at(&place);
        self.set(place, Replacement::Removed(key.into()), length);
    }

    /// The keys, in the order in which they will be stored.
    pub(crate) fn keys(&self) -> Vec<String> {
        let data = Data::of(self.state(0, |_| {}), 0);
        data.frames().map(|frame| frame.key()).collect()
    }

    /// A state: a header of this length, and the data with all edits.
    pub(crate) fn state(&self, length: usize, header: impl FnOnce(&mut Gap<'_>)) -> Arc<[u8]> {
        filled(length + self.length, |out| {
            header(out);
            let mut at = self.base.start();
            for edit in &self.edits {
                out.write(self.base.bytes(at..edit.place.start));
                out.write(edit.as_bytes());
                at = edit.place.end;
            }
            out.write(self.base.bytes(at..self.base.end()));
        })
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
        if self.edits.len() > MOST_EDITS {
            let edited = Data::of(self.state(0, |_| {}), 0);
            let before = std::mem::replace(&mut self.base, edited);
            self.edits.clear();
            if let Origin::Loaded = self.origin {
                self.origin = Origin::Edited(before);
            }
        }
    }
}

/// Where a key is.
enum Place {
    /// Among the edits.
    Edited(usize),
    /// In the base; at its end, and empty, where it is new.
    Base(Range<usize>),
}
