//! The requests that end sessions: two of the provider, and one of the user.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile::Session;

use crate::failure::Failure;
use crate::provider_sessions::Logout;
use crate::{App, logout_token, now};

/// Ends the sessions that a logout token names (OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8).
///
/// The provider sends it directly, without a cookie: the signature is the authentication. So the route has no CSRF layer.
pub(crate) async fn back_channel(
    State(app): State<App>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let response = match end_by_token(&app, form).await {
        Ok(()) => ().into_response(),
        Err(failure) => failure.into_response(),
    };
    ([(CACHE_CONTROL, "no-store")], response).into_response()
}

async fn end_by_token(app: &App, form: Result<Form<Vec<(String, String)>>, FormRejection>) -> Result<(), Failure> {
    let Ok(Form(form)) = form else { return Err(Failure::Invalid("not a form")) };
    let mut tokens = form.into_iter().filter(|(name, _)| name == "logout_token").map(|(_, token)| token);
    let (Some(token), None) = (tokens.next(), tokens.next()) else {
        return Err(Failure::Invalid("not exactly one logout_token"));
    };
    let token = logout_token::verify(&app.provider, &token).await?;
    if app.provider_sessions.is_done(&token.jti).await? {
        return Err(Failure::Invalid("the logout token was used before"));
    }
    app.provider_sessions.end(&token.logout).await?;
    // After the sessions have ended: if the store fails before, the provider may send the token again.
    Ok(app.provider_sessions.set_done(&token.jti, token.expires_in).await?)
}

#[derive(Deserialize)]
pub(crate) struct FrontChannel {
    iss: String,
    sid: String,
}

/// Ends the sessions of a provider's session (OpenID Connect Front-Channel Logout 1.0 §3).
///
/// The provider's page loads it in a frame. Browsers do not send the session cookie there, so `sid` names the session. The request
/// has no other authentication: it is safe if the provider's `sid` cannot be guessed, and the worst that a leaked one does is
/// to sign its user out. An unknown `sid` leaves no record, since any client could fill the store with them, and a known one leaves
/// the same record each time.
pub(crate) async fn front_channel(
    State(app): State<App>,
    Query(request): Query<FrontChannel>,
) -> Result<Response, Failure> {
    if request.iss != app.provider.issuer().as_str() {
        return Err(Failure::Invalid("iss is another provider"));
    }
    if !app.provider_sessions.owners_of(&request.sid).await?.is_empty() {
        app.provider_sessions.end(&Logout { sub: None, sid: Some(request.sid), at: now() }).await?;
    }
    let frame = format!("frame-ancestors {}", app.provider.issuer().url().origin().ascii_serialization());
    let headers = [(CACHE_CONTROL, "no-store".to_owned()), (CONTENT_SECURITY_POLICY, frame)];
    Ok((headers, "signed out\n").into_response())
}

/// Signs the user out here, and then at the provider (OpenID Connect RP-Initiated Logout 1.0).
pub(crate) async fn sign_out(session: Session, State(app): State<App>) -> Result<Redirect, Failure> {
    session.sign_out()?;
    // Before the redirect: the user must not be asked at the provider while still signed in here.
    session.commit().await?;
    Ok(Redirect::to(&app.provider.sign_out_url()))
}
