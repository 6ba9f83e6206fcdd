//! Errors of handlers ([`Error`]), of stores ([`StoreError`]) and of configurations ([`ConfigError`]).

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};

type Source = Box<dyn StdError + Send + Sync>;

/// An error of a session operation.
///
/// With the feature `axum` it is a response with the status of its [kind](ErrorKind) and a plain text as its body;
/// `errors::ErrorLayer` chooses another form. A 503, and a 409 because a token was replaced, have `Retry-After: 1`.
/// With the feature `tracing` such a response is logged once if its status is 500 (at `error`), 503 or 413 (at `warn`; a request
/// body that is too long at `debug`), unless an event has reported it. The error names keys and Rust types, but no value.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    /// The log has this error, so its response need not be logged.
    is_logged: bool,
    context: Option<Box<str>>,
    source: Option<Source>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store failed or did not answer, or its record has a newer format. 503.
    Unavailable,
    /// Another request signed the session in, or replaced its token, during this request or up to 30 seconds before. 409.
    Superseded,
    /// The session was ended, during this request or up to a minute before. 409.
    Ended,
    /// Another request changed a value that this one had read and then wrote (strict writes). 409.
    ///
    /// Or a transaction with the application's own tables was rolled back, and can run again.
    Conflict,
    /// A transaction cannot commit the session: it is on another database or a savepoint, the store is in no SQL database, the
    /// change would end a session, or the database refused the statement. Nothing was done. 500.
    InvalidTransaction,
    /// The session would exceed its limit of bytes or of keys. 413.
    TooLarge,
    /// A value could not be serialized. 500.
    Serialize,
    /// A value is not of the requested type. 500.
    TypeMismatch,
    /// The head of the response was sent, so nothing can be written. 500.
    ResponseSent,
    /// A detached session can neither be created nor change its token. 500.
    Detached,
    /// A lifetime under which no session can live. 500.
    InvalidLifetime,
    /// A layer is missing around the handler, such as a [`SessionLayer`](crate::SessionLayer) of its marker. 500.
    ///
    /// Or layers are in the wrong order, or two share a cookie. The log has advice.
    MissingLayer,
    /// The session has no owner. 401.
    NotSignedIn,
    /// The owner authenticated too long ago. 401.
    ReauthenticationRequired,
    /// The user lacks the permission for a route. 403.
    PermissionDenied,
    /// Another owner [acts](crate::acting) as the session's owner, and this is for the owner in person. 403.
    ActingAsAnother,
    /// The CSRF token is missing or belongs to another session. 403.
    CsrfRefused,
    /// A page of another origin has made the request. 403.
    CrossOrigin,
    /// The body is not a form. 415.
    UnsupportedMediaType,
    /// The body exceeds the limit. 413.
    BodyTooLarge,
    /// The body could not be read, or is not text. 400.
    InvalidBody,
    /// The form is not of the requested type. 422.
    InvalidForm,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind, is_logged: false, context: None, source: None }
    }

    pub(crate) fn with_source(kind: ErrorKind, source: impl Into<Source>) -> Self {
        Self { source: Some(source.into()), ..Self::new(kind) }
    }

    /// Creates the error of a value that is not a `T`.
    ///
    /// It has no source, since the text of serde would contain the value.
    pub(crate) fn mismatch<T>(subject: &str, found: &str) -> Self {
        let expected = std::any::type_name::<T>();
        Self::new(ErrorKind::TypeMismatch).with_context(format!("{subject} is not a {expected}; found {found}"))
    }

    #[must_use]
    pub(crate) fn with_context(mut self, context: impl Into<Box<str>>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Creates the error of layers that do not fit together, and logs the advice.
    pub(crate) fn misconfigured(advice: &str) -> Self {
        log_advice(advice);
        Self::new(ErrorKind::MissingLayer).into_logged()
    }

    /// Notes that the log has this error.
    #[must_use]
    pub(crate) fn into_logged(self) -> Self {
        Self { is_logged: true, ..self }
    }

    /// Returns the kind of this error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the status of the response for this error.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// Returns the status of the response for this error, which the caller is about to send, and logs a failure.
    pub(crate) fn respond(&self) -> StatusCode {
        let status = self.status();
        if !self.is_logged {
            log_response(self, status);
        }
        status
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let is_logged = error.is_logged.load(Ordering::Relaxed);
        Self { is_logged, ..Self::with_source(ErrorKind::Unavailable, error) }
    }
}

#[cfg(feature = "tracing")]
fn log_response(error: &Error, status: StatusCode) {
    let (kind, status) = (error.kind, status.as_u16());
    let error: &dyn StdError = error;
    match kind {
        ErrorKind::BodyTooLarge => tracing::debug!(status, error, "an error is the response: {kind:?}"),
        ErrorKind::TooLarge | ErrorKind::Unavailable => {
            tracing::warn!(status, error, "an error is the response: {kind:?}")
        }
        _ if status >= 500 => tracing::error!(status, error, "an error is the response: {kind:?}"),
        _ => {}
    }
}

#[cfg(not(feature = "tracing"))]
fn log_response(_: &Error, _: StatusCode) {}

