//! A value that is not of the type of its field, and a key that is none.

use sessile::{Error, Field, Session};

const VISITS: Field<u64> = Field::new("visits");

fn wrong_value(session: &Session) -> Result<(), Error> {
    session.insert(VISITS, "three")
}

fn wrong_key(session: &Session) -> Result<Option<u64>, Error> {
    session.get(7)
}

fn main() {}
