//! The user of a layer with a marker, where that of a layer without one is expected.

use std::convert::Infallible;

use sessile::user::{CurrentUser, Users};

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

struct Admin;

async fn greet(user: CurrentUser<Accounts>) -> Option<u64> {
    user.load().await.ok().flatten().map(|account| account.id)
}

async fn admin(user: CurrentUser<Accounts, Admin>) -> Option<u64> {
    greet(user).await
}

fn main() {}
