//! The migration layer and its settings.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

#[cfg(any(feature = "signed", feature = "private"))]
use tower_cookies::Key;
use tower_cookies::cookie::Cookie;
use tower_layer::Layer;

use super::moving::{ErasedLegacy, Settings};
use super::service::MigrationService;
use super::{LegacySession, LegacySessions};
use crate::error::{ConfigError, ConfigErrorKind, Error};
#[cfg(any(feature = "signed", feature = "private"))]
use crate::transport::CookieCipher;
use crate::transport::{check_domain, check_path};

/// A layer that takes over the sessions of another crate.
///
/// Add it before the [`SessionLayer`](crate::SessionLayer), so that it runs after that layer, and after an
/// [`ActingLayer`](crate::acting::ActingLayer). In another order each request is answered with 500, the log says what to change, and
/// the sessions stay as they are. The [module](crate::migrate) has an example.
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
        let settings = Settings { legacy, cookie, cipher: None, convert: Arc::new(|_| Ok(())) };
        Self { settings: Arc::new(settings), marker: PhantomData }
    }
}

impl<M> MigrationLayer<M> {
    /// Sets the name of the old cookie, with its prefix if it has one. Default: `id`.
    ///
    /// # Errors
    ///
    /// A name that is empty, or that contains a semicolon, an equals sign, or anything but visible ASCII.
    pub fn with_name(self, name: impl Into<String>) -> Result<Self, ConfigError> {
        let name = name.into();
        check_name(&name)?;
        Ok(self.with(|settings| settings.cookie.set_name(name)))
    }

    /// Sets the `Path` with which the old cookie is removed. Default: `/`.
    ///
    /// # Errors
    ///
    /// A path that [`SessionLayerBuilder::build`](crate::SessionLayerBuilder::build) would refuse, too.
    pub fn with_path(self, path: impl Into<String>) -> Result<Self, ConfigError> {
        let path = path.into();
        check_path(&path)?;
        Ok(self.with(|settings| settings.cookie.set_path(path)))
    }

    /// Sets the `Domain` with which the old cookie is removed. Default: no domain.
    ///
    /// # Errors
    ///
    /// A domain that is not a host name.
    pub fn with_domain(self, domain: impl Into<String>) -> Result<Self, ConfigError> {
        let domain = domain.into();
        check_domain(&domain)?;
        Ok(self.with(|settings| settings.cookie.set_domain(domain)))
    }

    /// Sets the key that signed the old cookie: 64 bytes, such as those of `Key::master` of the crate `cookie`.
    ///
    /// Applications on tower-sessions and axum-login have set it with their `with_signed`. A cookie with another signature counts as
    /// unknown.
    ///
    /// # Errors
    ///
    /// A key of fewer than 64 bytes.
    #[cfg(feature = "signed")]
    pub fn with_signed_cookie(self, key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let key = old_key(key.as_ref())?;
        Ok(self.with(|settings| settings.cipher = Some(CookieCipher::Signed(vec![key]))))
    }

    /// Sets the key that encrypted the old cookie, also 64 bytes.
    ///
    /// # Errors
    ///
    /// A key of fewer than 64 bytes.
    #[cfg(feature = "private")]
    pub fn with_private_cookie(self, key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let key = old_key(key.as_ref())?;
        Ok(self.with(|settings| settings.cipher = Some(CookieCipher::Private(vec![key]))))
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

/// Checks that a cookie of this name can be found and removed. It need not be a token: user agents accept other names.
fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && !b"=;".contains(&byte)) {
        let reason =
            format!("name {name:?} of the old cookie must be visible ASCII without semicolons and equals signs");
        return Err(ConfigError::new(ConfigErrorKind::Cookie, reason));
    }
    Ok(())
}

/// Returns the key of another crate.
#[cfg(any(feature = "signed", feature = "private"))]
fn old_key(key: &[u8]) -> Result<Key, ConfigError> {
    Key::try_from(key).map_err(|error| {
        let reason = "the key of the old cookie is shorter than 64 bytes: take those of `Key::master`";
        ConfigError::new(ConfigErrorKind::Key, reason).with_source(error)
    })
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
