//! The change set of a request, kept so that it can be applied again to a newer record.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::view::View;
use crate::clock::Timestamp;
use crate::config::Limits;
use crate::error::Error;
use crate::event::EndReason;
use crate::lifetime::Lifetime;
use crate::record::{Actor, Data, Frame, Version, decode, encode};
use crate::store::Expected;

/// Changes of one request that are committed together.
#[derive(Debug, Default)]
pub(crate) struct ChangeSet {
    pub(crate) values: SmallVec<[Change; 1]>,
    pub(crate) sign_in: Option<SignIn>,
    pub(crate) rotate: bool,
    /// Boxed, since few requests set one.
    pub(crate) lifetime: Option<Box<Lifetime>>,
    /// Ends the session, for this reason.
    pub(crate) end: Option<EndReason>,
    /// Changes of the layer, rather than of the handler.
    pub(crate) refresh: Refresh,
    /// The request is no use of its session.
    pub(crate) is_passive: bool,
}

/// A sign-in.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) owner: Arc<str>,
    pub(crate) at: Timestamp,
    /// Number of value changes that were made before it.
    pub(crate) after: usize,
    /// The owner authenticated again. If the session has ended, no other one starts.
    pub(crate) again: bool,
    /// The owner who acts as this one. This one has not authenticated then.
    pub(crate) actor: Option<Arc<Actor>>,
    /// Decides whether it takes effect on a session that others have changed; otherwise another session starts.
    pub(crate) precondition: Option<Precondition>,
}

/// A condition on the values of a session.
#[derive(Clone)]
pub(crate) struct Precondition(Arc<dyn Fn(&Data) -> bool + Send + Sync>);

impl Precondition {
    #[cfg(feature = "axum")]
    pub(crate) fn new(check: impl Fn(&Data) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Checks the condition, if there is one.
    pub(crate) fn holds(condition: Option<&Self>, data: &Data) -> bool {
        condition.is_none_or(|condition| (condition.0)(data))
    }
}

impl fmt::Debug for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Precondition")
    }
}

/// The two halves of a refresh, the periodic rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refresh {
    /// Makes the pending token current that the client has presented.
    pub(crate) confirm: bool,
    /// Issues a pending token. The time is that of the request's load: a client that was being sent another pending token then
    /// holds that one by now.
    pub(crate) issue: Option<Timestamp>,
}

impl ChangeSet {
    /// Creates a change set that ends the session.
    pub(crate) fn end(reason: EndReason) -> Self {
        Self { end: Some(reason), ..Self::default() }
    }

    /// Returns the changes without those of values.
    #[cfg(feature = "_sql")]
    pub(crate) fn without_values(&self) -> Self {
        let Self { sign_in, rotate, lifetime, end, refresh, is_passive, .. } = self;
        let (sign_in, lifetime) = (sign_in.clone(), lifetime.clone());
        let (rotate, end, refresh, is_passive) = (*rotate, *end, *refresh, *is_passive);
        Self { values: SmallVec::new(), sign_in, rotate, lifetime, end, refresh, is_passive }
    }

    /// Adds changes that were made after these.
    #[cfg(feature = "_sql")]
    pub(crate) fn append(&mut self, later: Self) {
        if let Some(mut sign_in) = later.sign_in {
            sign_in.after += self.values.len();
            sign_in.again &= self.sign_in.is_none();
            self.sign_in = Some(sign_in);
            self.rotate = false;
        }
        self.values.extend(later.values);
        self.rotate |= later.rotate && self.sign_in.is_none();
        self.lifetime = later.lifetime.or(self.lifetime.take());
        self.end = later.end.or(self.end);
    }

    /// Checks for a sign-in, other than a repeated authentication of the owner.
    ///
    /// It ends the session's own lifetime, and another session starts if this one has ended.
    pub(crate) fn begins_anew(&self) -> bool {
        self.sign_in.as_ref().is_some_and(|sign_in| !sign_in.again)
    }

    /// Checks for an end because of the user's credentials: it is about one sign-in, and not about a later one.
    pub(crate) fn ends_a_sign_in(&self) -> bool {
        matches!(self.end, Some(EndReason::CredentialsChanged | EndReason::UserGone))
    }

