//! The migration layer and its settings.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tower_cookies::cookie::Cookie;
use tower_layer::Layer;

use super::moving::{ErasedLegacy, Settings};
use super::service::MigrationService;
use super::{LegacySession, LegacySessions};
use crate::error::Error;

/// A layer that takes over the sessions of another crate.
///
/// Add it before the [`SessionLayer`](crate::SessionLayer), so that it runs after that layer. The [module](crate::migrate)
/// has an example.
#[must_use]
pub struct MigrationLayer<M = ()> {
    settings: Arc<Settings>,
    marker: PhantomData<fn() -> M>,
}

impl MigrationLayer {
    /// Creates a layer over these legacy sessions, for a cookie `id` with `Path=/`.
    pub fn new(legacy: impl LegacySessions) -> Self {
        let legacy: Arc<dyn ErasedLegacy> = Arc::new(legacy);
        let cookie = Cookie::build(("id", "")).path("/").build();
        let settings = Settings { legacy, cookie, convert: Arc::new(|_| Ok(())) };
        Self { settings: Arc::new(settings), marker: PhantomData }
    }
}

impl<M> MigrationLayer<M> {
    /// Sets the name of the old cookie. Default: `id`.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.with(|settings| settings.cookie.set_name(name.into()))
    }

    /// Sets the `Path` with which the old cookie is removed. Default: `/`.
    pub fn with_path(self, path: impl Into<String>) -> Self {
        self.with(|settings| settings.cookie.set_path(path.into()))
    }

    /// Sets the `Domain` with which the old cookie is removed. Default: no domain.
    pub fn with_domain(self, domain: impl Into<String>) -> Self {
        self.with(|settings| settings.cookie.set_domain(domain.into()))
    }

    /// Sets a function that converts each old session. Default: all values are kept and the new session has no owner.
    ///
    /// The function can sign in the owner, rename keys and remove values. If it fails, the client gets a 500 and the old
    /// session stays.
    pub fn with_conversion(
        self,
        convert: impl Fn(&mut LegacySession) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.convert = Arc::new(convert))
    }

    /// Sets the marker of the [`SessionLayer`](crate::SessionLayer) that the new sessions belong to. Default: `()`.
    pub fn with_marker<N>(self) -> MigrationLayer<N> {
        MigrationLayer { settings: self.settings, marker: PhantomData }
    }

    fn with(self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        set(&mut settings);
        Self { settings: Arc::new(settings), marker: PhantomData }
    }
}

impl<S, M> Layer<S> for MigrationLayer<M> {
    type Service = MigrationService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        MigrationService::new(inner, Arc::clone(&self.settings))
    }
}

impl<M> Clone for MigrationLayer<M> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings), marker: PhantomData }
    }
}

impl<M> fmt::Debug for MigrationLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationLayer").field("cookie", &self.settings.cookie.name()).finish_non_exhaustive()
    }
}
