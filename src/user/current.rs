//! The user of a request, loaded at most once.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use time::OffsetDateTime;

use super::Users;
use super::local_path::RequestPath;
use super::stamps::{Accepted, Stamps};
use crate::acting::{Acting, no_acting_layer};
use crate::commit::{Precondition, end_by_id};
use crate::error::{Error, ErrorKind};
use crate::event::EndReason;
use crate::request::TurnLock;
use crate::session::{Session, SessionHandle, missing_layer, or_nobody};
use crate::token::SessionId;
use crate::transport::TokenLocation;

/// Most look-ups that find other credentials each time.
const MAX_LOOK_UPS: usize = 8;

/// The user of a request, not loaded yet, for middleware, and for signing in and out.
///
/// [`UserLayer`](super::UserLayer) puts it into the extensions. Clones share the user.
pub struct CurrentUser<U: Users, M = ()> {
    session: SessionHandle<M>,
    acting: Option<Acting<M>>,
    shared: Arc<Shared<U>>,
}

struct Shared<U: Users> {
    users: Arc<U>,
    path: RequestPath,
    /// Held while the user is looked up, so that concurrent calls ask once.
    turn: TurnLock,
    /// The last look-up that found a user.
    found: Mutex<Option<Found<U>>>,
}

impl<U: Users> Shared<U> {
    fn found(&self) -> MutexGuard<'_, Option<Found<U>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a look-up.
struct Found<U: Users> {
    owner: Arc<str>,
    authenticated_at: Option<OffsetDateTime>,
    user: U::User,
    /// The user who acts as this one.
    actor: Option<U::User>,
}

impl<U: Users, M> CurrentUser<U, M> {
    pub(super) fn new(users: Arc<U>, session: SessionHandle<M>, acting: Option<Acting<M>>, path: RequestPath) -> Self {
        Self {
            session,
            acting,
            shared: Arc::new(Shared { users, path, turn: TurnLock::default(), found: Mutex::new(None) }),
        }
    }

    pub(super) fn path(&self) -> &RequestPath {
        &self.shared.path
    }

    /// Checks whether the client has sent its token in a header, as an application does and a browser does not.
    pub(super) fn is_by_header(&self) -> bool {
        self.session.request().token_location() == TokenLocation::Header
    }

    /// Returns the users of the application, for example to look one up by name.
    #[must_use]
    pub fn users(&self) -> &U {
        &self.shared.users
    }

    /// Returns the signed-in user; `None` for a visitor.
    ///
    /// The first call of a request reads the session and asks the application. A user who is gone, or has other credentials than at
    /// the sign-in, is signed out.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store or the application's database fails; the user stays signed in.
    pub async fn load(&self) -> Result<Option<U::User>, Error> {
        Ok(self.load_with_actor().await?.map(|(user, _)| user))
    }

    /// Returns the user who [acts](crate::acting) as the signed-in one; `None` if the user is here in person.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub async fn load_actor(&self) -> Result<Option<U::User>, Error> {
        Ok(self.load_with_actor().await?.and_then(|(_, actor)| actor))
    }

    async fn load_with_actor(&self) -> Result<Option<(U::User, Option<U::User>)>, Error> {
        let session = self.session().await?;
        let _turn = self.shared.turn.take().await;
        let Some(owner) = session.owner() else { return Ok(None) };
        let authenticated_at = session.authenticated_at();
        // Another sign-in of the same user may have other credentials.
        let is_known = |known: &&Found<U>| known.owner == owner && known.authenticated_at == authenticated_at;
        if let Some(known) = self.shared.found().as_ref().filter(is_known) {
            return Ok(Some((known.user.clone(), known.actor.clone())));
        }
        let users = self.find_with_actor(&session, &owner).await?;
        *self.shared.found() = users.clone().map(|(user, actor)| Found { owner, authenticated_at, user, actor });
        Ok(users)
    }

