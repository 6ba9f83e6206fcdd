//! The scripts that make each operation one step on the server, and how an error of the server is meant.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind};

use crate::error::StoreError;

/// A script, known to the server by its hash.
pub(super) struct Stored {
    code: &'static str,
    script: LazyLock<Script>,
}

macro_rules! stored {
    ($name:ident, $file:literal) => {
        pub(super) static $name: Stored =
            Stored { code: include_str!($file), script: LazyLock::new(|| Script::new(include_str!($file))) };
    };
}

stored!(SET, "set.lua");
stored!(TOUCH, "touch.lua");
stored!(DELETE, "delete.lua");
stored!(INDEX, "index.lua");
stored!(OWNED, "owned.lua");

impl Stored {
    /// Runs the script of this hash on one key.
    pub(super) fn by_hash(&self, key: &[u8]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.script.get_hash()).arg(1).arg(key);
        command
    }

    /// Sends the script along, which the server then knows: for one that was started anew, or whose scripts were flushed.
    pub(super) fn in_full(&self, key: &[u8]) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.code).arg(1).arg(key);
        command
    }
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server does not know the script, and has done nothing.
    NoScript,
    /// The key is another node's for now; nothing was done.
    Ask,
    /// Nothing was done, and it may work in a moment.
    NotYet,
    /// This server takes no writes, and has done nothing: a sentinel knows another.
    ReadOnly,
    /// The connection failed; nobody knows what was done.
    Connection,
    /// The server cannot do this now: it is full, or its disk is.
    Unavailable,
    /// What is under the key is no record.
    Corrupt,
    /// Anything else.
    Other,
}

impl Fault {
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            ErrorKind::Server(ServerErrorKind::Ask) => Self::Ask,
            ErrorKind::Server(
                ServerErrorKind::Moved
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading,
            ) => Self::NotYet,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::Io
            | ErrorKind::Parse
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel => Self::Connection,
            _ => Self::of_text(&error.to_string()),
        }
    }

    /// Before Redis 7, what a script ran into is only to be found in the text.
    fn of_text(text: &str) -> Self {
        let says = |word: &str| text.contains(word);
        if says("WRONGTYPE") {
            Self::Corrupt
        } else if says("READONLY") {
            Self::ReadOnly
        } else if says("OOM") || says("MISCONF") || says("NOREPLICAS") || says("BUSY") {
            Self::Unavailable
        } else {
            Self::Other
        }
    }
}

/// An error of the client as the store's own. What the client said stays its source.
pub(super) fn store_error(error: RedisError) -> StoreError {
    match Fault::of(&error) {
        Fault::Corrupt => StoreError::corrupt(error),
        Fault::Other | Fault::NoScript => StoreError::other(error),
        Fault::Ask | Fault::NotYet | Fault::ReadOnly | Fault::Connection | Fault::Unavailable => {
            StoreError::unavailable(error)
        }
    }
}
