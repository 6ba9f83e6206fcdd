//! Tokens in a header, private cookies, and both over whatever the store is.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use sessile::config::{KeyRing, TokenHeader};
use sessile::{Session, SessionLayer};

use super::Over;
use crate::support::client::{Client, Reply, send};

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/write", get(async |session: Session| session.insert("n", &7)))
        .route("/read", get(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap())))
        .route("/sign-in", get(async |session: Session| session.sign_in("somebody with a header")))
        .route("/sign-out", get(async |session: Session| session.sign_out()))
        .layer(layer)
}

async fn bearer(app: &Router, path: &str, token: &str) -> Reply {
    let request = Request::get(path).header(AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap();
    send(app, request).await
}

pub async fn a_client_of_the_header_signs_in_and_out(over: &Over) {
    let app = app(over.builder().with_token_header(TokenHeader::bearer()).build().unwrap());
    let token = |reply: &Reply| reply.header("session-token").unwrap().to_owned();
    let first = token(&bearer(&app, "/write", "").await);
    let second = token(&bearer(&app, "/sign-in", &first).await);
    assert_eq!(bearer(&app, "/read", &first).await.text(), "None");
    assert_eq!(bearer(&app, "/read", &second).await.text(), "Some(7)");
    assert_eq!(token(&bearer(&app, "/sign-out", &second).await), "");
    assert_eq!(bearer(&app, "/read", &second).await.text(), "None");
}

pub async fn a_private_cookie_of_an_old_key_is_sent_again_and_works(over: &Over) {
    let (new, old) = ([1; 32], [2; 32]);
    let before = app(over.builder().with_private_cookie(KeyRing::new(old).unwrap()).build().unwrap());
    let after = app(over.builder().with_private_cookie(KeyRing::new(new).unwrap().add_old_key(old).unwrap()).build().unwrap());
    let mut client = Client::new(&before);
    let cookie = client.get("/write").await.set_cookie();
    let reply = Client::with_cookie(&after, &cookie.name, &cookie.value).get("/read").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "Some(7)"));
    let cookie = reply.set_cookie();
    let reply = Client::with_cookie(&after, &cookie.name, &cookie.value).get("/read").await;
    assert_eq!(reply.text(), "Some(7)");
    reply.assert_no_cookie();
}
