//! Users with an id that is not read from text, an error that is no error, and without `id`.

use sessile::user::Users;

#[derive(Clone, PartialEq)]
struct Id(u64);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

struct Failure;

struct Accounts;

impl Users for Accounts {
    type Id = Id;
    type User = Id;
    type Error = Failure;

    async fn find(&self, id: &Id) -> Result<Option<Id>, Failure> {
        Ok(Some(id.clone()))
    }
}

fn main() {}
