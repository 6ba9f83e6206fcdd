//! What a store is to do, one operation at a time, and whether an order of the operations explains what was observed.

use std::collections::HashSet;

/// Ids are numbers here.
pub const IDS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub version: u64,
    pub owner: Option<u8>,
    /// Seconds of the test's clock.
    pub expires: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Get(usize, Option<Row>),
    Set {
        id: usize,
        expected: Option<u64>,
        row: Row,
        written: Written,
    },
    Touch {
        id: usize,
        version: u64,
        expires: u64,
        touched: bool,
    },
    Delete(usize, bool),
    /// What was found of each id. It is no picture of one moment: each answers for itself.
    OwnedBy(u8, [Option<Row>; IDS]),
    DeleteExpired,
    Advance(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Yes,
    Refused,
    /// The store was full.
    Full,
}

#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub op: Op,
    pub begun: usize,
    pub ended: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    now: u64,
    rows: [Option<Row>; IDS],
    /// How far each thread is.
    at: Vec<usize>,
    /// Which ids the operation of each thread has answered for, and whether it has made room.
    answered: Vec<[bool; IDS]>,
    made_room: Vec<bool>,
}

impl State {
    fn live(&self, id: usize) -> Option<Row> {
        self.rows[id].filter(|row| self.now < row.expires)
    }

    fn next(mut self, thread: usize) -> Self {
        self.at[thread] += 1;
        self.answered[thread] = [false; IDS];
        self.made_room[thread] = false;
        self
    }
}

/// Whether some order explains it: each operation at one moment between its begin and its end. `bounded` is a store that may
/// be full: then an operation that adds a record may end one session that nobody has signed in to.
pub fn is_explained(threads: &[Vec<Timed>], bounded: bool) -> bool {
    let count = threads.len();
    let start = State {
        now: 0,
        rows: [None; IDS],
        at: vec![0; count],
        answered: vec![[false; IDS]; count],
        made_room: vec![false; count],
    };
    let mut seen = HashSet::new();
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        let next = |thread: usize| threads[thread].get(state.at[thread]);
        let Some(deadline) = (0..count).filter_map(|thread| Some(next(thread)?.ended)).min() else { return true };
        if !seen.insert(state.clone()) {
            continue;
        }
        for thread in 0..count {
            let Some(timed) = next(thread).filter(|timed| timed.begun < deadline) else { continue };
            after(&state, thread, timed, (threads, bounded), &mut open);
        }
    }
    false
}

/// The states that the operation, taking effect now, can lead to.
fn after(
    state: &State,
    thread: usize,
    timed: &Timed,
    (threads, bounded): (&[Vec<Timed>], bool),
    open: &mut Vec<State>,
) {
    let mut changed = state.clone();
    let agrees = match timed.op {
        Op::Get(id, found) => found == state.live(id),
        Op::Set { id, expected, row, written } => {
            if bounded && expected.is_none() && !state.made_room[thread] {
                for id in 0..IDS {
                    if state.rows[id].is_some_and(|row| row.owner.is_none()) {
                        let mut evicted = state.clone();
                        evicted.rows[id] = None;
                        evicted.made_room[thread] = true;
                        open.push(evicted);
                    }
                }
            }
            let matches = state.live(id).map(|row| row.version) == expected;
            match written {
                Written::Yes if matches => {
                    changed.rows[id] = Some(row);
                    true
                }
                Written::Yes => false,
                Written::Refused => !matches,
                Written::Full => bounded && expected.is_none(),
            }
        }
        Op::Touch { id, version, expires, touched } => {
            let matches = state.live(id).is_some_and(|row| row.version == version);
            if let Some(row) = changed.rows[id].as_mut().filter(|_| matches) {
                row.expires = row.expires.max(expires);
            }
            touched == matches
        }
        Op::Delete(id, deleted) => {
            changed.rows[id] = None;
            deleted == state.live(id).is_some()
        }
        Op::OwnedBy(owner, found) => {
            for id in 0..IDS {
                let live = state.live(id).filter(|row| row.owner == Some(owner));
                let agrees = found[id] == live || (found[id].is_none() && may_be_missed(id, timed, threads));
                if !state.answered[thread][id] && agrees {
                    let mut answered = state.clone();
                    answered.answered[thread][id] = true;
                    let all = answered.answered[thread].iter().all(|answered| *answered);
                    open.push(if all { answered.next(thread) } else { answered });
                }
            }
            return;
        }
        // How many there were is not observed: others free them in passing.
        Op::DeleteExpired => true,
        Op::Advance(by) => {
            changed.now += by;
            true
        }
    };
    if agrees {
        open.push(changed.next(thread));
    }
}

/// Whether an owner's list may be without this id: a write of it is under way, while which time passes. It looks at the clock
/// before it adds to the list, so that what it replaces may have expired between the two.
fn may_be_missed(id: usize, list: &Timed, threads: &[Vec<Timed>]) -> bool {
    let overlap = |one: &Timed, other: &Timed| one.begun < other.ended && other.begun < one.ended;
    let mut writes = threads
        .iter()
        .flatten()
        .filter(|timed| matches!(timed.op, Op::Set { id: written, .. } if written == id) && overlap(timed, list));
    let passes = |timed: &Timed| matches!(timed.op, Op::Advance(by) if by > 0);
    writes.any(|write| threads.iter().flatten().any(|timed| passes(timed) && overlap(timed, write)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_refuses_a_read_of_what_was_deleted_before() {
        let row = Row { version: 1, owner: None, expires: 100 };
        let set = Op::Set { id: 0, expected: None, row, written: Written::Yes };
        let one = |op, begun| Timed { op, begun, ended: begun + 1 };
        let history = |second, third| vec![vec![one(set, 0), one(second, 2), one(third, 4)]];
        assert!(is_explained(&history(Op::Get(0, Some(row)), Op::Delete(0, true)), false));
        assert!(!is_explained(&history(Op::Delete(0, true), Op::Get(0, Some(row))), false));
        assert!(!is_explained(&history(Op::Advance(100), Op::Get(0, Some(row))), false));
    }
}
