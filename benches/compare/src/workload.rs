//! What is measured: the rows of the table, the data of a session, and the ceilings.

use serde::{Deserialize, Serialize};

/// The keys of a small session: `counter`, `user` and `theme`.
pub(crate) const SMALL: usize = 3;

/// The keys of a large session: those of a small one, and so many more of 200 bytes that it is 10 KB.
pub(crate) const LARGE: usize = 52;

/// What an application keeps of the user who is signed in.
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

/// The short string of a session.
pub(crate) const THEME: &str = "dark";

/// The further keys and values of a large session. They are written first, so that a store that searches in the
/// order of writing finds `counter` behind all of them.
pub(crate) fn padding() -> impl Iterator<Item = (String, String)> {
    (0..LARGE - SMALL).map(|n| (format!("field_{n:02}"), "x".repeat(200)))
}

/// One row of the table: a request, sent over and over.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The route, of those every candidate has. See [`crate::candidate`].
    pub(crate) path: &'static str,
    /// The route that makes the session whose cookie is sent along, if one is.
    pub(crate) seed: Option<&'static str>,
    pub(crate) ceiling: Ceiling,
}

/// What sessile may cost at most, over a layer that does nothing.
#[derive(Debug)]
pub(crate) struct Ceiling {
    pub(crate) allocations: i64,
    /// Divides the time that tower-sessions takes over a layer that does nothing.
    pub(crate) time_divisor: f64,
}

/// The rows, in the order in which they are printed.
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

/// Live heap bytes that a stored session of three keys may take at most.
pub(crate) const BYTES_A_SESSION: f64 = 400.0;

/// The share of the sessions' bytes that may be left when all have expired and traffic goes on.
pub(crate) const LEFT_AFTER_EXPIRY: f64 = 0.05;
