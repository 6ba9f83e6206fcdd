//! Tests of an application that uses sessions, without a browser.
//!
//! ```sh
//! cargo test --example tests
//! ```
//!
//! A function builds the application from a layer, so that a test keeps access to the layer, its store and its clock.
//! `cargo run --example tests` serves the application on 127.0.0.1:3000, or on `PORT`.

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

    /// The account page needs a signed-in session.
    #[tokio::test]
    async fn the_account_needs_a_signed_in_session() {
        let layer = SessionLayer::new(MemoryStore::new());
        let app = app(layer.clone());
        let (_, cookie) = testing::sign_in(&layer, "user:42").await.unwrap();
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::OK);
        assert_eq!(send(&app, Method::GET, "/account", None).await.status(), StatusCode::UNAUTHORIZED);
    }

    /// A cookie that was copied before the sign-out opens no session after it.
    #[tokio::test]
    async fn a_cookie_is_refused_after_sign_out() {
        let layer = SessionLayer::new(MemoryStore::new());
        let app = app(layer.clone());
        let (_, cookie) = testing::sign_in(&layer, "user:42").await.unwrap();
        send(&app, Method::POST, "/sign-out", Some(&cookie)).await;
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::UNAUTHORIZED);
    }

    /// Signing in keeps the cart and issues a new cookie.
    #[tokio::test]
    async fn sign_in_keeps_the_cart_and_rotates_the_cookie() {
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

    /// The session expires an hour after the last request; a manual clock stands in for the wait.
    #[tokio::test]
    async fn a_session_expires_after_an_hour_without_a_request() {
        let clock = ManualClock::new();
        let store = MemoryStore::new().with_clock(&clock);
        let layer = SessionLayer::builder(store).with_clock(&clock).build().unwrap();
        let app = app(layer.clone());
        let (_, cookie) = testing::sign_in(&layer, "user:42").await.unwrap();
        clock.advance(Duration::from_secs(59 * 60));
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::OK);
        clock.advance(Duration::from_secs(61 * 60));
        assert_eq!(send(&app, Method::GET, "/account", Some(&cookie)).await.status(), StatusCode::UNAUTHORIZED);
    }

    /// A client with a cookie store is signed in over a socket.
    ///
    /// This client accepts `Secure` cookies from a loopback address, as browsers do. For one that does not, build the
    /// layer with `with_secure(false)`.
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

    /// Store that always fails.
    struct FailingStore;

    impl Store for FailingStore {
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

    /// If the store fails, the response is 503 and sets no cookie.
    #[tokio::test]
    async fn a_failing_store_answers_503_and_sets_no_cookie() {
        let response = send(&app(SessionLayer::new(FailingStore)), Method::POST, "/cart", None).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!response.headers().contains_key(SET_COOKIE));
    }
}
