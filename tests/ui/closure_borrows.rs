//! An update closure that borrows: it may run again after the borrow has ended.

use sessile::{Error, Session};

fn add(session: &Session, name: &str) -> Result<(), Error> {
    session.update("cart", move |cart: &mut Vec<String>| cart.push(name.to_owned()))
}

fn main() {}
