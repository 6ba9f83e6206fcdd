//! What can go wrong, for handlers ([`Error`]) and for stores ([`StoreError`]).

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

type Source = Box<dyn StdError + Send + Sync>;

/// Why a session could not do what it was asked.
///
/// With the feature `axum` it is a response: the status of its [kind](ErrorKind) and no more of a body than that
/// status' own name.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: Option<Box<str>>,
    source: Option<Source>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store did not answer, failed, or holds a record of a newer format. 503.
    Unavailable,
    /// The session changed hands, or its token was replaced, while this request was under way. 409.
    Superseded,
    /// The session was ended while this request was under way. 409.
    Ended,
    /// A value that this request had read was changed by another before it was written (strict writes). 409.
    Conflict,
    /// The session would grow beyond its size limit. 413.
    TooLarge,
    /// A value could not be serialised. 500.
    Serialize,
    /// A value is not of the type that was asked for. 500.
    TypeMismatch,
    /// The head of the response is out: nothing can be written with it any more. 500.
    ResponseSent,
    /// A detached session can neither be created nor change its token. 500.
    Detached,
    /// A lifetime that cannot work. 500.
    InvalidLifetime,
    /// No [`SessionLayer`](crate::SessionLayer) of this marker is around the handler. 500.
    MissingLayer,
    /// Nobody is signed in. 401.
    NotSignedIn,
    /// The owner must prove again who it is. 401.
    ReauthenticationRequired,
    /// The request brings no CSRF token of its session. 403.
    Csrf,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind, context: None, source: None }
    }

    pub(crate) fn with_source(kind: ErrorKind, source: impl Into<Source>) -> Self {
        Self { kind, context: None, source: Some(source.into()) }
    }

    #[must_use]
    pub(crate) fn at(mut self, context: impl Into<Box<str>>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// What kind of error this is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status that a client should be told.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::with_source(ErrorKind::Unavailable, error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match &self.context {
            Some(context) => write!(f, ": {context}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        source_of(&self.source)
    }
}

impl ErrorKind {
    /// The status that a client should be told.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Superseded | Self::Ended | Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotSignedIn | Self::ReauthenticationRequired => StatusCode::UNAUTHORIZED,
            Self::Csrf => StatusCode::FORBIDDEN,
            Self::Serialize
            | Self::TypeMismatch
            | Self::ResponseSent
            | Self::Detached
            | Self::InvalidLifetime
            | Self::MissingLayer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the session store is unavailable",
            Self::Superseded => "the session changed hands while the request was under way",
            Self::Ended => "the session was ended while the request was under way",
            Self::Conflict => "a value that was read was changed by another request before it was written",
            Self::TooLarge => "the session would exceed its size limit",
            Self::Serialize => "the value cannot be serialised",
            Self::TypeMismatch => "the value is of another type",
            Self::ResponseSent => "the response is already on its way, so the session can no longer be changed",
            Self::Detached => "a detached session can neither be created nor change its token",
            Self::InvalidLifetime => "the lifetime cannot work",
            Self::MissingLayer => "no session layer is around this handler",
            Self::NotSignedIn => "nobody is signed in",
            Self::ReauthenticationRequired => "the last authentication is too long ago",
            Self::Csrf => "the request brings no CSRF token of its session",
        })
    }
}

/// Why a store could not do what it was asked.
///
/// A store says with the kind whether a retry may help; it keeps what its client said as the
/// [source](std::error::Error::source).
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Source>,
}

/// The kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, is full, or did not answer in time. A retry may help.
    Unavailable,
    /// What is stored is not a record. To the client it is as if it were absent; it is never overwritten.
    Corrupt,
    /// The store cannot do this at all, or the record is of a format newer than this build reads.
    Unsupported,
    /// Anything else.
    Other,
}

impl StoreError {
    /// An error of the given kind, without a source.
    #[must_use]
    pub const fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// The store cannot be reached, is full, or did not answer in time.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: StoreErrorKind::Unavailable, source: Some(source.into()) }
    }

    /// What is stored is not a record.
    pub fn corrupt(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: StoreErrorKind::Corrupt, source: Some(source.into()) }
    }

    /// The store cannot do this at all, or the record is of a format newer than this build reads.
    pub fn unsupported(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: StoreErrorKind::Unsupported, source: Some(source.into()) }
    }

    /// Anything else.
    pub fn other(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: StoreErrorKind::Other, source: Some(source.into()) }
    }

    /// What kind of error this is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Corrupt => "the stored record cannot be read",
            StoreErrorKind::Unsupported => "the store does not support this",
            StoreErrorKind::Other => "the store failed",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        source_of(&self.source)
    }
}

/// Why a configuration was refused.
///
/// It names what is wrong, and how to mend it.
#[derive(Debug)]
pub struct ConfigError {
    kind: ConfigErrorKind,
    reason: Box<str>,
    source: Option<Source>,
}

/// The kinds of [`ConfigError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// The cookie's name, prefix, scope or size.
    Cookie,
    /// The name of a header.
    Header,
    /// A [`Lifetime`](crate::Lifetime), or another length of time.
    Lifetime,
    /// A limit, or two settings that exclude each other.
    Setting,
    /// A key of a [`KeyRing`](crate::config::KeyRing).
    Key,
    /// The name of a table or of a key prefix in a store.
    Store,
}

impl ConfigError {
    pub(crate) fn new(kind: ConfigErrorKind, reason: impl Into<Box<str>>) -> Self {
        Self { kind, reason: reason.into(), source: None }
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of this error.
    #[must_use]
    pub const fn kind(&self) -> ConfigErrorKind {
        self.kind
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        source_of(&self.source)
    }
}

fn source_of(source: &Option<Source>) -> Option<&(dyn StdError + 'static)> {
    source.as_deref().map(|source| source as _)
}
