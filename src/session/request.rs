//! What a request, its handlers and its response share of a session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::changes::{Changes, Upkeep};
use super::commit::Committed;
use super::lifetime::Lifetime;
use super::limit::end_surplus;
use super::load::{Found, load};
use super::rotation::Presented;
use super::view::View;
use super::work::{Base, Batch, Ending, Live, Outgoing, Work};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::event::{EndReason, EventKind};
use crate::store::Touch;
use crate::token::SessionId;
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
    /// The head of the response is out.
    closed: AtomicBool,
    /// Set when the session is loaded; a box, since most requests of most applications never load it. Never locked
    /// while a closure of the application runs, nor across an await.
    work: OnceLock<Box<Mutex<Work>>>,
    /// One load or commit at a time.
    turn: tokio::sync::Mutex<()>,
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
            closed: AtomicBool::new(false),
            work: OnceLock::new(),
            turn: tokio::sync::Mutex::new(()),
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
        Self {
            detached: true,
            work: OnceLock::from(Box::new(Mutex::new(work))),
            ..Self::new(config, Candidates::default(), None)
        }
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
        if self.is_loaded() {
            return Ok(());
        }
        let _turn = self.turn().await;
        if !self.is_loaded() {
            let base = load(&self.config, &self.candidates).await?;
            self.work.get_or_init(|| Box::new(Mutex::new(Work::new(base))));
        }
        Ok(())
    }

    /// Whether the client brought anything that may be a token.
    #[cfg(feature = "migrate")]
    pub(crate) fn has_candidates(&self) -> bool {
        self.candidates.tokens()[0].is_some()
    }

    /// Loads the session of a token that the client did not bring, and sends it with the response. Says whether there is one.
    ///
    /// Only for a request whose client has no session, before anything is written.
    #[cfg(feature = "migrate")]
    pub(crate) async fn adopt(&self, token: crate::token::Token) -> Result<bool, Error> {
        if self.carrier() == Carrier::Header {
            return Ok(false);
        }
        let _turn = self.turn().await;
        let now = self.config.clock.now();
        let Some(found) = super::load::find(&self.config, &token.id(), now).await? else { return Ok(false) };
        let verifier = token.verifier();
        let presented = found.header.secrets.presented(&verifier, now);
        if !presented.is_live() {
            return Ok(false);
        }
        let lifetime = found.header.lifetime.unwrap_or(self.config.lifetime);
        let max_age = lifetime.cookie_max_age(found.header.started_at, now);
        let live = found.live(presented, Some((token.clone(), verifier)));
        let mut work = Work::new(Base::Live(super::work::Live { is_the_clients: true, ..live }));
        work.outgoing = Outgoing::Set { token, max_age };
        let Some(present) = self.work.get() else {
            return Ok(self.work.set(Box::new(Mutex::new(work))).is_ok());
        };
        // Somebody has loaded it already, and found nothing.
        let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
        let untouched = matches!(present.base, Base::Fresh) && present.edits == 0;
        if untouched {
            work.edits = 1;
            *present = work;
        }
        Ok(untouched)
    }

    /// Waits until no other task of this request loads or commits.
    async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        // Nearly always it is free, and to ask costs a tenth of what it costs to wait.
        match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.turn.lock().await,
        }
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.work.get().is_some()
    }

    /// The work of a session that is loaded.
    pub(crate) fn work(&self) -> MutexGuard<'_, Work> {
        let work = self.work.get().expect("only what is loaded is given out as a session");
        // Nothing that can panic runs under this lock.
        work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work, for a change of it.
    pub(crate) fn work_for_write(&self) -> Result<MutexGuard<'_, Work>, Error> {
        let work = self.work_for_end()?;
        work.writable()?;
        Ok(work)
    }

    /// The work, for a change of the token.
    pub(crate) fn work_for_rotation(&self) -> Result<MutexGuard<'_, Work>, Error> {
        if self.detached {
            return Err(Error::new(ErrorKind::Detached));
        }
        let work = self.work_for_end()?;
        work.may_rotate()?;
        Ok(work)
    }

    /// The work, for its end.
    pub(crate) fn work_for_end(&self) -> Result<MutexGuard<'_, Work>, Error> {
        let work = self.work();
        if self.closed.load(Ordering::SeqCst) { Err(Error::new(ErrorKind::Closed)) } else { Ok(work) }
    }

    /// No write from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Writes everything that was done so far.
    pub(crate) async fn commit(&self) -> Result<(), Error> {
        let failures = self.work().failures;
        let _turn = self.turn().await;
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
        let _turn = self.turn().await;
        if !commit_changes {
            self.discard();
        }
        let mut upkeep = Some(());
        loop {
            let due = upkeep.take().map(|()| self.upkeep(&self.work(), self.config.clock.now()));
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

    /// Drops what was not committed.
    pub(crate) fn discard(&self) {
        if self.is_loaded() {
            self.work().discard();
        }
    }

    /// Whether [`settle`](Self::settle) has anything to do.
    pub(crate) fn needs_settling(&self, commit_changes: bool) -> bool {
        if self.turn.try_lock().is_err() {
            // Another task of this request is committing.
            return true;
        }
        let work = self.work();
        if !work.endings.is_empty()
            || work.failed.is_some()
            || (commit_changes && (work.stalled.is_some() || !work.changes.is_empty()))
        {
            return true;
        }
        let now = self.config.clock.now();
        self.upkeep(&work, now) != Upkeep::default() || self.is_touch_due(&work, now)
    }

    pub(crate) fn outgoing(&self) -> Outgoing {
        self.work().outgoing.clone()
    }

    /// Whether this request has ended the session that its client came with.
    pub(crate) fn ended_the_clients(&self) -> bool {
        self.work().ended_the_clients
    }

    /// Notes that the session was used, unless that was done lately. A failure costs the client nothing.
    async fn touch_if_due(&self) {
        let now = self.config.clock.now();
        let (record, lifetime, started_at) = {
            let work = self.work();
            let Base::Live(live) = &work.base else { return };
            if !self.is_touch_due(&work, now) {
                return;
            }
            (live.found.record.clone(), work.lifetime(self.config.lifetime), live.found.header.started_at)
        };
        let touch = Touch::new(now.into(), lifetime.expires_at(started_at, now).into());
        match self.config.store.touch(record.id(), record.version(), touch).await {
            Ok(touched) => {
                let mut work = self.work();
                work.used = true;
                if touched {
                    self.renew_cookie(&mut work, lifetime);
                }
            }
            Err(error) => self.config.events.raise_failure(EventKind::UpkeepFailed, *record.id(), &error),
        }
    }

    fn is_touch_due(&self, work: &Work, now: Timestamp) -> bool {
        let lifetime = work.lifetime(self.config.lifetime);
        let due = || is_use_unnoted(&work.base, lifetime, now) || self.confirms(&work.base) || is_outdated(&work.base);
        !work.used && due()
    }

    /// Whether the client brings the token of a session that lives for a short time only until it does.
    fn confirms(&self, base: &Base) -> bool {
        matches!(base, Base::Live(live) if live.is_the_clients && live.found.is_unconfirmed(&self.config))
    }

    /// Sends a persistent cookie again, or one that an old key has written, under a token that is still the current one.
    fn renew_cookie(&self, work: &mut Work, lifetime: Lifetime) {
        let (Base::Live(live), Outgoing::Nothing) = (&work.base, &work.outgoing) else { return };
        let Some(token) = live.current_token() else { return };
        let now = self.config.clock.now();
        if !live.found.header.secrets.may_refresh(now) {
            // A periodic rotation has just sent another, which this must not come after.
            return;
        }
        let max_age = lifetime.cookie_max_age(live.found.header.started_at, now);
        if (max_age.is_some() || live.outdated) && self.carrier() == Carrier::Cookie {
            work.outgoing = Outgoing::Set { token: token.clone(), max_age };
        }
    }

    /// What the session itself has due.
    fn upkeep(&self, work: &Work, now: Timestamp) -> Upkeep {
        let Base::Live(live) = &work.base else { return Upkeep::default() };
        let secrets = &live.found.header.secrets;
        let is_old = |period| now.since(secrets.since) >= period;
        let changes_token = work.changes.sign_in.is_some() || work.changes.rotate;
        Upkeep {
            promote: !self.detached && live.presented == Presented::Pending,
            refresh: !self.detached
                && !changes_token
                && live.presented == Presented::Current
                && live.token.as_ref().is_some_and(|_| secrets.may_refresh(now))
                && work.lifetime(self.config.lifetime).rotation.is_some_and(is_old),
        }
    }

    /// Goes on from a newer record of the same session.
    pub(crate) fn rebase(&self, found: Found) {
        let mut work = self.work();
        let token = match &work.base {
            Base::Live(live) => live.token.clone(),
            _ => None,
        };
        let presented = found.presented_still(token.as_ref(), self.config.clock.now());
        work.rebase(found.live(presented, token));
        if work.changes.is_empty() {
            work.discard();
        } else {
            work.view_is_exact = false;
        }
    }

    /// Takes the next piece of work that is to be committed; what is due goes with it.
    fn take_off(&self, upkeep: Upkeep) -> Option<Flight<'_>> {
        let mut work = self.work();
        if let Some(ending) = work.endings.pop() {
            return Some(self.flight(Job::End(ending), &work));
        }
        if let Some(stalled) = work.stalled.take() {
            return Some(self.flight(Job::Commit(*stalled), &work));
        }
        let changes = Changes { upkeep, ..std::mem::take(&mut work.changes) };
        if changes.is_nothing() {
            return None;
        }
        let result = work.view_is_exact.then(|| work.view.clone());
        let mut batch = Batch::new(work.base.clone(), changes);
        batch.result = result;
        batch.attempt.new_id = work.new_id;
        Some(self.flight(Job::Commit(batch), &work))
    }

    fn flight(&self, job: Job, work: &Work) -> Flight<'_> {
        Flight { session: self, job: Some(job), ends: work.ends }
    }
}

