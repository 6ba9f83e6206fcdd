//! A commit on its way to the store, and what the request makes of its outcome.

use std::sync::Arc;

use super::changes::{Changes, Upkeep};
use super::commit::Committed;
use super::limit::end_surplus;
use super::request::RequestSession;
use super::view::View;
use super::work::{Base, Batch, Ending, Live, Outgoing, Work};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::event::EventKind;
use crate::token::SessionId;

impl RequestSession {
    /// Takes the next piece of work that is to be committed; what is due goes with it.
    pub(super) fn take_off(&self, upkeep: Upkeep) -> Option<Flight<'_>> {
        let mut work = self.work();
        if let Some(ending) = work.endings.pop() {
            return Some(self.flight(Job::End(ending), &work));
        }
        if let Some(stalled) = work.stalled.take() {
            return Some(self.flight(Job::Commit(stalled), &work));
        }
        let changes = Changes { upkeep, ..std::mem::take(&mut work.changes) };
        if changes.is_nothing() {
            return None;
        }
        let result = work.view_is_exact.then(|| work.view.clone());
        let mut batch = Box::new(Batch::new(work.base.clone(), changes));
        batch.result = result;
        batch.attempt.new_id = work.new_id;
        if batch.changes.sign_in.is_some() {
            work.signing_in = Some(batch.attempt.name);
        }
        Some(self.flight(Job::Commit(batch), &work))
    }

    fn flight(&self, job: Job, work: &Work) -> Flight<'_> {
        Flight { session: self, job: Some(job), ends: work.ends }
    }
}

/// A piece of work on its way to the store. Dropped before it has landed, it goes back to where it came from, so that
/// a handler that gives up waiting (`select!`, a timeout) loses nothing.
pub(super) struct Flight<'a> {
    session: &'a RequestSession,
    job: Option<Job>,
    /// Which of the request's sessions it was.
    ends: u32,
}

enum Job {
    /// In a box: on its way through the futures of a commit it is moved many times.
    Commit(Box<Batch>),
    End(Ending),
}

impl Flight<'_> {
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let config = self.session.config();
        match &mut self.job {
            Some(Job::Commit(batch)) if self.session.is_detached() && matches!(batch.base, Base::Fresh) => {
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
            work.end_created(&batch);
            return Ok(());
        }
        work.used = true;
        let lifetime = live.found.header.lifetime.unwrap_or(config.lifetime);
        let now = live.found.record.last_seen_timestamp();
        let outdated = batch.base.is_outdated();
        let renewal = batch.changes.lifetime.is_some() || outdated || batch.base.is_use_unnoted(lifetime, now);
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
        if let Some(Job::Commit(batch)) = &job
            && let Base::Live(live) = &batch.base
            && batch.changes.is_empty()
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
            Job::Commit(batch) if work.ends != self.ends => work.end_created(&batch),
            Job::Commit(batch) => work.stalled = Some(batch),
            Job::End(ending) => work.endings.push(ending),
        }
    }
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
