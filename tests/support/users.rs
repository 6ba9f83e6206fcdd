//! The accounts of an application, and an application that signs them in and changes their passwords.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use http::header::COOKIE;
use http::{Request, StatusCode};
use sessile::user::{CurrentUser, Stamp, User, UserLayer, Users};
use sessile::{Error, Session, SessionLayer};

use super::client::{COOKIE_NAME, Reply, send};
use super::orders::point;
use super::store::Gate;

#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub id: u64,
    /// Stands for the password and for its hash.
    pub password: u64,
    pub is_admin: bool,
}

#[derive(Debug)]
pub struct Down;

impl std::fmt::Display for Down {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the database is down")
    }
}

impl std::error::Error for Down {}

/// The accounts of an application, which count their look-ups and can fail.
#[derive(Clone, Default)]
pub struct Accounts {
    pub rows: Arc<Mutex<BTreeMap<u64, Account>>>,
    pub finds: Arc<Mutex<usize>>,
    pub is_down: Arc<Mutex<bool>>,
    /// Held before each look-up.
    pub gate: Arc<Mutex<Option<Gate>>>,
}

impl Users for Accounts {
    type Id = u64;
    type User = Account;
    type Error = Down;

    async fn find(&self, id: &u64) -> Result<Option<Account>, Down> {
        *self.finds.lock().unwrap() += 1;
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.wait().await;
        }
        point().await;
        if *self.is_down.lock().unwrap() { Err(Down) } else { Ok(self.rows.lock().unwrap().get(id).cloned()) }
    }

    fn id(account: &Account) -> u64 {
        account.id
    }

    fn stamp(&self, account: &Account) -> Stamp {
        Stamp::from_version(account.password)
    }
}

impl Accounts {
    pub fn set(&self, id: u64, password: u64) {
        self.rows.lock().unwrap().insert(id, Account { id, password, is_admin: id == 1 });
    }

    pub fn get(&self, id: u64) -> Account {
        self.rows.lock().unwrap()[&id].clone()
    }

    /// Writes the row, as a statement that another task can overtake.
    pub async fn save(&self, id: u64, password: u64) {
        point().await;
        self.set(id, password);
    }
}

pub type Current = CurrentUser<Accounts>;

/// The account of the application's only user.
pub const USER: u64 = 7;

/// An application with one user, who has a password.
#[derive(Clone)]
pub struct Site {
    pub accounts: Accounts,
    pub app: Router,
}

impl Site {
    pub fn new(layer: SessionLayer, password: u64) -> Self {
        let accounts = Accounts::default();
        accounts.set(USER, password);
        let app = Router::new()
            .route("/visit", post(async |session: Session| session.insert("visited", &true)))
            .route("/sign-in/{password}", post(sign_in))
            .route("/change/{password}", post(change))
            .route("/accept/{password}", post(accept))
            .route("/who", get(who))
            .route("/write", any(write))
            .layer(Extension(accounts.clone()))
            .layer(UserLayer::new(accounts.clone()))
            .layer(layer);
        Self { accounts, app }
    }

    /// Sends a request with this token, if any.
    pub async fn send(&self, path: &str, token: Option<&str>) -> Reply {
        let method = if path == "/who" { "GET" } else { "POST" };
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(COOKIE, format!("{COOKIE_NAME}={token}"));
        }
        send(&self.app, request.body(Body::empty()).unwrap()).await
    }

    /// Sends a request that has to succeed; returns the token that it sets.
    pub async fn begin(&self, path: &str, token: Option<&str>) -> String {
        let reply = self.send(path, token).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        reply.set_cookie().value
    }

    /// Checks, by two requests, whether a token's session is signed in.
    pub async fn is_signed_in(&self, token: &str) -> bool {
        let mut answers = Vec::new();
        for _ in 0..2 {
            let reply = self.send("/who", Some(token)).await;
            assert_eq!(reply.status, StatusCode::OK);
            answers.push(reply.text() == USER.to_string());
        }
        assert_eq!(answers[0], answers[1]);
        answers[0]
    }
}

/// Verifies a password, and then signs in with the row that it has read.
async fn sign_in(user: Current, accounts: Extension<Accounts>, Path(password): Path<u64>) -> Result<Response, Error> {
    point().await;
    let row = accounts.get(USER);
    if row.password != password {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    }
    user.sign_in(&row).await?;
    Ok(StatusCode::OK.into_response())
}

async fn change(User(account): User<Accounts>, user: Current, Path(password): Path<u64>) -> Result<(), Error> {
    user.accept_credentials_of(&Account { password, ..account.clone() }).await?;
    user.users().save(account.id, password).await;
    Ok(())
}

/// A change that fails at the application's database.
async fn accept(User(account): User<Accounts>, user: Current, Path(password): Path<u64>) -> Result<(), Error> {
    user.accept_credentials_of(&Account { password, ..account }).await
}

async fn who(user: Option<User<Accounts>>) -> String {
    user.map_or(0, |User(user)| user.id).to_string()
}

/// Changes the session before the user is loaded.
async fn write(session: Session, user: Current) -> Result<String, Error> {
    session.update("n", |n: &mut u64| *n += 1)?;
    Ok(user.load().await?.map_or(0, |user| user.id).to_string())
}
