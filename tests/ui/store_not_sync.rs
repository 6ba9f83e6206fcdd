//! A store that threads cannot share.

use std::cell::RefCell;
use std::collections::HashMap;

use sessile::SessionId;

use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};

#[derive(Default)]
struct MapStore(RefCell<HashMap<SessionId, Record>>);

impl Store for MapStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        Ok(self.0.borrow().get(id).cloned())
    }

    async fn set(&self, _: &Record, _: Expected) -> Result<Outcome, StoreError> {
        Ok(Outcome::Refused)
    }

    async fn touch(&self, _: &Record, _: Touch) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn delete(&self, _: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        Ok(false)
    }
}

fn main() {}
