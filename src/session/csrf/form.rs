//! The extractors that require a CSRF token in a form.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use axum_core::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::extract::token_in_header;
use crate::error::{Error, ErrorKind};
use crate::session::Session;
use crate::session::extract::handle;

/// The form field that carries a token.
const FIELD: &str = "csrf_token";

/// A form (`application/x-www-form-urlencoded`) with a CSRF token of the request's session.
///
/// The token is in the field `csrf_token`, or in the header `X-CSRF-Token`. The body is read up to axum's `DefaultBodyLimit`
/// (2 MB unless set), and not at all if the client has no session, neither a live one nor one that has just ended. A `T` that
/// denies unknown fields must have a field `csrf_token`.
///
/// Rejects with 403 if the token is missing or belongs to another session, with 409 if the client's session token was just
/// retired, with 415 if the body is not a form, 413 if it is too long, 422 if it is not a `T`, and otherwise as [`Session`]
/// does. For a layer with a marker, use [`CsrfFormFor`].
///
/// ```
/// use serde::Deserialize;
/// use sessile::csrf::CsrfForm;
/// use sessile::{Error, Session};
///
/// #[derive(Deserialize)]
/// struct Rename {
///     name: String,
/// }
///
/// async fn rename(session: Session, CsrfForm(form): CsrfForm<Rename>) -> Result<(), Error> {
///     session.insert("name", &form.name)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(rename));
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a handler destructures it, like axum's extractors")]
pub struct CsrfForm<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for CsrfForm<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        read_form::<S, T, ()>(request, state).await.map(Self)
    }
}

/// [`CsrfForm`] with a token of the session of the marker `M`.
///
/// ```
/// use serde::Deserialize;
/// use sessile::csrf::CsrfFormFor;
///
/// struct Admin;
///
/// #[derive(Deserialize)]
/// struct Ban {
///     user: u64,
/// }
///
/// async fn ban(form: CsrfFormFor<Admin, Ban>) -> String {
///     format!("user {} is banned", form.into_inner().user)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(ban));
/// ```
pub struct CsrfFormFor<M, T> {
    form: T,
    marker: PhantomData<fn() -> M>,
}

impl<M, T> CsrfFormFor<M, T> {
    /// Returns the form.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.form
    }
}

impl<M, T: fmt::Debug> fmt::Debug for CsrfFormFor<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CsrfFormFor").field(&self.form).finish()
    }
}

impl<S: Send + Sync, M: 'static, T: DeserializeOwned> FromRequest<S> for CsrfFormFor<M, T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let form = read_form::<S, T, M>(request, state).await?;
        Ok(Self { form, marker: PhantomData })
    }
}

async fn read_form<S: Send + Sync, T: DeserializeOwned, M: 'static>(request: Request, state: &S) -> Result<T, Error> {
    let (parts, body) = request.into_parts();
    if !is_form(&parts) {
        return Err(Error::new(ErrorKind::UnsupportedMediaType));
    }
    let session: Session<M> = handle(&parts)?.load().await?;
    if session.csrf_secret().is_none() {
        session.check_csrf(None)?;
    }
    let header = token_in_header(&parts).map(str::to_owned);
    let body = read_text(Request::from_parts(parts, body), state).await?;
    match header {
        Some(token) => session.check_csrf(Some(&token))?,
        None => session.check_csrf(token_in_form(&body).as_deref())?,
    }
    // The text of serde would contain what the client has entered.
    let expected = std::any::type_name::<T>();
    serde_urlencoded::from_str(&body).map_err(|_| Error::new(ErrorKind::InvalidForm).with_context(expected))
}

/// Reads a body as text.
pub(super) async fn read_text<S: Send + Sync>(request: Request, state: &S) -> Result<String, Error> {
    String::from_request(request, state).await.map_err(|rejection| {
        let is_too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let kind = if is_too_large { ErrorKind::BodyTooLarge } else { ErrorKind::InvalidBody };
        Error::with_source(kind, rejection)
    })
}

/// Checks whether the body is a form, in which a token can be found.
pub(super) fn is_form(parts: &Parts) -> bool {
    let Some(content_type) = parts.headers.get(CONTENT_TYPE) else { return false };
    let essence = content_type.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Returns the token in a form, if there is one.
pub(super) fn token_in_form(body: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == FIELD).map(|(_, token)| token)
}
