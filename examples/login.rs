//! Sign-in with name and password, a typed user in handlers, a guarded route, a change of the password, and an administrator who acts
//! as a user.
//!
//! ```sh
//! cargo run --example login
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sessile::acting::ActingLayer;
use sessile::user::{CurrentUser, Stamp, User, UserGuard, UserLayer, Users};
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session, SessionLayer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug, Serialize)]
struct Account {
    id: u64,
    name: String,
    admin: bool,
    /// A real application keeps a salted hash (Argon2id). Here a random number stands for the salt.
    #[serde(skip)]
    password: (String, u64),
}

/// The application's accounts.
///
/// The session holds the account's id alone. They are looked up at each request, so that a change of name or role takes effect at
/// once.
#[derive(Clone)]
struct Accounts(Arc<Mutex<HashMap<u64, Account>>>);

impl Accounts {
    fn rows(&self) -> MutexGuard<'_, HashMap<u64, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks up an account by name and password.
    fn verify(&self, credentials: &Credentials) -> Option<Account> {
        let matches =
            |account: &&Account| account.name == credentials.name && account.password.0 == credentials.password;
        self.rows().values().find(matches).cloned()
    }
}

impl Users for Accounts {
    type Id = u64;
    type User = Account;
    type Error = Infallible;

    async fn find(&self, id: &u64) -> Result<Option<Account>, Infallible> {
        Ok(self.rows().get(id).cloned())
    }

    fn id(account: &Account) -> u64 {
        account.id
    }

    fn may_act_as(&self, actor: &Account, user: &Account) -> bool {
        actor.admin && !user.admin
    }

    /// After a change of the password, the sessions from before are signed out.
    fn stamp(&self, account: &Account) -> Stamp {
        let (password, salt) = &account.password;
        Stamp::from_password_hash(b"a secret of this site", format!("{salt}{password}").as_bytes())
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
    user: CurrentUser<Accounts>,
    Json(credentials): Json<Credentials>,
) -> Result<StatusCode, Error> {
    let Some(account) = user.users().verify(&credentials) else {
        return Ok(StatusCode::UNAUTHORIZED);
    };
    // Issues a new token and starts a new lifetime. The visitor's data stays in the session.
    user.sign_in(&account).await?;
    if credentials.remember {
        session.set_lifetime(
            Lifetime::new().with_idle_timeout(14 * DAY).with_absolute_timeout(90 * DAY).with_max_age(90 * DAY),
        )?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the password: this session stays signed in, all others of the account are signed out.
async fn change_password(user: CurrentUser<Accounts>, password: String) -> Result<StatusCode, Error> {
    // A passer-by at an open browser knows no password.
    user.session().await?.require_recent(Duration::from_secs(5 * 60))?;
    let Some(mut account) = user.load().await? else { return Ok(ErrorKind::NotSignedIn.status()) };
    account.password = (password, getrandom::u64().expect("the operating system's random generator works"));
    // Before the account is changed, so that no request in between signs this session out.
    user.accept_credentials_of(&account).await?;
    user.users().rows().insert(account.id, account);
    Ok(StatusCode::NO_CONTENT)
}

async fn sign_out(session: Session) -> Result<StatusCode, Error> {
    session.sign_out()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(User(account): User<Accounts>) -> Json<Account> {
    Json(account)
}

/// Lets an administrator see the site as another account does, until `/sign-out`.
async fn act_as(user: CurrentUser<Accounts>, Path(id): Path<u64>) -> Result<StatusCode, Error> {
    let account = user.users().rows().get(&id).cloned();
    match account {
        Some(account) => user.act_as(&account).await.map(|_| StatusCode::NO_CONTENT),
        None => Ok(StatusCode::NOT_FOUND),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let account = |id, name: &str| {
        let password = (format!("{name}'s password"), 0);
        (id, Account { id, name: name.to_owned(), admin: name == "grace", password })
    };
    let accounts = Accounts(Arc::new(Mutex::new(HashMap::from([account(1, "ada"), account(2, "grace")]))));
    let admins = UserGuard::<Accounts>::new().with_permission(async |account: Account| account.admin);
    let sessions = SessionLayer::new(MemoryStore::new());
    let app = Router::new()
        .route("/admin", get(async || "the back room\n"))
        .route_layer(admins.clone())
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/password", post(change_password))
        .route("/me", get(me))
        // The guard refuses others before the look-up, whose 404 would tell them which accounts exist.
        .route("/act-as/{id}", post(act_as).layer(admins))
        .layer(UserLayer::new(accounts))
        .layer(ActingLayer::new(&sessions)?)
        .layer(sessions);

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
