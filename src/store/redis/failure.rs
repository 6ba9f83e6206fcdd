//! Errors of the servers and of their client.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::StoreError;

/// Meaning of an error from the server or its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedisFailure {
    /// The server does not have the script; nothing was done.
    NoScript,
    /// The key is being migrated to another node; nothing was done.
    Ask,
    /// The key is on another node of a Cluster; nothing was done.
    Moved,
    /// The keys are on several nodes of a Cluster; nothing was done.
    CrossSlot,
    /// The server is not ready yet; nothing was done.
    NotReady,
    /// The server is a replica; nothing was done, and a sentinel may know the master.
    ReadOnly,
    /// The client of a Cluster has no connection to a node at this moment; nothing was sent.
    NoNode,
    /// The connection failed; the command may have run.
    Connection,
    /// The server's memory or disk is full.
    Unavailable,
    /// The key holds something else than a record.
    Corrupt,
    /// Any other error.
    Other,
}

impl RedisFailure {
    pub(super) fn new(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            ErrorKind::Server(ServerErrorKind::Ask) => Self::Ask,
            ErrorKind::Server(ServerErrorKind::Moved) => Self::Moved,
            ErrorKind::Server(ServerErrorKind::CrossSlot) => Self::CrossSlot,
            ErrorKind::Server(
                ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading,
            ) => Self::NotReady,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::ClusterConnectionNotFound => Self::NoNode,
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::MasterNameNotFoundBySentinel => Self::Connection,
            _ => Self::from_text(&error.to_string()),
        }
    }

    /// Classifies the text of an error: before Redis 7, an error inside a script has no kind.
    fn from_text(text: &str) -> Self {
        let contains = |word: &str| text.contains(word);
        if contains("WRONGTYPE") {
            Self::Corrupt
        } else if contains("READONLY") {
            Self::ReadOnly
        } else if contains("OOM") || contains("MISCONF") || contains("NOREPLICAS") || contains("BUSY") {
            Self::Unavailable
        } else {
            Self::Other
        }
    }
}

/// Converts an error of the client, which stays the source.
pub(super) fn store_error(error: RedisError) -> StoreError {
    with_kind_of(RedisFailure::new(&error), error)
}

/// Converts the error of a connection that could not be opened, and adds the addresses.
pub(super) fn connect_error(addresses: &str, error: RedisError) -> StoreError {
    with_kind_of(RedisFailure::new(&error), ConnectError { addresses: addresses.into(), error })
}

fn with_kind_of(failure: RedisFailure, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    match failure {
        RedisFailure::Corrupt => StoreError::corrupt(source),
        RedisFailure::Other | RedisFailure::NoScript | RedisFailure::CrossSlot => StoreError::other(source),
        RedisFailure::Ask
        | RedisFailure::Moved
        | RedisFailure::NotReady
        | RedisFailure::ReadOnly
        | RedisFailure::NoNode
        | RedisFailure::Connection
        | RedisFailure::Unavailable => StoreError::unavailable(source),
    }
}

/// The source of the error of a connection that could not be opened.
#[derive(Debug)]
struct ConnectError {
    addresses: Box<str>,
    error: RedisError,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}", self.addresses)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
