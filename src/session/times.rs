//! Begin, last use and end of a session, for a page that warns its user.

use std::time::Duration;

use time::OffsetDateTime;

use super::Session;
use crate::lifetime::Lifetime;

/// # Times
///
/// They are those of the stored session, which [`commit`](Session::commit) and [`touch`](Session::touch) bring up to date: call
/// one of them first in a request that has signed in, set a lifetime, or must show the end after its own use. A session that is not
/// stored has none.
///
/// ```
/// use axum::Json;
/// use sessile::{Error, SignedIn};
///
/// /// Answers a page that asks how many seconds are left; routed under a `PassiveLayer`, so that asking is no use.
/// async fn seconds_left(user: SignedIn) -> Json<Option<u64>> {
///     Json(user.expires_in().map(|left| left.as_secs()))
/// }
///
/// /// Answers the button "stay signed in".
/// async fn stay(user: SignedIn) -> Result<Json<Option<u64>>, Error> {
///     user.touch().await?;
///     Ok(seconds_left(user).await)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(seconds_left).post(stay));
/// ```
impl<M> Session<M> {
    /// Returns when the session was created.
    #[must_use]
    pub fn created_at(&self) -> Option<OffsetDateTime> {
        self.id()?.created_at()
    }

    /// Returns when the session was last used, to a tenth of its idle timeout.
    #[must_use]
    pub fn last_seen(&self) -> Option<OffsetDateTime> {
        let state = self.request().state();
        let loaded = state.source.loaded()?;
        Some(loaded.last_seen(state.used_at).into())
    }

    /// Returns when the session expires unless it is used: at its idle or its absolute timeout.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        let state = self.request().state();
        let loaded = state.source.loaded()?;
        Some(loaded.ends_after_use(self.request().config().lifetime, state.used_at).into())
    }

    /// Returns the time until the session [expires](Session::expires_at), by the clock of the layer.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        let config = self.request().config();
        let state = self.request().state();
        let loaded = state.source.loaded()?;
        Some(loaded.ends_after_use(config.lifetime, state.used_at).since(config.clock.now()))
    }

    /// Returns when the session expires however much it is used: at its absolute timeout.
    #[must_use]
    pub fn absolute_expiry(&self) -> Option<OffsetDateTime> {
        let state = self.request().state();
        let loaded = state.source.loaded()?;
        let lifetime = loaded.lifetime(self.request().config().lifetime);
        Some(loaded.header.started_at.plus(lifetime.absolute).into())
    }

    /// Returns the lifetime: the session's own, or that of the layer.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.request().state().lifetime(self.request().config().lifetime)
    }
}
