//! Which records expire first.

use super::pages::Pages;
use super::short;
use crate::clock::Timestamp;

/// Each place has so many below it. More than two: fewer levels, and all that are compared lie side by side.
const BELOW: usize = 4;

/// A heap of the times from which records may have expired: never later than they do. The first is the soonest.
///
/// Each record knows its place, so that it can be taken out or moved: who changes the queue is told of each place that
/// changes, as a row and its new place.
#[derive(Default)]
pub(super) struct Queue(Pages<Item>);

#[derive(Clone, Copy)]
struct Item {
    at: Timestamp,
    row: u32,
}

impl Queue {
    pub(super) fn first(&self) -> Option<(Timestamp, usize)> {
        (self.0.len() > 0).then(|| (self.0[0].at, self.row(0)))
    }

    /// The time at a place.
    pub(super) fn at(&self, place: usize) -> Timestamp {
        self.0[place].at
    }

    pub(super) fn push(&mut self, at: Timestamp, row: usize, moved: impl FnMut(usize, usize)) {
        self.0.push([Item { at, row: short(row) }]);
        self.settle(self.0.len() - 1, moved);
    }

    pub(super) fn remove(&mut self, place: usize, moved: impl FnMut(usize, usize)) {
        self.0.swap_remove(place);
        if place < self.0.len() {
            self.settle(place, moved);
        }
    }

    pub(super) fn set_time(&mut self, place: usize, at: Timestamp, moved: impl FnMut(usize, usize)) {
        self.0[place].at = at;
        self.settle(place, moved);
    }

    /// Says that the record at this place is in another row now.
    pub(super) fn set_row(&mut self, place: usize, row: usize) {
        self.0[place].row = short(row);
    }

    /// Moves what is at a place up or down to where it belongs.
    fn settle(&mut self, mut place: usize, mut moved: impl FnMut(usize, usize)) {
        while place > 0 && self.at(place) < self.at((place - 1) / BELOW) {
            let above = (place - 1) / BELOW;
            self.swap(place, above);
            moved(self.row(place), place);
            place = above;
        }
        while let Some(below) = self.soonest_below(place)
            && self.at(below) < self.at(place)
        {
            self.swap(place, below);
            moved(self.row(place), place);
            place = below;
        }
        moved(self.row(place), place);
    }

    fn soonest_below(&self, place: usize) -> Option<usize> {
        let first = place * BELOW + 1;
        (first..(first + BELOW).min(self.0.len())).min_by_key(|below| self.at(*below))
    }

    fn swap(&mut self, one: usize, other: usize) {
        let (a, b) = (self.0[one], self.0[other]);
        (self.0[one], self.0[other]) = (b, a);
    }

    fn row(&self, place: usize) -> usize {
        self.0[place].row as usize
    }
}
