//! One session of the model, and the status of its tokens.

use super::history::{Data, Operation};

/// Seconds for which a retired secret is kept.
const GRACE: u32 = 30;
/// Seconds for which the mark of an ended session stays.
const MARK: u32 = 60;

/// A secret, named by the step that issued it.
pub type Secret = u16;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    /// The time of its end.
    pub ended: Option<u32>,
    pub owner: Option<u8>,
    pub epoch: u8,
    /// Number of explicit rotations, sign-ins included.
    pub rotations: u8,
    pub sign_ins: u8,
    /// Secrets of the commits that signed in.
    pub signed_in_by: Vec<Secret>,
    pub data: Data,
    pub current: Secret,
    /// Secrets of concurrent sign-ins of one owner, with their times of issue.
    pub pending: Vec<(Secret, u32)>,
    pub retired: Vec<(Secret, u32, RetiredBy)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetiredBy {
    Rotation,
    /// A sign-in of the same owner joins the session.
    SignIn,
    /// Another of several concurrent sign-ins.
    Sibling,
}

/// Status of a secret in a session, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenStatus {
    Current,
    Pending,
    Replaced,
    Retired,
    Unknown,
}

/// A session as a request loaded it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveSession {
    pub session: usize,
    pub owner: Option<u8>,
    pub epoch: u8,
    pub rotations: u8,
    pub sign_ins: u8,
    pub token_status: TokenStatus,
    pub secret: Secret,
    pub from_client_token: bool,
}

impl Session {
    pub fn live(
        &self,
        session: usize,
        secret: Secret,
        token_status: TokenStatus,
        from_client_token: bool,
    ) -> LiveSession {
        let Self { owner, epoch, rotations, sign_ins, .. } = *self;
        LiveSession { session, owner, epoch, rotations, sign_ins, token_status, secret, from_client_token }
    }

    pub fn token_status(&self, secret: Secret, now: u32) -> TokenStatus {
        if self.current == secret {
            return TokenStatus::Current;
        }
        if self.pending.iter().any(|(pending, _)| *pending == secret) {
            return TokenStatus::Pending;
        }
        let retired =
            self.retired.iter().filter(|(retired, at, _)| *retired == secret && now.saturating_sub(*at) < GRACE);
        let token_status = retired.map(|(_, _, by)| match by {
            RetiredBy::Rotation | RetiredBy::SignIn => TokenStatus::Retired,
            RetiredBy::Sibling => TokenStatus::Replaced,
        });
        token_status.min().unwrap_or(TokenStatus::Unknown)
    }

    /// Checks whether the mark of its end is still there.
    pub fn is_marked(&self, now: u32) -> bool {
        self.ended.is_some_and(|at| now < at + MARK)
    }

    /// Checks whether a sign-in of its owner has just retired a secret, so that another one joins it.
    pub fn is_joined_under(&self, secret: Secret, now: u32) -> bool {
        let is_it = |(retired, at, by): &(Secret, u32, RetiredBy)| {
            *retired == secret && *by == RetiredBy::SignIn && now.saturating_sub(*at) < GRACE
        };
        self.ended.is_none() && self.retired.iter().any(is_it)
    }

    pub fn replace_all(&mut self, new: Secret, now: u32, cause: RetiredBy) {
        self.retired.retain(|(_, at, _)| now.saturating_sub(*at) < GRACE);
        for (_, at, by) in self.retired.iter_mut().filter(|(_, _, by)| *by == RetiredBy::Sibling) {
            (*at, *by) = (now, cause);
        }
        let replaced = std::mem::replace(&mut self.current, new);
        let pending = self.pending.drain(..).map(|(secret, _)| secret);
        self.retired.extend(pending.chain([replaced]).map(|secret| (secret, now, cause)));
        self.rotations += 1;
    }

    pub fn promote(&mut self, secret: Secret, now: u32) {
        let Some(at) = self.pending.iter().position(|(pending, _)| *pending == secret) else { return };
        self.pending.remove(at);
        self.retired.retain(|(_, at, _)| now.saturating_sub(*at) < GRACE);
        self.retired.push((std::mem::replace(&mut self.current, secret), now, RetiredBy::Sibling));
    }
}

impl Data {
    /// Applies the changes and returns the value of the last one.
    pub fn apply(&mut self, changes: &[Operation]) -> Option<Option<u32>> {
        let mut returned = None;
        for change in changes {
            match change {
                Operation::Insert(key, value) => self.values[*key] = Some(*value),
                Operation::Remove(key) => self.values[*key] = None,
                Operation::Clear => *self = Self::default(),
                Operation::Count => {
                    let counter = self.counter.get_or_insert(0);
                    *counter += 1;
                    returned = Some(Some(*counter));
                }
                Operation::Push(value) => self.list.get_or_insert_default().push(*value),
                Operation::Take => returned = Some(self.counter.take()),
                Operation::Rotate | Operation::SignIn(_) | Operation::SignOut => {
                    unreachable!("not a change of the values")
                }
            }
        }
        returned
    }
}
