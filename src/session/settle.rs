//! Committing what a request did: when its handler asks for it, and with its response.

use super::changes::Upkeep;
use super::lifetime::Lifetime;
use super::load::Found;
use super::request::RequestSession;
use super::rotation::Presented;
use super::work::{Base, Farewell, Outgoing, Work};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::event::EventKind;
use crate::store::Touch;
use crate::transport::Carrier;

/// What is left to be done for a session when its response is there.
pub(crate) enum Leave {
    /// Nothing, and there is nothing to say: it was not used.
    NotLoaded,
    /// Nothing.
    Settled(Farewell),
    /// It must be [settled](RequestSession::settle).
    Unsettled,
}

impl RequestSession {
    /// Writes everything that was done so far.
    pub(crate) async fn commit(&self) -> Result<(), Error> {
        let failures = self.work().failures;
        let _turn = self.shared.turn().await;
        // While this waited, the response may have gone out, or a commit failed that dropped what this was to write.
        let dropped = {
            let work = self.work_for_end()?;
            work.dropped.filter(|_| work.failures != failures)
        };
        if let Some(kind) = dropped {
            return Err(Error::new(kind));
        }
        while let Some(flight) = self.take_off(Upkeep::default()) {
            flight.run().await?;
        }
        Ok(())
    }

    /// Commits for a response: what was done, if the answer allows it, and what is due.
    ///
    /// A session that has ended meanwhile is no error here: the answer stands, and there is nothing to tell of it. But an
    /// answer that claims success stands only if no commit of its handler has failed.
    pub(crate) async fn settle(&self, commit_changes: bool, claims_success: bool) -> Result<(), Error> {
        let _turn = self.shared.turn().await;
        if !commit_changes {
            self.work().discard();
        }
        let mut upkeep = Some(());
        loop {
            let due = upkeep.take().map(|()| self.upkeep(&self.work(), || self.config().clock.now()));
            let Some(flight) = self.take_off(due.unwrap_or_default()) else { break };
            match flight.run().await {
                Err(error) if error.kind() == ErrorKind::Ended => return Ok(()),
                done => done?,
            }
        }
        match self.work().failed {
            Some(kind) if claims_success && kind != ErrorKind::Ended => return Err(Error::new(kind)),
            _ => {}
        }
        self.touch_if_due().await;
        Ok(())
    }

    /// [Settles](Self::settle) a session whose store lets it come to its end without a wait.
    pub(crate) fn settle_at_once(&self, commit_changes: bool, claims_success: bool) -> Option<Result<(), Error>> {
        self.at_once(|| self.settle(commit_changes, claims_success))
    }

    /// The head of the response is about to go out: no write from now on. Says what is left to be done before that.
    ///
    /// Where the handler has `waited` for nothing, what is due goes by the time at which the session was loaded: it is now as good as
    /// then, and to look at the clock takes as long as a hash.
    pub(crate) fn leave(&self, commit_changes: bool, waited: bool) -> Leave {
        let mut state = self.shared.lock();
        state.closed = true;
        // Whether another task of this request is committing.
        let busy = state.busy;
        let Some(work) = &mut state.work else { return Leave::NotLoaded };
        if !commit_changes {
            work.discard();
        }
        if busy || self.needs_settling(work, commit_changes, waited) {
            Leave::Unsettled
        } else {
            Leave::Settled(work.farewell())
        }
    }

    /// What the head says of a session that is settled.
    pub(crate) fn farewell(&self) -> Farewell {
        self.work().farewell()
    }

    /// Whether [`settle`](Self::settle) has anything to do.
    fn needs_settling(&self, work: &Work, commit_changes: bool, waited: bool) -> bool {
        if !work.endings.is_empty()
            || work.failed.is_some()
            || (commit_changes && (work.stalled.is_some() || !work.changes.is_empty()))
        {
            return true;
        }
        let Base::Live(live) = &work.base else { return false };
        let now = live.loaded_at.filter(|_| !waited).unwrap_or_else(|| self.config().clock.now());
        self.upkeep(work, || now) != Upkeep::default() || self.is_touch_due(work, now)
    }

    /// Notes that the session was used, unless that was done lately. A failure costs the client nothing.
    async fn touch_if_due(&self) {
        let (record, lifetime, started_at, now) = {
            let work = self.work();
            if work.used {
                return;
            }
            let now = self.config().clock.now();
            let Base::Live(live) = &work.base else { return };
            if !self.is_touch_due(&work, now) {
                return;
            }
            (live.found.record.clone(), work.lifetime(self.config().lifetime), live.found.header.started_at, now)
        };
        let touch = Touch::new(now.into(), lifetime.expires_at(started_at, now).into());
        match self.config().store.touch(&record, touch).await {
            Ok(touched) => {
                let mut work = self.work();
                work.used = true;
                if touched {
                    self.renew_cookie(&mut work, lifetime);
                }
            }
            Err(error) => self.config().events.raise_failure(EventKind::UpkeepFailed, *record.id(), &error),
        }
    }

    fn is_touch_due(&self, work: &Work, now: Timestamp) -> bool {
        let lifetime = work.lifetime(self.config().lifetime);
        let due = || work.base.is_use_unnoted(lifetime, now) || self.confirms(&work.base) || work.base.is_outdated();
        !work.used && due()
    }

    /// Whether the client brings the token of a session that lives for a short time only until it does.
    fn confirms(&self, base: &Base) -> bool {
        matches!(base, Base::Live(live) if live.is_the_clients && live.found.is_unconfirmed(self.config()))
    }

    /// Sends a persistent cookie again, or one that an old key has written, under a token that is still the current one.
    pub(super) fn renew_cookie(&self, work: &mut Work, lifetime: Lifetime) {
        let (Base::Live(live), Outgoing::Nothing) = (&work.base, &work.outgoing) else { return };
        if !(lifetime.max_age.is_some() || live.outdated) || self.carrier() != Carrier::Cookie {
            return;
        }
        let Some(token) = live.current_token() else { return };
        let now = self.config().clock.now();
        if !live.found.header.secrets.may_refresh(now) {
            // A periodic rotation has just sent another, which this must not come after.
            return;
        }
        let max_age = lifetime.cookie_max_age(live.found.header.started_at, now);
        work.outgoing = Outgoing::Set { token: token.clone(), max_age };
    }

    /// What the session itself has due. Few have anything for which the time matters.
    fn upkeep(&self, work: &Work, now: impl FnOnce() -> Timestamp) -> Upkeep {
        let Base::Live(live) = &work.base else { return Upkeep::default() };
        let secrets = &live.found.header.secrets;
        let changes_token = work.changes.sign_in.is_some() || work.changes.rotate;
        let is_old = |period| {
            let now = now();
            now.since(secrets.since) >= period && secrets.may_refresh(now)
        };
        Upkeep {
            promote: !self.is_detached() && live.presented == Presented::Pending,
            refresh: !self.is_detached()
                && !changes_token
                && live.presented == Presented::Current
                && live.token.is_some()
                && work.lifetime(self.config().lifetime).rotation.is_some_and(is_old),
        }
    }

    /// Goes on from a newer record of the same session.
    pub(crate) fn rebase(&self, found: Found) {
        let mut work = self.work();
        let token = match &work.base {
            Base::Live(live) => live.token.clone(),
            _ => None,
        };
        let presented = found.presented_still(token.as_ref(), self.config().clock.now());
        work.rebase(found.live(presented, token));
        if work.changes.is_empty() {
            work.discard();
        } else {
            work.view_is_exact = false;
        }
    }
}
