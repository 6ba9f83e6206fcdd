//! A sequence whose memory comes and goes in pages.

use std::ops::{Index, IndexMut};

use smallvec::SmallVec;

/// How much memory the first pages take. The larger a sequence is, the larger are the pages that it goes on with.
const PAGE: usize = 256;

/// After two to this power of pages, pages are twice as large: none is more than a quarter of what was there before.
const STEP: u32 = 2;

/// How many times the size of pages doubles, to 32 KB of most. All shards grow at one pace, so all of them add a page at about
/// the same time, and free these pages at one time too, in whatever order: together, they may not be much.
const DOUBLINGS: u32 = 7;

/// A list of pages that has grown out of memory for so many of them keeps it, to shrink into.
const KEPT: usize = 16;

/// A sequence that grows and shrinks at its end. What is there stays where it is, and what is no longer used is given back.
///
/// Millions of small pieces that are freed in no order are what an allocator has to sort, in one of the requests that come
/// next. And some give memory back to the system from its end alone, so that one piece there can hold back all before it,
/// until the request that frees it pays for all. Pages are few, and those of a sequence are freed in the reverse of the order
/// in which they were allocated; so is the memory of the list of them.
///
/// Items come in groups of so many, which lie side by side.
pub(super) struct Pages<T> {
    /// All are full, but for the last or the one before it; then, the last one is empty.
    pages: Vec<Vec<T>>,
    /// Empty lists of pages, the memory of which has become too small.
    outgrown: SmallVec<[Vec<Vec<T>>; 3]>,
    /// How many groups there are.
    len: usize,
    /// How many items each has.
    items: u32,
    /// The first pages have two to this power of groups.
    power: u32,
}

/// Where a group is.
struct Place {
    page: usize,
    /// The number of its first item, in the page.
    item: usize,
    /// How many groups the page has when it is full.
    full: usize,
}

impl<T> Pages<T> {
    /// Empty, of groups of this size.
    pub(super) fn new(items: u32) -> Self {
        let groups = PAGE / size_of::<T>() / items as usize;
        let power = if groups > 1 { groups.ilog2() } else { 0 };
        Self { pages: Vec::new(), outgrown: SmallVec::new(), len: 0, items, power }
    }

    /// How many items a group has.
    pub(super) const fn group_len(&self) -> usize {
        self.items as usize
    }

    /// How many groups there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a group.
    pub(super) fn push(&mut self, group: impl IntoIterator<Item = T>) {
        let place = self.place(self.len);
        if place.page == self.pages.len() {
            if self.pages.len() == self.pages.capacity() {
                self.enlarge_list();
            }
            self.pages.push(Vec::with_capacity(place.full * self.group_len()));
        }
        self.pages[place.page].extend(group);
        self.len += 1;
    }

    /// Takes a group away and puts the last one in its place. Returns the first item of what was taken away.
    pub(super) fn swap_remove(&mut self, number: usize) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let place = self.place(last);
        let mut removed = None;
        for item in (0..self.group_len()).rev() {
            let end = self.pages[place.page].pop()?;
            removed =
                Some(if number == last { end } else { std::mem::replace(&mut self.group_mut(number)[item], end) });
        }
        self.len = last;
        self.give_back(&place);
        removed
    }

    /// How many items there is room for.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.pages.iter().map(Vec::capacity).sum()
    }

    /// Where the list of pages is, and for how many of them.
    #[cfg(test)]
    pub(super) fn list(&self) -> (*const Vec<T>, usize) {
        (self.pages.as_ptr(), self.pages.capacity())
    }

    pub(super) fn group(&self, number: usize) -> &[T] {
        let place = self.place(number);
        &self.pages[place.page][place.item..][..self.group_len()]
    }

    pub(super) fn group_mut(&mut self, number: usize) -> &mut [T] {
        let (place, len) = (self.place(number), self.group_len());
        &mut self.pages[place.page][place.item..][..len]
    }

    fn place(&self, number: usize) -> Place {
        // In the size of the first pages, and counted so that pages of twice the size begin at each power of two.
        let unit = (number >> self.power) + (1 << STEP);
        let doublings = (unit.ilog2() - STEP).min(DOUBLINGS);
        let page = unit >> doublings;
        let begin = ((page << doublings) - (1 << STEP)) << self.power;
        Place {
            page: ((doublings as usize) << STEP) + page - (1 << STEP),
            item: (number - begin) * self.group_len(),
            full: 1 << (self.power + doublings),
        }
    }

    /// Seldom: moves the list of pages to behind all that is there by then.
    fn enlarge_list(&mut self) {
        let larger = Vec::with_capacity((4 * self.pages.len()).max(1));
        let mut outgrown = std::mem::replace(&mut self.pages, larger);
        self.pages.append(&mut outgrown);
        if outgrown.capacity() >= KEPT {
            self.outgrown.push(outgrown);
        }
    }

    /// Frees the page after this one, which was just removed from; but not yet where a few that come would fill this one.
    fn give_back(&mut self, removed: &Place) {
        let used = removed.item / self.group_len();
        if used + removed.full / 16 < removed.full {
            self.pages.truncate(removed.page + 1);
            self.reduce_list();
        }
        if self.len == 0 {
            self.pages = Vec::new();
        }
    }

    /// Moves the list of pages back to where it was when it was as short. Where it is now, it would hold back all that was
    /// there before.
    fn reduce_list(&mut self) {
        if self.outgrown.last().is_some_and(|outgrown| self.pages.len() <= outgrown.capacity())
            && let Some(mut smaller) = self.outgrown.pop()
        {
            smaller.append(&mut self.pages);
            self.pages = smaller;
        }
    }
}

/// The first item of a group: all of it, where groups have one.
impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, number: usize) -> &T {
        let place = self.place(number);
        &self.pages[place.page][place.item]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        let place = self.place(number);
        &mut self.pages[place.page][place.item]
    }
}

/// Groups of one.
impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::new(1)
    }
}
