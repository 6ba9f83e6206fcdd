//! Responses for errors, in the form that the client asks for or the application chooses.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, SET_COOKIE, VARY};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::caching::vary_by;
use crate::error::{Error, ErrorKind, error_response};

/// A layer that chooses the form of the responses for errors of this crate.
///
/// Such errors come from extractors, from handlers that return an [`Error`], from [`CsrfLayer`](crate::csrf::CsrfLayer), and
/// from the [`SessionLayer`](crate::SessionLayer) if a commit fails. Add this layer outside all of them. Each of these responses has
/// its [`ErrorKind`] as an extension, with and without this layer, so that middleware can count errors; other responses pass unchanged.
///
/// Of several layers around an error, the innermost answers: an API with errors as JSON can be a part of a site with errors as HTML.
/// A failed commit is an error of the `SessionLayer`, so an `ErrorLayer` inside it does not answer that.
///
/// [`new`](ErrorLayer::new) answers clients that prefer JSON with `application/problem+json` (RFC 9457), and others with plain text.
/// [`from_fn`](ErrorLayer::from_fn) lets the application choose the response, for example its own page:
///
/// ```
/// use axum::Router;
/// use axum::response::{Html, IntoResponse, Redirect};
/// use sessile::errors::ErrorLayer;
/// use sessile::{ErrorKind, MemoryStore, SessionLayer};
///
/// let pages = ErrorLayer::from_fn(|kind, head| match kind {
///     ErrorKind::NotSignedIn if head.method == "GET" => Redirect::to("/sign-in").into_response(),
///     ErrorKind::CsrfRefused => Html("<p>This form has expired. <a href=''>Load it again.</a>").into_response(),
///     kind => ErrorLayer::by_accept(kind, head),
/// });
/// let app: Router = Router::new().layer(SessionLayer::new(MemoryStore::new())).layer(pages);
/// ```
///
/// The status stays that of the error if the application's response has the status 200. The headers of the layers below stay, the
/// session cookie among them.
#[derive(Clone)]
#[must_use]
pub struct ErrorLayer {
    /// `None` for a response by the `Accept` header.
    respond: Option<Arc<Respond>>,
}

type Respond = dyn Fn(ErrorKind, &Parts) -> Response + Send + Sync;

impl ErrorLayer {
    /// Creates a layer that answers by the `Accept` header: `application/problem+json`, or plain text.
    ///
    /// The problem has the members `title`, `status`, `detail`, and `kind`, the name of the [`ErrorKind`].
    pub const fn new() -> Self {
        Self { respond: None }
    }

    /// Creates a layer that asks the application for a response, by the error and the head of its request.
    ///
    /// The head has no extensions. [`by_accept`](Self::by_accept) returns the response of the crate, for other clients or errors.
    ///
    /// Each request costs a copy of its head, whether or not an error follows: over HTTP/1.1 three allocations, and one for each
    /// header name that the crate `http` has no constant for. [`new`](Self::new) allocates only for an error.
    pub fn from_fn<R, F>(respond: F) -> Self
    where
        F: Fn(ErrorKind, &Parts) -> R + Send + Sync + 'static,
        R: IntoResponse,
    {
        Self { respond: Some(Arc::new(move |kind, head| respond(kind, head).into_response())) }
    }

    /// Returns the response for an error as a layer [without a function](Self::new) does, by the `Accept` header.
    #[must_use]
    pub fn by_accept(kind: ErrorKind, head: &Parts) -> Response {
        respond_by_accept(kind, prefers_json(&head.headers))
    }
}

impl Default for ErrorLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ErrorLayer {
    type Service = ErrorService<S>;

    fn layer(&self, inner: S) -> ErrorService<S> {
        ErrorService { inner, respond: self.respond.clone() }
    }
}

impl fmt::Debug for ErrorLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorLayer")
    }
}

/// The service of an [`ErrorLayer`].
#[derive(Clone)]
pub struct ErrorService<S> {
    inner: S,
    respond: Option<Arc<Respond>>,
}

