//! Search for a sequential order of the steps that explains the observations (linearizability).
//!
//! In such an order, each step takes effect between its start and its end.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::history::{Completion, History, Outcome, Step, Timed};
use super::model::{Mode, Model, Progress};

/// Maximum number of visited states, after which the search stops without a verdict.
const MAX_STATES: usize = 2_000_000;

/// Result of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    NotLinearizable,
    LimitReached,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    model: Model,
    /// Index of each request's next step.
    next_step: Vec<u8>,
    /// Steps that have not taken effect yet: request, step, and the model's number for the deferred copy.
    deferred: Vec<(u8, u8, usize)>,
}

pub fn check(history: &History) -> Verdict {
    let requests = &history.requests;
    let has_faults: Vec<bool> = requests.iter().map(|steps| steps.iter().any(is_faulty)).collect();
    let start = State {
        model: Model::new(requests.len(), history.tokens.len()),
        next_step: vec![0; requests.len()],
        deferred: Vec::new(),
    };
    let mut visited = HashSet::new();
    let mut unexplored = vec![start];
    while let Some(state) = unexplored.pop() {
        // The next step of each request, and the earliest end among them: no step that starts later may precede it.
        let next = |request: usize| requests[request].get(usize::from(state.next_step[request]));
        let Some(earliest_end) = (0..requests.len()).filter_map(|request| Some(next(request)?.ended)).min() else {
            return Verdict::Linearizable;
        };
        if visited.len() > MAX_STATES {
            return Verdict::LimitReached;
        }
        let mut push = |state: State| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            if visited.insert(hasher.finish()) {
                unexplored.push(state);
            }
        };
        for (index, (request, step, number)) in state.deferred.iter().enumerate() {
            let timed = &requests[usize::from(*request)][usize::from(*step)];
            let mut after = state.clone();
            match after.model.apply_deferred(*number, secret(*request, *step), &timed.step) {
                Some(Progress::Complete) => {
                    after.deferred.remove(index);
                    push(after);
                }
                Some(Progress::Partial) => push(after),
                None => {}
            }
        }
        for (request, is_faulty) in has_faults.iter().enumerate() {
            let Some(timed) = next(request).filter(|timed| timed.started < earliest_end) else { continue };
            let step = state.next_step[request];
            let request_number = u8::try_from(request).unwrap();
            if may_be_deferred(timed) {
                let mut after = state.clone();
                if let Some(number) = after.model.defer(request, timed) {
                    after.next_step[request] += 1;
                    after.deferred.push((request_number, step, number));
                    push(after);
                }
            }
            if is_unknown(timed) {
                continue;
            }
            let before = usize::from(step).checked_sub(1).map(|previous| &requests[request][previous]);
            for mode in modes(timed, before) {
                let mut after = state.clone();
                match after.model.apply(request, secret(request_number, step), timed, *is_faulty, *mode) {
                    Some(Progress::Complete) => {
                        after.next_step[request] += 1;
                        push(after);
                    }
                    Some(Progress::Partial) => push(after),
                    None => {}
                }
            }
        }
        // After a lost reply, a commit may continue from the record as it is now.
        for (request, steps) in requests.iter().enumerate() {
            let step = usize::from(state.next_step[request]);
            if (1..steps.len()).contains(&step) && steps[step - 1].faults > 0 {
                let mut after = state.clone();
                if after.model.reload_after_lost_reply(request) {
                    push(after);
                }
            }
        }
    }
    Verdict::NotLinearizable
}

/// Returns whether no client received the step's outcome.
fn is_unknown(timed: &Timed) -> bool {
    match &timed.step {
        Step::Commit { outcome, .. } | Step::Respond { outcome, .. } => {
            *outcome == Outcome::Unknown || timed.ended == usize::MAX
        }
        _ => timed.ended == usize::MAX,
    }
}

/// Returns the modes in which the model may apply a step, which depend on the step before it.
fn modes(timed: &Timed, before: Option<&Timed>) -> &'static [Mode] {
    match &timed.step {
        Step::Dropped { completion: Completion::SessionEndOnly, .. } => &[Mode::SessionEndOnly],
        Step::Dropped { completion: Completion::SessionEndOrFull, .. } => &[Mode::Full, Mode::SessionEndOnly],
        // The commit before was still in progress, so this one may not have started.
        Step::Dropped { completion: Completion::Full, .. }
            if before.is_some_and(|before| matches!(before.step, Step::Dropped { .. })) =>
        {
            &[Mode::Full, Mode::WithNext]
        }
        _ => &[Mode::Full],
    }
}

/// Returns whether a step may take effect later or never: its outcome is unknown, or it is a refresh, a promotion or a
/// dropped commit, and [the model allows it](Model::defer).
fn may_be_deferred(timed: &Timed) -> bool {
    let is_upkeep = matches!(&timed.step, Step::Respond { operations, commits, outcome: Outcome::Done, .. }
        if operations.is_empty() || !commits);
    let is_given_up = matches!(timed.step, Step::Dropped { .. });
    is_unknown(timed) || is_given_up || (is_upkeep && timed.faults > 0)
}

fn is_faulty(timed: &Timed) -> bool {
    timed.faults > 0 || is_unknown(timed)
}

/// Returns the name of the secret that a step issues.
fn secret(request: u8, step: u8) -> u16 {
    u16::from(request) << 8 | u16::from(step)
}
