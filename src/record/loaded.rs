//! A record that was read and decoded, and how a request reached it.

use std::ops::Deref;
use std::sync::Arc;

use super::Record;
use super::data::{Data, Gap};
use super::header::Header;
use super::secrets::TokenStatus;
use super::version::Version;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::lifetime::Lifetime;
use crate::token::{SessionId, Token, Verifier};

/// A decoded record and the token that opened it. Cloning shares the contents.
#[derive(Clone, Debug)]
pub(crate) struct LoadedRecord {
    contents: Arc<Contents>,
    /// Status of the client's token.
    pub(crate) status: TokenStatus,
    /// The token that the client presented, or was given since.
    pub(crate) token: Option<(Token, Verifier)>,
    /// The client presented a token of this session, rather than being given one by this request.
    pub(crate) is_from_client: bool,
    /// When this request loaded the record; `None` once it has committed a newer one.
    pub(crate) loaded_at: Option<Timestamp>,
}

/// The contents of a [`LoadedRecord`], which dereferences to them. They are shared since it is moved often.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) record: Record,
    pub(crate) header: Header,
    pub(crate) data: Data,
}

/// The fields of a new version of a record.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: SessionId,
    pub(crate) version: Version,
    pub(crate) realm: Arc<str>,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl LoadedRecord {
    /// Decodes a record that a store returned.
    pub(crate) fn read(record: Record) -> Result<Self, StoreError> {
        let data = record.data(0);
        let mut contents = Arc::new(Contents { record, header: Header::blank(), data });
        let Contents { record, header, data } = Arc::get_mut(&mut contents).expect("a new Arc has one owner");
        let start = record.open(header)?;
        *data = record.data(start);
        Ok(Self::new(contents))
    }

    /// Encodes a new version of a record. `write_data` writes `data_length` bytes of frames.
    pub(crate) fn draft(
        draft: Draft,
        header: Header,
        data_length: usize,
        write_data: impl FnOnce(&mut Gap<'_>),
    ) -> Self {
        let start = header.length();
        let state = super::filled(start + data_length, |out| {
            header.write_to(out);
            write_data(out);
        });
        let data = Data::new(Arc::clone(&state), start);
        let Draft { id, version, realm, owner, last_seen, expires_at } = draft;
        let record = Record::new(id, version, realm, owner, (last_seen, expires_at), state).assume_valid();
        Self::new(Arc::new(Contents { record, header, data }))
    }

    const fn new(contents: Arc<Contents>) -> Self {
        Self { contents, status: TokenStatus::Current, token: None, is_from_client: false, loaded_at: None }
    }

    /// Sets the client's token and its status; `None` if no client has presented or received one.
    pub(crate) fn with_token(self, status: TokenStatus, token: Option<(Token, Verifier)>) -> Self {
        Self { status, token, ..self }
    }

    /// Returns the token that the client presented, or was given since, if it is the current one.
    pub(crate) fn current_token(&self) -> Option<&Token> {
        let (token, verifier) = self.token.as_ref()?;
        self.header.secrets.current.matches(verifier).then_some(token)
    }

    /// Returns the status of the request's token in this newer record.
    ///
    /// If the token was replaced meanwhile, the request goes on, but can no longer change the token.
    pub(crate) fn status_of_earlier(&self, token: Option<&(Token, Verifier)>, now: Timestamp) -> TokenStatus {
        let Some((_, verifier)) = token else { return TokenStatus::Current };
        match self.header.secrets.status(verifier, now) {
            live @ (TokenStatus::Current | TokenStatus::Pending) => live,
            _ => TokenStatus::Replaced,
        }
    }

    /// Checks whether a sign-in of this owner may join the session, whose token another sign-in of the owner has just retired.
    pub(crate) fn may_join(&self, owner: &str, now: Timestamp) -> bool {
        let retired = |(_, verifier): &(Token, Verifier)| self.header.secrets.was_retired_by_sign_in(verifier, now);
        self.record.owner() == Some(owner) && self.header.ended.is_none() && self.token.as_ref().is_some_and(retired)
    }

    /// Returns the lifetime of the session: its own, or else the default.
    pub(crate) fn lifetime(&self, default: Lifetime) -> Lifetime {
        self.header.lifetime.unwrap_or(default)
    }

    /// Checks whether the session has neither ended nor expired, by its lifetime as configured now.
    pub(crate) fn is_live(&self, default: Lifetime, now: Timestamp) -> bool {
        self.header.ended.is_none() && now < self.ends_at(default)
    }

    /// Returns when the session ends unless it is used. Its record may be kept for a margin beyond that.
    pub(crate) fn ends_at(&self, default: Lifetime) -> Timestamp {
        let (lifetime, started_at) = (self.lifetime(default), self.header.started_at);
        let end = lifetime.ends_at(started_at, self.record.last_seen_timestamp());
        let end = end.min(lifetime.end_of_record(started_at, self.record.expiry(), self.header.margin));
        match self.header.unconfirmed_until {
            Some(until) if self.is_unconfirmed() => end.min(until),
            _ => end,
        }
    }

    /// Returns when the session was last used, if a use may have been noted since the record was read.
    pub(crate) fn last_seen(&self, noted: Option<Timestamp>) -> Timestamp {
        let last_seen = self.record.last_seen_timestamp();
        noted.map_or(last_seen, |noted| noted.max(last_seen))
    }

    /// Returns when the session ends unless it is used again, if a use may have been noted since the record was read.
    pub(crate) fn ends_after_use(&self, default: Lifetime, noted: Option<Timestamp>) -> Timestamp {
        let end = self.ends_at(default);
        let lifetime = self.lifetime(default);
        noted.map_or(end, |noted| end.max(lifetime.ends_at(self.header.started_at, noted)))
    }

    /// Checks whether the session ends before its lifetime, because its client has not presented the token yet.
    ///
    /// A touch is enough to confirm it: the record then expires later than any unconfirmed one.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.header.unconfirmed_until.is_some_and(|until| self.record.expiry() <= until.plus(self.header.margin))
    }

    /// Returns the expiry of the record after a use, under this lifetime and with the margin that the record has.
    pub(crate) fn expiry_after(&self, use_at: Timestamp, lifetime: Lifetime) -> Timestamp {
        Lifetime { margin: self.header.margin, ..lifetime }.expires_at(self.header.started_at, use_at)
    }

    /// Checks whether a touch is due, after uses that were noted since the record was read.
    pub(crate) fn is_use_unnoted(&self, lifetime: Lifetime, noted: Option<Timestamp>, now: Timestamp) -> bool {
        now.since(self.last_seen(noted)) >= lifetime.touch_interval()
    }
}

impl Deref for LoadedRecord {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}
