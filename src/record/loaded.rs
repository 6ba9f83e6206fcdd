//! A record that was read and decoded, and how a request reached it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

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

    /// Returns the lifetime of the session: its own, or else the default.
    pub(crate) fn lifetime(&self, default: Lifetime) -> Lifetime {
        self.header.lifetime.unwrap_or(default)
    }

    /// Checks whether the session has neither ended nor expired, by its lifetime as configured now.
    pub(crate) fn is_live(&self, default: Lifetime, now: Timestamp) -> bool {
        !self.header.ended && now < self.lifetime_end(default).min(self.record.expiry())
    }

    /// Checks whether the session expires before its lifetime, because its token was not presented yet.
    pub(crate) fn is_unconfirmed(&self, default: Lifetime, unconfirmed: Option<Duration>) -> bool {
        unconfirmed.is_some() && self.record.owner().is_none() && self.record.expiry() < self.lifetime_end(default)
    }

    /// Checks whether a touch is due.
    pub(crate) fn is_use_unnoted(&self, lifetime: Lifetime, now: Timestamp) -> bool {
        now.since(self.record.last_seen_timestamp()) >= lifetime.touch_interval()
    }

    fn lifetime_end(&self, default: Lifetime) -> Timestamp {
        self.lifetime(default).expires_at(self.header.started_at, self.record.last_seen_timestamp())
    }
}

impl Deref for LoadedRecord {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}
