//! The part of a state before the data: times, secrets, and the ids of the last commits.

use std::sync::Arc;
use std::time::Duration;

use super::actor::Actor;
use super::newer_format;
use super::secrets::Secrets;
use super::version::{CommitIds, Version};
use super::wire::{Length, Reader, Sink, Writer};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::event::EndReason;
use crate::lifetime::Lifetime;
use crate::token::Verifier;

/// The first part of a state.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// The session has ended: the record is a mark, which says so for a minute.
    pub(crate) ended: Option<EndReason>,
    /// The owner who acts as the session's owner.
    pub(crate) actor: Option<Arc<Actor>>,
    /// Grows when the session changes hands.
    pub(crate) epoch: u64,
    /// Start of the absolute timeout.
    pub(crate) started_at: Timestamp,
    pub(crate) authenticated_at: Option<Timestamp>,
    /// End of the session unless its client presents the token before; see [`LoadedRecord::is_unconfirmed`].
    ///
    /// [`LoadedRecord::is_unconfirmed`]: super::LoadedRecord::is_unconfirmed
    pub(crate) unconfirmed_until: Option<Timestamp>,
    /// Time that the record is kept beyond the idle timeout, by the lifetime under which it was written.
    pub(crate) margin: Duration,
    /// The lifetime of this session, if it is not the layer's.
    pub(crate) lifetime: Option<Lifetime>,
    /// The version that the last explicit rotation made.
    pub(crate) rotated: Version,
    /// The version that the last sign-in made.
    pub(crate) signed_in: Version,
    pub(crate) secrets: Secrets,
    pub(crate) commits: CommitIds,
}

impl Header {
    const FORMAT: u8 = 1;

    const ENDED: u8 = 1;
    const AUTHENTICATED: u8 = 2;
    const LIFETIME: u8 = 4;
    const CSRF: u8 = 8;
    const UNCONFIRMED: u8 = 16;
    const ACTOR: u8 = 32;
    const ALL: u8 = Self::ENDED | Self::AUTHENTICATED | Self::LIFETIME | Self::CSRF | Self::UNCONFIRMED | Self::ACTOR;

    /// Creates the header of a session that starts now.
    pub(crate) fn new(current: Verifier, now: Timestamp) -> Self {
        Self {
            ended: None,
            actor: None,
            epoch: 0,
            started_at: now,
            authenticated_at: None,
            unconfirmed_until: None,
            margin: Duration::ZERO,
            lifetime: None,
            rotated: Version::NONE,
            signed_in: Version::NONE,
            secrets: Secrets::new(current, now),
            commits: CommitIds::default(),
        }
    }

    /// Returns the number of bytes that [`write_to`](Self::write_to) writes.
    pub(crate) fn length(&self) -> usize {
        let mut length = Length::default();
        self.write_to(&mut length);
        length.0
    }

    pub(crate) fn write_to(&self, out: &mut impl Sink) {
        let mut out = Writer(out);
        out.byte(Self::FORMAT);
        let flags = [
            (self.ended.is_some(), Self::ENDED),
            (self.authenticated_at.is_some(), Self::AUTHENTICATED),
            (self.lifetime.is_some(), Self::LIFETIME),
            (self.secrets.csrf.is_some(), Self::CSRF),
            (self.unconfirmed_until.is_some(), Self::UNCONFIRMED),
            (self.actor.is_some(), Self::ACTOR),
        ];
        out.byte(flags.into_iter().filter_map(|(is_set, flag)| is_set.then_some(flag)).sum());
        if let Some(reason) = self.ended {
            out.byte(reason.code());
        }
        if let Some(actor) = &self.actor {
            actor.write(&mut out);
        }
        out.varint(self.epoch);
        out.timestamp(self.started_at);
        out.varint(u64::try_from(self.margin.as_millis()).unwrap_or(u64::MAX));
        if let Some(at) = self.authenticated_at {
            out.timestamp(at);
        }
        if let Some(until) = self.unconfirmed_until {
            out.timestamp(until);
        }
        if let Some(lifetime) = self.lifetime {
            write_lifetime(&mut out, lifetime);
        }
        out.varint(self.rotated.get());
        out.varint(self.signed_in.get());
        self.secrets.write(&mut out);
        out.varint(self.commits.as_slice().len() as u64);
        for id in self.commits.as_slice() {
            out.bytes(id);
        }
    }

