//! Guards in other places than on one route, and predicates that fail or are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{Method, StatusCode};
use sessile::errors::ErrorLayer;
use sessile::testing::ManualClock;
use sessile::user::{LocalPath, User, UserGuard, UserLayer};
use sessile::{Error, MemoryStore, RecentlySignedIn, Session, SessionLayer};
use tower_http::catch_panic::CatchPanicLayer;

use crate::support::client::{Client, send};
use crate::support::orders::dropped_after;
use crate::support::users::{Account, Accounts, Current};

fn guard() -> UserGuard<Accounts> {
    UserGuard::new().with_sign_in_page(LocalPath::from_static("/in"))
}

/// Adds a sign-in, and the layers around guards; returns the accounts, with the administrator 1 and the user 2.
fn site(routes: Router) -> (Accounts, Router) {
    let accounts = Accounts::default();
    accounts.set(1, 10);
    accounts.set(2, 20);
    let sign_in = async |user: Current, axum::extract::Path(id): axum::extract::Path<u64>| -> Result<(), Error> {
        user.sign_in(&user.users().get(id)).await
    };
    let app = routes
        .route("/in/{id}", post(sign_in))
        .layer(UserLayer::new(accounts.clone()))
        .layer(SessionLayer::new(MemoryStore::new()))
        .layer(CatchPanicLayer::new());
    (accounts, app)
}

async fn signed_in(app: &Router, id: u64) -> Client {
    let mut client = Client::new(app);
    assert_eq!(client.post(&format!("/in/{id}")).await.status, StatusCode::OK);
    client
}

/// One line closes the routes before it, those of nested and merged routers too, and leaves later ones open.
#[tokio::test]
async fn one_line_closes_a_router() {
    let page = || get(async || "page");
    let (_, app) = site(
        Router::new()
            .route("/", page())
            .nest("/admin", Router::new().route("/users", page()))
            .merge(Router::new().route("/merged", page()))
            .route_layer(guard())
            .route("/open", page())
            .merge(Router::new().route("/open-too", page())),
    );
    let mut user = signed_in(&app, 2).await;
    for path in ["/", "/admin/users", "/merged"] {
        assert_eq!(Client::new(&app).get(path).await.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(user.get(path).await.text(), "page", "{path}");
    }
    for path in ["/open", "/open-too"] {
        assert_eq!(Client::new(&app).get(path).await.text(), "page", "{path}");
    }
    assert_eq!(Client::new(&app).get("/missing").await.status, StatusCode::NOT_FOUND);
}

/// As a layer, a guard covers the fallback: a visitor does not learn which paths exist.
#[tokio::test]
async fn a_guard_covers_the_fallback() {
    let routes = Router::new().route("/page", get(async || "page")).fallback(async || (StatusCode::NOT_FOUND, "lost"));
    let (_, app) = site(routes.layer(guard()));
    for path in ["/page", "/missing"] {
        assert_eq!(Client::new(&app).get(path).await.status, StatusCode::SEE_OTHER, "{path}");
    }
    let mut user = signed_in(&app, 2).await;
    assert_eq!(user.get("/missing").await.text(), "lost");
}

/// A guard inside another one: both decide, and the user is looked up once.
#[tokio::test]
async fn guards_inside_each_other() {
    let admin = guard().with_permission(async |user: Account| user.is_admin);
    let (accounts, app) =
        site(Router::new().route("/admin", get(async |_: User<Accounts>| "admin").layer(admin)).route_layer(guard()));
    let (mut admin, mut user) = (signed_in(&app, 1).await, signed_in(&app, 2).await);
    *accounts.finds.lock().unwrap() = 0;
    assert_eq!(admin.get("/admin").await.text(), "admin");
    assert_eq!(*accounts.finds.lock().unwrap(), 1);
    assert_eq!(user.get("/admin").await.status, StatusCode::FORBIDDEN);
    assert_eq!(Client::new(&app).get("/admin").await.status, StatusCode::SEE_OTHER);
}

/// A predicate that panics lets nothing pass, and signs no client out.
#[tokio::test]
async fn a_predicate_that_panics_lets_nothing_pass() {
    let passed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&passed);
    let broken = guard().with_permission(async |user: Account| {
        assert!(user.is_admin, "a predicate that is broken");
        true
    });
    let page = get(async move || count.fetch_add(1, Ordering::SeqCst).to_string());
    let (_, app) =
        site(Router::new().route("/page", page.layer(broken)).route("/me", get(async || "me").layer(guard())));
    let mut user = signed_in(&app, 2).await;
    let reply = user.get("/page").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    reply.assert_no_cookie();
    assert_eq!(passed.load(Ordering::SeqCst), 0);
    assert_eq!(user.get("/me").await.text(), "me");
}

