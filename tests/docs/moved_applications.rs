//! Six shapes that applications on other crates have, as they look on this one.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use http::request::Parts;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use sessile::csrf::CsrfForm;
use sessile::flash::FlashLevel;
use sessile::{Error, ErrorKind, Field, Lifetime, MemoryStore, Session, SessionHandle, SessionLayer, SignedIn};
use support::client::Client;

fn layer() -> SessionLayer {
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let lifetime = Lifetime::new().with_idle_timeout(week).with_absolute_timeout(4 * week).with_max_age(week);
    SessionLayer::builder(MemoryStore::new()).with_lifetime(lifetime).build().unwrap()
}

/// A guest with typed state behind an extractor of the application, which reads all of it and writes it back.
#[tokio::test]
async fn typed_state_behind_an_extractor() {
    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Guest {
        page_views: u32,
        last_page: String,
    }
    const GUEST: Field<Guest> = Field::new("guest");
    struct Visit(Session);
    impl Visit {
        async fn note(&self, page: String) -> Result<u32, Error> {
            let noted = self.0.update_now(GUEST, move |guest| {
                guest.page_views += 1;
                guest.last_page = page;
                guest.page_views
            });
            noted.await
        }
    }
    impl<S: Send + Sync> FromRequestParts<S> for Visit {
        type Rejection = Error;

        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
            Session::from_request_parts(parts, state).await.map(Self)
        }
    }
    let page =
        get(async |visit: Visit, Path(page): Path<String>| visit.note(page).await.map(|views| views.to_string()));
    let mut client = Client::new(&Router::new().route("/{page}", page).layer(layer()));
    client.get("/first").await;
    assert_eq!(client.get("/second").await.text(), "2");
}

/// A sign-in form with a message, a redirect back to the page that asked for it, and a sign-out.
#[tokio::test]
async fn sign_in_with_messages_and_a_way_back() {
    #[derive(Deserialize)]
    struct Credentials {
        name: String,
        password: String,
        next: String,
    }
    async fn sign_in(session: Session, Form(form): Form<Credentials>) -> Result<Redirect, Error> {
        if form.password != "hunter42" {
            // A session that another device has just ended takes no message.
            if session.end_reason().is_none() {
                session.flash(FlashLevel::Error, "Wrong name or password.")?;
            }
            return Ok(Redirect::to("/sign-in"));
        }
        session.sign_in(&form.name)?;
        session.flash(FlashLevel::Success, format!("Hello, {}!", form.name))?;
        Ok(Redirect::to(&form.next))
    }
    async fn page(session: Session) -> Result<String, Error> {
        Ok(session.take_flashes().await?.iter().map(|flash| format!("{}: {flash}", flash.level)).collect())
    }
    async fn guard(handle: SessionHandle, request: Request<axum::body::Body>, next: Next) -> Result<Response, Error> {
        if handle.load().await?.owner().is_none() {
            return Ok(Redirect::to(&format!("/sign-in?next={}", request.uri().path())).into_response());
        }
        Ok(next.run(request).await)
    }
    let guarded = Router::new().route("/orders", get(page)).route_layer(from_fn(guard));
    let app = guarded
        .route("/sign-in", get(page).post(sign_in))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(layer());
    let mut client = Client::new(&app);
    let form = async |client: &mut Client, password: &str| {
        let request = Request::post("/sign-in").header("content-type", "application/x-www-form-urlencoded");
        let body = format!("name=ada&password={password}&next=/orders");
        client.send(request.body(body.into()).unwrap()).await.header("location").unwrap().to_owned()
    };
    assert_eq!(client.get("/orders").await.header("location"), Some("/sign-in?next=/orders"));
    assert_eq!(form(&mut client, "wrong").await, "/sign-in");
    assert_eq!(client.get("/sign-in").await.text(), "error: Wrong name or password.");
    assert_eq!(client.get("/sign-in").await.text(), "", "a message is shown once");
    assert_eq!(form(&mut client, "hunter42").await, "/orders");
    assert_eq!(client.get("/orders").await.text(), "success: Hello, ada!");
    client.clone().post("/sign-out").await;
    assert_eq!(client.get("/orders").await.status, StatusCode::SEE_OTHER);
    assert_eq!(form(&mut client, "wrong").await, "/sign-in");
    assert_eq!(form(&mut client, "hunter42").await, "/orders");
}

