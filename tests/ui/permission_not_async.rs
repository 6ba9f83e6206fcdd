//! A predicate that is not async.

use std::convert::Infallible;

use sessile::user::{UserGuard, Users};

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
    let _ = UserGuard::<Accounts>::new().with_permission(|account| account.id == 1);
}
