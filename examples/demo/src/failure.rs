//! Errors of handlers, extractors and layers, and their pages.

use axum::Json;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Serialize;
use sessile::ErrorKind;
use sessile::user::LocalPath;

use crate::layout;
use crate::visitor::page_of;

pub enum Failure {
    /// An operation of the session failed.
    Session(sessile::Error),
    /// The session is not as the handler requires.
    Refused(ErrorKind),
    /// The page does not exist.
    NotFound,
    /// Any other error. It is logged, and the client sees a general message.
    Internal,
}

impl Failure {
    pub fn internal(error: impl std::error::Error) -> Self {
        eprintln!("a request failed: {error}");
        Self::Internal
    }
}

impl From<sessile::Error> for Failure {
    fn from(error: sessile::Error) -> Self {
        Self::Session(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Refused(kind) => (kind.status(), Extension(kind)).into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Checks whether the script of a page has made the request.
pub fn is_script(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept == "application/json")
}

/// Returns the response for an error of sessile, by the head of its request: an answer for the script, a page that the
/// user needs first, or an error page.
pub fn of_session(kind: ErrorKind, head: &Parts) -> Response {
    if is_script(&head.headers) {
        return Json(Problem { kind: kind.name() }).into_response();
    }
    let here = page_of(head);
    let by_way_of = |page| Redirect::to(&LocalPath::from_static(page).with_next(Some(&here))).into_response();
    let again = html! { a .button href=(here) { "Open the page again" } };
    match kind {
        ErrorKind::NotSignedIn => by_way_of("/sign-in"),
        ErrorKind::Ended => by_way_of("/sign-in?ended=true"),
        ErrorKind::ReauthenticationRequired => by_way_of("/confirm"),
        ErrorKind::PermissionDenied => {
            error_page("This page is for administrators", "You are signed in, but not as an administrator.", &to_teas())
        }
        ErrorKind::ActingAsAnother => {
            let text = "You act as another user, and only that user can do this.";
            error_page("This is not possible while acting", text, &to_teas())
        }
        ErrorKind::CsrfRefused => {
            let text = "Your session has ended or changed since this page was opened, so nothing was done.";
            error_page("This form is out of date", text, &again)
        }
        ErrorKind::CrossOrigin => {
            let text = "The form was on another site, so nothing was done.";
            error_page("This form is not ours", text, &to_teas())
        }
        ErrorKind::Superseded | ErrorKind::Conflict => {
            error_page("Please try again", "Your session changed in the meantime.", &again)
        }
        ErrorKind::Unavailable => {
            error_page("One moment, please", "Sessions cannot be read just now. Please try again.", &again)
        }
        kind => by_status(kind.status()),
    }
}

/// Answer to the script.
#[derive(Serialize)]
struct Problem {
    kind: &'static str,
}

/// Replaces the text of any other error by a page.
pub async fn page(response: Response) -> Response {
    let status = response.status();
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    // Keeps the other headers, such as `Set-Cookie`, and the kind of the error.
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    (parts, by_status(status)).into_response()
}

fn by_status(status: StatusCode) -> Response {
    let (title, text) = match status {
        StatusCode::NOT_FOUND => ("There is nothing here", "No page has this address."),
        status if status.is_server_error() => ("Something went wrong", "It is our fault. Please try again."),
        _ => ("This cannot be done", "The request is not one that this site knows."),
    };
    error_page(title, text, &to_teas())
}

fn to_teas() -> Markup {
    html! { a .button href="/" { "To the teas" } }
}

fn error_page(title: &str, text: &str, ways_on: &Markup) -> Response {
    layout::bare(title, &layout::notice(title, text, ways_on)).into_response()
}
