//! The actor of a session in which one owner acts as another.

use std::sync::Arc;

use uuid::Uuid;

use super::loaded::LoadedRecord;
use super::wire::{Reader, Sink, Writer};
use crate::error::StoreError;
use crate::token::SessionId;

/// An owner who acts as the owner of a session (RFC 8693 §4.1), and the session on which that depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) owner: Arc<str>,
    /// The actor's own session.
    pub(crate) session: SessionId,
    /// The epoch of that session.
    pub(crate) epoch: u64,
}

impl Actor {
    /// Creates the actor of a session that is begun from `own`; `None` if that is not signed in.
    pub(crate) fn new(own: &LoadedRecord) -> Option<Self> {
        let owner = Arc::clone(own.record.owner_shared()?);
        Some(Self { owner, session: *own.record.id(), epoch: own.header.epoch })
    }

    /// Checks whether a live session is the actor's own, and has not changed hands.
    pub(crate) fn owns(&self, found: &LoadedRecord) -> bool {
        *found.record.id() == self.session
            && found.header.epoch == self.epoch
            && found.record.owner() == Some(&*self.owner)
    }

    pub(super) fn write(&self, out: &mut Writer<'_, impl Sink>) {
        out.bytes(self.session.as_uuid().as_bytes());
        out.varint(self.epoch);
        out.varint(self.owner.len() as u64);
        out.bytes(self.owner.as_bytes());
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, StoreError> {
        let session = SessionId::from(Uuid::from_bytes(input.array()?));
        let epoch = input.varint()?;
        Ok(Self { owner: input.text()?.into(), session, epoch })
    }
}
