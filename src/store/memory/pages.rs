//! A sequence whose memory comes and goes in pages.

use std::ops::{Index, IndexMut};

/// How much memory the first pages take. The larger a sequence is, the larger are the pages that it goes on with.
const PAGE: usize = 256;

/// How much memory a page takes at most. All shards grow at one pace, so all of them add a page at about the same time, and
/// free these pages at one time too, in whatever order: together, they may not be much.
const LARGEST: usize = 32 * 1024;

/// After two to this power of pages, pages are twice as large: none is more than a quarter of what was there before.
const STEP: u32 = 2;

/// How many lists of pages there are.
const LISTS: usize = 5;

/// A sequence that grows and shrinks at its end. What is there stays where it is, and what is no longer used is given back.
///
/// Millions of small pieces that are freed in no order are what an allocator has to sort, in one of the requests that come
/// next. And some give memory back to the system from its end alone, so that one piece there can hold back all before it,
/// until the request that frees it pays for all. Pages are few, and those of a sequence are freed in the reverse of the order
/// in which they were allocated; so are the lists of them, each of which is freed with its first page.
///
/// Items come in groups of so many, which lie side by side.
pub(super) struct Pages<T> {
    /// The first list is of 16 pages, the next of 48, and so on: three times as many as there were before. The last is of all
    /// others.
    ///
    /// All pages are full, but for the last or the one before it; then, the last one is empty.
    lists: [Vec<Vec<T>>; LISTS],
    /// How many groups there are.
    len: usize,
    /// How many items each has.
    items: u32,
    /// The first pages have two to this power of groups.
    power: u32,
    /// How many times their size doubles.
    doublings: u32,
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
    pub(super) const fn new(items: u32) -> Self {
        let group = size_of::<T>() * items as usize;
        let (power, most) = (power_of_two(PAGE / group), power_of_two(LARGEST / group));
        Self { lists: [const { Vec::new() }; LISTS], len: 0, items, power, doublings: most - power }
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
        if place.item == 0 {
            self.add_page(&place);
        }
        self.page_mut(place.page).extend(group);
        self.len += 1;
    }

    /// Takes a group away and puts the last one in its place. Returns the first item of what was taken away.
    pub(super) fn swap_remove(&mut self, number: usize) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let place = self.place(last);
        let mut removed = None;
        for item in (0..self.group_len()).rev() {
            let end = self.page_mut(place.page).pop()?;
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
        self.lists.iter().flatten().map(Vec::capacity).sum()
    }

    pub(super) fn group(&self, number: usize) -> &[T] {
        let place = self.place(number);
        &self.page(place.page)[place.item..][..self.group_len()]
    }

    pub(super) fn group_mut(&mut self, number: usize) -> &mut [T] {
        let (place, len) = (self.place(number), self.group_len());
        &mut self.page_mut(place.page)[place.item..][..len]
    }

    fn place(&self, number: usize) -> Place {
        // In the size of the first pages, and counted so that pages of twice the size begin at each power of two.
        let unit = (number >> self.power) + (1 << STEP);
        let doublings = (unit.ilog2() - STEP).min(self.doublings);
        let page = unit >> doublings;
        let begin = ((page << doublings) - (1 << STEP)) << self.power;
        Place {
            page: ((doublings as usize) << STEP) + page - (1 << STEP),
            item: (number - begin) * self.group_len(),
            full: 1 << (self.power + doublings),
        }
    }

    fn page(&self, number: usize) -> &Vec<T> {
        let (list, page) = listed(number);
        &self.lists[list][page]
    }

    fn page_mut(&mut self, number: usize) -> &mut Vec<T> {
        let (list, page) = listed(number);
        &mut self.lists[list][page]
    }

    /// Adds a page, unless it is still there.
    fn add_page(&mut self, place: &Place) {
        let (list, page) = listed(place.page);
        let pages = &mut self.lists[list];
        if page < pages.len() {
            return;
        }
        if pages.len() == pages.capacity() {
            // The first list, which is small, may move. If a large one did, it would lie behind all that is there by then.
            let more = if list == 0 { (3 * page).max(1) } else { 3 * first_of(list) };
            pages.reserve_exact(more);
        }
        pages.push(Vec::with_capacity(place.full * self.items as usize));
    }

    /// Frees the page after this one, which was just removed from; but not yet where a few that come would fill this one.
    fn give_back(&mut self, removed: &Place) {
        let used = removed.item / self.group_len();
        if used + removed.full / 16 < removed.full {
            let (list, page) = listed(removed.page + 1);
            self.lists[list].truncate(page);
            if page == 0 {
                self.lists[list] = Vec::new();
            }
        }
        if self.len == 0 {
            self.lists[0] = Vec::new();
        }
    }
}

/// The first item of a group: all of it, where groups have one.
impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, number: usize) -> &T {
        let place = self.place(number);
        &self.page(place.page)[place.item]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        let place = self.place(number);
        &mut self.page_mut(place.page)[place.item]
    }
}

/// Groups of one.
impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::new(1)
    }
}

/// In which list a page is, and its place there.
const fn listed(page: usize) -> (usize, usize) {
    let list = (page | 15).ilog2() as usize / 2 - 1;
    let list = if list < LISTS { list } else { LISTS - 1 };
    (list, page - first_of(list))
}

/// The first page of a list.
const fn first_of(list: usize) -> usize {
    if list == 0 { 0 } else { 4 << (2 * list) }
}

const fn power_of_two(number: usize) -> u32 {
    if number > 1 { number.ilog2() } else { 0 }
}
