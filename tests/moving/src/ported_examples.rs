//! The ports of axum-login's examples: sign-in, the way back, messages, permissions and changed passwords over HTTP.

use std::fmt::Debug;

use axum::Router;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use crate::client::{Client, Reply};
use crate::servers::Directory;

#[path = "../ports/messages.rs"]
#[allow(dead_code, reason = "the tests do not run `main`")]
mod messages;
#[path = "../ports/permissions.rs"]
#[allow(dead_code, reason = "the tests do not run `main`")]
mod permissions;

/// A path with a query, and its form in the query of the sign-in page.
const PAGE: &str = "/?x=1&y=a%26b";
const SIGN_IN_FOR_PAGE: &str = "/login?next=%2F%3Fx%3D1%26y%3Da%2526b";
const NEXT_IS_PAGE: &str = "&next=%2F%3Fx%3D1%26y%3Da%2526b";

/// A port over a database of its own.
struct Port {
    app: Router,
    database: SqlitePool,
    _directory: Directory,
}

impl Port {
    async fn new<E: Debug>(app: impl AsyncFnOnce(SqlitePool) -> Result<Router, E>) -> Self {
        let directory = Directory::new("port");
        let options = SqliteConnectOptions::new().filename(directory.path().join("port.db")).create_if_missing(true);
        let database = SqlitePool::connect_with(options.journal_mode(SqliteJournalMode::Wal)).await.unwrap();
        let app = app(database.clone()).await.unwrap();
        Self { app, database, _directory: directory }
    }

    async fn change(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.database).await.unwrap();
    }
}

/// Sends the sign-in form.
async fn sign_in(client: &mut Client, name: &str, password: &str, next: &str) -> Reply {
    let form = format!("username={name}&password={password}{next}");
    let request = Request::post("/login").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    client.send(request.body(form.into()).unwrap()).await
}

/// Creates a client that is signed in.
async fn signed_in(app: &Router, name: &str) -> Client {
    let mut client = Client::new(app);
    assert_redirect(&sign_in(&mut client, name, "correct+horse", "").await, "/");
    client
}

#[track_caller]
fn assert_redirect(reply: &Reply, to: &str) {
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some(to)), "{reply:?}");
}

#[track_caller]
fn assert_page(reply: &Reply, text: &str) {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(reply.text().contains(text), "{}", reply.text());
}

fn has_message(reply: &Reply) -> bool {
    reply.text().contains("<p class=")
}

