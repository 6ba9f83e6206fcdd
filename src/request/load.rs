//! Finding the session that a client's tokens open.

use crate::clock::Timestamp;
use crate::commit::{Found, SessionSource, find_timed};
use crate::config::{Config, ReplayPolicy};
use crate::error::Error;
use crate::event::EventKind;
use crate::record::{LoadedRecord, TokenStatus};
use crate::token::{Token, Verifier};
use crate::transport::Candidates;

/// The sessions that the tokens of a request name.
pub(super) struct Loaded {
    /// The session that the request uses.
    pub(super) source: SessionSource,
    /// Two or more live sessions, none of which is used: one may have been planted.
    pub(super) rivals: Vec<LoadedRecord>,
    /// Sessions past their idle timeout, which a request that began before may still write.
    pub(super) idle: Vec<LoadedRecord>,
    /// The sessions that the replay policy ends.
    pub(super) replayed: Vec<LoadedRecord>,
}

/// Reads the sessions that the tokens of a request name, with at most one `get` for each of their ids.
pub(super) async fn load(config: &Config, candidates: &Candidates) -> Result<Loaded, Error> {
    let tokens = candidates.tokens();
    let mut loaded = Loaded { source: SessionSource::New, rivals: Vec::new(), idle: Vec::new(), replayed: Vec::new() };
    for (place, token) in tokens.iter().enumerate() {
        let Some(token) = token else { break };
        let id = token.id();
        if tokens[..place].iter().flatten().any(|earlier| earlier.id() == id) {
            continue;
        }
        let (found, now) = match find_timed(config, &id).await? {
            Found::Live(found, now) | Found::Ended(found, now) => (found, now),
            Found::Idle(found, now) => {
                let (status, best) = best_token(&found, &tokens[place..], now);
                if status.is_live() && found.header.ended.is_none() {
                    let mut found = found.with_token(status, best);
                    found.is_from_client = true;
                    loaded.idle.push(found);
                }
                continue;
            }
            Found::Acting(_) | Found::NotLive | Found::Unreadable => continue,
            Found::Absent => {
                config.events.raise(EventKind::Unknown, None);
                continue;
            }
        };
        let (status, best) = best_token(&found, &tokens[place..], now);
        match (status, found.header.ended) {
            (TokenStatus::Current | TokenStatus::Pending | TokenStatus::Replaced, None) => {
                let mut found = found.with_token(status, best);
                found.is_from_client = true;
                found.loaded_at = Some(now);
                loaded.add_live(found);
            }
            (TokenStatus::Current | TokenStatus::Pending | TokenStatus::Replaced, Some(_)) => {
                loaded.add_unusable(SessionSource::Ended(found.with_token(status, best)));
            }
            (TokenStatus::Retired, _) => loaded.add_unusable(SessionSource::Retired(found.with_token(status, best))),
            (TokenStatus::Replayed, None) => {
                config.events.raise(EventKind::Replayed, id);
                if config.replay_policy == ReplayPolicy::End {
                    loaded.replayed.push(found);
                }
            }
            (TokenStatus::Replayed, Some(_)) => {}
            (TokenStatus::Unknown, _) => config.events.raise(EventKind::Unknown, id),
        }
    }
    if let SessionSource::Ended(mark) = &loaded.source
        && let Some(reason) = mark.header.ended
    {
        config.events.raise_after_end(*mark.record.id(), reason);
    }
    if candidates.has_too_many() {
        config.events.raise(EventKind::TooManyTokens, None);
    }
    if !loaded.rivals.is_empty() {
        config.events.raise(EventKind::Ambiguous, None);
    }
    Ok(loaded)
}

impl Loaded {
    /// Adds a live session. A second one makes both unusable.
    fn add_live(&mut self, found: LoadedRecord) {
        match std::mem::replace(&mut self.source, SessionSource::New) {
            SessionSource::Loaded(first) => self.rivals.extend([first, found]),
            _ if !self.rivals.is_empty() => self.rivals.push(found),
            _ => self.source = SessionSource::Loaded(found),
        }
    }

    /// Adds a session that cannot be used, which matters only if no other is live.
    fn add_unusable(&mut self, source: SessionSource) {
        let is_first = matches!(self.source, SessionSource::New | SessionSource::Ended(_)) && self.rivals.is_empty();
        if is_first {
            self.source = source;
        }
    }
}

/// Returns the token of a session with the best status, and that status.
fn best_token(
    found: &LoadedRecord,
    tokens: &[Option<Token>],
    now: Timestamp,
) -> (TokenStatus, Option<(Token, Verifier)>) {
    let mut best = (TokenStatus::Unknown, None);
    for token in tokens.iter().flatten().filter(|token| token.id() == *found.record.id()) {
        let verifier = token.verifier();
        let status = found.header.secrets.status(&verifier, now);
        if status < best.0 {
            best = (status, Some((token.clone(), verifier)));
        }
    }
    best
}
