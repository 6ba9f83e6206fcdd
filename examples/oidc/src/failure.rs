//! Failures and their responses.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sessile::Error;

/// The reason why a request of a browser or of the provider fails.
#[derive(Debug)]
pub enum Failure {
    /// The request is invalid: 400.
    Invalid(&'static str),
    /// The provider's session ended while its user signed in here: 403.
    SignedOut,
    /// The provider failed or gave an invalid answer: 502.
    Provider(String),
    /// No known key of the provider fits, and the keys were fetched less than a second ago: 503.
    KeysUnknown,
    /// The session or its store failed: mostly 503.
    Session(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
            Self::SignedOut => {
                (StatusCode::FORBIDDEN, "you have signed out at the provider: sign in again\n").into_response()
            }
            Self::Provider(error) => {
                eprintln!("the provider failed: {error}");
                (StatusCode::BAD_GATEWAY, "the provider does not answer as expected\n").into_response()
            }
            Self::KeysUnknown => {
                (StatusCode::SERVICE_UNAVAILABLE, "the key is not known yet: try again in a second\n").into_response()
            }
            Self::Session(error) => error.into_response(),
        }
    }
}
