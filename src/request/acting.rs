//! Sessions in which an owner acts as another.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::UPGRADE;

use super::{CookieUpdate, RequestSession, RequestState};
use crate::clock::Timestamp;
use crate::commit::{SessionSource, has_live_actor};
use crate::error::{Error, ErrorKind};
use crate::event::EndReason;
use crate::lifetime::Lifetime;
use crate::record::{Actor, LoadedRecord};
use crate::transport::TokenLocation;

/// The effect that a request may have, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// It may change something: a form, or a socket, whose messages can although the handshake is a `GET`.
    Unsafe,
    /// It only reads (RFC 9110 §9.2.1), and the page that sent it stays: a script, an image, a frame.
    Safe,
    /// It only reads, and the answer takes the place of the page, as far as the client tells (Fetch Metadata).
    PageLoad,
}

impl RequestKind {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        if !request.method().is_safe() || headers.contains_key(UPGRADE) {
            return Self::Unsafe;
        }
        let is_document = headers.get("sec-fetch-dest").is_none_or(|destination| destination == "document");
        if is_document && !headers.contains_key("sec-purpose") { Self::PageLoad } else { Self::Safe }
    }
}

impl RequestSession {
    /// Checks whether the client has a cookie of a session in which its owner acts as another.
    pub(crate) fn is_acting(&self) -> bool {
        self.config.actors.is_some() && self.sent_token()
    }

    /// Returns the actor's own session, if this one is for acting as another.
    pub(crate) fn actors_own(&self) -> Option<&Arc<Self>> {
        self.config.actors.as_ref().and(self.outer.as_ref())
    }

    /// Returns an error for an operation that is the user's own, if another acts as the user.
    pub(crate) fn check_is_not_acting(&self) -> Result<(), Error> {
        if self.config.actors.is_none() {
            return Ok(());
        }
        Err(Error::new(self.state().failed.unwrap_or(ErrorKind::ActingAsAnother)))
    }

    /// Begins to act as `owner` in this session, which does not exist yet.
    pub(crate) async fn act_as(&self, owner: &str) -> Result<(), Error> {
        let Some(own) = self.actors_own() else { return Err(Error::new(ErrorKind::MissingLayer)) };
        if own.token_location() == TokenLocation::Header {
            return Err(Error::new(ErrorKind::PermissionDenied).with_context("acting needs a cookie"));
        }
        own.load().await?;
        self.load().await?;
        if self.is_acting() {
            let kind = if self.state().is_lapsed { ErrorKind::Ended } else { ErrorKind::ActingAsAnother };
            return Err(Error::new(kind));
        }
        let now = self.config.clock.now();
        let (actor, lifetime) = {
            let own = own.state_for_write()?;
            let stored = own.source.loaded().and_then(|loaded| Some((Actor::new(loaded)?, loaded)));
            let (actor, loaded) = stored.ok_or_else(|| own.not_signed_in())?;
            (actor, self.lifetime_within(loaded, now))
        };
        let mut state = self.state_for_write()?;
        if state.owner.is_some() {
            return Err(Error::new(ErrorKind::ActingAsAnother));
        }
        state.sign_in_as(owner, actor, lifetime, now);
        Ok(())
    }

    /// Returns the lifetime of a session that ends with the absolute timeout of the actor's own at the latest.
    fn lifetime_within(&self, own: &LoadedRecord, now: Timestamp) -> Lifetime {
        let (lifetime, actors) = (self.config.lifetime, self.config.actors.as_ref());
        let of_own = actors.map_or(lifetime, |actors| own.lifetime(actors.lifetime));
        let left = own.header.started_at.plus(of_own.absolute).since(now).max(Duration::from_millis(1));
        let absolute = lifetime.absolute.min(left);
        Lifetime { absolute, idle: lifetime.idle.map(|idle| idle.min(absolute)), max_age: None, ..lifetime }
    }

    /// Returns the session that the request uses: this one, or the actor's own after the end of this one.
    ///
    /// # Errors
    ///
    /// [`Ended`](ErrorKind::Ended) for an unsafe request (RFC 9110 §9.2.1) after the end: it was to change something of the other owner.
    pub(crate) fn in_use(self: &Arc<Self>) -> Result<&Arc<Self>, Error> {
        match self.actors_own() {
            Some(own) if self.state().is_lapsed => {
                if self.kind == RequestKind::Unsafe {
                    Err(Error::new(ErrorKind::Ended))
                } else {
                    Ok(own)
                }
            }
            _ => Ok(self),
        }
    }

    /// Checks that the actor's own session is still live, if one owner acts as another: a record alone does not tell.
    pub(crate) async fn check_actor_is_live(&self) -> Result<(), Error> {
        if self.config.actors.is_none() {
            return Ok(());
        }
        let Some(loaded) = self.state().source.loaded().cloned() else { return Ok(()) };
        if has_live_actor(&self.config, &loaded).await? { Ok(()) } else { Err(Error::new(ErrorKind::Ended)) }
    }

    /// Ends the session that was loaded, unless the same client has the live session of its actor.
    pub(super) fn check_actor<'a>(
        &'a self,
        state: &'a mut RequestState,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        Box::pin(async move {
            if matches!(state.source, SessionSource::Retired(_)) {
                return Ok(());
            }
            let Some(own) = self.actors_own() else { return Ok(()) };
            own.load().await?;
            if let SessionSource::Loaded(loaded) = &state.source
                && let Some(actor) = &loaded.header.actor
            {
                match &own.state().source {
                    SessionSource::Loaded(own) if actor.owns(own) => return Ok(()),
                    // The actor has a newer token by now.
                    SessionSource::Retired(own) if *own.record.id() == actor.session => {
                        *state = RequestState::new(SessionSource::Retired(loaded.clone()));
                        return Ok(());
                    }
                    _ => {}
                }
            }
            self.end_acting(state, EndReason::ActorGone)?;
            state.is_lapsed = true;
            Ok(())
        })
    }

    /// Ends a session in which its owner acts as another.
    ///
    /// Its cookie would hide the client's own session for good. But it stays until the client has loaded a page: an unsafe request that
    /// is sent again, from the page that is still open, must not change something of the actor.
    fn end_acting(&self, state: &mut RequestState, reason: EndReason) -> Result<(), Error> {
        let loads_page = self.kind == RequestKind::PageLoad && !self.is_passive();
        let source = match &mut state.source {
            SessionSource::Loaded(loaded) => Some(loaded),
            _ => None,
        };
        for loaded in source.into_iter().chain(&mut state.rivals).chain(&mut state.idle) {
            loaded.is_from_client &= loads_page;
        }
        state.end(reason, loads_page)?;
        state.cookie = if loads_page { CookieUpdate::Clear } else { CookieUpdate::Keep };
        Ok(())
    }

    /// Ends the session for a reason of the crate's own.
    #[cfg(feature = "axum")]
    pub(crate) fn end_by_layer(&self, state: &mut RequestState, reason: EndReason) -> Result<(), Error> {
        if self.config.actors.is_some() { self.end_acting(state, reason) } else { state.end(reason, self.sent_token()) }
    }
}
