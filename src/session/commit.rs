//! Writing a change set so that it takes effect exactly as long as it may, and at most once.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use super::changes::{Change, Changes, ReadBefore};
use super::lifetime::GRACE;
use super::load::{Found, find};
use super::rotation::Presented;
use super::turns::{Progress, Turn};
use super::view::View;
use super::work::{Attempt, Base, Batch, Live, Promised};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError, StoreErrorKind};
use crate::event::EventKind;
use crate::record::{CommitName, Header, Version};
use crate::store::{Expected, Outcome};
use crate::token::{Token, Verifier};

/// How many failures of the store one commit puts up with.
const MOST_FAULTS: u32 = 3;
/// How many pauses of the store a commit waits for its turn while nobody has theirs.
const MOST_IDLE_PAUSES: u32 = 16;
/// How many ids a new session is tried under. One collision in 2⁷⁴ is luck; three are not.
const MOST_IDS: u32 = 3;

/// A commit that took effect.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) live: Live,
    /// The token to be sent to the client.
    pub(super) issued: Option<Token>,
}

impl Batch {
    /// Runs the commit to its end. Dropped half-way it can be run again: it keeps the name under which it is known.
    pub(super) async fn run(&mut self, config: &Config) -> Result<Committed, Error> {
        if let Base::Promised(promised) = &self.base {
            self.base = Base::Live(keep_promise(promised, config).await?);
            self.result = None;
        }
        if let Base::Live(loaded) = &self.base {
            let (changes, result, attempt) = (&mut self.changes, &mut self.result, &mut self.attempt);
            let update =
                Update { config, loaded, changes, result, attempt, begun: None, tries: 0, faults: 0, turn: None };
            if let Some(committed) = update.run().await? {
                return Ok(committed);
            }
            // The session is another's by now: what came with the sign-in goes into a new one.
            self.base = Base::Fresh;
            self.result = None;
            self.attempt.in_doubt = None;
        }
        self.create(config).await
    }

    /// Stores a session that is not there yet.
    ///
    /// If the answer is lost and the record is not there, the commit is given up rather than tried again: the session
    /// may have been stored, listed and ended meanwhile.
    async fn create(&mut self, config: &Config) -> Result<Committed, Error> {
        if let (Some(token), Some(_)) = (self.attempt.token(), self.attempt.in_doubt) {
            let lost = StoreError::new(StoreErrorKind::Unavailable);
            return find_created(token, self.attempt.name, lost, config).await;
        }
        for _ in 0..MOST_IDS {
            let now = config.clock.now();
            let token = self.attempt.settle_token(now);
            let draft = self.first(&token, now, config)?;
            self.attempt.in_doubt = Some(Version::NONE);
            match config.store.set(&draft.record, Expected::Absent).await {
                Ok(Outcome::Written) => return Ok(Committed::new(draft, token)),
                Ok(Outcome::Refused) => {
                    self.attempt.in_doubt = None;
                    self.attempt.new_id = None;
                }
                Err(error) => return find_created(token, self.attempt.name, error, config).await,
            }
        }
        Err(StoreError::other("the store refuses every new id").into())
    }

    /// The first record of a new session.
    fn first(&self, (token, verifier): &(Token, Verifier), now: Timestamp, config: &Config) -> Result<Found, Error> {
        let mut header = Header::new(*verifier, now);
        let owner = self.changes.sign_in.as_ref().map(|sign_in| {
            header.epoch = 1;
            header.authenticated_at = Some(sign_in.at);
            sign_in.owner.clone()
        });
        header.lifetime = self.changes.lifetime.as_deref().copied();
        header.commits.push(self.attempt.name);
        let lifetime = header.lifetime.unwrap_or(config.lifetime);
        let rerun;
        let view = match &self.result {
            Some(view) => view,
            None => {
                // What was done to another session before the sign-in stays with that one.
                let after = self.changes.sign_in.as_ref().map_or(0, |sign_in| sign_in.after);
                rerun = apply(&self.changes.data[after..], View::empty(), config)?;
                &rerun
            }
        };
        let mut expires_at = lifetime.expires_at(now, now);
        if let (None, Some(unconfirmed)) = (&owner, config.unconfirmed) {
            expires_at = expires_at.min(now.plus(unconfirmed));
        }
        let times = (now, expires_at);
        Ok(Found::draft((token.id(), Version::FIRST), owner, times, header, view))
    }
}

