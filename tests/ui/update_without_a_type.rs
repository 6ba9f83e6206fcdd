//! A closure on a value whose type nothing names.

use sessile::{Error, Session};

fn add(session: &Session, item: u64) -> Result<(), Error> {
    session.update("cart", move |cart| cart.push(item))
}

fn main() {}