    /// Looks the signed-in user up again, for a session of the caller's: in a stream or on a socket, for a
    /// [detached](Session::detach) one that was [reloaded](Session::reload).
    ///
    /// `None` means that the user is signed out, as by [`load`](Self::load). If another user acts as this one, its permission is asked
    /// again; its own session is compared by the reload.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub async fn load_on(&self, session: &Session<M>) -> Result<Option<U::User>, Error> {
        let Some(owner) = session.owner() else { return Ok(None) };
        Ok(self.find_with_actor(session, &owner).await?.map(|(user, _)| user))
    }

    /// Returns the session.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn session(&self) -> Result<Session<M>, Error> {
        self.session.load().await
    }

    /// Signs a user in: call it after the client has authenticated. [`Session::sign_in`] says what happens.
    ///
    /// Pass the user with the credentials that were verified: if they change meanwhile, this session is over at its next request. It
    /// shares no session with a sign-in that was verified by other credentials; another one starts.
    ///
    /// # Errors
    ///
    /// Those of [`Session::sign_in`], and of [`session`](Self::session).
    pub async fn sign_in(&self, user: &U::User) -> Result<(), Error> {
        let session = self.session().await?;
        let _turn = self.shared.turn.take().await;
        self.sign_in_on(&session, user)
    }

    /// [Signs a user in](Self::sign_in) on a session of the caller's, such as the one in a transaction.
    ///
    /// # Errors
    ///
    /// Those of [`Session::sign_in`].
    pub fn sign_in_on(&self, session: &Session<M>, user: &U::User) -> Result<(), Error> {
        session.request().check_is_not_acting()?;
        *self.shared.found() = None;
        let (owner, stamp) = (U::id(user).to_string(), self.users().stamp(user));
        if session.owner().as_deref() == Some(&*owner) && !Stamps::seen_by(session)?.accept_user_with(&stamp) {
            // Perhaps of an attacker who knew the old password, and whose values must not be the user's.
            session.end_by_layer(EndReason::CredentialsChanged)?;
        }
        // Under a token that was just retired, the request sees no stamps: a session that it joins must have this one.
        let known = Stamps::seen_by(session)?;
        let before = known.first().cloned();
        let accepted = Accepted::new(stamp.clone(), now(session));
        let precondition = Precondition::new(move |data| known.fit(&stamp, data));
        session.sign_in_if(&owner, Some(precondition))?;
        session.update(Stamps::KEY, move |stamps| stamps.sign_in(before.as_ref(), accepted))
    }

    /// Begins to [act](crate::acting) as another user, from the client's next request on, and returns the acting session.
    ///
    /// [`sign_out`](Session::sign_out) in one of those requests ends it.
    ///
    /// # Errors
    ///
    /// [`NotSignedIn`](ErrorKind::NotSignedIn) for a visitor, [`PermissionDenied`](ErrorKind::PermissionDenied) if the signed-in user
    /// [may not act](Users::may_act_as) as that user, [`MissingLayer`](ErrorKind::MissingLayer) if no
    /// [`ActingLayer`](crate::acting::ActingLayer) is around the `UserLayer`, and those of [`Acting::begin`].
    pub async fn act_as(&self, user: &U::User) -> Result<Session<M>, Error> {
        let Some(actor) = self.load().await? else { return Err(self.not_signed_in().await?) };
        if !self.users().may_act_as(&actor, user) {
            return Err(Error::new(ErrorKind::PermissionDenied));
        }
        let acting = self.acting.as_ref().ok_or_else(no_acting_layer::<M>)?;
        let session = acting.begin(&U::id(user).to_string()).await?;
        let accepted = Accepted::new(self.users().stamp(user), now(&session));
        session.update(Stamps::KEY, move |stamps| stamps.sign_in(None, accepted))?;
        Ok(session)
    }

    /// Keeps this session signed in beyond a change of its user's credentials: call it with the changed user **before** the
    /// application's database has the change.
    ///
    /// It commits. Until a request sees the new credentials, the session is signed in with the old and with the new ones, so nothing
    /// that runs beside the change signs it out, not even another change. All other sessions of the user are signed out at their next
    /// request. If the change is not stored within a minute, it has failed, and the session forgets the new credentials at its next
    /// request.
    ///
    /// [`Users::find`] has to see a change once it is stored: a read from a replica that is behind signs the session out.
    ///
    /// ```
    /// use sessile::Error;
    /// use sessile::user::{CurrentUser, Users};
    ///
    /// async fn change_password<U: Users>(
    ///     user: CurrentUser<U>,
    ///     changed: U::User,
    ///     save: impl Future<Output = Result<(), Error>>,
    /// ) -> Result<(), Error> {
    ///     user.accept_credentials_of(&changed).await?;
    ///     save.await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotSignedIn`](ErrorKind::NotSignedIn) if another user, or none, is signed in,
    /// [`ActingAsAnother`](ErrorKind::ActingAsAnother) if another acts as the user, and those of [`Session::commit`].
    pub async fn accept_credentials_of(&self, changed: &U::User) -> Result<(), Error> {
        let session = self.session().await?;
        self.accept_credentials_on(&session, changed)?;
        session.commit().await
    }

    /// [Accepts](Self::accept_credentials_of) changed credentials on a session of the caller's, without a commit: on the one in a
    /// transaction that also stores the change.
    ///
    /// # Errors
    ///
    /// [`NotSignedIn`](ErrorKind::NotSignedIn) if another user, or none, is signed in,
    /// [`ActingAsAnother`](ErrorKind::ActingAsAnother) if another acts as the user, and those of [`Session::update`].
    pub fn accept_credentials_on(&self, session: &Session<M>, changed: &U::User) -> Result<(), Error> {
        if session.owner().as_deref() != Some(&*U::id(changed).to_string()) {
            return Err(Error::new(ErrorKind::NotSignedIn));
        }
        session.request().check_is_not_acting()?;
        let accepted = Accepted::new(self.users().stamp(changed), now(session));
        session.update(Stamps::KEY, move |stamps| stamps.accept(accepted))
    }

    /// Ends the user's other sessions, for [`CredentialsChanged`](EndReason::CredentialsChanged); returns their ids.
    ///
    /// Call it once the application's database has the change of the credentials. The stamp signs them out at their next request
    /// anyway; after this call they are in no list of the user's sessions any more, and their clients learn the
    /// [reason](Session::end_reason). Sessions of other realms are left to the stamp.
    ///
    /// # Errors
    ///
    /// [`NotSignedIn`](ErrorKind::NotSignedIn) if no user is signed in, [`ActingAsAnother`](ErrorKind::ActingAsAnother) if another acts as
    /// the user, and [`Unavailable`](ErrorKind::Unavailable) if the store fails or has no index of owners; some may have been ended by
    /// then.
    pub async fn end_others(&self) -> Result<Vec<SessionId>, Error> {
        let session = self.session().await?;
        let owner = session.owner().ok_or_else(|| Error::new(ErrorKind::NotSignedIn))?;
        session.request().check_is_not_acting()?;
        let config = session.request().config();
        let mut ended = Vec::new();
        let reason = EndReason::CredentialsChanged;
        // Also a session past its idle timeout, which a request that began before would revive.
        for id in config.store.ids_of(&owner, Some(&config.realm)).await? {
            if session.id() != Some(id) && end_by_id(config, &id, Some(&owner), reason).await? {
                config.events.raise_end(id, reason);
                ended.push(id);
            }
        }
        Ok(ended)
    }

    /// Returns the error for a visitor.
    pub(super) async fn not_signed_in(&self) -> Result<Error, Error> {
        Ok(self.session().await?.request().state().not_signed_in())
    }

    /// Looks up a user, and the one who acts as this one.
    async fn find_with_actor(
        &self,
        session: &Session<M>,
        owner: &str,
    ) -> Result<Option<(U::User, Option<U::User>)>, Error> {
        let Some(actor) = session.actor() else {
            return Ok(self.find(session, owner).await?.map(|user| (user, None)));
        };
        let actor = match session.actor_session() {
            Some(own) if own.owner().as_ref() == Some(&actor) => self.find(&own, &actor).await?,
            Some(_) => None,
            // A detached session is without the actor's own.
            None => self.look_up(&actor).await?,
        };
        let user = self.find(session, owner).await?;
        match (user, actor) {
            (Some(user), Some(actor)) if self.users().may_act_as(&actor, &user) => Ok(Some((user, Some(actor)))),
            (None, _) => Ok(None),
            (Some(_), _) => {
                session.end_by_layer(EndReason::ActorGone)?;
                Ok(None)
            }
        }
    }

    /// Looks the owner up, and signs the session out if the user is gone or has other credentials than the session accepts.
    ///
    /// A session accepts new credentials before they are stored, and forgets the old ones after the new ones were seen. So it has the
    /// wrong ones for certain if it was read between two look-ups that found the same.
    async fn find(&self, session: &Session<M>, owner: &str) -> Result<Option<U::User>, Error> {
        let mut last = None;
        for _ in 0..MAX_LOOK_UPS {
            let now = now(session);
            let (seen, stored) = (Stamps::seen_by(session)?, Stamps::stored(session));
            let Some(user) = self.look_up(owner).await? else {
                session.end_by_layer(EndReason::UserGone)?;
                return Ok(None);
            };
            let stamp = self.users().stamp(&user);
            let outdated = || stored.as_ref().and_then(|stored| stored.outdated(&stamp, now));
            if let Some(outdated) = seen.outdated(&stamp, now).or_else(outdated) {
                if !outdated.is_empty() {
                    write(session, move |stamps| stamps.forget(&outdated, &stamp))?;
                }
                return Ok(Some(user));
            }
            if last.as_ref() == Some(&stamp) || !is_read_again(session).await? {
                session.end_by_layer(EndReason::CredentialsChanged)?;
                return Ok(None);
            }
            last = Some(stamp);
        }
        Err(Error::new(ErrorKind::Unavailable).with_context("each look-up of the user found another stamp"))
    }

    async fn look_up(&self, owner: &str) -> Result<Option<U::User>, Error> {
        let Ok(id) = owner.parse::<U::Id>() else { return Ok(None) };
        let found = self.users().find(&id).await;
        found.map_err(|error| Error::with_source(ErrorKind::Unavailable, error))
    }
}

