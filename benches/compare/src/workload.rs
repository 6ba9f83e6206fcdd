//! The rows of the table, the data of a session, and the ceilings.

use serde::{Deserialize, Serialize};

/// Number of keys in a small session: `counter`, `user` and `theme`.
pub(crate) const SMALL: usize = 3;

/// Number of keys in a large session: those of a small one, and keys of 200 bytes up to 10 KB.
pub(crate) const LARGE: usize = 52;

/// Signed-in user, as an application would store one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) roles: Vec<String>,
}

impl User {
    pub(crate) fn sample() -> Self {
        Self {
            id: 42,
            name: "Ada Lovelace".to_owned(),
            email: "ada@example.org".to_owned(),
            roles: vec!["admin".to_owned(), "editor".to_owned()],
        }
    }
}

/// Short string in the session.
pub(crate) const THEME: &str = "dark";

/// Returns the other keys and values of a large session. They are written first, so that a store with a linear search
/// finds `counter` last.
pub(crate) fn padding() -> impl Iterator<Item = (String, String)> {
    (0..LARGE - SMALL).map(|n| (format!("field_{n:02}"), "x".repeat(200)))
}

/// Row of the table: one request, repeated.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Route of the request. See [`crate::candidate`].
    pub(crate) path: &'static str,
    /// Route that creates the session, if the request has a cookie.
    pub(crate) seed: Option<&'static str>,
    pub(crate) ceiling: Ceiling,
}

/// Maximum cost of sessile over a layer that does nothing.
#[derive(Debug)]
pub(crate) struct Ceiling {
    pub(crate) allocations: i64,
    /// The time of tower-sessions divided by this is the maximum.
    pub(crate) time_divisor: f64,
}

/// Rows in the order of the table.
pub(crate) const ROWS: [Row; 8] = [
    row("no cookie, untouched", "/untouched", None, 4, 4.0),
    row("cookie, untouched", "/untouched", Some("/seed"), 4, 4.0),
    row("read a u64 of 3 keys", "/counter", Some("/seed"), 6, 4.0),
    row("read a struct of 3 keys", "/user", Some("/seed"), 11, 4.0),
    row("read a u64 of 52 keys, 10 KB", "/counter", Some("/seed-large"), 6, 15.0),
    row("increment, 3 keys", "/increment", Some("/seed"), 16, 4.0),
    row("increment, 52 keys, 10 KB", "/increment", Some("/seed-large"), 20, 8.0),
    row("create a session", "/create", None, 16, 2.0),
];

const fn row(
    name: &'static str,
    path: &'static str,
    seed: Option<&'static str>,
    allocations: i64,
    time_divisor: f64,
) -> Row {
    Row { name, path, seed, ceiling: Ceiling { allocations, time_divisor } }
}

/// Maximum of live heap bytes per stored session of three keys.
pub(crate) const BYTES_A_SESSION: f64 = 400.0;

/// Maximum share of the sessions' bytes that may stay after all have expired.
pub(crate) const LEFT_AFTER_EXPIRY: f64 = 0.05;
