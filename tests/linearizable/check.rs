//! Whether there is an order of the steps, one at a time and none before its begin or after its end, that explains what was
//! observed.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::history::{Carried, History, Outcome, Step, Timed};
use super::model::{Taken, Way, World};

/// How many states are looked at before a history counts as too hard to judge.
const MOST_STATES: usize = 2_000_000;

/// What the search has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Explained,
    Impossible,
    TooHard,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    world: World,
    /// How far each request is.
    at: Vec<u8>,
    /// The steps that were left behind and have not taken effect: request, step, and the number under which they go on.
    left: Vec<(u8, u8, usize)>,
}

pub fn judge(history: &History) -> Verdict {
    let requests = &history.requests;
    let faulty: Vec<bool> = requests.iter().map(|steps| steps.iter().any(is_faulty)).collect();
    let start = State {
        world: World::new(requests.len(), history.tokens.len()),
        at: vec![0; requests.len()],
        left: Vec::new(),
    };
    let mut seen = HashSet::new();
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        // What comes next in each request, and by when something must have.
        let next = |request: usize| requests[request].get(usize::from(state.at[request]));
        let Some(deadline) = (0..requests.len()).filter_map(|request| Some(next(request)?.ended)).min() else {
            return Verdict::Explained;
        };
        if seen.len() > MOST_STATES {
            return Verdict::TooHard;
        }
        let mut push = |state: State| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                open.push(state);
            }
        };
        for (place, (request, step, number)) in state.left.iter().enumerate() {
            let timed = &requests[usize::from(*request)][usize::from(*step)];
            let mut after = state.clone();
            match after.world.take_left(*number, secret(*request, *step), &timed.step) {
                Some(Taken::Whole) => {
                    after.left.remove(place);
                    push(after);
                }
                Some(Taken::Half) => push(after),
                None => {}
            }
        }
        for (request, is_faulty) in faulty.iter().enumerate() {
            let Some(timed) = next(request).filter(|timed| timed.begun < deadline) else { continue };
            let step = state.at[request];
            let short = u8::try_from(request).unwrap();
            if may_be_left(timed) {
                let mut after = state.clone();
                if let Some(number) = after.world.leave(request, timed) {
                    after.at[request] += 1;
                    after.left.push((short, step, number));
                    push(after);
                }
            }
            if is_unknown(timed) {
                continue;
            }
            let before = usize::from(step).checked_sub(1).map(|before| &requests[request][before]);
            for way in ways(timed, before) {
                let mut after = state.clone();
                match after.world.take(request, secret(short, step), timed, *is_faulty, *way) {
                    Some(Taken::Whole) => {
                        after.at[request] += 1;
                        push(after);
                    }
                    Some(Taken::Half) => push(after),
                    None => {}
                }
            }
        }
        // A commit whose answer was lost goes on from what it finds when it looks.
        for (request, steps) in requests.iter().enumerate() {
            let step = usize::from(state.at[request]);
            if (1..steps.len()).contains(&step) && steps[step - 1].faults > 0 {
                let mut after = state.clone();
                if after.world.look_again(request) {
                    push(after);
                }
            }
        }
    }
    Verdict::Impossible
}

/// Whether nobody was told what came of it.
fn is_unknown(timed: &Timed) -> bool {
    match &timed.step {
        Step::Commit { outcome, .. } | Step::Respond { outcome, .. } => {
            *outcome == Outcome::Unknown || timed.ended == usize::MAX
        }
        _ => timed.ended == usize::MAX,
    }
}

/// How a step may be done, by the step before it.
fn ways(timed: &Timed, before: Option<&Timed>) -> &'static [Way] {
    match &timed.step {
        Step::GivenUp { carried: Carried::ToTheEndOfASession, .. } => &[Way::EndOnly],
        Step::GivenUp { carried: Carried::OrWhole, .. } => &[Way::Whole, Way::EndOnly],
        // While the one before was on its way, this did not set out.
        Step::GivenUp { carried: Carried::Whole, .. }
            if before.is_some_and(|before| matches!(before.step, Step::GivenUp { .. })) =>
        {
            &[Way::Whole, Way::WithTheNext]
        }
        _ => &[Way::Whole],
    }
}

/// Whether what it does may come later, or never: also what is due of itself, of which a response does not tell, and what was
/// given up, if [the model lets it](World::leave).
fn may_be_left(timed: &Timed) -> bool {
    let is_upkeep = matches!(&timed.step, Step::Respond { acts, kept, outcome: Outcome::Done, .. }
        if acts.is_empty() || !kept);
    let is_given_up = matches!(timed.step, Step::GivenUp { .. });
    is_unknown(timed) || is_given_up || (is_upkeep && timed.faults > 0)
}

fn is_faulty(timed: &Timed) -> bool {
    timed.faults > 0 || is_unknown(timed)
}

/// What a step's secret is called.
fn secret(request: u8, step: u8) -> u16 {
    u16::from(request) << 8 | u16::from(step)
}