impl<S, B> Service<Request<B>> for ErrorService<S>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ErrorFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> ErrorFuture<S::Future> {
        let form = match &self.respond {
            None => Form::ByAccept { prefers_json: prefers_json(request.headers()) },
            Some(respond) => Form::Own { respond: Arc::clone(respond), head: head_of(&request) },
        };
        ErrorFuture { inner: self.inner.call(request), form }
    }
}

impl<S: fmt::Debug> fmt::Debug for ErrorService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// The form of the response for an error.
enum Form {
    ByAccept { prefers_json: bool },
    Own { respond: Arc<Respond>, head: Box<Parts> },
}

/// Marks a response that an [`ErrorLayer`] has answered, for the layers of this kind around it.
#[derive(Clone)]
pub(crate) struct Answered;

pin_project! {
    /// The response future of an [`ErrorService`].
    pub struct ErrorFuture<F> {
        #[pin]
        inner: F,
        form: Form,
    }
}

impl<F, R, E> Future for ErrorFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(context))?.into_response();
        let Some(kind) = response.extensions().get::<ErrorKind>().copied() else { return Poll::Ready(Ok(response)) };
        if response.extensions().get::<Answered>().is_some() {
            return Poll::Ready(Ok(response));
        }
        let page = match this.form {
            Form::ByAccept { prefers_json } => respond_by_accept(kind, *prefers_json),
            Form::Own { respond, head } => respond(kind, head),
        };
        let mut response = with_headers_of(response, page);
        response.extensions_mut().insert(Answered);
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for ErrorFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorFuture")
    }
}

impl IntoResponse for Error {
    /// Creates a plain text. [`ErrorLayer`] chooses another form.
    fn into_response(self) -> Response {
        let response: Response = error_response(&self);
        with_headers_of(response, text(self.kind()))
    }
}

/// Returns a copy of a request's head, without the extensions.
fn head_of<B>(request: &Request<B>) -> Box<Parts> {
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    Box::new(head)
}

