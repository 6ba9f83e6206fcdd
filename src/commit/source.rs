//! The session that the changes of a request start from.

use std::sync::Arc;

use crate::record::{Actor, LoadedRecord};
use crate::token::SessionId;

/// The session that the changes of a request start from.
#[derive(Clone, Debug)]
pub(crate) enum SessionSource {
    /// No session: a write creates one.
    New,
    /// The client's token was retired within the grace period: nothing can be read or written under it.
    ///
    /// The record is the session whose token it was; a sign-in of the same owner may join it.
    Retired(LoadedRecord),
    /// The client's session ended within the last minute, and this is its mark: nothing can be written under its token.
    Ended(LoadedRecord),
    /// A stored session.
    Loaded(LoadedRecord),
    /// A session that the request of this detached one has yet to store.
    Promised(PromisedSession),
}

impl SessionSource {
    pub(crate) const fn loaded(&self) -> Option<&LoadedRecord> {
        match self {
            Self::Loaded(loaded) => Some(loaded),
            Self::New | Self::Retired(_) | Self::Ended(_) | Self::Promised(_) => None,
        }
    }

    /// Returns the owner who acts as the session's owner.
    pub(crate) fn actor(&self) -> Option<&Arc<Actor>> {
        match self {
            Self::Loaded(loaded) => loaded.header.actor.as_ref(),
            Self::Promised(promised) => promised.actor.as_ref(),
            Self::New | Self::Retired(_) | Self::Ended(_) => None,
        }
    }
}

/// Identifies a session that another request has yet to store.
#[derive(Clone, Debug)]
pub(crate) struct PromisedSession {
    pub(crate) id: SessionId,
    pub(crate) epoch: u64,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) actor: Option<Arc<Actor>>,
}

impl PromisedSession {
    /// Checks whether a stored session is this one, rather than what another request made of it.
    pub(crate) fn matches(&self, found: &LoadedRecord) -> bool {
        found.header.epoch == self.epoch && found.record.owner() == self.owner.as_deref()
    }
}

impl From<&LoadedRecord> for PromisedSession {
    fn from(loaded: &LoadedRecord) -> Self {
        let owner = loaded.record.owner_shared().cloned();
        let actor = loaded.header.actor.clone();
        Self { id: *loaded.record.id(), epoch: loaded.header.epoch, owner, actor }
    }
}
