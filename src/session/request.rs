//! What a request, its handlers and its response share of a session.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::load::load;
use super::shared::{Shared, WorkGuard};
use super::work::Work;
use crate::config::{Config, ReplayPolicy};
use crate::error::{Error, ErrorKind};
use crate::transport::{Candidates, Carrier, Transport};

/// One request's session, loaded or not.
pub(crate) struct RequestSession {
    config: Arc<Config>,
    candidates: Candidates,
    #[cfg(feature = "tracing")]
    way: crate::plain_http::Way,
    /// That of the layer around this request's layer, if there is one.
    outer: Option<Arc<RequestSession>>,
    /// Detached from its request: it outlives the response, and can change no token.
    detached: bool,
    pub(super) shared: Shared,
}

impl RequestSession {
    pub(crate) fn new(config: Arc<Config>, candidates: Candidates, outer: Option<Arc<Self>>) -> Self {
        Self {
            config,
            candidates,
            #[cfg(feature = "tracing")]
            way: crate::plain_http::Way::default(),
            outer,
            detached: false,
            shared: Shared::default(),
        }
    }

    /// Says which way the request came.
    #[cfg(feature = "tracing")]
    pub(crate) fn came(mut self, way: crate::plain_http::Way) -> Self {
        self.way = way;
        self
    }

    /// Which way the request came.
    #[cfg(feature = "tracing")]
    pub(crate) const fn way(&self) -> crate::plain_http::Way {
        self.way
    }

    /// A session without a request.
    pub(crate) fn detached(config: Arc<Config>, work: Work) -> Self {
        Self { detached: true, shared: Shared::loaded(work), ..Self::new(config, Candidates::default(), None) }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn shared_config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(crate) const fn is_detached(&self) -> bool {
        self.detached
    }

    /// Whether `other` is the session of a layer around this one.
    pub(crate) fn is_within(&self, other: &Arc<Self>) -> bool {
        self.outer.as_ref().is_some_and(|outer| Arc::ptr_eq(outer, other) || outer.is_within(other))
    }

    /// The name of what this layer, or one around it, would take for its own as this transport does.
    pub(crate) fn conflict(&self, transport: &Transport) -> Option<&str> {
        let outer = || self.outer.as_ref().and_then(|outer| outer.conflict(transport));
        self.config.transport.conflict(transport).or_else(outer)
    }

    /// What the client's token came in.
    pub(crate) const fn carrier(&self) -> Carrier {
        self.candidates.carrier()
    }

    /// Loads the session, once for the request.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        // What ends a session raises events before it may have to wait, and is not begun twice.
        let loads_only = self.config.replay_policy == ReplayPolicy::Report;
        match loads_only.then(|| self.at_once(|| self.load_in_turn())).flatten() {
            Some(loaded) => loaded,
            None if self.is_loaded() => Ok(()),
            // Apart, so that the future of a handler does not carry it, which is moved about.
            None => Box::pin(self.load_in_turn()).await,
        }
    }

    async fn load_in_turn(&self) -> Result<(), Error> {
        if let Some(turn) = self.shared.turn_to_load().await {
            let base = load(&self.config, &self.candidates).await?;
            turn.end_with(Box::new(Work::new(base)));
        }
        Ok(())
    }

    /// The outcome of work on the session that a store which answers at once lets come to its end without a wait. `None` where
    /// there is another store, or something to wait for: then the work is as if its client had gone away, and is begun anew.
    pub(super) fn at_once<F: Future>(&self, work: impl FnOnce() -> F) -> Option<F::Output> {
        if !self.config.store.answers_at_once() {
            return None;
        }
        match pin!(work()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    /// Whether the client brought anything that may be a token.
    #[cfg(feature = "migrate")]
    pub(crate) fn has_candidates(&self) -> bool {
        self.candidates.tokens().iter().any(Option::is_some)
    }

    /// Loads the session of a token that the client did not bring, and sends it with the response. Says whether there is one.
    ///
    /// Only for a request whose client has no session, before anything is written.
    #[cfg(feature = "migrate")]
    pub(crate) async fn adopt(&self, token: crate::token::Token) -> Result<bool, Error> {
        use super::work::{Base, Live, Outgoing};

        if self.carrier() == Carrier::Header {
            return Ok(false);
        }
        let _turn = self.shared.turn().await;
        let Some(found) = super::load::find(&self.config, &token.id()).await? else { return Ok(false) };
        let now = self.config.clock.now();
        let verifier = token.verifier();
        let presented = found.header.secrets.presented(&verifier, now);
        if !presented.is_live() {
            return Ok(false);
        }
        let lifetime = found.header.lifetime.unwrap_or(self.config.lifetime);
        let max_age = lifetime.cookie_max_age(found.header.started_at, now);
        let live = found.live(presented, Some((token.clone(), verifier)));
        let mut work = Work::new(Base::Live(Live { is_the_clients: true, ..live }));
        work.outgoing = Outgoing::Set { token, max_age };
        let mut state = self.shared.lock();
        // Somebody may have loaded it already, and found nothing.
        if let Some(present) = &state.work {
            if !matches!(present.base, Base::Fresh) || present.edits != 0 {
                return Ok(false);
            }
            work.edits = 1;
        }
        state.work = Some(Box::new(work));
        Ok(true)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.shared.lock().work.is_some()
    }

    /// The work of a session that is loaded.
    pub(crate) fn work(&self) -> WorkGuard<'_> {
        self.shared.work()
    }

    /// The work, for a change of it.
    pub(crate) fn work_for_write(&self) -> Result<WorkGuard<'_>, Error> {
        let work = self.work_for_end()?;
        work.writable()?;
        Ok(work)
    }

    /// The work, for a change of the token.
    pub(crate) fn work_for_rotation(&self) -> Result<WorkGuard<'_>, Error> {
        if self.detached {
            return Err(Error::new(ErrorKind::Detached));
        }
        let work = self.work_for_end()?;
        work.may_rotate()?;
        Ok(work)
    }

    /// The work, for its end.
    pub(crate) fn work_for_end(&self) -> Result<WorkGuard<'_>, Error> {
        let work = self.work();
        if work.is_closed() { Err(Error::new(ErrorKind::ResponseSent)) } else { Ok(work) }
    }

    /// No write from now on.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
    }
}
