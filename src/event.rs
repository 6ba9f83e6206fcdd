//! Events of sessions, for the log and for the application.

use std::fmt;
use std::sync::Arc;

use crate::error::StoreError;
use crate::token::SessionId;

/// An event of a session. It contains the session id, but never a token.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The kind of the event.
    pub kind: EventKind,
    /// The session, if the store has it.
    pub session: Option<SessionId>,
    /// Why the session ended, if the kind is [`Ended`](EventKind::Ended).
    pub reason: Option<EndReason>,
    /// The error of the store, if there was one.
    pub error: Option<&'a StoreError>,
}

/// Why a session was ended before it expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// A request called [`sign_out`](crate::Session::sign_out) or [`end`](crate::Session::end).
    SignedOut,
    /// Another owner signed in over it.
    Replaced,
    /// [`Sessions`](crate::Sessions) ended it: an administrator, or its owner on another device.
    Revoked,
    /// Newer sessions of its owner reached the [limit](crate::SessionLayerBuilder::with_owner_limit).
    OwnerLimit,
    /// A token was replayed, under [`ReplayPolicy::End`](crate::config::ReplayPolicy::End).
    Replayed,
}

/// The kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A session was created.
    Created,
    /// A session was signed in.
    SignedIn,
    /// `rotate` or `sign_in` replaced the token of a session.
    Rotated,
    /// A refresh issued a new token.
    Refreshed,
    /// A session was ended before it expired; [`Event::reason`] says why.
    Ended,
    /// A client presented a session after its idle or absolute timeout, and the store still had the record.
    ///
    /// Most stores hide expired records, so that such a session is [`Unknown`](EventKind::Unknown).
    Expired,
    /// A client presented a token that a refresh replaced more than 30 seconds ago: two parties hold tokens.
    Replayed,
    /// A request inserted a value that it had read, and another request changed it in between.
    Conflict,
    /// A session was ended during a request that changed it; the changes were dropped.
    Dropped,
    /// Another request signed the session in during a request that changed it; the changes were refused.
    Superseded,
    /// A request had the tokens of two live sessions; neither was used.
    Ambiguous,
    /// A well-formed token opened nothing: it is invented, or the session has ended or rotated it.
    ///
    /// If the event has a session, the id exists and the secret is wrong. Many of these from one client suggest guessing.
    Unknown,
    /// A client presented a signed or encrypted cookie that none of the keys has written: it is forged, or altered.
    ///
    /// At most once a request, when the session is loaded. Also raised for cookies from before they were signed, and for those
    /// under a key that was removed from the ring.
    Forged,
    /// A request was refused because it had no CSRF token of its session.
    CsrfRefused,
    /// The stored value of a session is not a record.
    Corrupt,
    /// The store failed to note a use or a refresh, or to end surplus sessions. No request failed.
    UpkeepFailed,
    /// The store failed a request.
    StoreFailed,
}

impl EventKind {
    /// Checks whether an operator should act on the event.
    #[cfg_attr(not(feature = "tracing"), allow(dead_code))]
    const fn is_warning(self) -> bool {
        matches!(self, Self::Replayed | Self::Corrupt | Self::UpkeepFailed | Self::StoreFailed)
    }
}

type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Sends events to the application's callback and to the log.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Hook>);

impl Events {
    pub(crate) fn new(hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
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
