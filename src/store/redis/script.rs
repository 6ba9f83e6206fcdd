//! Scripts that make each write atomic, and classification of server errors.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

use crate::error::StoreError;

/// A Lua script, which a server caches by its hash.
pub(super) struct Script {
    code: &'static str,
    script: LazyLock<redis::Script>,
}

/// Declares a script from a file, after the functions that several scripts use.
macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: Script = {
            const CODE: &str = concat!(include_str!("functions.lua"), include_str!($file));
            Script { code: CODE, script: LazyLock::new(|| redis::Script::new(CODE)) }
        };
    };
}

script!(SET, "set.lua");
script!(TOUCH, "touch.lua");
script!(DELETE, "delete.lua");
script!(INDEX, "index.lua");
script!(OWNED, "owned.lua");
script!(DELETE_OWNED, "delete_owned.lua");

impl Script {
    /// Returns the command that runs the cached script on these keys.
    pub(super) fn by_hash(&self, keys: &[Vec<u8>]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.script.get_hash()).arg(keys.len()).arg(keys);
        command
    }

    /// Returns the command that sends the script's code, for a server whose cache lacks it.
    pub(super) fn in_full(&self, keys: &[Vec<u8>]) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.code).arg(keys.len()).arg(keys);
        command
    }
}

/// Meaning of an error from the server or its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedisFailure {
    /// The server does not have the script; nothing was done.
    NoScript,
    /// The key is being migrated to another node; nothing was done.
    Ask,
    /// The server is not ready yet; nothing was done.
    NotReady,
    /// The server is a replica; nothing was done, and a sentinel may know the master.
    ReadOnly,
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
            ErrorKind::Server(
                ServerErrorKind::Moved
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading,
            ) => Self::NotReady,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::Io
            | ErrorKind::Parse
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel => Self::Connection,
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
    match RedisFailure::new(&error) {
        RedisFailure::Corrupt => StoreError::corrupt(error),
        RedisFailure::Other | RedisFailure::NoScript => StoreError::other(error),
        RedisFailure::Ask
        | RedisFailure::NotReady
        | RedisFailure::ReadOnly
        | RedisFailure::Connection
        | RedisFailure::Unavailable => StoreError::unavailable(error),
    }
}
