//! Sign-in with name and password, and a typed user in handlers.
//!
//! ```sh
//! cargo run --example login
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sessile::{Error, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Serialize)]
struct User {
    id: u64,
    name: String,
    admin: bool,
}

/// The application's users.
///
/// The session holds the user's id alone. Handlers look up the user at each request, so that a change of name or role
/// takes effect at once.
#[derive(Clone)]
struct Users(Arc<HashMap<u64, User>>);

impl Users {
    fn find(&self, id: u64) -> Option<User> {
        self.0.get(&id).cloned()
    }

    /// Looks up the user by name and password. A real application verifies a password hash (Argon2id).
    fn verify(&self, name: &str, password: &str) -> Option<User> {
        self.0.values().find(|user| user.name == name && password == format!("{name}'s password")).cloned()
    }
}

/// Extractor of the signed-in user: a handler that takes it refuses other clients.
struct CurrentUser(User);

impl<S> FromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    Users: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let signed_in: SignedIn = SignedIn::from_request_parts(parts, state).await.map_err(Error::into_response)?;
        let id = signed_in.owner().strip_prefix("user:").and_then(|id| id.parse().ok());
        let user = id.and_then(|id| Users::from_ref(state).find(id));
        // The user was deleted after signing in.
        user.map(Self).ok_or_else(|| StatusCode::UNAUTHORIZED.into_response())
    }
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
    #[serde(default)]
    remember: bool,
}

async fn sign_in(
    session: Session,
    State(users): State<Users>,
    Json(credentials): Json<Credentials>,
) -> Result<StatusCode, Error> {
    let Some(user) = users.verify(&credentials.name, &credentials.password) else {
        return Ok(StatusCode::UNAUTHORIZED);
    };
    // Issues a new token and starts a new lifetime. The visitor's data stays in the session.
    session.sign_in(&format!("user:{}", user.id))?;
    if credentials.remember {
        session.set_lifetime(
            Lifetime::new().with_idle_timeout(14 * DAY).with_absolute_timeout(90 * DAY).with_max_age(90 * DAY),
        )?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn sign_out(session: Session) -> Result<StatusCode, Error> {
    session.sign_out()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(CurrentUser(user): CurrentUser) -> Json<User> {
    Json(user)
}

async fn admin(CurrentUser(user): CurrentUser) -> Result<&'static str, StatusCode> {
    if user.admin { Ok("the back room\n") } else { Err(StatusCode::FORBIDDEN) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let user = |id, name: &str| (id, User { id, name: name.to_owned(), admin: name == "grace" });
    let users = Users(Arc::new(HashMap::from([user(1, "ada"), user(2, "grace")])));
    let app = Router::new()
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/me", get(me))
        .route("/admin", get(admin))
        .with_state(users)
        .layer(SessionLayer::new(MemoryStore::new()));

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