impl Committed {
    /// A session that was created.
    fn new(found: Found, token: (Token, Verifier)) -> Self {
        let issued = Some(token.0.clone());
        Self { live: found.live(Presented::Current, Some(token)), issued }
    }
}

/// The session that was to be stored by the request that a piece of work was detached from.
async fn keep_promise(promised: &Promised, config: &Config) -> Result<Live, Error> {
    let found = find(config, &promised.id).await?.ok_or_else(|| Error::new(ErrorKind::Ended))?;
    if promised.is(&found) { Ok(found.live(Presented::Current, None)) } else { Err(Error::new(ErrorKind::Superseded)) }
}

/// The commit of a batch into a session that the store has.
struct Update<'a> {
    config: &'a Config,
    loaded: &'a Live,
    // Never written to: a shared reference would need closures that can be shared between threads.
    changes: &'a mut Changes,
    result: &'a mut Option<View>,
    attempt: &'a mut Attempt,
    /// When it began to try again.
    begun: Option<Instant>,
    tries: u32,
    faults: u32,
    /// The place among the commits of this process that have lost a race for the session, once this one has.
    turn: Option<Turn<'a>>,
}

/// What became of a try whose outcome was not "written".
enum Standing {
    /// It was written after all.
    Done(Found),
    /// Another try, on this.
    Again(Found),
    /// The session has ended.
    Ended,
}

