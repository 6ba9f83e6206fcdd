//! A session with the default marker where another layer's marker is expected.

use sessile::{Error, Session};

struct Admin;

fn dashboard(session: &Session<Admin>) -> Result<Option<String>, Error> {
    session.get("theme")
}

fn visitor(session: &Session) -> Result<Option<String>, Error> {
    dashboard(session)
}

fn main() {}
