//! What an application may want to know of its sessions.

use std::fmt;
use std::sync::Arc;

use crate::error::StoreError;
use crate::token::SessionId;

/// Something that happened to a session. It names the session, and never holds a token.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// What happened.
    pub kind: EventKind,
    /// The session it happened to, where it is one that the store knows.
    pub session: Option<SessionId>,
    /// Why it ended, where [`kind`](Event::kind) is [`Ended`](EventKind::Ended).
    pub reason: Option<EndReason>,
    /// What the store said.
    pub error: Option<&'a StoreError>,
}

/// Why a session was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// By [`sign_out`](crate::Session::sign_out) or [`end`](crate::Session::end) in a request.
    SignedOut,
    /// Somebody else was signed in over it.
    Replaced,
    /// Outside of its own requests, by [`Sessions`](crate::Sessions): an administrator, or the owner on another device.
    Revoked,
    /// Its owner has newer sessions, as many as [are allowed](crate::SessionLayerBuilder::with_owner_limit).
    OwnerLimit,
    /// A replayed secret, by [`ReplayPolicy::End`](crate::config::ReplayPolicy::End).
    Replayed,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A session was created.
    Created,
    /// A session was signed in.
    SignedIn,
    /// The secret of a session was replaced, by `rotate` or `sign_in`.
    Rotated,
    /// A periodic rotation issued a new secret.
    Refreshed,
    /// A session was ended before its time; [`Event::reason`] says why.
    Ended,
    /// A session was presented after its end by idleness or age, and the store still had its record. Most stores hide
    /// what has expired by then: to them such a session is unknown.
    Expired,
    /// A secret was presented that a periodic rotation had retired longer ago than the grace: somebody has a copy.
    Replayed,
    /// An `insert` of a value that this request had read, and that another had changed meanwhile.
    Conflict,
    /// The session was ended while a request was changing it; the changes were dropped.
    Dropped,
    /// The session changed hands while a request was changing it; the changes were refused.
    Superseded,
    /// The request carried the tokens of two live sessions; it was given neither.
    Ambiguous,
    /// A well-formed token opened nothing: somebody made it up, or its session ended or changed it longer ago. The session
    /// is named where there is one, so that the secret is what was wrong. Many of them from one place are a search.
    Unknown,
    /// A request was refused for want of a CSRF token of its session.
    CsrfRefused,
    /// What is stored under a session's id is not a record.
    Corrupt,
    /// The use of a session could not be noted, or its periodic rotation not be stored.
    UpkeepFailed,
    /// The store failed a request.
    StoreFailed,
}

impl EventKind {
    /// Whether an operator must act on it.
    #[cfg_attr(not(feature = "tracing"), allow(dead_code))]
    const fn is_warning(self) -> bool {
        matches!(self, Self::Replayed | Self::Corrupt | Self::UpkeepFailed | Self::StoreFailed)
    }
}

type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Where events go: the application's hook, and the log.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Hook>);

impl Events {
    pub(crate) fn to(hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn raise(&self, kind: EventKind, session: impl Into<Option<SessionId>>) {
        self.send(&Event { kind, session: session.into(), reason: None, error: None });
    }

    pub(crate) fn raise_end(&self, session: SessionId, reason: EndReason) {
        self.send(&Event { kind: EventKind::Ended, session: Some(session), reason: Some(reason), error: None });
    }

    pub(crate) fn raise_failure(&self, kind: EventKind, session: impl Into<Option<SessionId>>, error: &StoreError) {
        self.send(&Event { kind, session: session.into(), reason: None, error: Some(error) });
    }

    fn send(&self, event: &Event<'_>) {
        log(event);
        if let Some(hook) = &self.0 {
            hook(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Events(hook)" } else { "Events" })
    }
}

#[cfg(feature = "tracing")]
fn log(event: &Event<'_>) {
    let session = event.session.map(tracing::field::display);
    let reason = event.reason.map(tracing::field::debug);
    let error = event.error.map(|error| error as &dyn std::error::Error);
    if event.kind.is_warning() {
        tracing::warn!(session, reason, error, "session event: {:?}", event.kind);
    } else {
        tracing::debug!(session, reason, error, "session event: {:?}", event.kind);
    }
}

#[cfg(not(feature = "tracing"))]
fn log(_: &Event<'_>) {}
