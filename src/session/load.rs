//! Finding the session that a client's tokens open.

use std::ops::Deref;
use std::sync::Arc;

use super::rotation::Presented;
use super::view::View;
use super::work::{Base, Ending, Live};
use crate::clock::Timestamp;
use crate::config::{Config, ReplayPolicy};
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::event::{EndReason, EventKind};
use crate::record::{Data, Header, Record, Version};
use crate::token::{SessionId, Token, Verifier};
use crate::transport::Candidates;

/// What the tokens of one request open: at most one `get` for each of their ids.
///
/// One live session is taken. Two are none: somebody has planted a cookie, and there is no telling which is whose.
pub(super) async fn load(config: &Config, candidates: &Candidates) -> Result<Base, Error> {
    let tokens = candidates.tokens();
    let mut live = None;
    let (mut is_retired, mut is_ambiguous) = (false, false);
    for (place, token) in tokens.iter().enumerate() {
        let Some(token) = token else { break };
        let id = token.id();
        if tokens[..place].iter().flatten().any(|earlier| earlier.id() == id) {
            continue;
        }
        let (found, now) = match seek(config, &id).await? {
            Sought::Found(found, now) => (found, now),
            Sought::Over => continue,
            Sought::Absent => {
                config.events.raise(EventKind::Unknown, None);
                continue;
            }
        };
        let best = best(&found, &tokens[place..], now);
        match best.presented {
            Presented::Current | Presented::Pending | Presented::Replaced => {
                is_ambiguous |= live.is_some();
                live = Some((found, now, best));
            }
            Presented::Retired => is_retired = true,
            Presented::Replayed => {
                config.events.raise(EventKind::Replayed, id);
                if config.replay_policy == ReplayPolicy::End {
                    // Rare, and so kept out of the future of every load.
                    Box::pin(end_replayed(config, found)).await;
                }
            }
            Presented::Unknown => config.events.raise(EventKind::Unknown, id),
        }
    }
    if is_ambiguous {
        config.events.raise(EventKind::Ambiguous, None);
        return Ok(Base::Fresh);
    }
    let Some((found, now, Best { presented, token: Some((token, verifier)) })) = live else {
        return Ok(if is_retired { Base::Retired } else { Base::Fresh });
    };
    let outdated = candidates.is_outdated(token) && found.header.secrets.current.matches(&verifier);
    let token = Some((token.clone(), verifier));
    Ok(Base::Live(Live { found, presented, token, is_the_clients: true, outdated, loaded_at: Some(now) }))
}

/// What the best of several tokens is to a session.
struct Best<'a> {
    presented: Presented,
    token: Option<(&'a Token, Verifier)>,
}

fn best<'a>(found: &Found, tokens: &'a [Option<Token>], now: Timestamp) -> Best<'a> {
    let mut best = Best { presented: Presented::Unknown, token: None };
    for token in tokens.iter().flatten().filter(|token| token.id() == *found.record.id()) {
        let verifier = token.verifier();
        let presented = found.header.secrets.presented(&verifier, now);
        if presented < best.presented {
            best = Best { presented, token: Some((token, verifier)) };
        }
    }
    best
}

/// Ends a session of whose retired secret somebody has a copy. It ends what was read and nothing else: not what has changed
/// hands since. A failure is not the request's, which has no session either way; the next replay tries again.
async fn end_replayed(config: &Config, found: Found) {
    let id = *found.record.id();
    let mut ending = Ending::of(found.live(Presented::Replayed, None), EndReason::Replayed);
    match ending.run(config).await {
        Ok(true) => config.events.raise_end(id, EndReason::Replayed),
        Ok(false) => {}
        Err(_) => config.events.raise(EventKind::UpkeepFailed, id),
    }
}

/// A record that was read and has not ended. Cloning and moving it moves a pointer: on its way through the futures of a
/// request it is moved many times.
#[derive(Clone, Debug)]
pub(crate) struct Found(Arc<Parts>);

/// A record, and what can be read in it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) record: Record,
    pub(crate) header: Header,
    pub(crate) data: Data,
}

