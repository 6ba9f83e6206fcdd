//! When you test an application that uses sessions: requests that are signed in, without a browser and without a socket.
//!
//! ```sh
//! cargo test --example tests
//! ```
//!
//! The application is made by a function that takes its layer, so that a test can hold on to the layer, its store and its
//! clock. `cargo run --example tests` serves it on 127.0.0.1:3000, or at `PORT`.

use axum::Router;
use axum::routing::{get, post};
use sessile::{Error, Field, MemoryStore, Session, SessionLayer, SignedIn};

const CART: Field<Vec<String>> = Field::new("cart");

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/account", get(account))
        .route("/cart", post(add))
        .route("/sign-in", post(async |session: Session| session.sign_in("user:42")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(layer)
}

async fn account(user: SignedIn) -> String {
    format!("signed in as {}\n", user.owner())
}

async fn add(session: Session, item: String) -> Result<(), Error> {
    session.update(CART, move |cart| cart.push(item))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(SessionLayer::new(MemoryStore::new()))).await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::http::header::{COOKIE, SET_COOKIE};
    use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
    use sessile::SessionId;
    use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
    use sessile::testing::{self, ManualClock};
    use tower::ServiceExt;

    use super::*;

    async fn send(app: &Router, method: Method, path: &str, cookie: Option<&HeaderValue>) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        app.clone().oneshot(request.body(Body::from("tea")).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn the_account_is_for_those_who_are_signed_in() {
        let layer = SessionLayer::new(MemoryStore::new());
        let app = app(layer.clone());
        let cookie = testing::sign_in(&layer, "user:42").await.unwrap();
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::OK);
        assert_eq!(send(&app, Method::GET, "/account", None).await.status(), StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_cookie_is_worth_nothing_after_the_sign_out() {
        let layer = SessionLayer::new(MemoryStore::new());
        let app = app(layer.clone());
        let cookie = testing::sign_in(&layer, "user:42").await.unwrap();
        send(&app, Method::POST, "/sign-out", Some(&cookie)).await;
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_visitor_keeps_the_cart_at_sign_in_and_is_given_another_cookie() {
        let layer = SessionLayer::new(MemoryStore::new());
        let app = app(layer.clone());
        let (id, token) = layer.sessions().create(&serde_json::json!({ "cart": ["milk"] })).await.unwrap();
        let cookie = testing::cookie(&layer, &token);
        send(&app, Method::POST, "/cart", Some(&cookie)).await;
        let response = send(&app, Method::POST, "/sign-in", Some(&cookie)).await;
        assert!(!response.headers()[SET_COOKIE].to_str().unwrap().starts_with(cookie.to_str().unwrap()));
        let session = layer.sessions().find_by_id(&id).await.unwrap().unwrap();
        assert_eq!(session.get(CART).unwrap(), Some(vec!["milk".to_owned(), "tea".to_owned()]));
        assert_eq!(session.owner(), Some("user:42"));
    }

    #[tokio::test]
    async fn an_hour_without_a_visit_is_the_end() {
        let clock = ManualClock::new();
        let store = MemoryStore::new().with_clock(&clock);
        let layer = SessionLayer::builder(store).with_clock(&clock).build().unwrap();
        let app = app(layer.clone());
        let cookie = testing::sign_in(&layer, "user:42").await.unwrap();
        clock.advance(Duration::from_secs(59 * 60));
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::OK);
        clock.advance(Duration::from_secs(61 * 60));
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::UNAUTHORIZED);
    }

    /// Over a socket, with a client that keeps cookies. This one takes those for https alone from a loopback address, as
    /// browsers do; one that does not needs the other layer.
    #[tokio::test]
    async fn a_client_that_keeps_cookies_is_signed_in() {
        for secure in [true, false] {
            let layer = SessionLayer::builder(MemoryStore::new()).with_secure(secure).build().unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, app(layer)).await });
            let client = reqwest::Client::builder().cookie_store(true).build().unwrap();
            client.post(format!("{address}/sign-in")).send().await.unwrap();
            assert_eq!(client.get(format!("{address}/account")).send().await.unwrap().status(), StatusCode::OK);
            client.post(format!("{address}/sign-out")).send().await.unwrap();
            let after = client.get(format!("{address}/account")).send().await.unwrap();
            assert_eq!(after.status(), StatusCode::UNAUTHORIZED);
        }
    }

    /// A store that is down.
    struct Down;

    impl Store for Down {
        async fn get(&self, _: &SessionId) -> Result<Option<Record>, StoreError> {
            Err(StoreError::unavailable("down"))
        }

        async fn set(&self, _: &Record, _: Expected) -> Result<Outcome, StoreError> {
            Err(StoreError::unavailable("down"))
        }

        async fn touch(&self, _: &Record, _: Touch) -> Result<bool, StoreError> {
            Err(StoreError::unavailable("down"))
        }

        async fn delete(&self, _: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
            Err(StoreError::unavailable("down"))
        }
    }

    #[tokio::test]
    async fn while_the_store_is_down_nobody_is_told_that_something_was_stored() {
        let response = send(&app(SessionLayer::new(Down)), Method::POST, "/cart", None).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!response.headers().contains_key(SET_COOKIE));
    }
}
