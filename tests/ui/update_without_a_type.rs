//! A closure on a value whose type nothing names.

use sessile::{Error, Session};

async fn count(session: &Session) -> Result<u64, Error> {
    session.update_now("visits", |n| { *n += 1; *n }).await
}

fn main() {}
