//! A value of another type than its field's, and a key that is neither a field nor a string.

use sessile::{Error, Field, Session};

const VISITS: Field<u64> = Field::new("visits");

fn wrong_value(session: &Session) -> Result<(), Error> {
    session.insert(VISITS, "three")
}

fn wrong_key(session: &Session) -> Result<Option<u64>, Error> {
    session.get(7)
}

fn main() {}
