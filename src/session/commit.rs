//! Writing a change set so that it takes effect exactly as long as it may, and at most once.

use std::time::Instant;

use super::changes::{Change, ReadBefore};
use super::lifetime::GRACE;
use super::load::{Found, find};
use super::rotation::Presented;
use super::view::View;
use super::work::{Base, Batch, Live, Promised};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError, StoreErrorKind};
use crate::event::EventKind;
use crate::record::{Header, Record, Version};
use crate::store::{Expected, Outcome};
use crate::token::{Secret, SessionId, Token};

/// How many failures of the store one commit puts up with.
const MOST_FAULTS: u32 = 3;
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
        let loaded = match &self.base {
            Base::Live(live) => live.clone(),
            Base::Promised(promised) => self.keep_promise(*promised, config).await?,
            Base::Fresh | Base::Retired => return self.create(config).await,
        };
        Update { config, loaded, started: Instant::now(), tries: 0, faults: 0 }.run(self).await
    }

    /// The session that was to be stored by the request this work was detached from.
    async fn keep_promise(&mut self, promised: Promised, config: &Config) -> Result<Live, Error> {
        let now = config.clock.now();
        let found = find(config, &promised.id, now).await?.ok_or_else(|| Error::new(ErrorKind::Ended))?;
        if found.header.epoch != promised.epoch {
            return Err(Error::new(ErrorKind::Superseded));
        }
        self.result = None;
        Ok(found.live(Presented::Current, None))
    }

    /// Stores a session that is not there yet.
    ///
    /// If the answer is lost and the record is not there, the commit is given up rather than tried again: the session
    /// may have been stored, listed and ended meanwhile.
    async fn create(&mut self, config: &Config) -> Result<Committed, Error> {
        for _ in 0..MOST_IDS {
            let now = config.clock.now();
            let id = *self.new_id.get_or_insert_with(|| SessionId::generate(now));
            if self.in_doubt {
                let error = StoreError::new(StoreErrorKind::Unavailable);
                return self.find_created(id, error, config).await;
            }
            let secret = self.secret.get_or_insert_with(Secret::generate).clone();
            let record = self.first_record(id, &secret, now, config)?;
            self.in_doubt = true;
            match config.store.set(&record, Expected::Absent).await {
                Ok(Outcome::Written) => return self.created(record, secret),
                Ok(Outcome::Refused) => {
                    self.in_doubt = false;
                    self.new_id = None;
                }
                Err(error) => return self.find_created(id, error, config).await,
            }
        }
        Err(StoreError::other("the store refuses every new id").into())
    }

    async fn find_created(&mut self, id: SessionId, error: StoreError, config: &Config) -> Result<Committed, Error> {
        config.events.raise_failure(EventKind::StoreFailed, id, &error);
        let record = config.store.get(&id).await?;
        let ours = match record {
            Some(record) => record.open()?.0.commits.contains(&self.name).then_some(record),
            None => None,
        };
        match (ours, self.secret.clone()) {
            (Some(record), Some(secret)) => self.created(record, secret),
            _ => Err(error.into()),
        }
    }

    fn created(&self, record: Record, secret: Secret) -> Result<Committed, Error> {
        let (header, data) = record.open()?;
        let token = Token::new(*record.id(), secret);
        let live = Live { record, header, data, presented: Presented::Current, token: Some(token.clone()) };
        Ok(Committed { live, issued: Some(token) })
    }

    fn first_record(&self, id: SessionId, secret: &Secret, now: Timestamp, config: &Config) -> Result<Record, Error> {
        let mut header = Header::new(secret.verifier(), now);
        let owner = self.changes.sign_in.as_ref().map(|sign_in| {
            header.epoch = 1;
            header.authenticated_at = Some(sign_in.at);
            sign_in.owner.clone()
        });
        header.lifetime = self.changes.lifetime;
        header.commits.push(self.name);
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
        let times = (now, lifetime.expires_at(now, now));
        Ok(Record::new(id, Version::FIRST, owner, times, view.state(&header.write())))
    }
}

