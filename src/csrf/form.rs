//! An extractor that refuses a form without a token.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;

use axum_core::extract::rejection::StringRejection;
use axum_core::extract::{FromRequest, Request};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::extract::in_header;
use crate::error::{Error, ErrorKind};
use crate::extract::handle;
use crate::session::Session;

/// The field that a form sends its token in.
const FIELD: &str = "csrf_token";

/// A form, `application/x-www-form-urlencoded`, that brings a CSRF token of its session: in the field `csrf_token`, or in the
/// header `X-CSRF-Token`.
///
/// It is read up to axum's `DefaultBodyLimit`, 2 MB where nothing else is set, and not at all where the client has no
/// live session. A `T` that denies unknown fields must name `csrf_token`.
///
/// ```
/// use serde::Deserialize;
/// use sessile::{Error, Session};
/// use sessile::csrf::CsrfForm;
///
/// #[derive(Deserialize)]
/// struct Rename {
///     name: String,
/// }
///
/// async fn rename(session: Session, CsrfForm(form, ..): CsrfForm<Rename>) -> Result<(), Error> {
///     session.insert("name", &form.name)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(rename));
/// ```
#[expect(clippy::exhaustive_structs, reason = "a handler takes it apart, as it does axum's extractors")]
pub struct CsrfForm<T, M = ()>(pub T, #[doc(hidden)] pub PhantomData<fn() -> M>);

impl<T: fmt::Debug, M> fmt::Debug for CsrfForm<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CsrfForm").field(&self.0).finish()
    }
}

impl<S: Send + Sync, T: DeserializeOwned, M: 'static> FromRequest<S> for CsrfForm<T, M> {
    type Rejection = CsrfFormRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, CsrfFormRejection> {
        let (parts, body) = request.into_parts();
        if !is_form(&parts) {
            return Err(CsrfFormRejection::NotAForm);
        }
        let session: Session<M> = handle(&parts)?.load().await?;
        if session.is_new() {
            session.check_csrf(None)?;
        }
        let header = in_header(&parts).map(str::to_owned);
        let body = String::from_request(Request::from_parts(parts, body), state).await?;
        match header {
            Some(token) => session.check_csrf(Some(&token))?,
            None => session.check_csrf(in_form(&body).as_deref())?,
        }
        serde_urlencoded::from_str(&body)
            .map(|form| Self(form, PhantomData))
            .map_err(|error| CsrfFormRejection::Malformed(error.into()))
    }
}

/// Whether the body is a form whose token can be read.
pub(super) fn is_form(parts: &Parts) -> bool {
    let Some(content_type) = parts.headers.get(CONTENT_TYPE) else { return false };
    let essence = content_type.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// The token in a form, if there is one.
pub(super) fn in_form(body: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == FIELD).map(|(_, token)| token)
}

/// Why a [`CsrfForm`] was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum CsrfFormRejection {
    /// No CSRF token of the session (403), or no session could be loaded.
    Session(Error),
    /// The body is not `application/x-www-form-urlencoded`. 415.
    NotAForm,
    /// The body could not be read: it is too long (413), was cut off, or is no text (400).
    Body(StringRejection),
    /// The form is not what the handler takes. 422.
    Malformed(Box<dyn StdError + Send + Sync>),
}

impl CsrfFormRejection {
    /// Whether it was for want of a CSRF token of the session.
    #[must_use]
    pub fn is_csrf(&self) -> bool {
        matches!(self, Self::Session(error) if error.kind() == ErrorKind::Csrf)
    }
}

impl From<Error> for CsrfFormRejection {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<StringRejection> for CsrfFormRejection {
    fn from(rejection: StringRejection) -> Self {
        Self::Body(rejection)
    }
}

impl fmt::Display for CsrfFormRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session(error) => return error.fmt(f),
            Self::NotAForm => "the body is not application/x-www-form-urlencoded",
            Self::Body(_) => "the body could not be read",
            Self::Malformed(_) => "the form is not what the handler takes",
        })
    }
}

impl StdError for CsrfFormRejection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Session(error) => error.source(),
            Self::NotAForm => None,
            Self::Body(rejection) => Some(rejection),
            Self::Malformed(error) => Some(&**error),
        }
    }
}

impl IntoResponse for CsrfFormRejection {
    /// The status alone, with its name.
    fn into_response(self) -> Response {
        let status = match self {
            Self::Session(error) => return error.into_response(),
            Self::Body(rejection) => return rejection.into_response(),
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        (status, status.canonical_reason().unwrap_or_default()).into_response()
    }
}
