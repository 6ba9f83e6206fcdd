//! Finding the session that a client's tokens open.

use crate::clock::Timestamp;
use crate::commit::{Found, SessionSource, find_timed};
use crate::config::{Config, ReplayPolicy};
use crate::error::Error;
use crate::event::EventKind;
use crate::record::{LoadedRecord, TokenStatus};
use crate::token::{Token, Verifier};
use crate::transport::Candidates;

/// Returns the session that the tokens of a request open, with at most one `get` for each of their ids.
///
/// If two tokens open different live sessions, neither is used: one may have been planted. The sessions that the replay policy
/// ends are added to `replayed`.
pub(super) async fn load(
    config: &Config,
    candidates: &Candidates,
    replayed: &mut Vec<LoadedRecord>,
) -> Result<SessionSource, Error> {
    let tokens = candidates.tokens();
    let mut live = None;
    let (mut is_retired, mut is_ambiguous) = (false, false);
    for (place, token) in tokens.iter().enumerate() {
        let Some(token) = token else { break };
        let id = token.id();
        if tokens[..place].iter().flatten().any(|earlier| earlier.id() == id) {
            continue;
        }
        let (found, now) = match find_timed(config, &id).await? {
            Found::Live(found, now) => (found, now),
            Found::NotLive => continue,
            Found::Absent => {
                config.events.raise(EventKind::Unknown, None);
                continue;
            }
        };
        let (status, best) = best_token(&found, &tokens[place..], now);
        match status {
            TokenStatus::Current | TokenStatus::Pending | TokenStatus::Replaced => {
                is_ambiguous |= live.is_some();
                let mut loaded = found.with_token(status, best);
                loaded.is_from_client = true;
                loaded.loaded_at = Some(now);
                live = Some(loaded);
            }
            TokenStatus::Retired => is_retired = true,
            TokenStatus::Replayed => {
                config.events.raise(EventKind::Replayed, id);
                if config.replay_policy == ReplayPolicy::End {
                    replayed.push(found);
                }
            }
            TokenStatus::Unknown => config.events.raise(EventKind::Unknown, id),
        }
    }
    if is_ambiguous {
        config.events.raise(EventKind::Ambiguous, None);
        return Ok(SessionSource::New);
    }
    Ok(match live {
        Some(loaded) => SessionSource::Loaded(loaded),
        None if is_retired => SessionSource::Retired,
        None => SessionSource::New,
    })
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
