//! A predicate that borrows a local variable, although it lives as long as the application.

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
    let admins = vec![1];
    let _ = UserGuard::<Accounts>::new().with_permission(|account| {
        let is_admin = admins.contains(&account.id);
        async move { is_admin }
    });
}
