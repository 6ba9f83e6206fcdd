//! From the provider's page to a session that is signed in.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Redirect;
use openidconnect::{AuthorizationCode, Nonce, PkceCodeVerifier};
use serde::{Deserialize, Serialize};
use sessile::Session;

use crate::failure::Failure;
use crate::logout_token::LEEWAY;
use crate::provider_sessions::{ORIGIN, Origin};
use crate::{App, now};

/// Marker of the layer for the sign-ins that are in progress.
///
/// Its session and its cookie end soon. In a session that a logout has just ended, nothing can be stored for a
/// minute, and the user may sign in again at once.
#[derive(Debug)]
pub(crate) struct SigningIn;

/// Most sign-ins that one browser has in progress.
const MAX_PENDING: usize = 8;
/// Time within which the user must come back from the provider.
///
/// The record of a logout must outlive a sign-in that began before it.
pub(crate) const MAX_SIGN_IN: Duration = Duration::from_secs(10 * 60);

/// A sign-in that is in progress. Its key is the `state`.
///
/// The provider returns the `state` through the browser, so a client that did not start the sign-in cannot finish it (RFC 6749
/// §10.12). With a key for each, neither another tab nor a link on another site stops a sign-in.
#[derive(Serialize, Deserialize)]
struct Pending {
    /// The provider signs it with the ID token, so that one of another sign-in is refused (OpenID Connect Core 1.0
    /// §15.5.2).
    nonce: Nonce,
    /// Sent to the provider directly, so a stolen code is useless without it (RFC 7636).
    verifier: PkceCodeVerifier,
    began_at: i64,
}

pub(crate) async fn begin(signing_in: Session<SigningIn>, State(app): State<App>) -> Result<Redirect, Failure> {
    let (url, state, nonce, verifier) = app.provider.authorization();
    if signing_in.keys().len() >= MAX_PENDING {
        signing_in.clear()?;
    }
    signing_in.insert(state.secret(), &Pending { nonce, verifier, began_at: now() })?;
    Ok(Redirect::to(url.as_str()))
}

#[derive(Deserialize)]
pub(crate) struct Callback {
    state: String,
    code: AuthorizationCode,
    /// Missing if the provider does not follow RFC 9207.
    iss: Option<String>,
}

/// Finishes the sign-in. The browser sends a `SameSite=Lax` cookie with the redirect from the provider.
pub(crate) async fn callback(
    signing_in: Session<SigningIn>,
    session: Session,
    State(app): State<App>,
    Query(callback): Query<Callback>,
) -> Result<Redirect, Failure> {
    // Removed in one step: of several requests with one state, only one continues.
    let pending = signing_in.take_now::<Pending>(&callback.state).await?;
    let pending = pending.filter(|pending| now() < pending.began_at + MAX_SIGN_IN.as_secs().cast_signed());
    let pending = pending.ok_or(Failure::Invalid("no sign-in with this state is in progress"))?;
    if callback.iss.is_some_and(|iss| iss != app.provider.issuer().as_str()) {
        return Err(Failure::Invalid("the code is another provider's"));
    }
    let claims = app.provider.redeem(callback.code, pending.verifier, &pending.nonce).await?;
    // The user may have signed out at the provider after the code was issued and before it was redeemed. The code was issued after the
    // user was authenticated, by the provider's clock, and after the sign-in began, by a clock of ours.
    let began_at = pending.began_at - LEEWAY;
    let issued_at = claims.auth_time().map_or(began_at, |at| began_at.max(at.timestamp()));
    let origin = Origin {
        sub: claims.subject().to_string(),
        sid: claims.additional_claims().sid.clone(),
        since: claims.issue_time().timestamp().min(issued_at),
    };

    // The order matters: a logout leaves its record and then looks for sessions; this leaves the session and then looks for a
    // record of a logout. Whichever is later sees the other.
    let owner = app.provider_sessions.link(&origin).await?;
    session.sign_in(&owner)?;
    session.insert(ORIGIN, &origin)?;
    session.commit().await?;
    let is_over = app.provider_sessions.is_over(&origin).await;
    if !matches!(is_over, Ok(false)) {
        session.sign_out()?;
    }
    if is_over? { Err(Failure::SignedOut) } else { Ok(Redirect::to("/account")) }
}