impl Update<'_> {
    /// Runs to the end; `None` where the sign-in must begin another session.
    async fn run(mut self) -> Result<Option<Committed>, Error> {
        // None: what was loaded.
        let mut newer: Option<Found> = None;
        let mut tried: Option<Found> = None;
        loop {
            if tried.is_some() || self.attempt.in_doubt.is_some() {
                newer = match self.look().await? {
                    Standing::Done(found) if self.is_still_this(&found) => {
                        return Ok(Some(self.committed(found, self.config.clock.now())));
                    }
                    // It took effect, and the session changed hands or ended after: this request goes on with what was.
                    Standing::Done(_) => {
                        let own = tried.unwrap_or_else(|| self.loaded.found.clone());
                        let token = self.loaded.token.clone();
                        return Ok(Some(Committed { live: own.live(Presented::Replaced, token), issued: None }));
                    }
                    Standing::Again(found) => Some(found),
                    Standing::Ended if self.changes.may_begin_another() && self.attempt.in_doubt.is_none() => {
                        return Ok(None);
                    }
                    Standing::Ended if self.changes.may_begin_another() => {
                        return Err(StoreError::unavailable("it cannot be told whether the sign-in took effect").into());
                    }
                    Standing::Ended => return Err(self.ended()),
                };
            }
            let onto = newer.as_ref().unwrap_or(&self.loaded.found);
            let version = onto.record.version();
            // Over the same version the same record is tried again: the first may yet arrive.
            let draft = match tried.take() {
                Some(draft) if self.attempt.in_doubt == Some(version) => draft,
                _ => match self.draft(onto)? {
                    Some(draft) => draft,
                    None => return Ok(None),
                },
            };
            let in_doubt = self.attempt.in_doubt.replace(version);
            match self.config.store.set(&draft.record, Expected::Version(version)).await {
                Ok(Outcome::Written) => {
                    let now = draft.record.last_seen_timestamp();
                    return Ok(Some(self.committed(draft, now)));
                }
                Ok(Outcome::Refused) => {
                    self.attempt.in_doubt = in_doubt;
                    let id = *self.loaded.found.record.id();
                    self.turn.get_or_insert_with(|| self.config.turns.enter(id));
                }
                Err(error) => self.fault(error)?,
            }
            tried = Some(draft);
            self.wait().await?;
        }
    }

    /// Whether a record that holds this commit has neither ended nor changed hands since the commit was made.
    fn is_still_this(&self, found: &Found) -> bool {
        if found.header.ended && !self.changes.end {
            return false;
        }
        match &self.changes.sign_in {
            Some(sign_in) => found.record.owner() == Some(&sign_in.owner),
            None => found.header.epoch == self.loaded.found.header.epoch,
        }
    }

    /// Asks the store what it has, after a try was refused or its answer lost.
    async fn look(&mut self) -> Result<Standing, Error> {
        let found = loop {
            match self.config.store.get(self.loaded.found.record.id()).await {
                Ok(None) => return Ok(Standing::Ended),
                Ok(Some(record)) => break Found::read(record)?,
                Err(error) => {
                    self.fault(error)?;
                    self.wait().await?;
                }
            }
        };
        let (commits, now_at) = (&found.header.commits, found.record.version());
        if commits.contains(&self.attempt.name) {
            return Ok(Standing::Done(found));
        }
        if found.header.ended {
            return Ok(Standing::Ended);
        }
        if let Some(tried) = self.attempt.in_doubt.filter(|tried| *tried != now_at) {
            if !commits.reach_back_to(tried, now_at) {
                // Ours may be among the commits whose names are forgotten.
                return Err(StoreError::unavailable("it cannot be told whether the write took effect").into());
            }
            // The version is another by now, so it can no longer take effect by itself.
            self.attempt.in_doubt = None;
        }
        Ok(Standing::Again(found))
    }

    /// The record as this commit would have it; `None` where the sign-in must begin another session.
    fn draft(&self, onto: &Found) -> Result<Option<Found>, Error> {
        let (changes, loaded) = (&*self.changes, &self.loaded.found);
        let now = self.config.clock.now();
        let version = onto.record.version().next(self.attempt.name);
        let mut owner = onto.record.owner_shared().cloned();
        match &changes.sign_in {
            Some(sign_in) if owner.as_ref().is_some_and(|present| *present != sign_in.owner) => return Ok(None),
            None if onto.header.epoch != loaded.header.epoch => {
                self.raise_for_handler(EventKind::Superseded);
                return Err(Error::new(ErrorKind::Superseded));
            }
            _ => {}
        }

        let mut header = onto.header.clone();
        let new = self.attempt.secret.as_ref().map(|(_, verifier)| *verifier);
        let presented = self.loaded.token.as_ref().map(|(_, verifier)| verifier);
        if let Some(presented) = presented.filter(|_| changes.upkeep.promote) {
            header.secrets.promote(presented, now);
        }
        match (&changes.sign_in, new) {
            (Some(_), Some(new)) if header.signed_in.is_news_to(loaded.record.version()) => {
                header.secrets.add_sibling(new, now);
            }
            (Some(sign_in), Some(new)) => {
                let new_epoch = owner.is_none();
                header.epoch += u64::from(new_epoch);
                header.secrets.replace_all(new, now, new_epoch);
                header.started_at = now;
                header.authenticated_at = Some(sign_in.at);
                header.rotated = version;
                header.signed_in = version;
                owner = Some(sign_in.owner.clone());
            }
            // Of several rotations at once one takes place. Whoever goes on from a commit that was found after another's
            // rotation holds a secret that it has retired.
            (None, Some(new))
                if changes.rotate
                    && !header.rotated.is_news_to(loaded.record.version())
                    && self.loaded.presented != Presented::Replaced =>
            {
                header.secrets.replace_all(new, now, false);
                header.rotated = version;
            }
            (None, Some(new)) if changes.upkeep.refresh => {
                let still_current = presented.is_some_and(|presented| header.secrets.current.matches(presented));
                if still_current && header.secrets.may_refresh(now) {
                    header.secrets.add_pending(new, now);
                }
            }
            _ => {}
        }
        if let Some(lifetime) = &changes.lifetime {
            header.lifetime = Some(**lifetime);
        }
        header.ended = changes.end;
        header.commits.push(self.attempt.name);

        let lifetime = header.lifetime.unwrap_or(self.config.lifetime);
        let mut expires_at = if changes.end { now.plus(GRACE) } else { lifetime.expires_at(header.started_at, now) };
        if owner.is_none() && !self.loaded.is_the_clients && onto.is_unconfirmed(self.config) {
            // Written without its token, by the request that created it: the token has still to come back.
            expires_at = expires_at.min(onto.record.expiry());
        }
        let times = (now, expires_at);
        let first_try = onto.record.version() == loaded.record.version();
        self.look_for_conflicts(&changes.data, onto)?;
        let rerun;
        let view = match &*self.result {
            Some(view) if first_try => view,
            _ if changes.end => {
                rerun = View::empty();
                &rerun
            }
            _ => {
                rerun = apply(&changes.data, View::new(onto.data.clone()), self.config)?;
                &rerun
            }
        };
        Ok(Some(Found::draft((*onto.record.id(), version), owner, times, header, view)))
    }

    /// Finds the values that this request had read before it wrote them, and that others have changed since.
    fn look_for_conflicts(&self, changes: &[Change], onto: &Found) -> Result<(), Error> {
        let moved_on = onto.record.version() != self.loaded.found.record.version();
        for change in changes {
            let Change::Put { frame, read } = change else { continue };
            let key = frame.key();
            let conflict = match read {
                ReadBefore::No => false,
                ReadBefore::Outdated => true,
                ReadBefore::Yes => moved_on && self.loaded.found.data.get(key) != onto.data.get(key),
            };
            if conflict {
                self.config.events.raise(EventKind::Conflict, *onto.record.id());
                if self.config.strict_writes {
                    return Err(Error::new(ErrorKind::Conflict).at(format!("{key:?}")));
                }
            }
        }
        Ok(())
    }

    fn committed(&self, found: Found, now: Timestamp) -> Committed {
        let id = *found.record.id();
        let secrets = &found.header.secrets;
        // Dropped in favour of another rotation, it is none of the session's.
        let issued = self.attempt.token_of(id).filter(|(_, verifier)| {
            matches!(secrets.presented(verifier, now), Presented::Current | Presented::Pending)
        });
        match issued {
            Some((token, verifier)) if !self.changes.upkeep.refresh => {
                let live = found.live(Presented::Current, Some((token.clone(), verifier)));
                Committed { live, issued: Some(token) }
            }
            // Of a periodic rotation: the client goes on with the one it has until it presents the new one.
            issued => {
                let token = self.loaded.token.clone();
                let presented = match self.loaded.presented {
                    Presented::Replaced => Presented::Replaced,
                    _ => found.presented_still(token.as_ref(), now),
                };
                Committed { live: found.live(presented, token), issued: issued.map(|(token, _)| token) }
            }
        }
    }

    fn ended(&self) -> Error {
        self.raise_for_handler(EventKind::Dropped);
        Error::new(ErrorKind::Ended)
    }

    /// What became of changes that a handler made: of the session's own upkeep, and of its end, there is nothing to tell.
    fn raise_for_handler(&self, kind: EventKind) {
        if !self.changes.is_empty() && !self.changes.end {
            self.config.events.raise(kind, *self.loaded.found.record.id());
        }
    }

    /// Counts a failure of the store; too many of them are the commit's own.
    fn fault(&mut self, error: StoreError) -> Result<(), Error> {
        self.config.events.raise_failure(EventKind::StoreFailed, *self.loaded.found.record.id(), &error);
        self.faults += 1;
        if self.faults >= MOST_FAULTS { Err(error.into()) } else { Ok(()) }
    }

    /// Waits for the next try: for our turn, if others of this process are before us, and otherwise a little, so that other
    /// processes have theirs.
    async fn wait(&mut self) -> Result<(), Error> {
        self.begun.get_or_insert_with(Instant::now);
        let (mut pauses, mut idle) = (0, 0);
        while let Some(turn) = &self.turn
            && let before @ Progress::Passed(_) = turn.progress()
            && idle < MOST_IDLE_PAUSES
        {
            self.check_deadline()?;
            pauses += 1;
            if first(turn.called(), self.config.pause(pauses)).await == First::One {
                continue;
            }
            idle = if turn.progress() == before { idle + 1 } else { 0 };
        }
        self.check_deadline()?;
        self.tries += 1;
        if pauses == 0 {
            self.config.pause(self.tries).await;
        }
        Ok(())
    }

    fn check_deadline(&self) -> Result<(), Error> {
        if self.begun.is_none_or(|begun| begun.elapsed() < self.config.commit_deadline) {
            return Ok(());
        }
        Err(StoreError::unavailable("the commit lost too many races").into())
    }
}

/// Which of two futures was done first.
#[derive(PartialEq, Eq)]
enum First {
    One,
    Other,
}

async fn first(one: impl Future<Output = ()>, other: impl Future<Output = ()>) -> First {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(First::One),
        Poll::Pending => other.as_mut().poll(context).map(|()| First::Other),
    })
    .await
}

/// Asks whether a session was created, after the answer was lost.
async fn find_created(
    token: (Token, Verifier),
    name: CommitName,
    error: StoreError,
    config: &Config,
) -> Result<Committed, Error> {
    let id = token.0.id();
    config.events.raise_failure(EventKind::StoreFailed, id, &error);
    let Some(record) = config.store.get(&id).await? else { return Err(error.into()) };
    let found = Found::read(record)?;
    if found.header.commits.contains(&name) { Ok(Committed::new(found, token)) } else { Err(error.into()) }
}

fn apply(changes: &[Change], mut view: View, config: &Config) -> Result<View, Error> {
    for change in changes {
        change.apply(&mut view, config.size_limit)?;
    }
    Ok(view)
}