/// A client that leaves during a slow predicate has not passed, and stays signed in.
#[tokio::test]
async fn a_client_that_leaves_during_a_predicate() {
    let passed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&passed);
    let slow = guard().with_permission(|_| std::future::pending());
    let page = get(async move || count.fetch_add(1, Ordering::SeqCst).to_string());
    let (_, app) = site(Router::new().route("/page", page.layer(slow)).route("/me", get(async || "me").layer(guard())));
    let mut user = signed_in(&app, 2).await;
    let mut leaves = user.clone();
    assert!(!dropped_after(20, async move { drop(leaves.get("/page").await) }).await);
    assert_eq!(passed.load(Ordering::SeqCst), 0);
    assert_eq!(user.get("/me").await.text(), "me");
}

/// A CORS preflight, which has no cookie, is refused inside a guard, and answered by a layer outside of it.
#[tokio::test]
async fn a_preflight_is_answered_outside_of_a_guard() {
    async fn cors(request: Request, next: Next) -> Response {
        if request.method() == Method::OPTIONS {
            StatusCode::NO_CONTENT.into_response()
        } else {
            next.run(request).await
        }
    }
    let closed = || Router::new().route("/api", get(async || "api")).layer(guard());
    for (routes, status) in
        [(closed(), StatusCode::UNAUTHORIZED), (closed().layer(from_fn(cors)), StatusCode::NO_CONTENT)]
    {
        let preflight = Request::options("/api").header("access-control-request-method", "GET");
        let preflight = preflight.header("origin", "https://app.test").body(Body::empty()).unwrap();
        assert_eq!(send(&site(routes).1, preflight).await.status, status);
    }
}

/// A handler that demands a recent sign-in of another layer's session is not led to this guard's confirmation page.
#[tokio::test]
async fn the_refusal_of_another_session_stays() {
    struct Desk;
    type Recent = RecentlySignedIn<0, Desk>;
    let clock = ManualClock::new();
    let layer =
        |name: &str| SessionLayer::builder(MemoryStore::new()).with_name(name).with_clock(&clock).build().unwrap();
    let confirm = UserGuard::<Accounts>::new().with_confirm_page(LocalPath::from_static("/confirm"));
    let answered = ErrorLayer::from_fn(|_, _| Redirect::to("/answered"));
    let app = Router::new()
        .route("/desk", get(async |_: Recent| "desk"))
        .route("/own", get(async |_: RecentlySignedIn<0>| "own"))
        .route("/answered", get(async |_: RecentlySignedIn<0>| "own").layer(answered))
        .layer(confirm)
        .route(
            "/in",
            post(async |user: Current, desk: Session<Desk>| -> Result<(), Error> {
                desk.sign_in("clerk")?;
                user.sign_in(&user.users().get(2)).await
            }),
        )
        .layer(UserLayer::new(site(Router::new()).0))
        .layer(layer("desk").with_marker::<Desk>())
        .layer(layer("id"));
    let mut client = Client::new(&app);
    assert_eq!(client.post("/in").await.status, StatusCode::OK);
    clock.advance(Duration::from_millis(1));
    assert_eq!(client.get("/desk").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/own").await.header("location"), Some("/confirm?next=%2Fown"));
    assert_eq!(client.get("/answered").await.header("location"), Some("/answered"));
}

/// Behind a prefix that the layer does not see, `next` has it, and a page behind its own guard is still a 401.
#[tokio::test]
async fn a_prefix_is_part_of_next() {
    let guard = || UserGuard::<Accounts>::new().with_sign_in_page(LocalPath::from_static("/shop/in"));
    let users = || UserLayer::new(Accounts::default());
    let pages =
        || Router::new().route("/orders", get(async || "orders")).route("/in", get(async || "in")).layer(guard());
    let sessions = || SessionLayer::new(MemoryStore::new());
    let prefix = LocalPath::from_static("/shop/");
    let nested = Router::new().nest("/shop", pages().layer(users().with_path_prefix(&prefix))).layer(sessions());
    let twice = Router::new().nest("/shop", pages().layer(users())).layer(users()).layer(sessions());
    let proxied = pages().layer(users().with_path_prefix(&prefix)).layer(sessions());
    for (app, seen) in [(nested, "/shop"), (twice, "/shop"), (proxied, "")] {
        let mut visitor = Client::new(&app);
        let reply = visitor.get(&format!("{seen}/orders?page=2")).await;
        assert_eq!(reply.header("location"), Some("/shop/in?next=%2Fshop%2Forders%3Fpage%3D2"));
        assert_eq!(visitor.get(&format!("{seen}/in")).await.status, StatusCode::UNAUTHORIZED);
    }
}
