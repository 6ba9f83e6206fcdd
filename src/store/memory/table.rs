//! Rows that are found by a hash.

use std::ops::{Index, IndexMut};

use super::pages::Pages;
use super::shard::Entry;
use super::short;

/// A hash table that has one list for each row, and whose lists are chains through the rows: row and list of a number come
/// and go together.
///
/// By linear hashing: the lowest bits of a hash, as many as number all lists, say which list it belongs to; where there is
/// no such list yet, the lists that one bit fewer numbers do. So a list more or less changes one other, and no operation
/// has to move all.
#[derive(Default)]
pub(super) struct Table(Pages<Entry>);

/// What a row keeps for the table.
pub(super) struct Links {
    hash: u32,
    /// The next row of the list that this row is in.
    next: u32,
    /// The first row of the list that has this row's number: not of the list that this row is in.
    first: u32,
}

/// No row.
const NONE: u32 = u32::MAX;

impl Links {
    pub(super) const fn new(hash: u32) -> Self {
        Self { hash, next: NONE, first: NONE }
    }
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The row with this hash for which that holds.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(&Entry) -> bool) -> Option<usize> {
        let mut row = if self.len() == 0 { NONE } else { self.links(list_of(hash, self.len())).first };
        while row != NONE {
            let entry = &self.0[row as usize];
            if entry.links.hash == hash && is_it(entry) {
                return Some(row as usize);
            }
            row = entry.links.next;
        }
        None
    }

    /// Adds a row at the end.
    pub(super) fn push(&mut self, entry: Entry) {
        let row = self.len();
        self.0.push([entry]);
        if let Some(bit) = row.checked_ilog2() {
            self.deal_out(row ^ (1 << bit), row + 1);
        }
        self.link(row, row + 1);
    }

    /// Removes a row, and puts the last one in its place.
    pub(super) fn swap_remove(&mut self, row: usize) -> Option<Entry> {
        let last = self.len().checked_sub(1)?;
        self.redirect(row, self.links(row).next, self.len());
        // The last list goes before the last row moves, which may be in it; what leads to that row is then led to where it will be.
        if last > 0 {
            self.deal_out(last, last);
        }
        if row < last {
            self.redirect(last, short(row), last);
        }
        let first = self.links(row).first;
        let removed = self.0.swap_remove(row);
        if row < last {
            self.links_mut(row).first = first;
        }
        removed
    }

    /// Puts a row, which is in no list, into its list of so many.
    fn link(&mut self, row: usize, lists: usize) {
        let list = list_of(self.links(row).hash, lists);
        self.links_mut(row).next = std::mem::replace(&mut self.links_mut(list).first, short(row));
    }

    /// Empties a list, and puts each of its rows into the list of so many that is its own now.
    fn deal_out(&mut self, list: usize, lists: usize) {
        let mut row = std::mem::replace(&mut self.links_mut(list).first, NONE);
        while row != NONE {
            let next = self.links(row as usize).next;
            self.link(row as usize, lists);
            row = next;
        }
    }

    /// Has what leads to a row, in its list of so many, lead to another.
    fn redirect(&mut self, row: usize, to: u32, lists: usize) {
        let list = list_of(self.links(row).hash, lists);
        let from = short(row);
        if self.links(list).first == from {
            self.links_mut(list).first = to;
            return;
        }
        let mut before = self.links(list).first as usize;
        while self.links(before).next != from {
            before = self.links(before).next as usize;
        }
        self.links_mut(before).next = to;
    }

    fn links(&self, row: usize) -> &Links {
        &self.0[row].links
    }

    fn links_mut(&mut self, row: usize) -> &mut Links {
        &mut self.0[row].links
    }
}

fn list_of(hash: u32, lists: usize) -> usize {
    let mask = lists.next_power_of_two() - 1;
    let list = hash as usize & mask;
    if list < lists { list } else { list & (mask >> 1) }
}

impl Index<usize> for Table {
    type Output = Entry;

    fn index(&self, row: usize) -> &Entry {
        &self.0[row]
    }
}

impl IndexMut<usize> for Table {
    fn index_mut(&mut self, row: usize) -> &mut Entry {
        &mut self.0[row]
    }
}
