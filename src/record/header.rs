//! What a state holds beside the data: secrets, times, and the names of its last commits.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Version;
use super::newer_format;
use super::wire::{Length, Reader, Sink, Writer};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::session::Lifetime;
use crate::token::{Verifier, random};

/// The beginning of a state.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// The session has ended; the record is about to be deleted.
    pub(crate) ended: bool,
    /// Grows when the session changes hands.
    pub(crate) epoch: u64,
    /// What the absolute lifetime counts from.
    pub(crate) started_at: Timestamp,
    pub(crate) authenticated_at: Option<Timestamp>,
    /// A lifetime of this session's own.
    pub(crate) lifetime: Option<Lifetime>,
    /// The version that the last explicit rotation made.
    pub(crate) rotated: Version,
    /// The version that the last sign-in made.
    pub(crate) signed_in: Version,
    pub(crate) secrets: Secrets,
    pub(crate) commits: CommitNames,
}

/// The verifiers of a session. What they mean is in [`crate::session::rotation`].
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    pub(crate) current: Verifier,
    /// Since when the current one is.
    pub(crate) since: Timestamp,
    /// What the CSRF tokens are derived from, where it is no longer the current one: the secret of before a promotion.
    pub(crate) csrf: Option<Verifier>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) retired: Vec<Retired>,
}

/// A secret that was issued beside the current one and takes its place when a client presents it.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) verifier: Verifier,
    pub(crate) issued_at: Timestamp,
    /// Issued by one of several sign-ins at once, rather than by a periodic rotation.
    pub(crate) by_sign_in: bool,
}

/// A secret that was replaced.
#[derive(Clone, Debug)]
pub(crate) struct Retired {
    pub(crate) verifier: Verifier,
    pub(crate) at: Timestamp,
    pub(crate) by: RetiredBy,
}

/// What replaced a secret, and so what it still opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetiredBy {
    /// `rotate` or `sign_in`: opens nothing from then on.
    Rotation = 0,
    /// A periodic rotation: works for the grace; after that, presenting it is a replay.
    Refresh = 1,
    /// Another of several sign-ins at once: works for the grace; after that it is unknown.
    SignIn = 2,
}

/// The name of a commit: what tells whether a write whose answer was lost took effect.
pub(crate) type CommitName = [u8; 8];

/// The names of the commits that made this version and those before it, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitNames {
    names: [CommitName; Self::KEPT],
    count: usize,
}

impl CommitNames {
    const KEPT: usize = 8;

    pub(crate) fn push(&mut self, name: CommitName) {
        self.names.rotate_right(1);
        self.names[0] = name;
        self.count = (self.count + 1).min(Self::KEPT);
    }

    pub(crate) fn contains(&self, name: &CommitName) -> bool {
        self.as_slice().contains(name)
    }

    /// Whether every commit after `version` is named, in a record that is now of version `now`.
    pub(crate) fn reach_back_to(&self, version: Version, now: Version) -> bool {
        now.count().saturating_sub(version.count()) <= self.count as u64
    }

    fn as_slice(&self) -> &[CommitName] {
        &self.names[..self.count]
    }
}

/// A name that no other commit has: the next of a sequence that begins at random in each process. It is no secret.
pub(crate) fn new_commit_name() -> CommitName {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(u64::from_ne_bytes(random())));
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

impl Header {
    const FORMAT: u8 = 1;

    const ENDED: u8 = 1;
    const AUTHENTICATED: u8 = 2;
    const LIFETIME: u8 = 4;
    const CSRF: u8 = 8;

    /// A session that begins now.
    pub(crate) fn new(current: Verifier, now: Timestamp) -> Self {
        Self {
            ended: false,
            epoch: 0,
            started_at: now,
            authenticated_at: None,
            lifetime: None,
            rotated: Version::new(0),
            signed_in: Version::new(0),
            secrets: Secrets { current, since: now, csrf: None, pending: Vec::new(), retired: Vec::new() },
            commits: CommitNames::default(),
        }
    }

    /// How many bytes [`write_to`](Self::write_to) writes.
    pub(crate) fn length(&self) -> usize {
        let mut length = Length::default();
        self.write_to(&mut length);
        length.0
    }

    pub(crate) fn write_to(&self, out: &mut impl Sink) {
        let mut out = Writer(out);
        out.byte(Self::FORMAT);
        let mut flags = 0;
        if self.ended {
            flags |= Self::ENDED;
        }
        if self.authenticated_at.is_some() {
            flags |= Self::AUTHENTICATED;
        }
        if self.lifetime.is_some() {
            flags |= Self::LIFETIME;
        }
        if self.secrets.csrf.is_some() {
            flags |= Self::CSRF;
        }
        out.byte(flags);
        out.varint(self.epoch);
        out.timestamp(self.started_at);
        if let Some(at) = self.authenticated_at {
            out.timestamp(at);
        }
        if let Some(lifetime) = self.lifetime {
            write_lifetime(&mut out, lifetime);
        }
        out.varint(self.rotated.get());
        out.varint(self.signed_in.get());
        self.secrets.write(&mut out);
        out.varint(self.commits.count as u64);
        for name in self.commits.as_slice() {
            out.bytes(name);
        }
    }

