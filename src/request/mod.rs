//! The session of one request: loaded at most once, changed in memory, committed with the response.

mod acting;
mod guard;
#[cfg(feature = "_sql")]
mod in_transaction;
mod load;
mod reads;
mod state;
mod turn;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

pub(crate) use self::acting::RequestKind;
#[cfg(feature = "_sql")]
pub(crate) use self::in_transaction::PreparedWrite;
pub(crate) use self::state::{CookieUpdate, RequestState};
pub(crate) use self::turn::TurnLock;

use self::guard::CommitGuard;
use self::load::{Loaded, load};
use self::turn::Turn;
use crate::clock::Timestamp;
use crate::commit::{PromisedSession, Refresh, SessionSource, end_replayed, find};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::event::EventKind;
use crate::lifetime::Lifetime;
use crate::plain_http::RequestScheme;
use crate::queue::ready_before;
use crate::record::{LoadedRecord, Record, TokenStatus, Touch};
use crate::transport::{Candidates, TokenLocation, Transport};

/// The session of one request, shared by its handlers and its response.
pub(crate) struct RequestSession {
    config: Arc<Config>,
    candidates: Candidates,
    scheme: RequestScheme,
    /// The request is outside the path of the cookie.
    is_outside_path: bool,
    /// The effect that the request may have, for a session in which an owner acts as another.
    kind: RequestKind,
    /// The session of the layer around this request's layer, if there is one.
    outer: Option<Arc<RequestSession>>,
    /// Detached from its request: it outlives the response, and can change no token.
    is_detached: bool,
    /// The request is no use of its session.
    is_passive: AtomicBool,
    /// A copy whose changes a transaction of the application commits. It cannot commit them itself.
    is_fork: bool,
    /// Set when the session is loaded. Boxed, since most requests of most applications never load it.
    ///
    /// The lock is held for a few instructions at a time: never while a closure of the application runs, nor across an await.
    state: OnceLock<Mutex<Box<RequestState>>>,
    /// Held by the task of this request that loads or commits.
    turn: TurnLock,
    /// The head of the response is sent: no write from then on. Set before the state is locked, read under its lock.
    is_closed: AtomicBool,
}

/// The locked state of a request.
pub(crate) type StateGuard<'a> = MutexGuard<'a, Box<RequestState>>;

/// The effect of a session on its response.
#[derive(Debug, Default)]
pub(crate) struct ResponseUpdate {
    pub(crate) cookie: CookieUpdate,
    /// The request has ended the session of the client's own cookie.
    pub(crate) ended_client_session: bool,
}

/// The next step after the handler has answered.
#[derive(Debug)]
pub(crate) enum ResponseStep {
    /// Nothing to do: the session was not used.
    Unused,
    /// Apply this update.
    Update(ResponseUpdate),
    /// [Finish](RequestSession::finish) the session.
    Finish,
}

/// The next step of finishing a session.
enum FinishStep<'a> {
    Run(CommitGuard<'a>),
    Touch { record: Record, touch: Touch, lifetime: Lifetime },
    Done(ResponseUpdate),
    Failed(ErrorKind, ResponseUpdate),
}