    /// Checks whether the stored times stay: a passive request changes neither the owner nor the lifetime.
    pub(crate) fn keeps_times(&self) -> bool {
        self.is_passive && self.sign_in.is_none() && self.lifetime.is_none() && self.end.is_none()
    }

    /// Returns the condition of the write onto a record of this version.
    pub(crate) fn expected(&self, version: Version) -> Expected {
        if self.keeps_times() { Expected::VersionKeepingTimes(version) } else { Expected::Version(version) }
    }

    /// Checks whether the handler changed nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
            && self.sign_in.is_none()
            && !self.rotate
            && self.lifetime.is_none()
            && self.end.is_none()
    }

    /// Checks whether there is nothing to write, for the handler or the layer.
    pub(crate) fn has_nothing_to_write(&self) -> bool {
        self.is_empty() && self.refresh == Refresh::default()
    }

    /// Checks whether a commit issues a secret.
    pub(crate) const fn may_issue(&self) -> bool {
        self.sign_in.is_some() || self.rotate || self.refresh.issue.is_some()
    }
}

/// States whether a request had read the value that it then wrote, so that the write may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadState {
    Unread,
    /// The value that was read is in the record that the changes start from.
    Read,
    /// Another request changed the value before an earlier commit of this request.
    Outdated,
}

/// A change of the values.
pub(crate) enum Change {
    Put {
        frame: Frame,
        read: ReadState,
    },
    Remove(Cow<'static, str>),
    Clear,
    /// Stores a new session although no value is written.
    Create,
    Update {
        key: Cow<'static, str>,
        update: Box<dyn Replay>,
    },
}

impl Change {
    /// Applies the change to a view within these limits. It may call a closure of the application: hold no lock.
    pub(crate) fn apply(&self, view: &mut View, limits: Limits) -> Result<(), Error> {
        match self {
            Self::Put { frame, .. } => view.put(frame.clone(), limits),
            Self::Remove(key) => {
                view.remove(key);
                Ok(())
            }
            Self::Clear => {
                *view = view.cleared();
                Ok(())
            }
            Self::Create => Ok(()),
            Self::Update { key, update } => {
                let current = view.get(key);
                match update.run(key, current.as_ref().map(|value| value.as_bytes()))? {
                    Some(frame) => view.put(frame, limits),
                    None => {
                        view.remove(key);
                        Ok(())
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { frame, .. } => write!(f, "Put({:?})", frame.key()),
            Self::Remove(key) => write!(f, "Remove({key:?})"),
            Self::Clear => f.write_str("Clear"),
            Self::Create => f.write_str("Create"),
            Self::Update { key, .. } => write!(f, "Update({key:?})"),
        }
    }
}

/// A read-modify-write that can run again on a newer value.
pub(crate) trait Replay: Send {
    /// Returns the new frame for a value; `None` removes it.
    fn run(&self, key: &str, current: Option<&[u8]>) -> Result<Option<Frame>, Error>;
}

/// Changes a value in place; a missing one starts from its default.
pub(crate) struct Update<T, F> {
    closure: F,
    value: PhantomData<fn() -> T>,
}

impl<T, F> Update<T, F> {
    pub(crate) const fn new(closure: F) -> Self {
        Self { closure, value: PhantomData }
    }
}

impl<T, F> Replay for Update<T, F>
where
    T: Serialize + DeserializeOwned + Default,
    F: FnOnce(&mut T) + Clone + Send,
{
    fn run(&self, key: &str, current: Option<&[u8]>) -> Result<Option<Frame>, Error> {
        let mut value = match current {
            Some(bytes) => decode(key, bytes)?,
            None => T::default(),
        };
        (self.closure.clone())(&mut value);
        encode(key, &value).map(Some)
    }
}

/// Removes a value and hands it to a closure.
pub(crate) struct Take<T, F> {
    taken: F,
    value: PhantomData<fn() -> T>,
}

impl<T, F> Take<T, F> {
    pub(crate) const fn new(taken: F) -> Self {
        Self { taken, value: PhantomData }
    }
}

impl<T, F> Replay for Take<T, F>
where
    T: DeserializeOwned,
    F: Fn(Option<T>) + Send,
{
    fn run(&self, key: &str, current: Option<&[u8]>) -> Result<Option<Frame>, Error> {
        (self.taken)(current.map(|bytes| decode(key, bytes)).transpose()?);
        Ok(None)
    }
}
