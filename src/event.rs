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
    /// The realm of the layer that raised it.
    pub realm: &'a str,
    /// The session, if the store has it.
    pub session: Option<SessionId>,
    /// The owner who [acts](crate::acting) as the session's owner, if the kind is [`Created`](EventKind::Created) or
    /// [`SignedIn`](EventKind::SignedIn).
    pub actor: Option<&'a str>,
    /// Why the session ended, if the kind is [`Ended`](EventKind::Ended) or [`AfterEnd`](EventKind::AfterEnd).
    pub reason: Option<EndReason>,
    /// The realm of the record, if the kind is [`OtherRealm`](EventKind::OtherRealm).
    pub other_realm: Option<&'a str>,
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
    /// A request presented it beside another live session, and then started a new one.
    Ambiguous,
    /// The application has no user of its owner any more ([`Users`](crate::user::Users)).
    UserGone,
    /// The credentials of its user have changed since the sign-in ([`Users::stamp`](crate::user::Users::stamp)).
    CredentialsChanged,
    /// The session of its [actor](crate::acting) has ended, or the actor may no longer act as its owner.
    ActorGone,
}

impl EndReason {
    const CODES: [Self; 9] = [
        Self::SignedOut,
        Self::Replaced,
        Self::Revoked,
        Self::OwnerLimit,
        Self::Replayed,
        Self::Ambiguous,
        Self::UserGone,
        Self::CredentialsChanged,
        Self::ActorGone,
    ];

    /// Returns the number that stands for the reason in a record.
    pub(crate) fn code(self) -> u8 {
        Self::CODES.iter().zip(1..).find_map(|(reason, code)| (*reason == self).then_some(code)).unwrap_or(0)
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::CODES.get(usize::from(code).checked_sub(1)?).copied()
    }
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
    /// A client presented a session that was ended within the last minute; [`Event::reason`] says why.
    ///
    /// [`Session::end_reason`](crate::Session::end_reason) tells the handler.
    AfterEnd,
    /// A client presented a session after its idle or absolute timeout, and the store still had the record.
    ///
    /// Most stores hide expired records, so that such a session is [`Unknown`](EventKind::Unknown).
    Expired,
    /// A client presented a token that one of the last eight renewals replaced, more than 30 seconds ago.
    ///
    /// Two parties hold tokens of the session. [`ReplayPolicy`](crate::config::ReplayPolicy) says what the layer does then.
    Replayed,
    /// A request inserted a value that it had read, and another request changed it in between.
    Conflict,
    /// A session was ended during a request that changed it; the changes were dropped.
    Dropped,
    /// Another request signed the session in during a request that changed it; the changes were refused.
    Superseded,
    /// A request had the tokens of two live sessions, and neither was used: one may have been planted.
    ///
    /// A sign-in, or the first write, starts a new session and ends both.
    Ambiguous,
    /// A request had more tokens than a layer tries, which is four: a sibling host may have planted some.
    TooManyTokens,
    /// A well-formed token opened nothing: it is invented, or the session has ended or rotated it.
    ///
    /// If the event has a session, the id exists and the secret is wrong. Many of these from one client suggest guessing.
    Unknown,
    /// A client presented a session of another layer's realm, which opens nothing here.
    ///
    /// Either two applications share a store and a cookie name and need a [realm](crate::SessionLayerBuilder::with_realm) each,
    /// or a client tries a token of one layer on another.
    OtherRealm,
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
        matches!(
            self,
            Self::Ambiguous
                | Self::TooManyTokens
                | Self::Replayed
                | Self::OtherRealm
                | Self::Corrupt
                | Self::UpkeepFailed
                | Self::StoreFailed
        )
    }
}

type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Sends events to the application's callback and to the log.
#[derive(Clone)]
pub(crate) struct Events {
    hook: Option<Hook>,
    realm: Arc<str>,
}

impl Events {
    pub(crate) fn new(realm: Arc<str>) -> Self {
        Self { hook: None, realm }
    }

    /// Sets the application's callback.
    pub(crate) fn set_hook(&mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.hook = Some(Arc::new(hook));
    }

    /// Sets the realm that the events name.
    pub(crate) fn set_realm(&mut self, realm: Arc<str>) {
        self.realm = realm;
    }

    pub(crate) fn raise(&self, kind: EventKind, session: impl Into<Option<SessionId>>) {
        self.send(&self.event(kind, session.into()));
    }

    pub(crate) fn raise_by(&self, kind: EventKind, session: SessionId, actor: Option<&str>) {
        self.send(&Event { actor, ..self.event(kind, Some(session)) });
    }

    pub(crate) fn raise_end(&self, session: SessionId, reason: EndReason) {
        self.send(&Event { reason: Some(reason), ..self.event(EventKind::Ended, Some(session)) });
    }

    pub(crate) fn raise_after_end(&self, session: SessionId, reason: EndReason) {
        self.send(&Event { reason: Some(reason), ..self.event(EventKind::AfterEnd, Some(session)) });
    }

    pub(crate) fn raise_failure(&self, kind: EventKind, session: impl Into<Option<SessionId>>, error: &StoreError) {
        self.send(&Event { error: Some(error), ..self.event(kind, session.into()) });
        error.set_logged();
    }

    pub(crate) fn raise_other_realm(&self, session: SessionId, other: &str) {
        self.send(&Event { other_realm: Some(other), ..self.event(EventKind::OtherRealm, Some(session)) });
    }

    fn event(&self, kind: EventKind, session: Option<SessionId>) -> Event<'_> {
        Event { kind, realm: &self.realm, session, actor: None, reason: None, other_realm: None, error: None }
    }

    fn send(&self, event: &Event<'_>) {
        log(event);
        if let Some(hook) = &self.hook {
            hook(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.hook.is_some() { "Events(hook)" } else { "Events" })
    }
}

#[cfg(feature = "tracing")]
fn log(event: &Event<'_>) {
    let session = event.session.map(tracing::field::display);
    let reason = event.reason.map(tracing::field::debug);
    let error = event.error.map(|error| error as &dyn std::error::Error);
    let (realm, other_realm, actor) = (event.realm, event.other_realm, event.actor);
    if event.kind.is_warning() {
        tracing::warn!(realm, session, actor, reason, other_realm, error, "session event: {:?}", event.kind);
    } else {
        tracing::debug!(realm, session, actor, reason, other_realm, error, "session event: {:?}", event.kind);
    }
}

#[cfg(not(feature = "tracing"))]
fn log(_: &Event<'_>) {}