impl RequestSession {
    pub(crate) fn new(
        config: Arc<Config>,
        candidates: Candidates,
        scheme: RequestScheme,
        outer: Option<Arc<Self>>,
    ) -> Self {
        Self {
            config,
            candidates,
            scheme,
            is_outside_path: false,
            kind: RequestKind::Unsafe,
            outer,
            is_detached: false,
            is_passive: AtomicBool::new(false),
            is_fork: false,
            state: OnceLock::new(),
            turn: TurnLock::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Sets whether the request is outside the path of the cookie.
    pub(crate) fn with_is_outside_path(self, is_outside_path: bool) -> Self {
        Self { is_outside_path, ..self }
    }

    pub(crate) fn with_kind(self, kind: RequestKind) -> Self {
        Self { kind, ..self }
    }

    /// Creates a session without a request.
    pub(crate) fn without_request(config: Arc<Config>) -> Self {
        Self::new(config, Candidates::default(), RequestScheme::default(), None)
    }

    /// Creates a session that outlives its request.
    pub(crate) fn detached(config: Arc<Config>, state: RequestState) -> Self {
        let state = OnceLock::from(Mutex::new(Box::new(state)));
        Self { is_detached: true, state, ..Self::without_request(config) }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn shared_config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(crate) const fn scheme(&self) -> RequestScheme {
        self.scheme
    }

    pub(crate) const fn is_outside_path(&self) -> bool {
        self.is_outside_path
    }

    pub(crate) const fn is_detached(&self) -> bool {
        self.is_detached
    }

    pub(crate) fn set_passive(&self, is_passive: bool) {
        self.is_passive.store(is_passive, Ordering::Relaxed);
        if let Some(own) = self.actors_own() {
            own.set_passive(is_passive);
        }
    }

    /// Checks whether the request is no use of its session.
    pub(crate) fn is_passive(&self) -> bool {
        self.is_passive.load(Ordering::Relaxed)
    }

    /// Checks whether `other` is the session of a layer around this one.
    pub(crate) fn is_within(&self, other: &Arc<Self>) -> bool {
        self.outer.as_ref().is_some_and(|outer| Arc::ptr_eq(outer, other) || outer.is_within(other))
    }

    /// Returns the cookie or header name that this layer, or one around it, shares with another transport.
    pub(crate) fn shared_name(&self, transport: &Transport) -> Option<&str> {
        let outer = || self.outer.as_ref().and_then(|outer| outer.shared_name(transport));
        self.config.transport.shared_name(transport).or_else(outer)
    }

    /// Returns where the client sent its token. The response uses the same place.
    pub(crate) const fn token_location(&self) -> TokenLocation {
        self.candidates.location()
    }

    /// Checks whether the client sent a cookie or a header of the layer's name, whatever its value.
    pub(crate) const fn sent_token(&self) -> bool {
        self.candidates.is_present()
    }

    /// Checks whether the client sent anything that may be a token.
    #[cfg(feature = "migrate")]
    pub(crate) fn has_candidates(&self) -> bool {
        self.candidates.tokens().iter().any(Option::is_some)
    }

    /// Loads the session, once for the request.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        if self.is_loaded() {
            return Ok(());
        }
        match self.turn.take_unless(|| self.is_loaded()).await {
            Some(_turn) => self.load_in_turn().await,
            None => Ok(()),
        }
    }

    async fn load_in_turn(&self) -> Result<(), Error> {
        if self.is_loaded() {
            return Ok(());
        }
        let Loaded { source, rivals, idle, replayed } = load(&self.config, &self.candidates).await?;
        for loaded in replayed {
            // Boxed, since it is rare and every load would carry this future.
            Box::pin(end_replayed(&self.config, loaded)).await;
        }
        let mut state = Box::new(RequestState::new(source));
        (state.rivals, state.idle) = (rivals, idle);
        state.may_have_more = self.candidates.has_too_many();
        if self.is_acting() {
            self.check_actor(&mut state).await?;
        }
        self.state.get_or_init(|| Mutex::new(state));
        if self.candidates.is_forged() {
            self.config.events.raise(EventKind::Forged, None);
        }
        if self.is_closed.load(Ordering::SeqCst) && !self.is_passive() {
            // A body that streams has loaded it: no response will note the use. A failure is an event.
            let _ = Box::pin(self.note_use_in_turn()).await;
        }
        Ok(())
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.state.get().is_some()
    }

    /// Checks whether the handler has asked to end the session.
    #[cfg(feature = "migrate")]
    pub(crate) fn signs_out(&self) -> bool {
        self.is_loaded() && self.state().signs_out
    }

    /// Checks whether the response is about to end the session of this id.
    #[cfg(feature = "migrate")]
    pub(crate) fn is_ending(&self, id: &crate::token::SessionId) -> bool {
        self.is_loaded() && self.state().ends.iter().any(|end| end.id == *id)
    }

    /// Loads the session of a token that the client did not send, and sends the token with the response. Returns whether there
    /// is such a session.
    ///
    /// Only for a request whose client has no session, before anything is written.
    #[cfg(feature = "migrate")]
    pub(crate) async fn adopt(&self, token: crate::token::Token) -> Result<bool, Error> {
        if self.token_location() == TokenLocation::Header {
            return Ok(false);
        }
        let _turn = self.turn.take().await;
        let Some(found) = find(&self.config, &token.id()).await? else { return Ok(false) };
        let now = self.config.clock.now();
        let verifier = token.verifier();
        let status = found.header.secrets.status(&verifier, now);
        if !status.is_live() {
            return Ok(false);
        }
        let max_age = found.lifetime(self.config.lifetime).cookie_max_age(found.header.started_at, now);
        let mut loaded = found.with_token(status, Some((token.clone(), verifier)));
        loaded.is_from_client = true;
        let mut adopted = RequestState::new(SessionSource::Loaded(loaded));
        adopted.cookie = CookieUpdate::Set { token, max_age };
        // Another task of the request may have loaded it already, and found nothing.
        self.load_in_turn().await?;
        let mut state = self.state();
        if !matches!(state.source, SessionSource::New) || state.revision != 0 {
            return Ok(false);
        }
        adopted.revision = 1;
        **state = adopted;
        Ok(true)
    }

    /// Locks the state of a session that is loaded.
    pub(crate) fn state(&self) -> StateGuard<'_> {
        let state = self.state.get().expect("a session is handed out after it is loaded");
        // No code that can panic runs under this lock.
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state for a write.
    pub(crate) fn state_for_write(&self) -> Result<StateGuard<'_>, Error> {
        let state = self.state_if_open()?;
        state.check_writable()?;
        Ok(state)
    }

