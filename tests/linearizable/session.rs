//! One session of the model, and what a secret is to it.

use super::history::{Act, Data};

/// How long a retired secret is remembered, in seconds.
const GRACE: u32 = 30;

/// A secret, by the commit that issued it.
pub type Secret = u16;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub ended: bool,
    pub owner: Option<u8>,
    pub epoch: u8,
    /// How many explicit rotations, and how many sign-ins among them.
    pub rotations: u8,
    pub sign_ins: u8,
    /// The commits that signed in, by the secrets that they issued.
    pub signed_in_by: Vec<Secret>,
    pub data: Data,
    pub current: Secret,
    /// Issued by sign-ins of one owner at once, and when.
    pub pending: Vec<(Secret, u32)>,
    pub retired: Vec<(Secret, u32, By)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    Rotation,
    SignIn,
}

/// What a secret is to a session, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presented {
    Current,
    Pending,
    Replaced,
    Retired,
    Unknown,
}

/// What a request knows of its session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Live {
    pub session: usize,
    pub owner: Option<u8>,
    pub epoch: u8,
    pub rotations: u8,
    pub sign_ins: u8,
    pub presented: Presented,
    pub secret: Secret,
    pub is_the_clients: bool,
}

impl Session {
    pub fn live(&self, session: usize, secret: Secret, presented: Presented, is_the_clients: bool) -> Live {
        let Self { owner, epoch, rotations, sign_ins, .. } = *self;
        Live { session, owner, epoch, rotations, sign_ins, presented, secret, is_the_clients }
    }

    pub fn presented(&self, secret: Secret, now: u32) -> Presented {
        if self.current == secret {
            return Presented::Current;
        }
        if self.pending.iter().any(|(pending, _)| *pending == secret) {
            return Presented::Pending;
        }
        let retired =
            self.retired.iter().filter(|(retired, at, _)| *retired == secret && now.saturating_sub(*at) < GRACE);
        let presented = retired.map(|(_, _, by)| match by {
            By::Rotation => Presented::Retired,
            By::SignIn => Presented::Replaced,
        });
        presented.min().unwrap_or(Presented::Unknown)
    }

    pub fn replace_all(&mut self, new: Secret, now: u32) {
        self.retired.retain(|(_, at, _)| now.saturating_sub(*at) < GRACE);
        for (_, at, by) in self.retired.iter_mut().filter(|(_, _, by)| *by == By::SignIn) {
            (*at, *by) = (now, By::Rotation);
        }
        let replaced = std::mem::replace(&mut self.current, new);
        let pending = self.pending.drain(..).map(|(secret, _)| secret);
        self.retired.extend(pending.chain([replaced]).map(|secret| (secret, now, By::Rotation)));
        self.rotations += 1;
    }

    pub fn promote(&mut self, secret: Secret, now: u32) {
        let Some(at) = self.pending.iter().position(|(pending, _)| *pending == secret) else { return };
        self.pending.remove(at);
        self.retired.retain(|(_, at, _)| now.saturating_sub(*at) < GRACE);
        self.retired.push((std::mem::replace(&mut self.current, secret), now, By::SignIn));
        self.pending.retain(|(_, at)| now.saturating_sub(*at) < GRACE);
    }
}

impl Data {
    /// What the last of the changes returns.
    pub fn apply(&mut self, changes: &[Act]) -> Option<Option<u32>> {
        let mut returned = None;
        for change in changes {
            match change {
                Act::Insert(key, value) => self.values[*key] = Some(*value),
                Act::Remove(key) => self.values[*key] = None,
                Act::Clear => *self = Self::default(),
                Act::Count => {
                    let counter = self.counter.get_or_insert(0);
                    *counter += 1;
                    returned = Some(Some(*counter));
                }
                Act::Push(value) => self.list.get_or_insert_default().push(*value),
                Act::Take => returned = Some(self.counter.take()),
                Act::Rotate | Act::SignIn(_) | Act::SignOut => unreachable!("not a change of the data"),
            }
        }
        returned
    }
}