/// A piece of work on its way to the store. Dropped before it has landed, it goes back to where it came from, so that
/// a handler that gives up waiting (`select!`, a timeout) loses nothing.
struct Flight<'a> {
    session: &'a RequestSession,
    job: Option<Job>,
    /// Which of the request's sessions it was.
    ends: u32,
}

#[expect(clippy::large_enum_variant, reason = "it lives for one commit, and a box would cost that an allocation")]
enum Job {
    Commit(Batch),
    End(Ending),
}

impl Flight<'_> {
    async fn run(mut self) -> Result<(), Error> {
        let config = self.session.config();
        match &mut self.job {
            Some(Job::Commit(batch)) if self.session.detached && matches!(batch.base, Base::Fresh) => {
                self.fail(Error::new(ErrorKind::Detached))
            }
            Some(Job::Commit(batch)) => match batch.run(config).await {
                Ok(committed) => {
                    let signed_in = batch.changes.sign_in.as_ref().map(|sign_in| Arc::clone(&sign_in.owner));
                    self.land(committed)?;
                    if let (Some(owner), Some(limit)) = (signed_in, config.owner_limit) {
                        // Few commits sign in, and all would carry its future.
                        Box::pin(end_surplus(config, &owner, limit)).await;
                    }
                    Ok(())
                }
                Err(error) => self.fail(error),
            },
            Some(Job::End(ending)) => match ending.run(config).await {
                Ok(ended) => self.land_ending(ended),
                Err(error) => self.fail(error),
            },
            None => Ok(()),
        }
    }

    /// The commit took effect.
    fn land(mut self, committed: Committed) -> Result<(), Error> {
        let Some(Job::Commit(batch)) = self.job.take() else { return Ok(()) };
        let (session, config) = (self.session, self.session.config());
        let Committed { live, issued } = committed;
        let id = *live.found.record.id();
        raise_events(config, &batch, issued.is_some(), id);

        let mut work = session.work();
        if work.ends != self.ends {
            // Ended by the same request, while it was on its way.
            work.endings.push(Ending::of(live, EndReason::SignedOut));
            return Ok(());
        }
        work.used = true;
        let lifetime = live.found.header.lifetime.unwrap_or(config.lifetime);
        let now = config.clock.now();
        let outdated = is_outdated(&batch.base);
        let renewal = batch.changes.lifetime.is_some() || outdated || is_use_unnoted(&batch.base, lifetime, now);
        if let Some(token) = issued {
            let max_age = lifetime.cookie_max_age(live.found.header.started_at, now);
            work.outgoing = Outgoing::Set { token, max_age };
        }
        let untouched = work.changes.is_empty();
        if untouched {
            work.view = View::new(live.found.data.clone());
            work.owner = live.found.record.owner_shared().cloned();
            work.authenticated_at = live.found.header.authenticated_at;
        }
        // What was written meanwhile is in the view, over something else than what is stored now.
        work.view_is_exact = untouched;
        work.rebase(Live { outdated, ..live });
        if renewal {
            session.renew_cookie(&mut work, lifetime);
        }
        Ok(())
    }

    fn land_ending(mut self, ended: bool) -> Result<(), Error> {
        let Some(Job::End(ending)) = self.job.take() else { return Ok(()) };
        if ended {
            self.session.config().events.raise_end(ending.id, ending.reason);
            let mut work = self.session.work();
            if ending.clears_cookie {
                work.ended_the_clients = true;
                if matches!(work.outgoing, Outgoing::Nothing) {
                    work.outgoing = Outgoing::Clear;
                }
            }
        }
        Ok(())
    }

    /// The commit failed, and will not be tried again by this request.
    fn fail(mut self, error: Error) -> Result<(), Error> {
        let job = self.job.take();
        if let Some(Job::Commit(Batch { base: Base::Live(live), changes, .. })) = &job
            && changes.is_empty()
        {
            // Upkeep alone: nobody asked for it.
            if error.kind() == ErrorKind::Unavailable {
                let events = &self.session.config().events;
                events.raise(EventKind::UpkeepFailed, *live.found.record.id());
            }
            return Ok(());
        }
        let mut work = self.session.work();
        if work.ends != self.ends {
            // It was of a session that the request has ended since.
            return Err(error);
        }
        work.discard();
        work.failures += 1;
        work.dropped = Some(error.kind());
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Superseded | ErrorKind::Ended) {
            work.failed = Some(error.kind());
        }
        if matches!(error.kind(), ErrorKind::Superseded | ErrorKind::Ended)
            && matches!(work.outgoing, Outgoing::Set { .. })
        {
            // The token opens nothing any more, and the client may have a better one by now.
            work.outgoing = Outgoing::Nothing;
        }
        Err(error)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        let mut work = self.session.work();
        match job {
            Job::Commit(batch) if work.ends != self.ends => work.end_stalled(&batch),
            Job::Commit(batch) => work.stalled = Some(Box::new(batch)),
            Job::End(ending) => work.endings.push(ending),
        }
    }
}

/// Whether the last use that the store knows of was too long ago.
fn is_use_unnoted(base: &Base, lifetime: Lifetime, now: Timestamp) -> bool {
    let Base::Live(live) = base else { return false };
    now.since(live.found.record.last_seen_timestamp()) >= lifetime.touch_interval()
}

/// Whether the client's cookie was written by an old key.
const fn is_outdated(base: &Base) -> bool {
    matches!(base, Base::Live(live) if live.outdated)
}

fn raise_events(config: &Config, batch: &Batch, issued: bool, id: SessionId) {
    let changes = &batch.changes;
    if matches!(batch.base, Base::Fresh) {
        config.events.raise(EventKind::Created, id);
    }
    if changes.sign_in.is_some() {
        config.events.raise(EventKind::SignedIn, id);
    }
    if issued && (changes.rotate || changes.sign_in.is_some()) && matches!(batch.base, Base::Live(_)) {
        config.events.raise(EventKind::Rotated, id);
    }
    if issued && changes.upkeep.refresh {
        config.events.raise(EventKind::Refreshed, id);
    }
}
