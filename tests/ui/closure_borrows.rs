//! A closure that borrows what is gone when it must run again: with the response, or on a conflict.

use sessile::{Error, Session};

fn add(session: &Session, name: &str) -> Result<(), Error> {
    session.update("cart", move |cart: &mut Vec<String>| cart.push(name.to_owned()))
}

fn main() {}