/// Logs a mistake of the application, and what to change.
#[cfg(feature = "tracing")]
pub(crate) fn log_advice(advice: &str) {
    tracing::error!("{advice}");
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn log_advice(_: &str) {}

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
    /// Returns the status of the response for this error.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Superseded | Self::Ended | Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge | Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidBody => StatusCode::BAD_REQUEST,
            Self::InvalidForm => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotSignedIn | Self::ReauthenticationRequired => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied | Self::ActingAsAnother | Self::CsrfRefused | Self::CrossOrigin => {
                StatusCode::FORBIDDEN
            }
            Self::Serialize
            | Self::TypeMismatch
            | Self::ResponseSent
            | Self::Detached
            | Self::InvalidTransaction
            | Self::InvalidLifetime
            | Self::MissingLayer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the name in lower case with underscores, as `application/problem+json` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Superseded => "superseded",
            Self::Ended => "ended",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Serialize => "serialize",
            Self::TypeMismatch => "type_mismatch",
            Self::ResponseSent => "response_sent",
            Self::Detached => "detached",
            Self::InvalidLifetime => "invalid_lifetime",
            Self::MissingLayer => "missing_layer",
            Self::InvalidTransaction => "invalid_transaction",
            Self::NotSignedIn => "not_signed_in",
            Self::ReauthenticationRequired => "reauthentication_required",
            Self::PermissionDenied => "permission_denied",
            Self::ActingAsAnother => "acting_as_another",
            Self::CsrfRefused => "csrf_refused",
            Self::CrossOrigin => "cross_origin",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BodyTooLarge => "body_too_large",
            Self::InvalidBody => "invalid_body",
            Self::InvalidForm => "invalid_form",
        }
    }

    /// Checks whether the same request may succeed if the client sends it again.
    ///
    /// After [`Superseded`](Self::Superseded) the client holds a newer token by then.
    const fn may_succeed_later(self) -> bool {
        matches!(self, Self::Unavailable | Self::Superseded)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the session store is unavailable",
            Self::Superseded => "another request signed the session in or replaced its token",
            Self::Ended => "the session was ended",
            Self::Conflict => "another request changed a value that was read before it was written",
            Self::InvalidTransaction => "the transaction cannot commit the session",
            Self::TooLarge => "the session would exceed its limit",
            Self::Serialize => "the value cannot be serialized",
            Self::TypeMismatch => "the value is of another type",
            Self::ResponseSent => "the head of the response was sent, so the session can no longer be changed",
            Self::Detached => "a detached session can neither be created nor change its token",
            Self::InvalidLifetime => "invalid lifetime",
            Self::MissingLayer => "a layer is missing around the handler",
            Self::NotSignedIn => "the session is not signed in",
            Self::ReauthenticationRequired => "the last authentication was too long ago",
            Self::PermissionDenied => "the user lacks the permission",
            Self::ActingAsAnother => "not while acting as another owner",
            Self::CsrfRefused => "the request has no CSRF token of its session",
            Self::CrossOrigin => "a page of another origin has made the request",
            Self::UnsupportedMediaType => "the body is not application/x-www-form-urlencoded",
            Self::BodyTooLarge => "the body exceeds the limit",
            Self::InvalidBody => "the body could not be read",
            Self::InvalidForm => "the form is not of the requested type",
        })
    }
}

/// An error of a store.
///
/// The kind says whether a retry may help. The error of the database client is the [source](std::error::Error::source).
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Source>,
    /// An event has reported this error. Atomic, since the event has only a reference.
    is_logged: AtomicBool,
}

/// The kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, is full, or did not answer in time. A retry may help.
    Unavailable,
    /// The stored value is not a record. The layer treats it as missing, and never overwrites it.
    Corrupt,
    /// The store does not support the operation, or the record has a newer format.
    Unsupported,
    /// Any other failure.
    Other,
}

impl StoreError {
    /// Creates an error of this kind, without a source.
    #[must_use]
    pub const fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None, is_logged: AtomicBool::new(false) }
    }

    pub(crate) fn with_source(kind: StoreErrorKind, source: impl Into<Source>) -> Self {
        Self { source: Some(source.into()), ..Self::new(kind) }
    }

    /// Creates an [`Unavailable`](StoreErrorKind::Unavailable) error.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with_source(StoreErrorKind::Unavailable, source)
    }

    /// Creates a [`Corrupt`](StoreErrorKind::Corrupt) error.
    pub fn corrupt(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with_source(StoreErrorKind::Corrupt, source)
    }

    /// Creates an [`Unsupported`](StoreErrorKind::Unsupported) error.
    pub fn unsupported(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with_source(StoreErrorKind::Unsupported, source)
    }

    /// Creates an [`Other`](StoreErrorKind::Other) error.
    pub fn other(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with_source(StoreErrorKind::Other, source)
    }

    /// Returns the kind of this error.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Notes that an event has reported this error.
    pub(crate) fn set_logged(&self) {
        self.is_logged.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the store is unavailable",
            Self::Corrupt => "the stored record cannot be read",
            Self::Unsupported => "the store does not support this",
            Self::Other => "the store failed",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        source_of(&self.source)
    }
}

/// An invalid configuration. The message says what to change.
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
    /// A key of a `KeyRing`.
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

/// Creates the response for an error, in place of a service's own, and logs a failure.
pub(crate) fn error_response<B: Default>(error: &Error) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = error.respond();
    response.extensions_mut().insert(error.kind);
    if error.kind.may_succeed_later() {
        // In seconds (RFC 9110 §10.2.3).
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn source_of(source: &Option<Source>) -> Option<&(dyn StdError + 'static)> {
    source.as_deref().map(|source| source as _)
}
