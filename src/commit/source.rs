//! The session that the changes of a request start from.

use std::sync::Arc;

use crate::record::LoadedRecord;
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
}

/// Identifies a session that another request has yet to store.
#[derive(Clone, Debug)]
pub(crate) struct PromisedSession {
    pub(crate) id: SessionId,
    pub(crate) epoch: u64,
    pub(crate) owner: Option<Arc<str>>,
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
        Self { id: *loaded.record.id(), epoch: loaded.header.epoch, owner }
    }
}
