//! The credential stamps of a session.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Stamp;
use crate::error::Error;
use crate::record::{Data, STAMPS_KEY, decode};
use crate::session::{Field, Session};

/// Time within which the application stores a change of credentials that a session has accepted. After that it has failed.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);
/// Most stamps of a session. Changes of the password that failed leave one behind each.
const MAX_STAMPS: usize = 8;

/// The stamps under which a session stays signed in.
///
/// The first is the user's at the sign-in, or at the last look-up. Each of the others belongs to a change of the credentials that the
/// session has accepted and no look-up has seen yet.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Stamps(Vec<Accepted>);

/// A stamp that a session accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    stamp: Stamp,
    /// In milliseconds since the Unix epoch.
    at: i64,
}

impl Accepted {
    pub(super) const fn new(stamp: Stamp, at: i64) -> Self {
        Self { stamp, at }
    }
}

/// Returns the entry of a session that was signed in with these credentials.
#[cfg(feature = "migrate")]
pub(crate) fn signed_in_with(stamp: Stamp) -> (&'static str, impl Serialize) {
    // The first stamp stays, however old it is.
    (STAMPS_KEY, Stamps(vec![Accepted::new(stamp, 0)]))
}

impl Stamps {
    pub(super) const KEY: Field<Self> = Field::new(STAMPS_KEY);

    /// Returns the stamps as the request sees them, with its own changes.
    pub(super) fn seen_by<M>(session: &Session<M>) -> Result<Self, Error> {
        Ok(session.get(Self::KEY)?.unwrap_or_default())
    }

    /// Returns the stamps as last read from the store; `None` if the request has signed the user in.
    pub(super) fn stored<M>(session: &Session<M>) -> Option<Self> {
        let state = session.request().state();
        let stored = state.source.loaded().filter(|loaded| loaded.record.owner() == state.owner.as_deref());
        stored.map(|loaded| Self::of(&loaded.data))
    }

    fn of(data: &Data) -> Self {
        let stored = data.get(STAMPS_KEY).and_then(|value| decode(STAMPS_KEY, value.as_bytes()).ok());
        stored.unwrap_or_default()
    }

    /// Checks whether a sign-in takes effect on a session with these `data`, rather than on another one.
    ///
    /// `self` are the stamps that it knows. It does not if the session has accepted other credentials meanwhile, so that a sign-in with
    /// the old password shares no session with one with the new password.
    pub(super) fn fit(&self, signs_in: &Stamp, data: &Data) -> bool {
        let stored = Self::of(data);
        stored.place_of(signs_in).is_some() || stored.0.iter().all(|accepted| self.0.contains(accepted))
    }

    /// Puts the stamp of a sign-in in the first place, in which `before` was. Changes that are under way stay.
    pub(super) fn sign_in(&mut self, before: Option<&Accepted>, accepted: Accepted) {
        self.0.retain(|known| known.stamp != accepted.stamp && Some(known) != before);
        self.0.insert(0, accepted);
    }

    pub(super) fn first(&self) -> Option<&Accepted> {
        self.0.first()
    }

    /// Accepts the stamp of a change.
    pub(super) fn accept(&mut self, accepted: Accepted) {
        if let Some(place) = self.place_of(&accepted.stamp) {
            self.0[place] = accepted;
            return;
        }
        if self.0.len() >= MAX_STAMPS {
            self.0.remove(1);
        }
        self.0.push(accepted);
    }

    /// Checks whether a session with these stamps is signed in with a user of this stamp.
    pub(super) fn accept_user_with(&self, stamp: &Stamp) -> bool {
        // A session that `Session::sign_in` has signed in has no stamps.
        self.place_of(stamp).is_some() || (self.is_empty() && *stamp == Stamp::none())
    }

    /// Returns the stamps that are no longer needed; `None` if the user's is not accepted.
    ///
    /// The user was looked up after `now`, which was after these stamps were read. So a stamp in the first place is over if the user has
    /// another, and so is one that was accepted long ago and is not the user's. A younger one may still be stored.
    pub(super) fn outdated(&self, user: &Stamp, now: i64) -> Option<Self> {
        let Some(seen) = self.place_of(user) else { return self.accept_user_with(user).then(Self::default) };
        let deadline = i64::try_from(CHANGE_DEADLINE.as_millis()).unwrap_or(i64::MAX);
        let is_outdated = |place: usize| place == 0 || now.saturating_sub(self.0[place].at) >= deadline;
        let outdated = (0..self.0.len()).filter(|place| *place != seen && is_outdated(*place));
        Some(Self(outdated.map(|place| self.0[place].clone()).collect()))
    }

    /// Forgets these stamps, and puts the user's in the first place.
    pub(super) fn forget(&mut self, outdated: &Self, user: &Stamp) {
        self.0.retain(|known| !outdated.0.contains(known));
        if let Some(place) = self.place_of(user) {
            self.0[..=place].rotate_right(1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place_of(&self, stamp: &Stamp) -> Option<usize> {
        self.0.iter().position(|known| known.stamp == *stamp)
    }
}

/// A value that a handler has written under the key is no stamp.
impl<'de> Deserialize<'de> for Stamps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Vec::deserialize(deserializer).unwrap_or_default()))
    }
}
