//! A key that is neither a field nor a string.

use sessile::{Error, Session};

fn wrong_key(session: &Session) -> Result<bool, Error> {
    session.remove(7)
}

fn main() {}
