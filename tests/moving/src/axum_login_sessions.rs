//! Sessions that axum-login wrote, under a plain and under a signed cookie, are taken over with their user and messages.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend};
use axum_messages::{Messages, MessagesManagerLayer};
use http::StatusCode;
use serde::Deserialize;
use sessile::flash::FlashLevel;
use sessile::migrate::tower_sessions::SqliteSessions;
use sessile::migrate::{LegacySession, MigrationLayer};
use sessile::user::{Stamp, User, UserGuard, UserLayer, Users};
use sessile::{Error, MemoryStore, Session, SessionLayer};
use time::OffsetDateTime;
use tower_sessions::SessionManagerLayer;
use tower_sessions::cookie::Key;
use tower_sessions_sqlx_store::SqliteStore;
use tower_sessions_sqlx_store::sqlx::SqlitePool;

use crate::client::Client;
use crate::servers::Directory;

const STAMP_KEY: &[u8] = b"a secret of this site";

#[derive(Clone, Debug)]
struct Account {
    id: i64,
    hash: String,
}

/// The accounts of both applications.
#[derive(Clone, Debug, Default)]
struct Accounts(Arc<Mutex<HashMap<i64, String>>>);

impl Accounts {
    fn set(&self, id: i64, hash: &str) {
        self.0.lock().unwrap().insert(id, hash.to_owned());
    }

    fn account(&self, id: i64) -> Option<Account> {
        self.0.lock().unwrap().get(&id).map(|hash| Account { id, hash: hash.clone() })
    }
}

impl AuthUser for Account {
    type Id = i64;

    fn id(&self) -> i64 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.hash.as_bytes()
    }
}

impl AuthnBackend for Accounts {
    type User = Account;
    type Credentials = i64;
    type Error = Infallible;

    async fn authenticate(&self, id: i64) -> Result<Option<Account>, Infallible> {
        Ok(self.account(id))
    }

    async fn get_user(&self, id: &i64) -> Result<Option<Account>, Infallible> {
        Ok(self.account(*id))
    }
}

impl Users for Accounts {
    type Id = i64;
    type User = Account;
    type Error = Infallible;

    async fn find(&self, id: &i64) -> Result<Option<Account>, Infallible> {
        Ok(self.account(*id))
    }

    fn id(account: &Account) -> i64 {
        account.id
    }

    fn stamp(&self, account: &Account) -> Stamp {
        Stamp::from_password_hash(STAMP_KEY, account.hash.as_bytes())
    }
}

type AuthSession = axum_login::AuthSession<Accounts>;

/// Signs account 7 in, as applications on axum-login do.
async fn old_sign_in(mut auth: AuthSession, messages: Messages) {
    let account = auth.authenticate(7).await.unwrap().unwrap();
    auth.login(&account).await.unwrap();
    auth.session.insert("theme", "dark").await.unwrap();
    messages.success("hello").debug("not for users");
}

async fn old_page(auth: AuthSession) -> String {
    auth.user.map(|account| account.id.to_string()).unwrap_or_default()
}

/// The values of axum-login and axum-messages.
#[derive(Deserialize)]
struct AuthData {
    user_id: Option<i64>,
    auth_hash: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct MessageData {
    pending_messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    l: String,
    m: String,
}

fn convert(old: &mut LegacySession) -> Result<(), Error> {
    if let Some(AuthData { user_id: Some(id), auth_hash: Some(hash) }) = old.get("axum-login.data")? {
        old.sign_in(&id.to_string(), OffsetDateTime::UNIX_EPOCH);
        old.set_stamp(Stamp::from_password_hash(STAMP_KEY, &hash))?;
    }
    old.remove("axum-login.data");
    if let Some(MessageData { pending_messages }) = old.get("axum-messages.data")? {
        for Message { l, m } in pending_messages {
            match &*l {
                "Debug" => {}
                "Info" => old.flash(FlashLevel::Info, m)?,
                "Success" => old.flash(FlashLevel::Success, m)?,
                "Warning" => old.flash(FlashLevel::Warning, m)?,
                _ => old.flash(FlashLevel::Error, m)?,
            }
        }
    }
    old.remove("axum-messages.data");
    Ok(())
}

/// The page of the new application, for signed-in users.
async fn page(session: Session, User(account): User<Accounts>) -> Result<String, Error> {
    let flashes = session.take_flashes().await?;
    let flashes: Vec<String> = flashes.iter().map(|flash| format!("{}: {flash}", flash.level)).collect();
    Ok(format!("{} {:?} {:?} {flashes:?}", account.id, session.get::<String>("theme")?, session.keys()))
}

/// A session that axum-login wrote, and both applications.
struct Moved {
    accounts: Accounts,
    old_app: Router,
    app: Router,
    sessions: sessile::Sessions,
    /// The old cookie's value.
    cookie: String,
    _directory: Directory,
}

impl Moved {
    /// Signs in to the old application under a cookie signed with this key.
    async fn new(key: Option<&Key>) -> Self {
        let directory = Directory::new("axum-login");
        let url = format!("sqlite:{}?mode=rwc", directory.path().join("sessions.db").display());
        let accounts = Accounts::default();
        accounts.set(7, "first hash");
        let store = SqliteStore::new(SqlitePool::connect(&url).await.unwrap());
        store.migrate().await.unwrap();
        let routes = Router::new().route("/sign-in", get(old_sign_in)).route("/", get(old_page));
        let routes = routes.layer(MessagesManagerLayer);
        let layer = SessionManagerLayer::new(store);
        let old_app = match key {
            None => routes.layer(AuthManagerLayerBuilder::new(accounts.clone(), layer).build()),
            Some(key) => {
                routes.layer(AuthManagerLayerBuilder::new(accounts.clone(), layer.with_signed(key.clone())).build())
            }
        };
        let mut client = Client::new(&old_app);
        assert_eq!(client.get("/sign-in").await.status, StatusCode::OK);
        assert_eq!(client.get("/").await.text(), "7");
        let cookie = client.jar.value("id").unwrap();

        let legacy = SqliteSessions::new(sqlx::SqlitePool::connect(&url).await.unwrap());
        let mut migration = MigrationLayer::new(legacy).with_conversion(convert);
        if let Some(key) = key {
            migration = migration.with_signed_cookie(key.master()).unwrap();
        }
        let layer = SessionLayer::new(MemoryStore::new());
        let sessions = layer.sessions();
        let app = Router::new()
            .route("/", get(page))
            .route_layer(UserGuard::<Accounts>::new())
            .layer(UserLayer::new(accounts.clone()))
            .layer(migration)
            .layer(layer);
        Self { accounts, old_app, app, sessions, cookie, _directory: directory }
    }

