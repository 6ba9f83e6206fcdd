//! Sessions written by tower-sessions, with its own layer and stores on real servers, are taken over; so are those of axum-login,
//! whose examples are ported in `ports`.

#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(clippy::duplicate_mod, reason = "each port has the accounts in a module")]

mod axum_login_sessions;
mod ported_examples;

#[path = "../../support/client.rs"]
#[allow(dead_code, reason = "the file is shared with other tests")]
mod client;
#[path = "../../support/servers.rs"]
mod servers;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sessile::migrate::tower_sessions::{MySqlSessions, PostgresSessions, RedisSessions, decode};
use sessile::migrate::{LegacySessions, MigrationLayer};
use sessile::{Error, MemoryStore, SessionLayer, SignedIn};
use time::OffsetDateTime;
use tower::ServiceExt;
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};
use tower_sessions_sqlx_store::{MySqlStore, PostgresStore};
use uuid::Uuid;

use self::servers::Server;

const DEVICE: Uuid = Uuid::from_u128(7);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    theme: Option<Theme>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Theme {
    Dark,
    Accent { hue: f64 },
}

fn ada() -> User {
    User { id: 42, name: "Ada".into(), theme: Some(Theme::Accent { hue: 0.25 }) }
}

/// Writes the values of an application on tower-sessions.
async fn write(session: tower_sessions::Session) {
    session.insert("user", ada()).await.unwrap();
    session.insert("theme", Theme::Dark).await.unwrap();
    session.insert("device", DEVICE).await.unwrap();
    session.insert("balance", -1_000_000_000_000_i64).await.unwrap();
    session.insert("nothing", Value::Null).await.unwrap();
}

async fn balance(session: tower_sessions::Session) -> String {
    format!("{:?}", session.get::<i64>("balance").await.unwrap())
}

/// Reads the same values after the move.
async fn read(user: SignedIn) -> Result<String, Error> {
    assert_eq!(user.get("user")?, Some(ada()));
    assert_eq!(user.get("theme")?, Some(Theme::Dark));
    assert_eq!(user.get("device")?, Some(DEVICE));
    assert_eq!(user.get("balance")?, Some(-1_000_000_000_000_i64));
    assert_eq!(user.get("nothing")?, Some(Value::Null));
    Ok(user.owner().to_owned())
}

async fn send(app: &Router, path: &str, cookie: &str) -> (StatusCode, Vec<String>, String) {
    let request = Request::get(path).header(COOKIE, cookie).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let cookies = response.headers().get_all(SET_COOKIE).iter();
    let cookies = cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned()).collect();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, cookies, String::from_utf8(body.to_vec()).unwrap())
}

/// Signs in to the old application and continues in the new one.
async fn assert_taken_over(old_store: impl SessionStore + Clone, legacy: impl LegacySessions) {
    let old_layer = SessionManagerLayer::new(old_store).with_expiry(Expiry::OnInactivity(Duration::days(1)));
    let old_app = Router::new().route("/", get(write)).route("/balance", get(balance)).layer(old_layer);
    let (status, cookies, _) = send(&old_app, "/", "").await;
    assert_eq!(status, StatusCode::OK);
    let old_cookie = cookies.into_iter().next().expect("the old application sets its cookie");
    assert!(old_cookie.starts_with("id="));
    assert_eq!(send(&old_app, "/balance", &old_cookie).await.2, "Some(-1000000000000)");

    let migration = MigrationLayer::new(legacy).with_conversion(|old| {
        if let Some(user) = old.get::<User>("user")? {
            old.sign_in(&format!("user:{}", user.id), OffsetDateTime::UNIX_EPOCH);
        }
        old.retype::<Uuid>("device")
    });
    let app = Router::new().route("/", get(read)).layer(migration).layer(SessionLayer::new(MemoryStore::new()));
    let (status, cookies, body) = send(&app, "/", &old_cookie).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "user:42"));
    assert_eq!(cookies.len(), 2, "the old cookie is removed and the new one set: {cookies:?}");
    let new_cookie = cookies.iter().find(|cookie| cookie.starts_with("__Host-id=")).unwrap();
    assert_eq!(send(&app, "/", new_cookie).await.2, "user:42");

    // The old record is deleted.
    assert_eq!(send(&old_app, "/balance", &old_cookie).await.2, "None");
    let unknown = "id=AAAAAAAAAAAAAAAAAAAAAA";
    let (status, cookies, _) = send(&app, "/", unknown).await;
    assert_eq!((status, cookies.len()), (StatusCode::UNAUTHORIZED, 0));
}

/// Sessions in the default table in PostgreSQL are taken over.
#[tokio::test]
async fn from_postgresql() {
    let server = Server::postgres();
    let store = PostgresStore::new(tower_sessions_sqlx_store::sqlx::PgPool::connect(&server.url()).await.unwrap());
    store.migrate().await.unwrap();
    let legacy = PostgresSessions::new(sqlx::PgPool::connect(&server.url()).await.unwrap());
    assert_taken_over(store, legacy).await;
}

/// Sessions in a table of another schema and name are taken over.
#[tokio::test]
async fn from_a_table_of_another_name() {
    let server = Server::postgres();
    let pool = tower_sessions_sqlx_store::sqlx::PgPool::connect(&server.url()).await.unwrap();
    let store = PostgresStore::new(pool).with_schema_name("web").unwrap().with_table_name("visits").unwrap();
    store.migrate().await.unwrap();
    let legacy = PostgresSessions::new(sqlx::PgPool::connect(&server.url()).await.unwrap());
    assert_taken_over(store, legacy.with_table("web.visits").unwrap()).await;
}

/// Sessions in the default table in MariaDB are taken over.
#[tokio::test]
async fn from_mariadb() {
    let server = Server::mariadb();
    let store = MySqlStore::new(tower_sessions_sqlx_store::sqlx::MySqlPool::connect(&server.url()).await.unwrap());
    store.migrate().await.unwrap();
    let legacy = MySqlSessions::new(sqlx::MySqlPool::connect(&server.url()).await.unwrap());
    assert_taken_over(store, legacy).await;
}

/// Sessions in Redis are taken over.
#[tokio::test]
async fn from_redis() {
    let server = Server::redis();
    let pool = Pool::new(Config::from_url(&server.url()).unwrap(), None, None, None, 1).unwrap();
    let _ = pool.connect();
    pool.wait_for_connect().await.unwrap();
    let legacy = RedisSessions::new(redis::Client::open(server.url()).unwrap());
    assert_taken_over(RedisStore::new(pool), legacy).await;
}

/// A record of the newest tower-sessions decodes to the same values.
#[test]
fn records_of_the_newest_release_are_read() {
    use tower_sessions_core::session::{Id, Record};
    let expires_at = OffsetDateTime::now_utc() + time::Duration::days(1);
    for data in [json!({}), json!({ "n": 1, "deep": { "list": [1, -1, 0.5, null, "x"] } })] {
        let Value::Object(map) = data.clone() else { unreachable!() };
        let record = Record { id: Id::default(), data: map.into_iter().collect(), expiry_date: expires_at };
        let read = decode(&rmp_serde::to_vec(&record).unwrap()).unwrap();
        assert_eq!(read.expires_at(), expires_at);
        assert_eq!(read.keys().len(), record.data.len());
        for (key, value) in &record.data {
            assert_eq!(read.get::<Value>(key).unwrap().as_ref(), Some(value));
        }
    }
}
