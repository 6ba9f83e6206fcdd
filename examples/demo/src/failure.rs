//! Errors of handlers, and their pages.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use crate::destination::Destination;
use crate::layout;

pub enum Failure {
    /// The client is not signed in: redirects to the sign-in page, and back afterwards.
    SignInFirst(Destination),
    /// The last password entry is too old: redirects to the confirmation page, and back afterwards.
    ConfirmFirst(Destination),
    /// The page does not exist.
    NotFound,
    /// The session could not be loaded or committed.
    Session(sessile::Error),
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
            Self::SignInFirst(to) => Redirect::to(&format!("/sign-in?to={}", to.name())).into_response(),
            Self::ConfirmFirst(to) => Redirect::to(&format!("/confirm?to={}", to.name())).into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Session(error) => error.into_response(),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Replaces an empty error response of a handler, an extractor or a layer by a page.
pub async fn page(response: Response) -> Response {
    let status = response.status();
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (title, text) = match status {
        StatusCode::FORBIDDEN => ("This form is out of date", "Please go back, load the page anew, and try again."),
        StatusCode::NOT_FOUND => ("There is nothing here", "No page has this address."),
        StatusCode::CONFLICT => ("Please try again", "Your session changed in the meantime."),
        StatusCode::SERVICE_UNAVAILABLE => {
            ("One moment, please", "Sessions cannot be read just now. Please try again.")
        }
        status if status.is_server_error() => ("Something went wrong", "It is our fault. Please try again."),
        _ => ("This cannot be done", "The request is not one that this site knows."),
    };
    let content = layout::notice(title, text, &html! { a .button href="/" { "To the teas" } });
    // Keeps the other headers, such as `Set-Cookie`.
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    (parts, layout::bare(title, &content)).into_response()
}
