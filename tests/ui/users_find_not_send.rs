//! A look-up that holds an `Rc` across an await.

use std::convert::Infallible;
use std::rc::Rc;

use sessile::user::Users;

struct Accounts;

impl Users for Accounts {
    type Id = u64;
    type User = u64;
    type Error = Infallible;

    async fn find(&self, id: &u64) -> Result<Option<u64>, Infallible> {
        let id = Rc::new(*id);
        std::future::ready(()).await;
        Ok(Some(*id))
    }

    fn id(user: &u64) -> u64 {
        *user
    }
}

fn main() {}