/// The commit of a batch into a session that the store has.
struct Update<'a> {
    config: &'a Config,
    loaded: Live,
    started: Instant,
    tries: u32,
    faults: u32,
}

/// What became of a try whose outcome was not "written".
enum Standing {
    /// It was written after all.
    Done(Found),
    /// Another try, on this.
    Again(Found),
}

impl Update<'_> {
    async fn run(mut self, batch: &mut Batch) -> Result<Committed, Error> {
        let mut onto = Found {
            record: self.loaded.record.clone(),
            header: self.loaded.header.clone(),
            data: self.loaded.data.clone(),
        };
        if batch.in_doubt {
            onto = match self.look(batch, &onto.record).await? {
                Standing::Done(found) => return Ok(self.committed(batch, found)),
                Standing::Again(found) => found,
            };
        }
        loop {
            let Some(record) = self.draft(batch, &onto)? else {
                // The session is another's by now: what came with the sign-in goes into a new one.
                batch.base = Base::Fresh;
                batch.result = None;
                batch.in_doubt = false;
                return batch.create(self.config).await;
            };
            let was_in_doubt = std::mem::replace(&mut batch.in_doubt, true);
            match self.config.store.set(&record, Expected::Version(onto.record.version())).await {
                Ok(Outcome::Written) => {
                    let (header, data) = record.open()?;
                    return Ok(self.committed(batch, Found { record, header, data }));
                }
                Ok(Outcome::Refused) => batch.in_doubt = was_in_doubt,
                Err(error) => self.fault(error, onto.record.id())?,
            }
            self.wait().await?;
            onto = match self.look(batch, &onto.record).await? {
                Standing::Done(found) => return Ok(self.committed(batch, found)),
                Standing::Again(found) => found,
            };
        }
    }

    /// Asks the store what it has, after a try on `before` was refused or its answer lost.
    async fn look(&mut self, batch: &mut Batch, before: &Record) -> Result<Standing, Error> {
        let id = *before.id();
        let found = loop {
            match self.config.store.get(&id).await {
                Ok(None) => return Err(self.ended(&id)),
                Ok(Some(record)) => {
                    let (header, data) = record.open()?;
                    break Found { record, header, data };
                }
                Err(error) => {
                    self.fault(error, &id)?;
                    self.wait().await?;
                }
            }
        };
        let (header, now_at) = (&found.header, found.record.version());
        if header.commits.contains(&batch.name) {
            return Ok(Standing::Done(found));
        }
        if header.ended {
            return Err(self.ended(&id));
        }
        if batch.in_doubt && now_at != before.version() {
            if !header.commits.reach_back_to(before.version(), now_at) {
                // Ours may be among the commits whose names are forgotten.
                return Err(StoreError::unavailable("it cannot be told whether the write took effect").into());
            }
            // The version has moved on without it, so it can no longer take effect by itself.
            batch.in_doubt = false;
        }
        Ok(Standing::Again(found))
    }

    /// The record as this commit would have it; `None` where the sign-in must begin another session.
    fn draft(&self, batch: &mut Batch, onto: &Found) -> Result<Option<Record>, Error> {
        let (changes, loaded) = (&batch.changes, &self.loaded);
        let now = self.config.clock.now();
        let version = onto.record.version().next();
        let mut owner = onto.record.owner_shared().cloned();
        match &changes.sign_in {
            Some(sign_in) if owner.as_ref().is_some_and(|present| *present != sign_in.owner) => return Ok(None),
            None if onto.header.epoch != loaded.header.epoch => {
                self.config.events.raise(EventKind::Superseded, *onto.record.id());
                return Err(Error::new(ErrorKind::Superseded));
            }
            _ => {}
        }

        let mut header = onto.header.clone();
        if changes.may_issue() {
            batch.secret.get_or_insert_with(Secret::generate);
        }
        let new = batch.secret.as_ref().map(Secret::verifier);
        let presented = loaded.token.as_ref().map(Token::verifier).filter(|_| changes.upkeep != Default::default());
        if let Some(presented) = presented.filter(|_| changes.upkeep.promote) {
            header.secrets.promote(&presented, now);
        }
        match (&changes.sign_in, new) {
            (Some(_), Some(new)) if header.signed_in > loaded.record.version() => {
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
            // Of several rotations at once one takes place.
            (None, Some(new)) if changes.rotate && header.rotated <= loaded.record.version() => {
                header.secrets.replace_all(new, now, false);
                header.rotated = version;
            }
            (None, Some(new)) if changes.upkeep.refresh => {
                let still_current = presented.is_some_and(|presented| header.secrets.current.matches(&presented));
                if still_current && header.secrets.may_refresh(now) {
                    header.secrets.add_pending(new, now);
                }
            }
            _ => {}
        }
        if let Some(lifetime) = changes.lifetime {
            header.lifetime = Some(lifetime);
        }
        header.ended = changes.end;
        header.commits.push(batch.name);

        let lifetime = header.lifetime.unwrap_or(self.config.lifetime);
        let expires_at = if changes.end { now.plus(GRACE) } else { lifetime.expires_at(header.started_at, now) };
        let times = (now, expires_at);
        let first_try = onto.record.version() == loaded.record.version();
        self.look_for_conflicts(&changes.data, onto)?;
        let rerun;
        let view = match &batch.result {
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
        let state = view.state(&header.write());
        Ok(Some(Record::new(*onto.record.id(), version, owner, times, state)))
    }

    /// Finds the values that this request had read before it wrote them, and that others have changed since.
    fn look_for_conflicts(&self, changes: &[Change], onto: &Found) -> Result<(), Error> {
        let moved_on = onto.record.version() != self.loaded.record.version();
        for change in changes {
            let Change::Put { frame, read } = change else { continue };
            let key = frame.key();
            let conflict = match read {
                ReadBefore::No => false,
                ReadBefore::Outdated => true,
                ReadBefore::Yes => moved_on && self.loaded.data.get(key) != onto.data.get(key),
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

    fn committed(&self, batch: &Batch, found: Found) -> Committed {
        let secrets = &found.header.secrets;
        let issued = batch.secret.clone().filter(|secret| {
            let verifier = secret.verifier();
            // Dropped in favour of another rotation, it is none of the session's.
            matches!(secrets.presented(&verifier, self.config.clock.now()), Presented::Current | Presented::Pending)
        });
        let id = *found.record.id();
        let issued = issued.map(|secret| Token::new(id, secret));
        let presented = match self.loaded.presented {
            Presented::Pending => Presented::Current,
            other if issued.is_none() => other,
            _ => Presented::Current,
        };
        let token = match &issued {
            Some(token) if !batch.changes.upkeep.refresh => Some(token.clone()),
            _ => self.loaded.token.clone(),
        };
        Committed { live: found.live(presented, token), issued }
    }

    fn ended(&self, id: &SessionId) -> Error {
        self.config.events.raise(EventKind::Dropped, *id);
        Error::new(ErrorKind::Ended)
    }

    /// Counts a failure of the store; too many of them are the commit's own.
    fn fault(&mut self, error: StoreError, id: &SessionId) -> Result<(), Error> {
        self.config.events.raise_failure(EventKind::StoreFailed, *id, &error);
        self.faults += 1;
        if self.faults >= MOST_FAULTS { Err(error.into()) } else { Ok(()) }
    }

    async fn wait(&mut self) -> Result<(), Error> {
        self.tries += 1;
        if self.started.elapsed() > self.config.commit_deadline {
            return Err(StoreError::unavailable("the commit lost too many races").into());
        }
        self.config.store.pause(self.tries).await;
        Ok(())
    }
}

fn apply(changes: &[Change], mut view: View, config: &Config) -> Result<View, Error> {
    for change in changes {
        change.apply(&mut view, config.size_limit)?;
    }
    Ok(view)
}
