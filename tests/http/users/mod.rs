//! The signed-in user of the application: looked up once per request, signed out when its credentials change, and guarded routes.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod guards;
mod next;
mod races;
mod stamps;

use crate::support;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use http::header::{ACCEPT, SET_COOKIE};
use http::{Method, Request, StatusCode};
use sessile::errors::ErrorLayer;
use sessile::event::{EndReason, EventKind};
use sessile::testing::ManualClock;
use sessile::user::{LocalPath, User, UserGuard, UserLayer};
use sessile::{Error, MemoryStore, RecentlySignedIn, Session, SessionLayer};
use support::client::{Client, EventLog, Reply, send, session_of};
use support::store::Gate;
use support::users::{Account, Accounts, Current};

struct Site {
    accounts: Accounts,
    events: EventLog,
    clock: ManualClock,
    app: Router,
}

impl Site {
    fn new() -> Self {
        async fn sign_in(user: Current, Path(id): Path<u64>) -> Result<(), Error> {
            let _ = user.load().await?;
            let account = user.users().get(id);
            user.sign_in(&account).await?;
            // The look-up from before the sign-in does not count.
            assert_eq!(user.load().await?, Some(account));
            Ok(())
        }
        async fn change_password(
            user: Current,
            accounts: Extension<Accounts>,
            Path(to): Path<u64>,
        ) -> Result<(), Error> {
            let account = user.load().await?.expect("a user is signed in");
            user.accept_credentials_of(&Account { password: to, ..account.clone() }).await?;
            accounts.set(account.id, to);
            Ok(())
        }
        async fn accept_only(user: Current, Path(to): Path<u64>) -> Result<(), Error> {
            let account = user.load().await?.expect("a user is signed in");
            user.accept_credentials_of(&Account { password: to, ..account }).await
        }
        let (accounts, events) = (Accounts::default(), EventLog::default());
        accounts.set(1, 10);
        accounts.set(2, 20);
        let path = |path| LocalPath::new(path).unwrap();
        let guard = || UserGuard::<Accounts>::new().with_sign_in_page(path("/sign-in"));
        let recent = guard().with_recent(Duration::ZERO).with_confirm_page(path("/confirm?why=recent"));
        let clock = ManualClock::new();
        let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock);
        let layer = layer.with_event_hook(events.hook()).build().unwrap();
        let app = Router::new()
            .route("/guarded", any(async || "guarded").layer(guard()))
            .route("/bare", any(async || "bare").layer(UserGuard::<Accounts>::new()))
            .route("/recent", any(async || "recent").layer(recent))
            .route("/admin", any(async || "admin").layer(guard().with_permission(async |user: Account| user.is_admin)))
            .route("/me", get(async |User(user): User<Accounts>| user.id.to_string()))
            .route("/who", get(async |user: Option<User<Accounts>>| user.map_or(0, |User(user)| user.id).to_string()))
            .route(
                "/many",
                get(async |User(one): User<Accounts>, User(other): User<Accounts>, current: Current| {
                    assert_eq!(Some(one), current.load().await.unwrap());
                    other.id.to_string()
                })
                .layer(guard()),
            )
            .route("/sign-in/{id}", post(sign_in))
            .route(
                "/sign-in-by-text/{owner}",
                post(async |session: Session, Path(owner): Path<String>| session.sign_in(&owner)),
            )
            .route("/change-password/{to}", post(change_password))
            .route("/accept/{to}", post(accept_only))
            .route("/why", get(async |session: Session| format!("{:?}", session.end_reason())))
            .route("/upload", post(async |_: User<Accounts>, session: Session| session.insert("upload", &true)))
            .route("/end-others", post(end_others))
            .layer(Extension(accounts.clone()))
            .layer(UserLayer::new(accounts.clone()))
            .layer(layer);
        Self { accounts, events, clock, app }
    }

    async fn signed_in(&self, id: u64) -> Client {
        let mut client = Client::new(&self.app);
        assert_eq!(client.post(&format!("/sign-in/{id}")).await.status, StatusCode::OK);
        client
    }
}

async fn end_others(user: Current) -> Result<String, Error> {
    Ok(user.end_others().await?.len().to_string())
}

async fn who(client: &mut Client) -> String {
    client.get("/who").await.text().to_owned()
}