    /// A header of nothing, to [read](Self::read) one into.
    pub(crate) fn blank() -> Self {
        Self::new(Verifier::from_bytes([0; 32]), Timestamp::from_milliseconds(0))
    }

    /// Reads a header into this one, whatever it was; says where the data begins. After an error it is of no use.
    ///
    /// In place, since a header is read by nearly every request and moving it takes longer than reading it.
    pub(crate) fn read(&mut self, state: &[u8]) -> Result<usize, StoreError> {
        let mut input = Reader::new(state);
        match input.byte()? {
            Self::FORMAT => {}
            0 => return Err(StoreError::corrupt("no state has format 0")),
            newer => return Err(newer_format(newer)),
        }
        let flags = input.byte()?;
        if flags & !(Self::ENDED | Self::AUTHENTICATED | Self::LIFETIME | Self::CSRF) != 0 {
            return Err(StoreError::corrupt("unknown flags"));
        }
        self.ended = flags & Self::ENDED != 0;
        self.epoch = input.varint()?;
        self.started_at = input.timestamp()?;
        self.authenticated_at = if flags & Self::AUTHENTICATED != 0 { Some(input.timestamp()?) } else { None };
        self.lifetime = if flags & Self::LIFETIME != 0 { Some(read_lifetime(&mut input)?) } else { None };
        self.rotated = Version::new(input.varint()?);
        self.signed_in = Version::new(input.varint()?);
        self.secrets.read(&mut input, flags & Self::CSRF != 0)?;
        self.commits.count = input.length()?;
        let Some(names) = self.commits.names.get_mut(..self.commits.count) else {
            return Err(StoreError::corrupt("too many commits"));
        };
        for name in names {
            *name = input.array()?;
        }
        Ok(input.position())
    }
}

impl Secrets {
    fn write(&self, out: &mut Writer<'_, impl Sink>) {
        out.bytes(self.current.as_bytes());
        out.timestamp(self.since);
        if let Some(csrf) = &self.csrf {
            out.bytes(csrf.as_bytes());
        }
        out.varint(self.pending.len() as u64);
        for pending in &self.pending {
            out.bytes(pending.verifier.as_bytes());
            out.timestamp(pending.issued_at);
            out.byte(u8::from(pending.by_sign_in));
        }
        out.varint(self.retired.len() as u64);
        for retired in &self.retired {
            out.bytes(retired.verifier.as_bytes());
            out.timestamp(retired.at);
            out.byte(retired.by as u8);
        }
    }

    fn read(&mut self, input: &mut Reader<'_>, has_csrf: bool) -> Result<(), StoreError> {
        self.current = Verifier::from_bytes(input.array()?);
        self.since = input.timestamp()?;
        self.csrf = if has_csrf { Some(Verifier::from_bytes(input.array()?)) } else { None };
        self.pending.clear();
        for _ in 0..input.length()? {
            self.pending.push(Pending {
                verifier: Verifier::from_bytes(input.array()?),
                issued_at: input.timestamp()?,
                by_sign_in: match input.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(StoreError::corrupt("an unknown kind of pending secret")),
                },
            });
        }
        self.retired.clear();
        for _ in 0..input.length()? {
            self.retired.push(Retired {
                verifier: Verifier::from_bytes(input.array()?),
                at: input.timestamp()?,
                by: match input.byte()? {
                    0 => RetiredBy::Rotation,
                    1 => RetiredBy::Refresh,
                    2 => RetiredBy::SignIn,
                    _ => return Err(StoreError::corrupt("an unknown kind of retired secret")),
                },
            });
        }
        Ok(())
    }
}

/// Durations as milliseconds and one more, so that 0 is "none".
fn write_lifetime(out: &mut Writer<'_, impl Sink>, lifetime: Lifetime) {
    for part in [lifetime.idle, Some(lifetime.absolute), lifetime.rotation, lifetime.max_age] {
        let millis = part.map(|part| u64::try_from(part.as_millis()).unwrap_or(u64::MAX - 1));
        out.varint(millis.map_or(0, |millis| millis.saturating_add(1)));
    }
}

fn read_lifetime(input: &mut Reader<'_>) -> Result<Lifetime, StoreError> {
    let mut part = || Ok::<_, StoreError>(input.varint()?.checked_sub(1).map(Duration::from_millis));
    let idle = part()?;
    let absolute = part()?.ok_or_else(|| StoreError::corrupt("a lifetime without an end"))?;
    if idle == Some(Duration::ZERO) || absolute == Duration::ZERO {
        return Err(StoreError::corrupt("a lifetime of no time at all"));
    }
    Ok(Lifetime { idle, absolute, rotation: part()?, max_age: part()? })
}