/// Returns the time in milliseconds since the Unix epoch.
fn now<M>(session: &Session<M>) -> i64 {
    session.request().config().clock.now().milliseconds()
}

/// Reads the session again; returns whether it is still there.
async fn is_read_again<M>(session: &Session<M>) -> Result<bool, Error> {
    match session.request().refetch().await {
        Err(error) if error.kind() == ErrorKind::Ended => Ok(false),
        read => read.map(|()| true),
    }
}

/// Changes the stamps with the response. After its head was sent, a later request does it.
fn write<M>(session: &Session<M>, change: impl FnOnce(&mut Stamps) + Clone + Send + 'static) -> Result<(), Error> {
    match session.update(Stamps::KEY, change) {
        Err(error) if error.kind() == ErrorKind::ResponseSent => Ok(()),
        written => written,
    }
}

impl<U: Users, M> Clone for CurrentUser<U, M> {
    fn clone(&self) -> Self {
        Self { session: self.session.clone(), acting: self.acting.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<U: Users, M> fmt::Debug for CurrentUser<U, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentUser").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Rejects with 500 if no [`UserLayer`](super::UserLayer) is around the handler. Does not load the user.
impl<S: Sync, U: Users, M: 'static> FromRequestParts<S> for CurrentUser<U, M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        current(parts)
    }
}

/// The signed-in user.
///
/// Rejects with 401 if the client is a visitor, with 503 if the store or the application's database fails, and with 409 if the client's
/// token was just retired. `Option<User<_>>` is `None` for a visitor. For a layer with a marker, use [`CurrentUser`].
///
/// ```
/// use sessile::user::{User, Users};
///
/// async fn greet<U: Users<User = String>>(User(name): User<U>) -> String {
///     format!("hello, {name}")
/// }
/// ```
#[expect(clippy::exhaustive_structs, reason = "a handler destructures it, like axum's extractors")]
pub struct User<U: Users>(pub U::User);

impl<U: Users> fmt::Debug for User<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(…)")
    }
}

