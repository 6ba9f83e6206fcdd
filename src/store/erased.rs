//! The object-safe twin of [`Store`], so that a session is not generic over its store.

use std::future::Future;
use std::pin::Pin;

use super::{Expected, Outcome, Store, Touch};
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::token::SessionId;

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn get<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Result<Option<Record>, StoreError>>;
    fn set<'a>(&'a self, record: &'a Record, expected: Expected) -> Answer<'a, Result<Outcome, StoreError>>;
    fn touch<'a>(&'a self, id: &'a SessionId, version: Version, touch: Touch) -> Answer<'a, Result<bool, StoreError>>;
    fn delete<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Result<bool, StoreError>>;
    fn owned_by<'a>(&'a self, owner: &'a str) -> Answer<'a, Result<Vec<Record>, StoreError>>;
    fn delete_expired(&self) -> Answer<'_, Result<u64, StoreError>>;
    fn pause(&self, attempt: u32) -> Answer<'_, ()>;
}

impl<S: Store> ErasedStore for S {
    fn get<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Result<Option<Record>, StoreError>> {
        Box::pin(Store::get(self, id))
    }

    fn set<'a>(&'a self, record: &'a Record, expected: Expected) -> Answer<'a, Result<Outcome, StoreError>> {
        Box::pin(Store::set(self, record, expected))
    }

    fn touch<'a>(&'a self, id: &'a SessionId, version: Version, touch: Touch) -> Answer<'a, Result<bool, StoreError>> {
        Box::pin(Store::touch(self, id, version, touch))
    }

    fn delete<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Result<bool, StoreError>> {
        Box::pin(Store::delete(self, id))
    }

    fn owned_by<'a>(&'a self, owner: &'a str) -> Answer<'a, Result<Vec<Record>, StoreError>> {
        Box::pin(Store::owned_by(self, owner))
    }

    fn delete_expired(&self) -> Answer<'_, Result<u64, StoreError>> {
        Box::pin(Store::delete_expired(self))
    }

    fn pause(&self, attempt: u32) -> Answer<'_, ()> {
        Box::pin(Store::pause(self, attempt))
    }
}
