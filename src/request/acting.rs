//! Sessions in which an owner acts as another.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{CookieUpdate, RequestSession, RequestState};
use crate::clock::Timestamp;
use crate::commit::SessionSource;
use crate::error::{Error, ErrorKind};
use crate::event::EndReason;
use crate::lifetime::Lifetime;
use crate::record::{Actor, LoadedRecord};

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
        if self.is_acting() {
            return Err(Error::new(ErrorKind::ActingAsAnother));
        }
        own.load().await?;
        self.load().await?;
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
    /// An unsafe request (RFC 9110 §9.2.1) does not go on with the actor's own: it was to change something of the other owner.
    pub(crate) fn in_use(self: &Arc<Self>) -> &Arc<Self> {
        self.actors_own().filter(|_| self.is_safe && self.state().is_lapsed).unwrap_or(self)
    }

    /// Checks that a detached session is still live, if its actor acts as another: the store cannot tell by its record alone.
    pub(super) async fn check_actor_of_detached(&self) -> Result<(), Error> {
        match &self.config.actors {
            Some(_) if self.is_detached => self.refetch_in_turn().await,
            _ => Ok(()),
        }
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
            state.end(EndReason::ActorGone, true)?;
            state.failed = Some(ErrorKind::Ended);
            state.is_lapsed = true;
            // Otherwise the cookie would hide the client's own session for good.
            state.cookie = CookieUpdate::Clear;
            Ok(())
        })
    }
}
