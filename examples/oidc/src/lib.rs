//! Sign-in with an OpenID Connect provider, and logout from there.
//!
//! When a user signs out at the provider, or an administrator ends the user's session there, the provider tells each
//! application by a logout token. The sessions that were signed in by the provider's session then end, on every node.
//! The guide, `docs/oidc.md`, gives the reasons.
//!
//! A suggested reading order:
//!
//! 1. [`sign_in`]: from the provider's page to a session that is signed in.
//! 2. [`logout`]: the two requests of the provider that end sessions, and the sign-out of the user.
//! 3. [`provider_sessions`]: from a session of the provider to sessions of this application, in their store.
//! 4. [`logout_token`]: the checks of a logout token.
//! 5. [`provider`]: requests to the provider.

pub mod failure;
pub mod logout;
pub mod logout_token;
pub mod provider;
pub mod provider_sessions;
pub mod sign_in;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use sessile::config::ConfigError;
use sessile::store::Store;
use sessile::{Lifetime, SessionLayer, SignedIn};

use crate::provider::Provider;
use crate::provider_sessions::ProviderSessions;
use crate::sign_in::{MAX_SIGN_IN, SigningIn};

/// Longest time from a sign-in to the end of its session.
const MAX_SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// State of the handlers.
#[derive(Clone)]
struct App {
    provider: Arc<Provider>,
    provider_sessions: ProviderSessions,
}

/// Creates the application over a store. Nodes that share the store share its sessions.
///
/// # Errors
///
/// Settings that contradict each other; those in this file do not.
pub fn router<S: Store + Clone>(provider: Provider, store: S) -> Result<Router, ConfigError> {
    let lifetime = Lifetime::new().with_absolute_timeout(MAX_SESSION);
    let layer = SessionLayer::builder(store.clone()).with_lifetime(lifetime).build()?;
    let lifetime = Lifetime::new().with_idle_timeout(MAX_SIGN_IN);
    let signing_in = SessionLayer::builder(store.clone()).with_name("sign-in").with_lifetime(lifetime).build()?;
    let provider_sessions = ProviderSessions::new(provider.issuer(), store, layer.sessions())?;
    let app = App { provider: Arc::new(provider), provider_sessions };
    Ok(Router::new()
        .route("/", get(Html(HOME)))
        .route("/account", get(account))
        .route("/sign-in", get(sign_in::begin))
        .route("/callback", get(sign_in::callback))
        .route("/sign-out", post(logout::sign_out))
        .route("/logout/back-channel", post(logout::back_channel))
        .route("/logout/front-channel", get(logout::front_channel))
        .with_state(app)
        .layer(signing_in.with_marker::<SigningIn>())
        .layer(layer))
}

const HOME: &str = "<p><a href=/account>account</a> <a href=/sign-in>sign in</a>\
    <form method=post action=/sign-out><button>sign out</button></form>";

async fn account(user: SignedIn) -> String {
    format!("signed in as {}\n", user.owner())
}

/// Returns the seconds since the Unix epoch, the unit of a token's times.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