/// One request asks the application once, however many extractors and guards it has; other requests do not ask.
#[tokio::test]
async fn a_user_is_looked_up_once_per_request() {
    let site = Site::new();
    let mut client = site.signed_in(2).await;
    *site.accounts.finds.lock().unwrap() = 0;
    assert_eq!(client.get("/many").await.text(), "2");
    assert_eq!(*site.accounts.finds.lock().unwrap(), 1);
    client.get("/why").await;
    assert_eq!(*site.accounts.finds.lock().unwrap(), 1);
    // Another account signs in over this one: the handler sees it at once.
    assert_eq!(client.post("/sign-in/1").await.status, StatusCode::OK);
    assert_eq!(who(&mut client).await, "1");
    *site.accounts.finds.lock().unwrap() = 1;
    assert_eq!(Client::new(&site.app).get("/who").await.text(), "0");
    assert_eq!(Client::new(&site.app).get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(*site.accounts.finds.lock().unwrap(), 1, "a visitor is not looked up");
}

/// A user who is gone is signed out, with the cookie removed and the reason kept; so is an owner that is no id.
#[tokio::test]
async fn a_user_who_is_gone_is_signed_out() {
    let site = Site::new();
    let mut gone = site.signed_in(2).await;
    let mut strange = Client::new(&site.app);
    strange.post("/sign-in-by-text/ada").await;
    site.accounts.rows.lock().unwrap().remove(&2);
    for client in [&mut gone, &mut strange] {
        let mut kept = client.clone();
        let reply = client.get("/me").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert!(reply.set_cookie().is_removal());
        assert_eq!(kept.get("/why").await.text(), "Some(UserGone)");
    }
    site.accounts.set(2, 20);
    assert_eq!(who(&mut gone).await, "0", "the session does not come back with the user");
    assert_eq!(site.events.ends().iter().filter(|(_, reason)| *reason == EndReason::UserGone).count(), 2);
}

/// While the application's database fails, users get 503 and stay signed in.
#[tokio::test]
async fn a_failed_look_up_signs_nobody_out() {
    let site = Site::new();
    let mut client = site.signed_in(2).await;
    *site.accounts.is_down.lock().unwrap() = true;
    for path in ["/me", "/who", "/guarded", "/admin"] {
        let reply = client.get(path).await;
        assert_eq!((reply.status, reply.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("1")), "{path}");
        reply.assert_no_cookie();
    }
    *site.accounts.is_down.lock().unwrap() = false;
    assert_eq!(who(&mut client).await, "2");
    assert_eq!(site.events.count(EventKind::Ended), 0);
}

/// Other credentials than at the sign-in end the session at its next request, and it does not come back with the old ones.
#[tokio::test]
async fn changed_credentials_end_the_session() {
    let site = Site::new();
    let mut client = site.signed_in(2).await;
    let mut kept = client.clone();
    site.accounts.set(2, 21);
    assert_eq!(client.get("/me").await.status, StatusCode::UNAUTHORIZED);
    site.accounts.set(2, 20);
    assert_eq!(kept.get("/why").await.text(), "Some(CredentialsChanged)");
    assert_eq!(who(&mut kept).await, "0");
    // A session that was signed in beside the look-up has no credentials to compare.
    let mut by_text = Client::new(&site.app);
    by_text.post("/sign-in-by-text/2").await;
    assert_eq!(who(&mut by_text).await, "0");
}

/// The session that changes the password stays signed in; the user's others are signed out, and the old password is forgotten.
#[tokio::test]
async fn the_session_that_changes_the_password_goes_on() {
    let site = Site::new();
    let (mut here, mut there) = (site.signed_in(2).await, site.signed_in(2).await);
    assert_eq!(here.post("/change-password/21").await.status, StatusCode::OK);
    assert_eq!((who(&mut here).await, who(&mut there).await), ("2".into(), "0".into()));
    // Both were good until the new one was seen.
    site.accounts.set(2, 20);
    assert_eq!(who(&mut here).await, "0");
}

/// Requests beside a change of the password, at any moment, leave the session signed in.
#[tokio::test]
async fn a_request_beside_the_change_signs_nobody_out() {
    let site = Site::new();
    let mut here = site.signed_in(2).await;
    // The request has loaded its session before the new credentials are accepted, and looks up the user after the change.
    let gate = Gate::new();
    *site.accounts.gate.lock().unwrap() = Some(gate.clone());
    let mut slow = here.clone();
    let slow = tokio::spawn(async move { who(&mut slow).await });
    gate.reached().await;
    assert_eq!(here.post("/change-password/21").await.status, StatusCode::OK);
    gate.release();
    assert_eq!(slow.await.unwrap(), "2");
    // Accepted and not yet stored, or never: the old ones are good.
    assert_eq!(here.post("/accept/22").await.status, StatusCode::OK);
    assert_eq!(who(&mut here).await, "2");
    for failed in 30..50 {
        here.post(&format!("/accept/{failed}")).await;
    }
    assert_eq!(who(&mut here).await, "2");
    assert_eq!(here.post("/change-password/23").await.status, StatusCode::OK);
    assert_eq!(who(&mut here).await, "2");
    assert_eq!(site.events.count(EventKind::Ended), 0);
}

/// A sign-in with the old password, beside its change, is over at the next request.
#[tokio::test]
async fn a_sign_in_beside_the_change_does_not_last() {
    let site = Site::new();
    let old = site.accounts.get(2);
    site.accounts.set(2, 21);
    let late = post(async move |user: Current| user.sign_in(&old).await);
    let layer = SessionLayer::new(MemoryStore::new());
    let who = get(async |user: Option<User<Accounts>>| user.map_or(0, |User(user)| user.id).to_string());
    let app =
        Router::new().route("/late", late).route("/who", who).layer(UserLayer::new(site.accounts.clone())).layer(layer);
    let mut client = Client::new(&app);
    assert_eq!(client.post("/late").await.status, StatusCode::OK);
    assert_eq!(client.get("/who").await.text(), "0");
}

/// A sign-in with the new password goes on with no session of the old one: neither with its id, nor its values, nor its sockets.
#[tokio::test]
async fn a_sign_in_with_the_new_password_shares_no_session() {
    let accounts = Accounts::default();
    accounts.set(2, 20);
    let socket: Arc<Mutex<Option<Session>>> = Arc::default();
    let kept = Arc::clone(&socket);
    let app = Router::new()
        .route("/sign-in", post(async |user: Current| user.sign_in(&user.users().get(2)).await))
        .route("/address", post(async |session: Session| session.insert("address", "the attacker's")))
        .route("/read", get(async |session: Session| session.get::<String>("address").map(Option::unwrap_or_default)))
        .route("/socket", post(async move |session: Session| *kept.lock().unwrap() = Some(session.detach())))
        .layer(UserLayer::new(accounts.clone()))
        .layer(SessionLayer::new(MemoryStore::new()));
    for password in [20, 21] {
        let mut attacker = Client::new(&app);
        for path in ["/sign-in", "/address", "/socket"] {
            assert_eq!(attacker.post(path).await.status, StatusCode::OK);
        }
        accounts.set(2, password);
        // The victim's browser has the attacker's cookie.
        let mut victim = attacker.clone();
        assert_eq!(victim.post("/sign-in").await.status, StatusCode::OK);
        let is_shared = session_of(&attacker.token().unwrap()) == session_of(&victim.token().unwrap());
        let socket = socket.lock().unwrap().take().unwrap();
        assert_eq!(is_shared, password == 20);
        assert_eq!(socket.reload().await.is_ok(), password == 20);
        assert_eq!(victim.get("/read").await.text().is_empty(), password == 21);
    }
}

/// A look-up that waits for another, and that its handler polls no more, holds up no later one.
#[tokio::test]
async fn a_look_up_that_is_kept_holds_up_nothing() {
    async fn handler(user: Current, gate: Extension<Gate>) -> Result<&'static str, Error> {
        let mut first = pin!(user.load());
        let mut kept = pin!(user.load());
        poll_fn(|context| {
            assert!(first.as_mut().poll(context).is_pending());
            assert!(kept.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        gate.release();
        first.await?;
        let account = user.load().await?.expect("a user is signed in");
        user.sign_in(&account).await?;
        Ok("done")
    }
    let accounts = Accounts::default();
    accounts.set(2, 20);
    let gate = Gate::new();
    let app = Router::new()
        .route("/sign-in", post(async |user: Current| user.sign_in(&user.users().get(2)).await))
        .route("/", get(handler))
        .layer(Extension(gate.clone()))
        .layer(UserLayer::new(accounts.clone()))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    client.post("/sign-in").await;
    *accounts.gate.lock().unwrap() = Some(gate);
    assert_eq!(client.get("/").await.text(), "done");
}

/// Credentials whose change has failed are forgotten after a minute: a later change to the same ones signs the session out.
#[tokio::test]
async fn credentials_that_were_never_stored_are_forgotten() {
    let site = Site::new();
    for (minutes, is_signed_in) in [(0, "2"), (1, "0")] {
        let mut client = site.signed_in(2).await;
        assert_eq!(client.post("/accept/21").await.status, StatusCode::OK);
        site.clock.advance(Duration::from_secs(60 * minutes));
        assert_eq!(who(&mut client).await, "2");
        // Another session changes the password, to the same stamp.
        site.accounts.set(2, 21);
        assert_eq!(who(&mut client).await, is_signed_in);
        site.accounts.set(2, 20);
    }
}

/// A user who is signed out and in again within one request is found.
#[tokio::test]
async fn a_sign_in_after_a_sign_out_of_the_same_request() {
    let site = Site::new();
    let mut client = site.signed_in(2).await;
    site.accounts.set(2, 21);
    assert_eq!(client.post("/sign-in/2").await.status, StatusCode::OK);
    assert_eq!(who(&mut client).await, "2");
}

/// The user of an outer session does not pass for that of an inner one without a user layer.
#[tokio::test]
async fn a_user_layer_belongs_to_its_session_layer() {
    let accounts = Accounts::default();
    accounts.set(1, 10);
    let staff = SessionLayer::builder(MemoryStore::new()).with_name("staff").build().unwrap();
    let office = Router::new()
        .route("/user", get(async |User(user): User<Accounts>| user.id.to_string()))
        .route("/guard", get(async || "open").layer(UserGuard::<Accounts>::new()))
        .layer(staff);
    let app = Router::new()
        .route("/sign-in", post(async |user: Current| user.sign_in(&user.users().get(1)).await))
        .nest("/office", office)
        .layer(UserLayer::new(accounts))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    assert_eq!(client.post("/sign-in").await.status, StatusCode::OK);
    for path in ["/office/user", "/office/guard"] {
        assert_eq!(client.get(path).await.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
}

/// A guard within a nested router leads back to the whole path.
#[tokio::test]
async fn a_guard_in_a_nested_router_leads_back() {
    let guard = UserGuard::<Accounts>::new().with_sign_in_page(LocalPath::from_static("/in"));
    let app = Router::new()
        .nest("/admin", Router::new().route("/users", get(async || ()).layer(guard)))
        .layer(UserLayer::new(Accounts::default()))
        .layer(SessionLayer::new(MemoryStore::new()));
    let reply = send(&app, Request::get("/admin/users?page=2").body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header("location"), Some("/in?next=%2Fadmin%2Fusers%3Fpage%3D2"));
}

/// Only the signed-in user's own new credentials are accepted.
#[tokio::test]
async fn the_credentials_of_another_user_are_refused() {
    let site = Site::new();
    let other = site.accounts.get(1);
    let app = Router::new()
        .route("/other", post(async move |user: Current| user.accept_credentials_of(&other).await))
        .route("/sign-in", post(async |user: Current| user.sign_in(&user.users().get(2)).await))
        .layer(UserLayer::new(site.accounts.clone()))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    assert_eq!(client.post("/other").await.status, StatusCode::UNAUTHORIZED);
    client.post("/sign-in").await;
    assert_eq!(client.post("/other").await.status, StatusCode::UNAUTHORIZED);
}

async fn ask(client: &mut Client, method: Method, path: &str, accept: &str) -> Reply {
    let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
    client.send(request.body(Body::empty()).unwrap()).await
}

/// A visitor's page request is sent to the sign-in page, with the way back; other requests get 401.
#[tokio::test]
async fn a_guard_redirects_the_pages_of_visitors() {
    let site = Site::new();
    let mut visitor = Client::new(&site.app);
    for method in [Method::GET, Method::HEAD] {
        let reply = ask(&mut visitor, method, "/guarded?page=2&sort=a%26b", "text/html").await;
        let to = reply.header("location");
        assert_eq!(
            (reply.status, to),
            (StatusCode::SEE_OTHER, Some("/sign-in?next=%2Fguarded%3Fpage%3D2%26sort%3Da%2526b"))
        );
        reply.assert_no_cookie();
    }
    for (method, path, accept) in [
        (Method::POST, "/guarded", "text/html"),
        (Method::DELETE, "/guarded", "*/*"),
        (Method::GET, "/guarded", "application/json"),
        (Method::GET, "/bare", "text/html"),
    ] {
        let reply = ask(&mut visitor, method, path, accept).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::UNAUTHORIZED, None));
    }
    // An address that a client made up leads to the sign-in page without a way back.
    let app = Router::new().fallback(
        any(async || ()).layer(UserGuard::<Accounts>::new().with_sign_in_page(LocalPath::from_static("/in"))),
    );
    let app = app.layer(UserLayer::new(site.accounts.clone())).layer(SessionLayer::new(MemoryStore::new()));
    let reply = send(&app, Request::get("//evil.test/x").body(Body::empty()).unwrap()).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some("/in")));
    let mut user = site.signed_in(2).await;
    assert_eq!(ask(&mut user, Method::POST, "/guarded", "text/html").await.text(), "guarded");
}

/// A user without the permission gets 403; one who authenticated too long ago is sent to the confirmation page.
#[tokio::test]
async fn a_guard_asks_for_permission_and_a_recent_sign_in() {
    let site = Site::new();
    let (mut admin, mut user) = (site.signed_in(1).await, site.signed_in(2).await);
    assert_eq!(ask(&mut admin, Method::POST, "/admin", "*/*").await.text(), "admin");
    let reply = ask(&mut user, Method::GET, "/admin", "text/html").await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::FORBIDDEN, None));
    assert_eq!(
        ask(&mut Client::new(&site.app), Method::GET, "/admin", "text/html").await.status,
        StatusCode::SEE_OTHER
    );

    site.clock.advance(Duration::from_millis(1));
    let reply = ask(&mut user, Method::GET, "/recent", "text/html").await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (StatusCode::SEE_OTHER, Some("/confirm?why=recent&next=%2Frecent"))
    );
    assert_eq!(ask(&mut user, Method::POST, "/recent", "text/html").await.status, StatusCode::UNAUTHORIZED);
    let to = ask(&mut Client::new(&site.app), Method::GET, "/recent", "text/html").await;
    assert_eq!(to.header("location"), Some("/sign-in?next=%2Frecent"));
}