    /// Creates an empty header, to [read](Self::read) one into.
    pub(crate) fn blank() -> Self {
        Self::new(Verifier::from_bytes([0; 32]), Timestamp::from_milliseconds(0))
    }

    /// Reads a header into this one and returns where the data starts. After an error the header is not usable.
    ///
    /// It reads in place, since nearly every request reads a header and moving one takes longer than reading it.
    pub(crate) fn read(&mut self, state: &[u8]) -> Result<usize, StoreError> {
        let mut input = Reader::new(state);
        match input.byte()? {
            Self::FORMAT => {}
            0 => return Err(StoreError::corrupt("state has the invalid format 0")),
            newer => return Err(newer_format(newer)),
        }
        let flags = input.byte()?;
        if flags & !Self::ALL != 0 {
            return Err(StoreError::corrupt("unknown flags"));
        }
        self.ended = if flags & Self::ENDED != 0 { Some(read_end_reason(&mut input)?) } else { None };
        self.actor = if flags & Self::ACTOR != 0 { Some(Arc::new(Actor::read(&mut input)?)) } else { None };
        self.epoch = input.varint()?;
        self.started_at = input.timestamp()?;
        self.margin = Duration::from_millis(input.varint()?);
        self.authenticated_at = if flags & Self::AUTHENTICATED != 0 { Some(input.timestamp()?) } else { None };
        self.unconfirmed_until = if flags & Self::UNCONFIRMED != 0 { Some(input.timestamp()?) } else { None };
        self.lifetime = if flags & Self::LIFETIME != 0 { Some(read_lifetime(&mut input)?) } else { None };
        self.rotated = Version::new(input.varint()?);
        self.signed_in = Version::new(input.varint()?);
        self.secrets.read(&mut input, flags & Self::CSRF != 0)?;
        let count = input.length()?;
        let Some(commits) = self.commits.places_mut(count) else {
            return Err(StoreError::corrupt("too many commit ids"));
        };
        for id in commits {
            *id = input.array()?;
        }
        Ok(input.position())
    }
}

fn read_end_reason(input: &mut Reader<'_>) -> Result<EndReason, StoreError> {
    EndReason::from_code(input.byte()?).ok_or_else(|| StoreError::corrupt("unknown reason of an end"))
}

/// Writes each duration as its milliseconds plus one, so that 0 stands for a missing one.
fn write_lifetime(out: &mut Writer<'_, impl Sink>, lifetime: Lifetime) {
    let Lifetime { idle, absolute, refresh, max_age, margin } = lifetime;
    for part in [idle, Some(absolute), refresh, max_age, Some(margin)] {
        let millis = part.map(|part| u64::try_from(part.as_millis()).unwrap_or(u64::MAX - 1));
        out.varint(millis.map_or(0, |millis| millis.saturating_add(1)));
    }
}

fn read_lifetime(input: &mut Reader<'_>) -> Result<Lifetime, StoreError> {
    let mut part = || Ok::<_, StoreError>(input.varint()?.checked_sub(1).map(Duration::from_millis));
    let idle = part()?;
    let absolute = part()?.ok_or_else(|| StoreError::corrupt("lifetime without an absolute timeout"))?;
    if idle == Some(Duration::ZERO) || absolute == Duration::ZERO {
        return Err(StoreError::corrupt("lifetime of zero length"));
    }
    let (refresh, max_age, margin) = (part()?, part()?, part()?.unwrap_or_default());
    Ok(Lifetime { idle, absolute, refresh, max_age, margin })
}