impl Found {
    /// A record that is put together, with what can be read in it.
    pub(super) fn draft(
        (id, version): (SessionId, Version),
        owner: Option<Arc<str>>,
        times: (Timestamp, Timestamp),
        header: Header,
        view: &View,
    ) -> Self {
        let start = header.length();
        let state = view.state(start, |out| header.write_to(out));
        let data = Data::of(Arc::clone(&state), start);
        let record = Record::new(id, version, owner, times, state).known_to_be_whole();
        Self(Arc::new(Parts { record, header, data }))
    }

    pub(crate) fn read(record: Record) -> Result<Self, StoreError> {
        let data = record.data(0);
        let mut found = Arc::new(Parts { record, header: Header::blank(), data });
        let Parts { record, header, data } = Arc::get_mut(&mut found).expect("nobody else has it yet");
        data.begin_at(record.open(header)?);
        Ok(Self(found))
    }

    /// What a client's token is to the session by now, for a request that it has opened the session to. If it was
    /// replaced meanwhile, the request goes on, but can change no token any more.
    pub(super) fn presented_still(&self, token: Option<&(Token, Verifier)>, now: Timestamp) -> Presented {
        let Some((_, verifier)) = token else { return Presented::Current };
        match self.header.secrets.presented(verifier, now) {
            live @ (Presented::Current | Presented::Pending) => live,
            _ => Presented::Replaced,
        }
    }

    /// Whether it has not ended, by the lifetimes as they are set today.
    pub(super) fn is_live(&self, config: &Config, now: Timestamp) -> bool {
        !self.header.ended && now < self.end(config).min(self.record.expiry())
    }

    fn end(&self, config: &Config) -> Timestamp {
        let lifetime = self.header.lifetime.unwrap_or(config.lifetime);
        lifetime.expires_at(self.header.started_at, self.record.last_seen_timestamp())
    }

    /// Whether it ends sooner than its lifetime says, since its token has not come back yet.
    pub(super) fn is_unconfirmed(&self, config: &Config) -> bool {
        config.unconfirmed.is_some() && self.record.owner().is_none() && self.record.expiry() < self.end(config)
    }

    /// A session that is known to be live.
    pub(crate) const fn live(self, presented: Presented, token: Option<(Token, Verifier)>) -> Live {
        Live { found: self, presented, token, is_the_clients: false, outdated: false, loaded_at: None }
    }
}

impl Deref for Found {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The session of this id, if it has not ended.
pub(crate) async fn find(config: &Config, id: &SessionId) -> Result<Option<Found>, Error> {
    match seek(config, id).await? {
        Sought::Found(found, _) => Ok(Some(found)),
        Sought::Absent | Sought::Over => Ok(None),
    }
}

enum Sought {
    /// A session, and when it was read.
    Found(Found, Timestamp),
    /// The store has no such session.
    Absent,
    /// It is over, or cannot be read.
    Over,
}

async fn seek(config: &Config, id: &SessionId) -> Result<Sought, Error> {
    let (got, now) = config.store.get_timed(id, &config.clock).await;
    let found = match got.and_then(|record| record.map(Found::read).transpose()) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Sought::Absent),
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            config.events.raise_failure(EventKind::Corrupt, *id, &error);
            return Ok(Sought::Over);
        }
        Err(error) => {
            config.events.raise_failure(EventKind::StoreFailed, *id, &error);
            return Err(error.into());
        }
    };
    if found.record.id() != id || found.header.ended {
        return Ok(Sought::Over);
    }
    if !found.is_live(config, now) {
        config.events.raise(EventKind::Expired, *id);
        return Ok(Sought::Over);
    }
    Ok(Sought::Found(found, now))
}

impl Live {
    /// The token that the client presented, or was given since, if it is the current one.
    pub(super) fn current_token(&self) -> Option<&Token> {
        let (token, verifier) = self.token.as_ref()?;
        self.found.header.secrets.current.matches(verifier).then_some(token)
    }
}
