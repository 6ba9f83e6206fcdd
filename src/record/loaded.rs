//! A record that was read and decoded, and how a request reached it.

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

/// A record with its decoded header and its data, and the token that opened it. Cloning shares the contents.
#[derive(Clone, Debug)]
pub(crate) struct LoadedRecord {
    pub(crate) record: Record,
    pub(crate) header: Arc<Header>,
    pub(crate) data: Data,
    /// Status of the client's token.
    pub(crate) status: TokenStatus,
    /// The token that the client presented, or was given since.
    pub(crate) token: Option<(Token, Verifier)>,
    /// The client presented a token of this session, rather than being given one by this request.
    pub(crate) is_clients: bool,
    /// When this request loaded the record; `None` once it has committed a newer one.
    pub(crate) loaded_at: Option<Timestamp>,
}

/// The fields of a new version of a record.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: SessionId,
    pub(crate) version: Version,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl LoadedRecord {
    /// Decodes a record that a store returned.
    pub(crate) fn read(record: Record) -> Result<Self, StoreError> {
        let mut header = Arc::new(Header::blank());
        let start = record.open(Arc::get_mut(&mut header).expect("a new Arc has one owner"))?;
        let data = record.data(start);
        Ok(Self::new(record, header, data))
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
        let Draft { id, version, owner, last_seen, expires_at } = draft;
        let record = Record::new(id, version, owner, (last_seen, expires_at), state).assume_valid();
        Self::new(record, Arc::new(header), data)
    }

    const fn new(record: Record, header: Arc<Header>, data: Data) -> Self {
        let (status, token) = (TokenStatus::Current, None);
        Self { record, header, data, status, token, is_clients: false, loaded_at: None }
    }

    /// Sets the token that opened the session.
    pub(crate) fn with_token(self, status: TokenStatus, token: Option<(Token, Verifier)>) -> Self {
        Self { status, token, ..self }
    }

    /// Returns the token that the client presented, or was given since, if it is the current one.
    pub(crate) fn current_token(&self) -> Option<&Token> {
        let (token, verifier) = self.token.as_ref()?;
        self.header.secrets.current.matches(verifier).then_some(token)
    }

    /// Returns what a client's token is to this newer record, for a request whose session it has opened.
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

    /// Checks whether the store should be told that the session was used.
    pub(crate) fn is_use_unnoted(&self, lifetime: Lifetime, now: Timestamp) -> bool {
        now.since(self.record.last_seen_timestamp()) >= lifetime.touch_interval()
    }

    fn lifetime_end(&self, default: Lifetime) -> Timestamp {
        self.lifetime(default).expires_at(self.header.started_at, self.record.last_seen_timestamp())
    }
}
