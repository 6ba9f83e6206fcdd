//! The type of one user in the place of the type that looks users up.

use std::convert::Infallible;

use sessile::user::{User, UserLayer, Users};

#[derive(Clone)]
struct Account {
    id: u64,
}

struct Accounts;

impl Users for Accounts {
    type Id = u64;
    type User = Account;
    type Error = Infallible;

    async fn find(&self, id: &u64) -> Result<Option<Account>, Infallible> {
        Ok(Some(Account { id: *id }))
    }

    fn id(account: &Account) -> u64 {
        account.id
    }
}

fn main() {
    let _ = UserLayer::new(Account { id: 1 });
    let _: Option<User<Account>> = None;
}