/// A guard with a confirmation page also serves handlers inside it that demand a recent sign-in.
#[tokio::test]
async fn a_handler_that_demands_a_recent_sign_in() {
    type Recent = RecentlySignedIn<0>;
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let accounts = Accounts::default();
    accounts.set(2, 20);
    let guard = UserGuard::<Accounts>::new().with_sign_in_page(LocalPath::from_static("/in"));
    let with_cookie = async |recent: Result<Recent, Error>| ([(SET_COOKIE, "theme=dark")], recent.map(drop));
    let app = Router::new()
        .route("/extractor", any(async |_: Recent| "in"))
        .route("/method", any(async |session: Session| session.require_recent(Duration::ZERO)))
        .route("/cookie", any(with_cookie))
        .route("/confirm", any(async |_: Recent| "in"))
        .route("/other-error", any(async || StatusCode::UNAUTHORIZED))
        .route_layer(guard.clone().with_confirm_page(LocalPath::from_static("/confirm")))
        .route("/without-page", any(async |_: Recent| "in").layer(guard))
        .route("/sign-in", post(async |user: Current| user.sign_in(&user.users().get(2)).await))
        .layer(UserLayer::new(accounts))
        .layer(layer)
        .layer(ErrorLayer::new());
    let mut client = Client::new(&app);
    client.post("/sign-in").await;
    assert_eq!(client.get("/extractor").await.text(), "in");
    clock.advance(Duration::from_millis(1));
    for path in ["/extractor?a=b", "/method", "/cookie"] {
        for method in [Method::GET, Method::HEAD] {
            let reply = ask(&mut client, method, path, "text/html").await;
            let to = format!("/confirm?next={}", path.replace('/', "%2F").replace('?', "%3F").replace('=', "%3D"));
            assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some(&*to)));
            assert_eq!((reply.text(), reply.header("content-type")), ("", None));
            assert_eq!(reply.set_cookies().iter().any(|cookie| cookie.name == "theme"), path == "/cookie");
        }
    }
    for (method, path, accept) in [
        (Method::POST, "/extractor", "text/html"),
        (Method::GET, "/extractor", "application/json"),
        (Method::GET, "/confirm", "text/html"),
        (Method::GET, "/without-page", "text/html"),
        (Method::GET, "/other-error", "text/html"),
    ] {
        let reply = ask(&mut client, method, path, accept).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::UNAUTHORIZED, None), "{path}");
    }
}

