//! The encoded states of one shard, side by side in memory of the store's own.

use std::sync::Arc;

use super::pages::Pages;
use super::short;

/// A state takes a whole number of these.
type Chunk = [u8; 32];

/// Before a state stands the row of its record.
const BACK: usize = size_of::<u32>();

/// The most chunks that a state which is copied takes. One that is longer keeps the memory in which it came, and is shared
/// with those who read it: to copy it would take longer than an allocation.
const MOST: usize = 32;

/// The states: for each size that there is, those of so many chunks, without gaps between them.
#[derive(Default)]
pub(super) struct States(Vec<Pages<Chunk>>);

/// Where a state is kept.
pub(super) enum Kept {
    Here(Place),
    Shared(Arc<[u8]>),
}

/// A state's place among those of its size.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// In bytes.
    length: u32,
    number: u32,
}

/// A state that has taken the place of one that was removed: the row of its record, and its number now.
pub(super) struct Moved {
    pub(super) row: usize,
    number: u32,
}

impl Kept {
    pub(super) fn follow(&mut self, moved: &Moved) {
        if let Self::Here(place) = self {
            place.number = moved.number;
        }
    }
}

impl States {
    /// Keeps the state of the record in this row.
    pub(super) fn add(&mut self, state: &Arc<[u8]>, row: usize) -> Kept {
        let chunks = chunks(state.len());
        if chunks > MOST {
            return Kept::Shared(Arc::clone(state));
        }
        let states = self.of_size(chunks);
        let place = Place { length: short(state.len()), number: short(states.len()) };
        states.push(std::iter::repeat_n(Chunk::default(), chunks));
        let (before, after) = self.bytes_mut(place).split_at_mut(BACK);
        before.copy_from_slice(&short(row).to_ne_bytes());
        after[..state.len()].copy_from_slice(state);
        Kept::Here(place)
    }

    /// Keeps another state of the same record.
    pub(super) fn replace(&mut self, kept: &mut Kept, state: &Arc<[u8]>, row: usize) -> Option<Moved> {
        if let Kept::Here(place) = kept
            && place.chunks() == chunks(state.len())
        {
            place.length = short(state.len());
            self.bytes_mut(*place)[BACK..][..state.len()].copy_from_slice(state);
            return None;
        }
        let moved = self.remove(kept);
        *kept = self.add(state, row);
        moved
    }

    /// Takes a state away. The last one of its size moves to its place.
    pub(super) fn remove(&mut self, kept: &Kept) -> Option<Moved> {
        let Kept::Here(place) = *kept else { return None };
        let states = self.of_size(place.chunks());
        let number = place.number as usize;
        states.swap_remove(number);
        let moved = (number < states.len()).then(|| states[number].first_chunk().copied())??;
        Some(Moved { row: u32::from_ne_bytes(moved) as usize, number: place.number })
    }

    /// The state, to be handed out.
    pub(super) fn get(&self, kept: &Kept) -> Arc<[u8]> {
        match kept {
            Kept::Shared(state) => Arc::clone(state),
            Kept::Here(place) => self.bytes(*place)[BACK..][..place.length as usize].into(),
        }
    }

    /// Says that the record of this state is in this row now.
    pub(super) fn set_row(&mut self, kept: &Kept, row: usize) {
        if let Kept::Here(place) = kept {
            self.bytes_mut(*place)[..BACK].copy_from_slice(&short(row).to_ne_bytes());
        }
    }

    fn bytes(&self, place: Place) -> &[u8] {
        let states = self.0.iter().find(|states| states.group_len() == place.chunks());
        states.expect("where a state is, there are some of its size").group(place.number as usize).as_flattened()
    }

    fn bytes_mut(&mut self, place: Place) -> &mut [u8] {
        self.of_size(place.chunks()).group_mut(place.number as usize).as_flattened_mut()
    }

    /// The states of so many chunks. There are few sizes: of most applications, most states are about as long.
    fn of_size(&mut self, chunks: usize) -> &mut Pages<Chunk> {
        let place = self.0.iter().position(|states| states.group_len() == chunks).unwrap_or_else(|| {
            if self.0.len() == self.0.capacity() {
                // For the sizes to come, too: a list that moved once there is much would hold back all that was there before.
                self.0.reserve_exact(4);
            }
            self.0.push(Pages::new(short(chunks)));
            self.0.len() - 1
        });
        &mut self.0[place]
    }
}

impl Place {
    fn chunks(self) -> usize {
        chunks(self.length as usize)
    }
}

fn chunks(length: usize) -> usize {
    (BACK + length).div_ceil(size_of::<Chunk>())
}
