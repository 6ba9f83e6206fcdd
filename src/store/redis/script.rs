//! Scripts that make each write atomic.

use std::sync::LazyLock;

use redis::Cmd;

/// Returns the command that sends a script's code.
pub(super) type FullScript<'a> = &'a (dyn Fn() -> Cmd + Sync);

/// A Lua script, which a server caches by its hash.
pub(super) struct Script {
    code: &'static str,
    script: LazyLock<redis::Script>,
}

/// Declares a script from its files, one after the other.
macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(super) static $name: Script = {
            const CODE: &str = concat!($(include_str!($file)),+);
            Script { code: CODE, script: LazyLock::new(|| redis::Script::new(CODE)) }
        };
    };
}

script!(SET, "set.lua", "functions.lua", "set_listed.lua");
script!(TOUCH, "functions.lua", "touch.lua");
script!(DELETE, "functions.lua", "delete.lua");
script!(INDEX, "functions.lua", "index.lua");
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
