//! An update closure that can run only once: after a conflict it must run again.

use sessile::{Error, Session};

struct Item(String);

impl Item {
    fn into_name(self) -> String {
        self.0
    }
}

fn add(session: &Session, item: Item) -> Result<(), Error> {
    session.update("cart", move |cart: &mut Vec<String>| cart.push(item.into_name()))
}

fn main() {}