/// Moves the headers of a response to the page that replaces it; the status, too, unless the page has another than 200.
pub(crate) fn with_headers_of(response: Response, mut page: Response) -> Response {
    if page.status() == StatusCode::OK {
        *page.status_mut() = response.status();
    }
    let (replaced, _) = response.into_parts();
    let headers = page.headers_mut();
    for name in replaced.headers.keys() {
        if [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING].contains(name) {
            continue;
        }
        if *name != SET_COOKIE && *name != VARY {
            headers.remove(name);
        }
        for value in replaced.headers.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    page.extensions_mut().extend(replaced.extensions);
    page
}

fn respond_by_accept(kind: ErrorKind, prefers_json: bool) -> Response {
    let mut response = if prefers_json { problem(kind) } else { text(kind) };
    vary_by(response.headers_mut(), &ACCEPT);
    response
}

/// Returns the plain text for an error.
fn text(kind: ErrorKind) -> Response {
    let reason = kind.status().canonical_reason().unwrap_or_default();
    let text = match detail(kind) {
        "" => reason.to_owned(),
        detail => format!("{reason}: {detail}"),
    };
    let mut response = text.into_response();
    *response.status_mut() = kind.status();
    response
}

/// Returns the problem details for an error (RFC 9457).
///
/// Its type is `about:blank`, so its title is the name of the status.
fn problem(kind: ErrorKind) -> Response {
    let mut response = problem_text(kind).into_response();
    *response.status_mut() = kind.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn problem_text(kind: ErrorKind) -> String {
    let (status, name, detail) = (kind.status(), kind.name(), detail(kind));
    let (title, status) = (status.canonical_reason().unwrap_or_default(), status.as_u16());
    format!(r#"{{"title":"{title}","status":{status},"detail":"{detail}","kind":"{name}"}}"#)
}

/// Returns a sentence for the user; nothing about the server's own mistakes. It needs no escaping in JSON or HTML.
const fn detail(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => "the service cannot answer now; try again in a moment",
        ErrorKind::Superseded | ErrorKind::Ended => "the session has changed; load the page again",
        ErrorKind::Conflict => "another request changed the same data; load the page again",
        ErrorKind::TooLarge => "the session would be too large",
        ErrorKind::NotSignedIn => "sign in first",
        ErrorKind::ReauthenticationRequired => "confirm first that it is you",
        ErrorKind::PermissionDenied => "this account may not do that",
        ErrorKind::ActingAsAnother => "not possible on behalf of another account",
        ErrorKind::CsrfRefused => "this form has expired or belongs to another session; load its page again",
        ErrorKind::CrossOrigin => "the request comes from another site",
        ErrorKind::UnsupportedMediaType => "the body must be a form",
        ErrorKind::BodyTooLarge => "the body is too large",
        ErrorKind::InvalidBody => "the body could not be read",
        ErrorKind::InvalidForm => "a field is missing or invalid",
        ErrorKind::Serialize
        | ErrorKind::TypeMismatch
        | ErrorKind::ResponseSent
        | ErrorKind::Detached
        | ErrorKind::InvalidLifetime
        | ErrorKind::InvalidTransaction
        | ErrorKind::MissingLayer => "",
    }
}

/// Checks whether a client prefers JSON to text (RFC 9110 §12.5.1). A client that accepts anything gets text.
pub(crate) fn prefers_json(headers: &HeaderMap) -> bool {
    let (mut json, mut text) = (0.0, 0.0);
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parameters = range.split(';').map(str::trim);
        let media_type = parameters.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parameters.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
        let weight: f32 = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        if media_type == "application/json" || media_type.ends_with("+json") {
            json = f32::max(json, weight);
        } else if media_type.starts_with("text/") || media_type == "application/xhtml+xml" {
            text = f32::max(text, weight);
        }
    }
    json > 0.0 && json >= text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problem of each kind is valid JSON with its status and its name.
    #[test]
    fn a_problem_is_valid_json() {
        for kind in [
            ErrorKind::Unavailable,
            ErrorKind::Superseded,
            ErrorKind::Ended,
            ErrorKind::Conflict,
            ErrorKind::TooLarge,
            ErrorKind::Serialize,
            ErrorKind::TypeMismatch,
            ErrorKind::ResponseSent,
            ErrorKind::Detached,
            ErrorKind::InvalidLifetime,
            ErrorKind::InvalidTransaction,
            ErrorKind::MissingLayer,
            ErrorKind::NotSignedIn,
            ErrorKind::ReauthenticationRequired,
            ErrorKind::PermissionDenied,
            ErrorKind::ActingAsAnother,
            ErrorKind::CsrfRefused,
            ErrorKind::CrossOrigin,
            ErrorKind::UnsupportedMediaType,
            ErrorKind::BodyTooLarge,
            ErrorKind::InvalidBody,
            ErrorKind::InvalidForm,
        ] {
            let problem: serde_json::Value = serde_json::from_str(&problem_text(kind)).expect("valid JSON");
            assert_eq!(problem["status"], kind.status().as_u16());
            assert_eq!(problem["kind"], kind.name());
            assert_eq!(problem["title"], kind.status().canonical_reason().expect("a registered status"));
        }
    }

    /// Browsers and clients without a preference get text; clients that name JSON get JSON.
    #[test]
    fn accept_decides_between_json_and_text() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("application/json", true),
            ("Application/Problem+JSON", true),
            ("application/json, text/plain, */*", true),
            ("application/json;q=0.5, text/html", false),
            ("text/html;q=0.5, application/vnd.api+json;q=0.9", true),
            ("application/json;q=0", false),
            ("application/json;q=x", false),
            ("application/jsonp", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).expect("a header"))]);
            assert_eq!(prefers_json(&headers), expected, "{accept}");
        }
        assert!(!prefers_json(&HeaderMap::new()));
    }
}