    /// Locks the state for a change of the token. Does not check that the session is writable.
    pub(crate) fn state_for_rotation(&self) -> Result<StateGuard<'_>, Error> {
        if self.is_detached {
            return Err(Error::new(ErrorKind::Detached));
        }
        let state = self.state_if_open()?;
        state.check_may_rotate()?;
        Ok(state)
    }

    /// Locks the state, unless the head of the response was sent.
    pub(crate) fn state_if_open(&self) -> Result<StateGuard<'_>, Error> {
        let state = self.state();
        if self.is_closed.load(Ordering::SeqCst) { Err(Error::new(ErrorKind::ResponseSent)) } else { Ok(state) }
    }

    /// Refuses writes from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Returns an error for a copy that only a transaction commits.
    fn check_is_no_fork(&self) -> Result<(), Error> {
        if self.is_fork {
            let context = "the transaction commits this session: use neither `commit` nor a call that commits";
            return Err(Error::new(ErrorKind::InvalidTransaction).with_context(context));
        }
        Ok(())
    }

    /// Commits the changes of the request so far.
    pub(crate) async fn commit(&self) -> Result<(), Error> {
        self.check_is_no_fork()?;
        let failures = self.state().failures;
        let _turn = self.turn.take().await;
        // During the wait the response may have been sent, or a commit failed that dropped these changes.
        let mut guard = {
            let mut state = self.state_if_open()?;
            if let Some(kind) = state.dropped.filter(|_| state.failures != failures) {
                return Err(Error::new(kind));
            }
            CommitGuard::next(self, &mut state, Refresh::default())
        };
        while let Some(task) = guard {
            task.run().await?;
            guard = CommitGuard::next(self, &mut self.state(), Refresh::default());
        }
        Ok(())
    }

    /// Returns what is left to do before the head of the response is sent. Only for a session that is [closed](Self::close).
    ///
    /// Unless the handler has `waited`, the time of the load replaces a look at the clock, which takes as long as a hash.
    pub(crate) fn begin_response(&self, commit_changes: bool, waited: bool) -> ResponseStep {
        if !self.is_loaded() {
            return ResponseStep::Unused;
        }
        // Held until the decision, so that no other task of this request begins to commit.
        let turn = self.turn.try_take();
        let mut state = self.state();
        if !commit_changes {
            state.discard();
        }
        if turn.is_none() || self.needs_finish(&state, commit_changes, waited) {
            ResponseStep::Finish
        } else {
            ResponseStep::Update(state.response_update())
        }
    }

    /// Checks whether the response must wait for the store.
    fn needs_finish(&self, state: &RequestState, commit_changes: bool, waited: bool) -> bool {
        if !state.ends.is_empty()
            || state.failed.is_some()
            || (commit_changes && (state.interrupted.is_some() || !state.changes.is_empty()))
        {
            return true;
        }
        let Some(loaded) = state.source.loaded() else { return false };
        let now = loaded.loaded_at.filter(|_| !waited).unwrap_or_else(|| self.config.clock.now());
        self.refresh_due(state, || now) != Refresh::default() || (!self.is_passive() && self.is_touch_due(state, now))
    }

    /// Commits for a response: the changes, if the answer allows it, and what the layer has to write.
    ///
    /// A session that has ended meanwhile is not an error: the answer stands. But an answer that claims success stands only if
    /// no commit of its handler has failed.
    pub(crate) async fn finish(
        &self,
        commit_changes: bool,
        claims_success: bool,
    ) -> (Result<(), Error>, ResponseUpdate) {
        let Some(_turn) = self.take_turn_for_response().await else {
            return (Err(Error::new(ErrorKind::Unavailable)), self.state().response_update());
        };
        if !commit_changes {
            self.state().discard();
        }
        let mut failed_end = None;
        let mut step = self.finish_step(true, claims_success);
        let (finished, update) = loop {
            match step {
                FinishStep::Run(guard) => match guard.run().await {
                    Ok(()) => step = self.finish_step(false, claims_success),
                    // One of several ends has failed: the others are still tried.
                    Err(error) if !self.state().ends.is_empty() => {
                        failed_end.get_or_insert(error);
                        step = self.finish_step(false, claims_success);
                    }
                    Err(error) if error.kind() == ErrorKind::Ended => break (Ok(()), self.state().response_update()),
                    Err(error) => break (Err(error), self.state().response_update()),
                },
                FinishStep::Touch { record, touch, lifetime } => {
                    self.touch(&record, touch, lifetime).await;
                    break (Ok(()), self.state().response_update());
                }
                FinishStep::Done(update) => break (Ok(()), update),
                FinishStep::Failed(kind, update) => {
                    let context = "the handler answered with success although its commit had failed";
                    break (Err(Error::new(kind).with_context(context)), update);
                }
            }
        };
        (failed_end.map_or(finished, Err), update)
    }

    fn finish_step(&self, is_first: bool, claims_success: bool) -> FinishStep<'_> {
        let mut state = self.state();
        let now = || self.config.clock.now();
        let refresh = if is_first { self.refresh_due(&state, now) } else { Refresh::default() };
        if let Some(guard) = CommitGuard::next(self, &mut state, refresh) {
            return FinishStep::Run(guard);
        }
        match state.failed {
            Some(kind) if claims_success && kind != ErrorKind::Ended => {
                return FinishStep::Failed(kind, state.response_update());
            }
            _ => {}
        }
        let is_use_due = state.used_at.is_none() && !self.is_passive();
        let used = state.source.loaded().filter(|_| is_use_due).map(|loaded| (loaded, now()));
        if let Some((loaded, now)) = used.filter(|(_, now)| self.is_touch_due(&state, *now)) {
            let lifetime = state.lifetime(self.config.lifetime);
            return FinishStep::Touch { record: loaded.record.clone(), touch: touch(loaded, lifetime, now), lifetime };
        }
        FinishStep::Done(state.response_update())
    }

    /// Takes the turn for the response; `None` if another task keeps it longer than the deadline of a commit.
    ///
    /// A handler may have polled a commit and kept it. Whether that commit took effect is unknown.
    async fn take_turn_for_response(&self) -> Option<Turn<'_>> {
        if let Some(turn) = self.turn.try_take() {
            return Some(turn);
        }
        let began = Instant::now();
        let mut turn = pin!(self.turn.take());
        while began.elapsed() < self.config.commit_deadline {
            if let Some(turn) = ready_before(turn.as_mut(), self.config.idle()).await {
                return Some(turn);
            }
        }
        None
    }

    /// Notes the use of the session in the store. A failure is an event, not an error for the client.
    async fn touch(&self, record: &Record, touch: Touch, lifetime: Lifetime) {
        match self.config.store.touch(record, touch).await {
            Ok(is_touched) => {
                let mut state = self.state();
                state.used_at = Some(touch.last_seen.into());
                if is_touched {
                    self.renew_cookie(&mut state, lifetime, false);
                }
            }
            Err(error) => self.config.events.raise_failure(EventKind::UpkeepFailed, *record.id(), &error),
        }
    }

    /// Notes a use of the session at once, if one is due; returns whether one was.
    pub(crate) async fn note_use(&self) -> Result<bool, Error> {
        self.check_is_no_fork()?;
        let _turn = self.turn.take().await;
        self.note_use_in_turn().await
    }

    async fn note_use_in_turn(&self) -> Result<bool, Error> {
        self.check_actor_is_live().await?;
        loop {
            let now = self.config.clock.now();
            let (record, touch, lifetime) = {
                let state = self.state();
                let due = state.source.loaded().filter(|_| self.is_touch_due(&state, now));
                let Some(loaded) = due else { return Ok(false) };
                let lifetime = state.lifetime(self.config.lifetime);
                (loaded.record.clone(), touch(loaded, lifetime, now), lifetime)
            };
            match self.config.store.touch(&record, touch).await {
                Ok(true) => {
                    let mut state = self.state();
                    state.used_at = Some(now);
                    if !self.is_detached && !self.is_closed.load(Ordering::SeqCst) {
                        self.renew_cookie(&mut state, lifetime, false);
                    }
                    return Ok(true);
                }
                // The record is newer, or the session has ended.
                Ok(false) => self.refetch_in_turn().await?,
                Err(error) => {
                    self.config.events.raise_failure(EventKind::UpkeepFailed, *record.id(), &error);
                    return Err(error.into());
                }
            }
        }
    }

    /// Reads the session again, with the changes of other requests.
    pub(crate) async fn refetch(&self) -> Result<(), Error> {
        let _turn = self.turn.take().await;
        self.refetch_in_turn().await
    }

    async fn refetch_in_turn(&self) -> Result<(), Error> {
        let generation = self.state().generation;
        let promised = match &self.state().source {
            SessionSource::Loaded(loaded) => PromisedSession::from(loaded),
            SessionSource::Promised(promised) => promised.clone(),
            SessionSource::New => return Ok(()),
            SessionSource::Retired(_) => return Err(Error::new(ErrorKind::Superseded)),
            SessionSource::Ended(_) => return Err(Error::new(ErrorKind::Ended)),
        };
        let found = find(&self.config, &promised.id).await?.ok_or_else(|| Error::new(ErrorKind::Ended))?;
        if !promised.matches(&found) {
            return Err(Error::new(ErrorKind::Superseded));
        }
        self.rebase(found, generation);
        Ok(())
    }

    /// Commits a detached session, which has no response: writes the changes, or at least notes the use and makes sure that the
    /// session is still there.
    pub(crate) async fn commit_detached(&self) -> Result<(), Error> {
        let before = self.state().used_at;
        self.commit().await?;
        if self.state().used_at != before {
            return Ok(());
        }
        let _turn = self.turn.take().await;
        if self.is_passive() || !self.note_use_in_turn().await? {
            self.refetch_in_turn().await?;
        }
        Ok(())
    }

    /// Returns which halves of a refresh are due. Few sessions need the time for it.
    fn refresh_due(&self, state: &RequestState, now: impl FnOnce() -> Timestamp) -> Refresh {
        let Some(loaded) = state.source.loaded().filter(|_| !self.is_detached) else { return Refresh::default() };
        let secrets = &loaded.header.secrets;
        let changes_token = state.changes.sign_in.is_some() || state.changes.rotate;
        let issue_at = |interval| {
            let now = now();
            let loaded_at = state.loaded_at.unwrap_or(now);
            (now.since(secrets.since) >= interval && secrets.can_refresh(loaded_at)).then_some(loaded_at)
        };
        let is_current = loaded.status == TokenStatus::Current && loaded.token.is_some();
        let interval = state.lifetime(self.config.lifetime).refresh.filter(|_| is_current && !changes_token);
        Refresh { confirm: loaded.status == TokenStatus::Pending, issue: interval.and_then(issue_at) }
    }

    /// Checks whether a touch or a renewal of the cookie is due.
    fn is_touch_due(&self, state: &RequestState, now: Timestamp) -> bool {
        let Some(loaded) = state.source.loaded() else { return false };
        let default = self.config.lifetime;
        loaded.is_use_unnoted(state.lifetime(default), state.used_at, now)
            || (state.used_at.is_none()
                && ((loaded.is_from_client && loaded.is_unconfirmed()) || self.has_outdated_cookie(loaded)))
    }

    /// Checks whether the client's current token came in a cookie that an old key has signed or encrypted.
    fn has_outdated_cookie(&self, loaded: &LoadedRecord) -> bool {
        loaded.current_token().is_some_and(|token| self.candidates.must_resend(token))
    }

    /// Sends the cookie again if it is persistent, outdated, or of a new lifetime, and its token is still the current one.
    ///
    /// A lifetime without `Max-Age` makes a persistent cookie one that the browser drops when it is closed.
    fn renew_cookie(&self, state: &mut RequestState, lifetime: Lifetime, is_new_lifetime: bool) {
        let (Some(loaded), CookieUpdate::Keep) = (state.source.loaded(), &state.cookie) else { return };
        let is_renewed = is_new_lifetime || lifetime.max_age.is_some() || self.has_outdated_cookie(loaded);
        if !is_renewed || self.token_location() != TokenLocation::Cookie {
            return;
        }
        let Some(token) = loaded.current_token() else { return };
        let now = self.config.clock.now();
        if loaded.header.secrets.is_issuing(state.loaded_at.unwrap_or(now)) {
            // A refresh has sent a newer token since the client sent this one, or just before. It must not be overwritten.
            return;
        }
        let max_age = lifetime.cookie_max_age(loaded.header.started_at, now);
        state.cookie = CookieUpdate::Set { token: token.clone(), max_age };
    }

    /// Continues from a newer record of the same session.
    fn rebase(&self, found: LoadedRecord, generation: u32) {
        let now = self.config.clock.now();
        let mut state = self.state();
        if state.generation != generation {
            // The request has ended that session meanwhile.
            return;
        }
        let token = state.source.loaded().and_then(|loaded| loaded.token.clone());
        let status = found.status_of_earlier(token.as_ref(), now);
        state.rebase(found.with_token(status, token));
    }
}

/// Returns the touch that notes a use of a session now.
fn touch(loaded: &LoadedRecord, lifetime: Lifetime, now: Timestamp) -> Touch {
    Touch::new(now.into(), loaded.expiry_after(now, lifetime).into())
}
