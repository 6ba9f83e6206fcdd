//! What one request did to a session, kept so that it can be applied again to a newer record.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use smallvec::SmallVec;

use super::lifetime::Lifetime;
use super::view::View;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::record::Frame;

/// A change set.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) data: SmallVec<[Change; 1]>,
    pub(crate) sign_in: Option<SignIn>,
    pub(crate) rotate: bool,
    /// In a box, since few requests have one, and all carry its place about.
    pub(crate) lifetime: Option<Box<Lifetime>>,
    /// Ends the session.
    pub(crate) end: bool,
    /// Not the handler's doing: what the session itself has due.
    pub(crate) upkeep: Upkeep,
}

/// Who signed in, and which of the changes came after.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) owner: Arc<str>,
    pub(crate) at: Timestamp,
    /// How many of the changes were made before.
    pub(crate) after: usize,
    /// The session's owner proves again who it is: that begins no other session where this one has ended.
    pub(crate) again: bool,
}

/// The two halves of a periodic rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upkeep {
    /// The client has presented a pending secret.
    pub(crate) promote: bool,
    /// The current secret is old.
    pub(crate) refresh: bool,
}

impl Changes {
    /// Whether another session is begun where this one has ended.
    pub(crate) fn may_begin_another(&self) -> bool {
        self.sign_in.as_ref().is_some_and(|sign_in| !sign_in.again)
    }

    /// Whether the handler changed nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.sign_in.is_none() && !self.rotate && self.lifetime.is_none() && !self.end
    }

    /// Whether there is nothing to write at all.
    pub(crate) fn is_nothing(&self) -> bool {
        self.is_empty() && self.upkeep == Upkeep::default()
    }

    /// Whether committing them makes a secret.
    pub(crate) const fn may_issue(&self) -> bool {
        self.sign_in.is_some() || self.rotate || self.upkeep.refresh
    }
}

/// Whether a request had read the value that it then wrote, so that the write may rest on what another has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadBefore {
    No,
    /// What it read is in the record that its changes start from.
    Yes,
    /// It has been changed already, by what an earlier commit of this request found in the store.
    Outdated,
}

/// A change of the data.
pub(crate) enum Change {
    Put {
        frame: Frame,
        read: ReadBefore,
    },
    Remove(Cow<'static, str>),
    Clear,
    /// Has a session stored to which nothing is written.
    Nothing,
    Update {
        key: Cow<'static, str>,
        update: Box<dyn Replay>,
    },
}

impl Change {
    /// Applies the change to a view of at most `limit` bytes. Runs the application's closures: hold no lock.
    pub(crate) fn apply(&self, view: &mut View, limit: usize) -> Result<(), Error> {
        match self {
            Self::Put { frame, .. } => put(view, frame.clone(), limit),
            Self::Remove(key) => {
                view.remove(key);
                Ok(())
            }
            Self::Clear => {
                *view = view.cleared();
                Ok(())
            }
            Self::Nothing => Ok(()),
            Self::Update { key, update } => {
                let current = view.get(key);
                match update.run(key, current.as_ref().map(|value| value.as_bytes()))? {
                    Some(frame) => put(view, frame, limit),
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
            Self::Nothing => f.write_str("Nothing"),
            Self::Update { key, .. } => write!(f, "Update({key:?})"),
        }
    }
}

/// Puts a frame into a view, unless the view would exceed its limit.
pub(crate) fn put(view: &mut View, frame: Frame, limit: usize) -> Result<(), Error> {
    view.put(frame, limit)
        .map_err(|length| Error::new(ErrorKind::TooLarge).at(format!("{length} bytes, and the limit is {limit}")))
}

/// A read-modify-write that can be run again.
pub(crate) trait Replay: Send {
    /// The new frame for a value; `None` removes it.
    fn run(&self, key: &str, current: Option<&[u8]>) -> Result<Option<Frame>, Error>;
}

/// A closure over a value of type `T`, which is the default one where there is none.
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

/// A closure that is given the value and leaves nothing.
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

/// How deep a value may nest. What nests deeper could exhaust the stack of whoever reads it.
pub(crate) const MOST_DEPTH: usize = 128;

/// A value as it is stored: MessagePack, with the names of a struct's fields, so that fields can come and go.
pub(crate) fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Frame, Error> {
    let mut bytes = Vec::with_capacity(128);
    let encoded = rmp_serde::encode::write_named(&mut bytes, value);
    encoded.map_err(|error| Error::with_source(ErrorKind::Serialize, error).at(format!("{key:?}")))?;
    // Each level takes a byte at least.
    if bytes.len() > MOST_DEPTH {
        let readable = read::<IgnoredAny>(&bytes);
        readable.map_err(|error| Error::with_source(ErrorKind::Serialize, error).at(format!("{key:?}")))?;
    }
    Ok(Frame::new(key, &bytes))
}

pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    read(bytes).map_err(|error| {
        let expected = std::any::type_name::<T>();
        Error::with_source(ErrorKind::TypeMismatch, error).at(format!("{key:?} is not a {expected}"))
    })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut input = rmp_serde::Deserializer::from_read_ref(bytes);
    input.set_max_depth(MOST_DEPTH);
    T::deserialize(&mut input)
}