    /// Creates a client of the new application with the old cookie.
    fn client(&self) -> Client {
        Client::with_cookie(&self.app, "id", &self.cookie)
    }

    async fn sessions_of_user(&self) -> usize {
        self.sessions.owned_by("7").await.unwrap().len()
    }
}

/// Returns no key, and one.
fn keys() -> [Option<Key>; 2] {
    [None, Some(Key::from(&[7; 64]))]
}

/// The user stays signed in with all values and messages, and a later change of the password signs out for good.
#[tokio::test]
async fn users_of_axum_login_stay_signed_in() {
    for key in keys() {
        let moved = Moved::new(key.as_ref()).await;
        let mut client = moved.client();
        assert_eq!(client.get("/").await.text(), r#"7 Some("dark") ["theme"] ["success: hello"]"#);
        assert_eq!(client.jar.value("id"), None, "the old cookie is removed");
        assert_eq!(client.get("/").await.text(), r#"7 Some("dark") ["theme"] []"#);
        assert_eq!(Client::with_cookie(&moved.old_app, "id", &moved.cookie).get("/").await.text(), "");
        let mut late = moved.client();
        assert_eq!(late.get("/").await.status, StatusCode::OK, "a tab that still sends the old cookie");
        assert_eq!(moved.sessions_of_user().await, 1);

        moved.accounts.set(7, "second hash");
        assert_eq!(client.get("/").await.status, StatusCode::UNAUTHORIZED);
        moved.accounts.set(7, "first hash");
        for client in [&mut client, &mut late, &mut moved.client()] {
            assert_ne!(client.get("/").await.status, StatusCode::OK);
        }
        assert_eq!(moved.sessions_of_user().await, 0);
    }
}

/// A password that was changed before the move signs out at the first request, whether or not it is changed back.
#[tokio::test]
async fn an_old_hash_is_not_signed_in() {
    for key in keys() {
        let moved = Moved::new(key.as_ref()).await;
        moved.accounts.set(7, "second hash");
        let mut client = moved.client();
        assert_eq!(client.get("/").await.status, StatusCode::UNAUTHORIZED);
        moved.accounts.set(7, "first hash");
        for client in [&mut client, &mut moved.client()] {
            assert_ne!(client.get("/").await.status, StatusCode::OK);
        }
        assert_eq!(moved.sessions_of_user().await, 0);
    }
}

/// Parallel first requests with the old cookie get one session, and one of them shows the message.
#[tokio::test]
async fn parallel_first_requests_share_the_session() {
    for key in keys() {
        let moved = Moved::new(key.as_ref()).await;
        let (mut one, mut two) = (moved.client(), moved.client());
        let (first, second) = tokio::join!(one.get("/"), two.get("/"));
        assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
        let shown = [&first, &second].into_iter().filter(|reply| reply.text().contains("hello")).count();
        assert_eq!(shown, 1);
        for client in [&mut one, &mut two] {
            assert_eq!(client.get("/").await.status, StatusCode::OK);
        }
        assert_eq!(moved.sessions_of_user().await, 1);
    }
}

/// A cookie without the signature, or with one of another key, opens nothing; short keys are refused.
#[tokio::test]
async fn the_signature_of_an_old_cookie_is_checked() {
    let [_, key] = keys();
    let moved = Moved::new(key.as_ref()).await;
    let (signature, id) = moved.cookie.split_at(44);
    let other = Moved::new(Some(&Key::from(&[8; 64]))).await;
    let foreign = format!("{}{id}", &other.cookie[..44]);
    for cookie in [id, signature, &foreign, "", "é"] {
        let reply = Client::with_cookie(&moved.app, "id", cookie).get("/").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{cookie}");
        reply.assert_no_cookie();
    }
    assert_eq!(moved.client().get("/").await.status, StatusCode::OK);
    let legacy = SqliteSessions::new(sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap());
    MigrationLayer::new(legacy).with_signed_cookie([7; 63]).expect_err("a short key");
}