/// A state or nonce for a provider, which one callback takes, also right after the session was ended from elsewhere.
#[tokio::test]
async fn a_nonce_is_used_once() {
    struct SigningIn;
    #[derive(Deserialize)]
    struct Callback {
        state: String,
    }
    async fn callback(
        signing_in: Session<SigningIn>,
        session: Session,
        Query(callback): Query<Callback>,
    ) -> Result<StatusCode, Error> {
        let expected: Option<String> = signing_in.take_now("state").await?;
        if expected.as_deref() != Some(&*callback.state) {
            return Ok(StatusCode::BAD_REQUEST);
        }
        session.sign_in("provider:7")?;
        Ok(StatusCode::NO_CONTENT)
    }
    let begin = get(async |signing_in: Session<SigningIn>| signing_in.insert("state", "random"));
    let signing_in = SessionLayer::builder(MemoryStore::new()).with_name("sign-in").build().unwrap();
    let app = Router::new()
        .route("/begin", begin)
        .route("/callback", get(callback))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(signing_in.with_marker::<SigningIn>())
        .layer(layer());
    let mut client = Client::new(&app);
    for _ in 0..2 {
        assert_eq!(client.get("/begin").await.status, StatusCode::OK);
        assert_eq!(client.get("/callback?state=random").await.status, StatusCode::NO_CONTENT);
        assert_eq!(client.get("/callback?state=random").await.status, StatusCode::BAD_REQUEST);
        assert_eq!(client.clone().post("/sign-out").await.status, StatusCode::OK);
    }
}

/// Users with permissions, looked up for each request, anonymous visitors included.
#[tokio::test]
async fn permissions_come_from_the_application() {
    /// The user of a request; visitors may read.
    struct User {
        permissions: &'static [&'static str],
    }
    impl<S: Send + Sync> FromRequestParts<S> for User {
        type Rejection = Error;

        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
            let session = Session::from_request_parts(parts, state).await?;
            let permissions: &[_] =
                if session.owner().as_deref() == Some("1") { &["read", "write"] } else { &["read"] };
            Ok(Self { permissions })
        }
    }
    async fn write(user: User) -> StatusCode {
        if user.permissions.contains(&"write") { StatusCode::OK } else { StatusCode::FORBIDDEN }
    }
    let sign_in = post(async |session: Session, Path(id): Path<u64>| session.sign_in(&id.to_string()));
    let app = Router::new().route("/write", get(write)).route("/sign-in/{id}", sign_in).layer(layer());
    let mut client = Client::new(&app);
    for (sign_in, status) in [("/sign-in/2", StatusCode::FORBIDDEN), ("/sign-in/1", StatusCode::OK)] {
        client.post(sign_in).await;
        assert_eq!(client.get("/write").await.status, status);
    }
}

/// A JSON API with a cart, whose lines parallel requests change, and an error of the application's own shape.
#[tokio::test]
async fn a_json_api_with_a_cart() {
    const CART: Field<Vec<(String, u32)>> = Field::new("cart");
    /// The error of every handler.
    struct Problem(StatusCode, &'static str);
    impl From<Error> for Problem {
        fn from(error: Error) -> Self {
            Self(error.status(), if error.kind() == ErrorKind::Unavailable { "try again" } else { "session" })
        }
    }
    impl IntoResponse for Problem {
        fn into_response(self) -> Response {
            (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
        }
    }
    async fn add(session: Session, Json(line): Json<(String, u32)>) -> Result<(), Problem> {
        if line.1 == 0 {
            return Err(Problem(StatusCode::UNPROCESSABLE_ENTITY, "quantity"));
        }
        Ok(session.update(CART, move |cart| cart.push(line))?)
    }
    async fn order(user: SignedIn) -> Result<Json<usize>, Problem> {
        Ok(Json(user.take_now(CART).await?.unwrap_or_default().len()))
    }
    let sign_in = post(async |session: Session| session.sign_in("ada"));
    let app =
        Router::new().route("/cart", post(add)).route("/order", post(order)).route("/sign-in", sign_in).layer(layer());
    let mut client = Client::new(&app);
    let line = |quantity: u32| {
        let request = Request::post("/cart").header("content-type", "application/json");
        request.body(serde_json::json!(["tea", quantity]).to_string().into()).unwrap()
    };
    assert_eq!(client.send(line(0)).await.text(), r#"{"error":"quantity"}"#);
    client.send(line(1)).await;
    client.send(line(2)).await;
    client.post("/sign-in").await;
    assert_eq!(client.post("/order").await.text(), "2");
    assert_eq!(client.post("/order").await.text(), "0");
}

/// A preference and a form with a CSRF token, which stood in cookies of their own.
#[tokio::test]
async fn a_preference_and_a_form_without_cookies_by_hand() {
    #[derive(Deserialize)]
    struct Theme {
        theme: String,
    }
    async fn form(session: Session) -> Result<String, Error> {
        let theme: String = session.get("theme")?.unwrap_or_else(|| "light".into());
        Ok(format!("{theme} {}", session.csrf_token().await?))
    }
    async fn save(session: Session, CsrfForm(form): CsrfForm<Theme>) -> Result<(), Error> {
        session.insert("theme", &form.theme)
    }
    let mut client = Client::new(&Router::new().route("/theme", get(form).post(save)).layer(layer()));
    let page = client.get("/theme").await;
    let (theme, token) = page.text().split_once(' ').unwrap();
    assert_eq!(theme, "light");
    let post = |token: &str| {
        let request = Request::post("/theme").header("content-type", "application/x-www-form-urlencoded");
        request.body(format!("theme=dark&csrf_token={token}").into()).unwrap()
    };
    assert_eq!(client.send(post("forged")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(client.send(post(token)).await.status, StatusCode::OK);
    assert!(client.get("/theme").await.text().starts_with("dark "));
}