/// A wrong password and then the right one: each leaves one message, and the visitor comes back to the page with its query.
#[tokio::test]
async fn messages_and_the_way_back() {
    let port = Port::new(messages::app).await;
    let app = &port.app;
    let mut client = Client::new(app);
    assert_redirect(&client.get(PAGE).await, SIGN_IN_FOR_PAGE);
    let form = client.get(SIGN_IN_FOR_PAGE).await;
    assert_page(&form, r#"name="next" value="/?x=1&#38;y=a%26b""#);
    assert!(!has_message(&form));
    assert!(client.jar.is_empty(), "a visitor who has done nothing has no session");

    assert_redirect(&sign_in(&mut client, "ada", "wrong", NEXT_IS_PAGE).await, SIGN_IN_FOR_PAGE);
    let form = client.get(SIGN_IN_FOR_PAGE).await;
    assert_page(&form, r#"<p class="error">This name and password do not belong together.</p>"#);
    assert_page(&form, r#"name="next" value="/?x=1&#38;y=a%26b""#);
    assert!(!has_message(&client.get(SIGN_IN_FOR_PAGE).await), "a message is shown once");
    assert_redirect(&client.get(PAGE).await, SIGN_IN_FOR_PAGE);

    assert_redirect(&sign_in(&mut client, "ada", "correct+horse", NEXT_IS_PAGE).await, PAGE);
    let home = client.get(PAGE).await;
    assert_page(&home, r#"<p class="success">Welcome, ada!</p>"#);
    assert_page(&home, "signed in as ada");
    assert!(!has_message(&client.get("/").await), "a message is shown once");
}

/// A sign-in whose form has no `next`, or one of another site, leads to the start page; an unknown name gets the same answer as a
/// wrong password; an incomplete form is refused.
#[tokio::test]
async fn forms_without_a_way_back() {
    let port = Port::new(messages::app).await;
    let app = &port.app;
    let mut client = Client::new(app);
    assert_redirect(&sign_in(&mut client, "ada", "correct+horse", "").await, "/");
    assert_redirect(&sign_in(&mut client, "ada", "correct+horse", "&next=https%3A%2F%2Fevil.test").await, "/");
    for name in ["ada", "nobody"] {
        assert_redirect(&sign_in(&mut Client::new(app), name, "wrong", "").await, "/login");
    }
    let request = Request::post("/login").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let reply = Client::new(app).send(request.body("username=ada".into()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(Client::new(app).get("/nothing").await.status, StatusCode::NOT_FOUND);
}

/// A sign-out leads to the sign-in page, removes the cookie and ends the session.
#[tokio::test]
async fn a_sign_out_ends_the_session() {
    for port in [Port::new(messages::app).await, Port::new(permissions::app).await] {
        let app = &port.app;
        let mut client = signed_in(app, "ada").await;
        let mut copy = client.clone();
        assert_eq!(client.get("/").await.status, StatusCode::OK);
        assert_redirect(&client.get("/logout").await, "/login");
        assert!(client.jar.is_empty());
        for client in [&mut client, &mut copy] {
            assert_redirect(&client.get("/").await, "/login?next=%2F");
        }
        let wrong = sign_in(&mut copy, "ada", "wrong", "").await;
        assert_ne!(wrong.status, StatusCode::CONFLICT, "the form is shown again");
    }
}

/// A changed password hash signs out at the next request; the old hash, put back, does not revive the session.
#[tokio::test]
async fn a_changed_hash_signs_out_for_good() {
    for port in [Port::new(messages::app).await, Port::new(permissions::app).await] {
        let app = &port.app;
        let mut client = signed_in(app, "ada").await;
        let mut other = signed_in(app, "grace").await;
        let mut copy = client.clone();
        assert_eq!(client.get("/").await.status, StatusCode::OK);
        port.change("update users set password = password || 'x' where username = 'ada'").await;
        let reply = client.get("/").await;
        assert_redirect(&reply, "/login?next=%2F");
        assert!(reply.set_cookie().is_removal());
        port.change("update users set password = rtrim(password, 'x') where username = 'ada'").await;
        for client in [&mut client, &mut copy] {
            assert_redirect(&client.get("/").await, "/login?next=%2F");
        }
        assert_eq!(other.get("/").await.status, StatusCode::OK);
        let mut client = signed_in(app, "ada").await;
        assert_eq!(client.get("/").await.status, StatusCode::OK);
    }
}

/// A visitor is sent to the sign-in page; a user without the permission gets 403; one who has lost it too, at the next request.
#[tokio::test]
async fn permissions_are_read_at_each_request() {
    let port = Port::new(permissions::app).await;
    let app = &port.app;
    let mut visitor = Client::new(app);
    assert_redirect(&visitor.get("/restricted?x=1").await, "/login?next=%2Frestricted%3Fx%3D1");
    assert_redirect(&visitor.get("/").await, "/login?next=%2F");
    assert_eq!(visitor.post("/restricted").await.status, StatusCode::UNAUTHORIZED);
    let refused = sign_in(&mut visitor, "ada", "wrong", "&next=%2Frestricted").await;
    assert_page(&refused, "do not belong together");
    assert_page(&refused, r#"name="next" value="/restricted""#);
    refused.assert_no_cookie();

    let mut ada = signed_in(app, "ada").await;
    assert_page(&ada.get("/").await, "ada has the permission protected.read");
    assert_eq!(ada.get("/restricted").await.status, StatusCode::FORBIDDEN);

    let mut grace = Client::new(app);
    assert_redirect(&sign_in(&mut grace, "grace", "correct+horse", "&next=%2Frestricted").await, "/restricted");
    assert_page(&grace.get("/restricted").await, "grace has the permission restricted.read");
    assert_page(&grace.get("/").await, "grace has the permission protected.read");
    port.change("delete from members where team = 'admins'").await;
    for path in ["/", "/restricted"] {
        assert_eq!(grace.get(path).await.status, StatusCode::FORBIDDEN);
    }
}
