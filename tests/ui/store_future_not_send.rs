//! A store that keeps something across an await which threads cannot hand on.

use std::rc::Rc;

use sessile::SessionId;

use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};

struct Slow;

impl Store for Slow {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let name = Rc::new(id.to_string());
        tokio::task::yield_now().await;
        drop(name);
        Ok(None)
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
