//! Storing a new session.

use std::sync::Arc;

use super::{Committed, PendingCommit, View, apply};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::event::EventKind;
use crate::record::{CommitId, Draft, Header, LoadedRecord, TokenStatus, Version};
use crate::store::{Expected, Outcome};
use crate::token::{Token, Verifier};

/// Maximum number of ids that are tried. Three collisions of 74 random bits indicate a faulty store.
const MAX_IDS: u32 = 3;

/// Stores a session that does not exist yet.
///
/// If the answer is lost and the record is missing, the commit fails rather than trying again: the session may have been
/// stored, listed and ended meanwhile.
pub(super) async fn create(config: &Config, commit: &mut PendingCommit) -> Result<Committed, Error> {
    if let (Some(token), Some(_)) = (commit.new_token(), commit.in_doubt) {
        let lost = StoreError::new(StoreErrorKind::Unavailable);
        return find_created(token, commit.id, lost, config).await;
    }
    for _ in 0..MAX_IDS {
        let now = config.clock.now();
        let token = commit.choose_new_token(now);
        let draft = draft(commit, &token, now, config)?;
        commit.in_doubt = Some(Version::NONE);
        match config.store.set(&draft.record, Expected::Absent).await {
            Ok(Outcome::Written) => return Ok(created(draft, token)),
            Ok(Outcome::Refused) => {
                commit.in_doubt = None;
                commit.new_session = None;
            }
            Err(error) => return find_created(token, commit.id, error, config).await,
        }
    }
    Err(StoreError::other("the store refused every new session id").into())
}

/// Encodes the first record of a new session.
pub(super) fn draft(
    commit: &PendingCommit,
    (token, verifier): &(Token, Verifier),
    now: Timestamp,
    config: &Config,
) -> Result<LoadedRecord, Error> {
    let changes = &commit.changes;
    let mut header = Header::new(*verifier, now);
    let owner = changes.sign_in.as_ref().map(|sign_in| {
        header.epoch = 1;
        header.authenticated_at = sign_in.actor.is_none().then_some(sign_in.at);
        header.actor.clone_from(&sign_in.actor);
        sign_in.owner.clone()
    });
    header.lifetime = changes.lifetime.as_deref().copied();
    header.commits.push(commit.id);
    let applied;
    let view = match &commit.result {
        Some(view) => view,
        None => {
            // Changes before the sign-in belong to the session that it replaces.
            let after = changes.sign_in.as_ref().map_or(0, |sign_in| sign_in.after);
            applied = apply(&changes.values[after..], View::empty(), config)?;
            &applied
        }
    };
    let lifetime = header.lifetime.unwrap_or(config.lifetime);
    header.margin = lifetime.margin;
    let mut expires_at = lifetime.expires_at(now, now);
    if let (None, Some(unconfirmed)) = (&owner, config.unconfirmed) {
        let until = now.plus(unconfirmed);
        let unconfirmed_expiry = until.plus(lifetime.margin);
        if unconfirmed_expiry < expires_at {
            header.unconfirmed_until = Some(until);
            expires_at = unconfirmed_expiry;
        }
    }
    let draft = Draft {
        id: token.id(),
        version: Version::FIRST,
        realm: Arc::clone(&config.realm),
        owner,
        last_seen: now,
        expires_at,
    };
    Ok(LoadedRecord::draft(draft, header, view.len(), |out| view.write_to(out)))
}

/// Asks the store whether a session was created, after the answer was lost.
async fn find_created(
    token: (Token, Verifier),
    commit: CommitId,
    error: StoreError,
    config: &Config,
) -> Result<Committed, Error> {
    let id = token.0.id();
    config.events.raise_failure(EventKind::StoreFailed, id, &error);
    let Some(record) = config.store.get(&id).await? else { return Err(error.into()) };
    let found = LoadedRecord::read(record)?;
    if found.header.commits.contains(&commit) { Ok(created(found, token)) } else { Err(error.into()) }
}

pub(super) fn created(record: LoadedRecord, token: (Token, Verifier)) -> Committed {
    let issued = Some(token.0.clone());
    Committed { loaded: record.with_token(TokenStatus::Current, Some(token)), issued }
}