impl<S: Sync, U: Users> FromRequestParts<S> for User<U> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let current = current::<U, ()>(parts)?;
        match current.load().await? {
            Some(user) => Ok(Self(user)),
            None => Err(current.not_signed_in().await?),
        }
    }
}

/// Loads the user; `None` for a visitor.
impl<S: Sync, U: Users> OptionalFromRequestParts<S> for User<U> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        or_nobody(<Self as FromRequestParts<S>>::from_request_parts(parts, state).await)
    }
}

/// Returns the user of a request, not loaded yet.
///
/// One of a layer around another session layer does not count: it belongs to another session.
pub(super) fn current<U: Users, M: 'static>(parts: &Parts) -> Result<CurrentUser<U, M>, Error> {
    let innermost = parts.extensions.get::<SessionHandle<M>>();
    let is_of_innermost = |current: &&CurrentUser<U, M>| {
        innermost.is_some_and(|innermost| Arc::ptr_eq(innermost.request(), current.session.request()))
    };
    parts.extensions.get().filter(is_of_innermost).cloned().ok_or_else(|| {
        let (users, marker) = (std::any::type_name::<U>(), std::any::type_name::<M>());
        let advice = "add .layer(UserLayer::new(…)) of this marker after the routes and guards, and the session layer of this marker after \
                      it; a layer added later runs earlier";
        missing_layer(&format!("the signed-in user, but no UserLayer<{users}, {marker}>"), advice.to_owned())
    })
}