/// Without the layer, each extractor and guard is a 500, which a log explains.
#[tokio::test]
async fn a_missing_user_layer_is_a_500() {
    let app = Router::new()
        .route("/user", get(async |_: User<Accounts>| ()))
        .route("/optional", get(async |_: Option<User<Accounts>>| ()))
        .route("/current", get(async |_: Current| ()))
        .route("/guard", get(async || ()).layer(UserGuard::<Accounts>::new()))
        .layer(SessionLayer::new(MemoryStore::new()));
    for path in ["/user", "/optional", "/current", "/guard"] {
        let reply = send(&app, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
}

/// After a change of the credentials, the user's other sessions end at once and learn why; other users' and this one go on.
#[tokio::test]
async fn other_sessions_learn_of_changed_credentials() {
    let (accounts, events) = (Accounts::default(), EventLog::default());
    accounts.set(1, 10);
    accounts.set(2, 20);
    let layer = SessionLayer::builder(MemoryStore::new()).with_event_hook(events.hook()).build().unwrap();
    let sessions = layer.sessions();
    let sign_in = async |user: Current, Path(id): Path<u64>| user.sign_in(&user.users().get(id)).await;
    let app = Router::new()
        .route("/sign-in/{id}", post(sign_in))
        .route("/end-others", post(end_others))
        .route("/why", get(async |session: Session| format!("{:?} {:?}", session.owner(), session.end_reason())))
        .layer(UserLayer::new(accounts))
        .layer(layer);
    let mut clients = Vec::new();
    for id in [2, 2, 2, 1] {
        let mut client = Client::new(&app);
        client.post(&format!("/sign-in/{id}")).await;
        clients.push(client);
    }
    assert_eq!(clients[0].post("/end-others").await.text(), "2");
    let mut told = Vec::new();
    for client in &mut clients {
        told.push(client.get("/why").await.text().to_owned());
    }
    let ended = "None Some(CredentialsChanged)";
    assert_eq!(told, ["Some(\"2\") None", ended, ended, "Some(\"1\") None"]);
    assert_eq!(sessions.owned_by("2").await.unwrap().len(), 1);
    assert_eq!(events.ends().iter().filter(|(_, reason)| *reason == EndReason::CredentialsChanged).count(), 2);

    assert_eq!(clients[0].post("/end-others").await.text(), "0");
    assert_eq!(Client::new(&app).post("/end-others").await.status, StatusCode::UNAUTHORIZED);
}

/// The end of a user's other sessions reaches one past its idle timeout, so that a slow request does not revive it.
// guarantee: 2
#[tokio::test]
async fn the_end_of_others_reaches_one_past_its_idle_timeout() {
    let site = Site::new();
    let (mut here, mut slow) = (site.signed_in(2).await, site.signed_in(2).await);
    let gate = Gate::new();
    *site.accounts.gate.lock().unwrap() = Some(gate.clone());
    let mut uploading = slow.clone();
    let upload = tokio::spawn(async move { uploading.post("/upload").await.status });
    gate.reached().await;
    for _ in 0..2 {
        site.clock.advance(Duration::from_secs(31 * 60));
        assert_eq!(who(&mut here).await, "2");
    }
    assert_eq!(here.post("/end-others").await.text(), "1");
    gate.release();
    assert_eq!(upload.await.unwrap(), StatusCode::OK);
    assert_eq!((who(&mut here).await, who(&mut slow).await), ("2".into(), "0".into()));
}
