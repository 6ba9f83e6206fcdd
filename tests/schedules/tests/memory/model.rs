//! A sequential model of a store, and the check whether a concurrent history fits it (linearizability).

use std::collections::HashSet;

/// Number of ids. The model knows an id by its index.
pub const IDS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub version: u64,
    pub owner: Option<u8>,
    /// Expiry time in seconds of the test's clock.
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
    /// The record found for each id. The store answers for one id at a time, so the list is no snapshot.
    OwnedBy(u8, [Option<Row>; IDS]),
    DeleteExpired,
    Advance(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Yes,
    Refused,
    /// Refused because the store was full.
    Full,
}

#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub op: Op,
    pub begun: usize,
    pub ended: usize,
}

/// A state of the model store, and each thread's progress.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SearchNode {
    now: u64,
    rows: [Option<Row>; IDS],
    /// Number of operations that each thread has completed.
    at: Vec<usize>,
    /// The ids for which each thread's list has been answered.
    answered: Vec<[bool; IDS]>,
    /// Whether each thread's creation has evicted a session.
    made_room: Vec<bool>,
}

impl SearchNode {
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

/// Checks whether some order explains the history, each operation at one moment between its begin and its end.
///
/// A `bounded` store may be full: an operation that adds a record may then evict one session without an owner.
pub fn is_explained(threads: &[Vec<Timed>], bounded: bool) -> bool {
    let count = threads.len();
    let start = SearchNode {
        now: 0,
        rows: [None; IDS],
        at: vec![0; count],
        answered: vec![[false; IDS]; count],
        made_room: vec![false; count],
    };
    let mut seen = HashSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        let next = |thread: usize| threads[thread].get(node.at[thread]);
        let Some(deadline) = (0..count).filter_map(|thread| Some(next(thread)?.ended)).min() else { return true };
        if !seen.insert(node.clone()) {
            continue;
        }
        for thread in 0..count {
            let Some(timed) = next(thread).filter(|timed| timed.begun < deadline) else { continue };
            expand(&node, thread, timed.op, bounded, &mut open);
        }
    }
    false
}

/// Adds the nodes that follow if the thread's operation takes effect now.
fn expand(node: &SearchNode, thread: usize, op: Op, bounded: bool, open: &mut Vec<SearchNode>) {
    let mut changed = node.clone();
    let agrees = match op {
        Op::Get(id, found) => found == node.live(id),
        Op::Set { id, expected, row, written } => {
            if bounded && expected.is_none() && !node.made_room[thread] {
                for id in 0..IDS {
                    if node.rows[id].is_some_and(|row| row.owner.is_none()) {
                        let mut evicted = node.clone();
                        evicted.rows[id] = None;
                        evicted.made_room[thread] = true;
                        open.push(evicted);
                    }
                }
            }
            let matches = node.live(id).map(|row| row.version) == expected;
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
            let matches = node.live(id).is_some_and(|row| row.version == version);
            if let Some(row) = changed.rows[id].as_mut().filter(|_| matches) {
                row.expires = row.expires.max(expires);
            }
            touched == matches
        }
        Op::Delete(id, deleted) => {
            changed.rows[id] = None;
            deleted == node.live(id).is_some()
        }
        Op::OwnedBy(owner, found) => {
            for id in 0..IDS {
                let live = node.live(id).filter(|row| row.owner == Some(owner));
                if !node.answered[thread][id] && found[id] == live {
                    let mut answered = node.clone();
                    answered.answered[thread][id] = true;
                    let all = answered.answered[thread].iter().all(|answered| *answered);
                    open.push(if all { answered.next(thread) } else { answered });
                }
            }
            return;
        }
        // The number deleted is not compared: other operations free expired records in passing.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts a read before a delete, and refuses a read of a deleted or an expired record.
    #[test]
    fn the_model_refuses_a_read_of_a_deleted_record() {
        let row = Row { version: 1, owner: None, expires: 100 };
        let set = Op::Set { id: 0, expected: None, row, written: Written::Yes };
        let one = |op, begun| Timed { op, begun, ended: begun + 1 };
        let history = |second, third| vec![vec![one(set, 0), one(second, 2), one(third, 4)]];
        assert!(is_explained(&history(Op::Get(0, Some(row)), Op::Delete(0, true)), false));
        assert!(!is_explained(&history(Op::Delete(0, true), Op::Get(0, Some(row))), false));
        assert!(!is_explained(&history(Op::Advance(100), Op::Get(0, Some(row))), false));
    }
}
