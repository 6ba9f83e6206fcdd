//! Owners who act as another: their sessions, what they may not do, and the end.

use crate::support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, UPGRADE};
use http::{Method, StatusCode};
use sessile::acting::{Acting, ActingLayer};
use sessile::config::{ConfigErrorKind, SiteData, TokenHeader};
use sessile::csrf::CsrfLayer;
use sessile::event::{EndReason, Event, EventKind};
use sessile::flash::FlashLevel;
use sessile::passive::PassiveLayer;
use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{
    Error, ErrorKind, Lifetime, MemoryStore, Session, SessionLayer, SessionLayerBuilder, Sessions, SignedIn,
};
use support::client::{Client, EventLog, request, session_of};
use support::store::{CountingStore, Counts, Fault, FaultyStore, Op};

const OWN: &str = "__Host-id";
const ACTING: &str = "__Host-id-acting";
const HOUR: Duration = Duration::from_secs(60 * 60);

type TestStore = CountingStore<FaultyStore<MemoryStore>>;

struct Site {
    faults: FaultyStore<MemoryStore>,
    store: TestStore,
    clock: ManualClock,
    events: EventLog,
    layer: SessionLayer,
    acting: ActingLayer,
    app: Router,
}

impl Site {
    fn new() -> Self {
        Self::with(|builder| builder, Ok)
    }

    fn with(
        configure: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder,
        configure_acting: impl FnOnce(ActingLayer) -> Result<ActingLayer, sessile::config::ConfigError>,
    ) -> Self {
        let (clock, events) = (ManualClock::new(), EventLog::default());
        let faults = FaultyStore::new(MemoryStore::new().with_clock(&clock));
        let store = CountingStore::new(faults.clone());
        let builder = SessionLayer::builder(store.clone()).with_clock(&clock).with_event_hook(events.hook());
        let layer = configure(builder).build().unwrap();
        let acting = configure_acting(ActingLayer::new(&layer).unwrap()).unwrap();
        let app = routes().layer(acting.clone()).layer(layer.clone());
        Self { faults, store, clock, events, layer, acting, app }
    }

    async fn signed_in(&self, owner: &str) -> Client {
        let mut client = Client::new(&self.app);
        assert_eq!(client.post(&format!("/sign-in/{owner}")).await.status, StatusCode::OK);
        client
    }

    /// Returns a client in which `ada` acts as `bob`.
    async fn acting(&self) -> Client {
        let mut client = self.signed_in("ada").await;
        assert_eq!(client.post("/act-as/bob").await.status, StatusCode::OK);
        client
    }
}

fn routes() -> Router {
    async fn who(session: Session) -> String {
        let name = |owner: Option<Arc<str>>| owner.map_or("-".into(), |owner| owner.to_string());
        format!("{} by {}", name(session.owner()), name(session.actor()))
    }
    async fn act_as(acting: Acting, Path(owner): Path<String>) -> Result<(), Error> {
        let session = acting.begin(&owner).await?;
        assert_eq!(session.owner().as_deref(), Some(&*owner));
        assert!(session.actor().is_some() && session.authenticated_at().is_none());
        Ok(())
    }
    async fn sign_in_and_act(session: Session, acting: Acting) -> Result<(), Error> {
        session.sign_in("ada")?;
        acting.begin("bob").await.map(drop)
    }
    async fn leave(session: Session) -> Result<(), Error> {
        session.sign_out()?;
        assert_eq!(session.insert("order", "late").unwrap_err().kind(), ErrorKind::Ended);
        assert_eq!(session.sign_in("eve").unwrap_err().kind(), ErrorKind::Ended);
        let own = session.actor_session().expect("the actor's own session");
        own.flash(FlashLevel::Info, "you are back")
    }
    async fn flashes(session: Session) -> Result<String, Error> {
        Ok(session.take_flashes().await?.iter().map(|flash| flash.message.clone()).collect())
    }
    Router::new()
        .route("/who", get(who).post(who))
        .route("/static", get(async || "static"))
        .route("/passive/who", get(who).layer(PassiveLayer::new()))
        .route("/sign-in/{owner}", post(async |session: Session, Path(owner): Path<String>| session.sign_in(&owner)))
        .route("/sign-in-and-act", post(sign_in_and_act))
        .route("/act-as/{owner}", post(act_as))
        .route("/leave", post(leave))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/flashes", get(flashes))
        .route("/rotate", post(async |session: Session| session.rotate()))
        .route("/csrf", get(async |session: Session| session.csrf_token().await.map(|token| token.to_string())))
        .route("/order", post(async |session: Session| session.insert("order", "tea")))
        .route("/orders", get(async |session: Session| session.get::<String>("order").map(Option::unwrap_or_default)))
        .route("/forbidden/reauthenticate", post(async |session: Session| session.reauthenticate()))
        .route("/forbidden/recent", post(async |session: Session| session.require_recent(HOUR)))
        .route("/forbidden/lifetime", post(async |session: Session| session.set_lifetime(Lifetime::new())))
        .route("/forbidden/sign-in", post(async |user: SignedIn| user.sign_in("bob")))
        .route("/forbidden/act-as", post(async |acting: Acting| acting.begin("carl").await.map(drop)))
        .route("/left", get(async |session: Session| format!("{:?}", session.expires_in().map(|left| left.as_secs()))))
        .route("/signed-in", post(async |user: SignedIn| user.insert("order", "tea")))
        .route("/guarded", post(async |session: Session| session.insert("order", "tea")).layer(CsrfLayer::new()))
        .route("/poll", get(async |_: Session| "polled").layer(PassiveLayer::new()))
}

fn remove_cookie(client: &mut Client, name: &str) {
    let removal = format!("{name}=; Max-Age=0").parse().unwrap();
    client.jar.take_in(&http::HeaderMap::from_iter([(http::header::SET_COOKIE, removal)]));
}

async fn who(client: &mut Client) -> String {
    client.get("/who").await.text().to_owned()
}

/// The cookie and the session of the actor stay as they are; both names are on the acting session, until it is left.
#[tokio::test]
async fn an_actor_sees_the_application_as_the_owner() {
    let site = Site::new();
    let mut client = site.signed_in("ada").await;
    client.post("/order").await;
    let before = client.token();
    let reply = client.post("/act-as/bob").await;
    let cookie = reply.set_cookie();
    assert_eq!(cookie.name, ACTING);
    assert_eq!(cookie.attribute_names(), ["HttpOnly", "Path", "SameSite", "Secure"]);
    assert_eq!(reply.header(CACHE_CONTROL.as_str()), Some("no-store"));
    assert_eq!(who(&mut client).await, "bob by ada");
    assert_eq!(client.get("/orders").await.text(), "", "the actor's values are not the owner's");
    let reply = client.post("/leave").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.set_cookies().iter().any(|cookie| cookie.name == ACTING && cookie.is_removal()));
    assert_eq!(client.token(), before);
    assert_eq!(who(&mut client).await, "ada by -");
    assert_eq!(client.get("/flashes").await.text(), "you are back");
    assert_eq!(client.get("/orders").await.text(), "tea");
}

/// An acting request reads two records, and one again before a write; others cost as much as ever.
// guarantee: 5
#[tokio::test]
async fn acting_costs_one_get_more_and_one_before_a_write() {
    let site = Site::new();
    for (mut client, reading, writing) in [
        (site.acting().await, Counts::gets(2), Counts::gets(3)),
        (site.signed_in("carl").await, Counts::gets(1), Counts::gets(1)),
    ] {
        for (method, path, counts) in [
            (Method::GET, "/who", reading),
            (Method::GET, "/static", Counts::NONE),
            (Method::POST, "/who", reading),
            (Method::POST, "/order", writing.and_sets(1)),
        ] {
            site.store.reset();
            client.send(request(method, path)).await;
            assert_eq!(site.store.counts(), counts, "{path}");
        }
    }
}

/// A slow request writes nothing after the end of the actor's own session, as in an ordinary session. Past its idle timeout it does.
// guarantee: 2
#[tokio::test]
async fn a_slow_acting_request_ends_with_the_own_session() {
    for (meanwhile, write) in [("end", "response"), ("end", "commit"), ("end", "update_now"), ("idle", "response")] {
        for cookie in [OWN, ACTING] {
            let site = Site::new();
            let mut client = Client::new(&slow_app(&site));
            client.post("/sign-in/ada").await;
            if cookie == ACTING {
                client.post("/act-as/bob").await;
            }
            let id = session_of(&client.jar.value(cookie).unwrap());
            let before = site.store.get(&id).await.unwrap().unwrap();
            let status = client.post(&format!("/slow/{meanwhile}/{write}")).await.status;
            // A response stands although its changes are dropped.
            let expected = if write == "response" { StatusCode::OK } else { StatusCode::CONFLICT };
            assert_eq!(status, expected, "{meanwhile} {write} {cookie}");
            let after = site.store.get(&id).await.unwrap();
            let is_written = after.is_some_and(|after| after.version() != before.version());
            assert_eq!(is_written, meanwhile == "idle", "{meanwhile} {write} {cookie}");
            assert_eq!(site.events.count(EventKind::Dropped), usize::from(!is_written), "{meanwhile} {write} {cookie}");
        }
    }
}

/// Returns the application with a route on which the actor's own session ends, or reaches its idle timeout, before the write.
fn slow_app(site: &Site) -> Router {
    let (sessions, clock) = (site.layer.sessions(), site.clock.clone());
    let slow = async move |session: Session, Path((meanwhile, write)): Path<(String, String)>| -> Result<(), Error> {
        if meanwhile == "end" {
            sessions.end_all_of("ada").await?;
        } else {
            clock.advance(HOUR + HOUR / 60);
        }
        if write == "update_now" {
            return session.update_now("orders", |orders: &mut u32| *orders += 1).await;
        }
        session.insert("order", "tea")?;
        if write == "commit" { session.commit().await } else { Ok(()) }
    };
    routes().route("/slow/{meanwhile}/{write}", post(slow)).layer(site.acting.clone()).layer(site.layer.clone())
}

/// A commit that lost a race checks the actor's own session again before its next attempt.
// guarantee: 2
#[tokio::test]
async fn a_retry_ends_with_the_own_session() {
    let site = Site::new();
    let mut client = site.acting().await;
    let id = session_of(&client.jar.value(ACTING).unwrap());
    let gate = site.faults.hold_before(Op::Set, 1);
    let mut slow = client.clone();
    let answer = tokio::spawn(async move { slow.post("/order").await.status });
    gate.reached().await;
    assert_eq!(client.post("/signed-in").await.status, StatusCode::OK);
    let before = site.store.get(&id).await.unwrap().unwrap();
    site.layer.sessions().end_all_of("ada").await.unwrap();
    gate.release();
    assert_eq!(answer.await.unwrap(), StatusCode::OK);
    assert_eq!(site.store.get(&id).await.unwrap().unwrap().version(), before.version());
    assert_eq!(site.events.count(EventKind::Dropped), 1);
}

/// A layer, and `Sessions`, with the name and realm of the acting sessions open none of them, and can end each.
#[tokio::test]
async fn another_layer_opens_no_acting_session() {
    let site = Site::new();
    let mut client = site.acting().await;
    let token = sessile::Token::parse(client.jar.value(ACTING).unwrap().as_bytes()).unwrap();
    let id = token.id();
    let builder = SessionLayer::builder(site.store.clone()).with_clock(&site.clock).with_name("id-acting");
    let other = builder.build().unwrap();
    let named = Sessions::new(site.store.clone()).with_realm("id-acting").unwrap();
    let mut thief = Client::with_cookie(&routes().layer(other.clone()), ACTING, &token.expose_secret());
    assert_eq!(who(&mut thief).await, "- by -");
    for sessions in [other.sessions(), named.clone()] {
        assert!(sessions.find_by_id(&id).await.unwrap().is_none());
        assert!(sessions.find_by_token(&token).await.unwrap().is_none());
        assert!(sessions.open_for_write(&id).await.unwrap().is_none());
        assert!(!sessions.merge(&id, &BTreeMap::from([("order", "tea")])).await.unwrap());
        assert!(sessions.owned_by("bob").await.unwrap().is_empty());
        assert!(sessions.list(None, 100).await.unwrap().sessions.is_empty());
    }
    assert_eq!(who(&mut client).await, "bob by ada");
    assert!(named.end_if_owned_by(&id, "bob").await.unwrap());
    assert_eq!(who(&mut client).await, "ada by -");
}

/// However the actor's own session ends, the acting one is over at the next request, and nobody acts as the actor by mistake.
// guarantee: 2
#[tokio::test]
async fn an_acting_session_ends_with_the_actors_own() {
    for way in ["end", "end all", "idle", "absolute", "signed out", "another owner", "no cookie", "planted cookie"] {
        let site = Site::new();
        let mut client = site.acting().await;
        let (own, sessions) = (client.token().unwrap(), site.layer.sessions());
        let mut alone = client.clone();
        let mut expected = "- by -";
        match way {
            "end" => drop(sessions.end(&session_of(&own)).await.unwrap()),
            "end all" => drop(sessions.end_all_of("ada").await.unwrap()),
            "idle" => site.clock.advance(HOUR),
            "absolute" => {
                for _ in 0..24 * 2 {
                    client.get("/who").await;
                    site.clock.advance(HOUR / 2);
                }
            }
            "no cookie" => remove_cookie(&mut client, OWN),
            "signed out" => {
                remove_cookie(&mut alone, ACTING);
                alone.post("/sign-out").await;
            }
            _ => {
                let other = site.signed_in("carl").await;
                client.jar.put(OWN, &other.token().unwrap());
                expected = "carl by -";
            }
        }
        let mut poster = client.clone();
        let (ends, acting) = (site.events.ends().len(), client.jar.value(ACTING).unwrap());
        // An unsafe request was meant for the other owner: it is refused, and changes nothing.
        let reply = poster.post("/order").await;
        assert_eq!(reply.status, StatusCode::CONFLICT, "{way}");
        assert_eq!(poster.post("/order").await.status, StatusCode::CONFLICT, "{way}, sent again");
        assert_eq!(poster.post("/who").await.status, StatusCode::CONFLICT, "{way}, without a write");
        assert_eq!(poster.post("/act-as/bob").await.status, StatusCode::CONFLICT, "{way}, without a session");
        let mut socket = request(Method::GET, "/who");
        socket.headers_mut().insert(UPGRADE, "websocket".parse().unwrap());
        assert_eq!(poster.send(socket).await.status, StatusCode::CONFLICT, "{way}, a socket");
        assert!(poster.jar.value(ACTING).is_some(), "{way}");
        assert_eq!(poster.get("/orders").await.text(), "", "{way}");
        assert_eq!(poster.jar.value(ACTING), None, "{way}");
        // A safe one goes on with the client's own session.
        let mut reader = client.clone();
        assert_eq!(who(&mut reader).await, expected, "{way}");
        assert_eq!(reader.jar.value(ACTING), None, "{way}");
        let mut form = client.clone();
        assert_eq!(form.get("/csrf").await.status, StatusCode::OK, "{way}");
        // It does not come back with the actor's session.
        let mut again = site.signed_in("ada").await;
        again.jar.put(ACTING, &acting);
        assert_eq!(who(&mut again).await, "ada by -", "{way}");
        assert!(site.acting.sessions().owned_by("bob").await.unwrap().is_empty(), "{way}");
        let reasons: Vec<_> = site.events.ends().split_off(ends).into_iter().map(|(_, reason)| reason).collect();
        let is_in_store = way != "absolute";
        assert_eq!(reasons.contains(&EndReason::ActorGone), is_in_store, "{way}: {reasons:?}");
    }
}

/// The owner, or an administrator, ends the acting session; a request that began before writes nothing.
#[tokio::test]
async fn the_owner_can_end_an_acting_session() {
    let site = Site::new();
    let mut client = site.acting().await;
    let listed = site.acting.sessions().owned_by("bob").await.unwrap();
    let [session] = listed.as_slice() else { panic!("one acting session is expected in {listed:?}") };
    assert_eq!((session.owner(), session.actor()), (Some("bob"), Some("ada")));
    assert_eq!(serde_json::to_value(session).unwrap()["actor"], "ada");
    assert!(site.layer.sessions().owned_by("bob").await.unwrap().is_empty(), "it is in a realm of its own");
    assert!(site.acting.sessions().end_if_owned_by(&session.id(), "bob").await.unwrap());
    assert_eq!(client.clone().post("/order").await.status, StatusCode::CONFLICT);
    assert_eq!(who(&mut client).await, "ada by -");

    let mut client = site.acting().await;
    assert_eq!(site.layer.sessions().end_all_of_in_every_realm("bob").await.unwrap().len(), 1);
    assert_eq!(client.clone().post("/order").await.status, StatusCode::CONFLICT);
    assert_eq!(who(&mut client).await, "ada by -");
}

/// An extractor that needs an owner and a check of CSRF tokens answer as a write does: 409, and no advice to sign in.
#[tokio::test]
async fn each_form_of_an_ended_acting_session_is_a_409() {
    for path in ["/order", "/signed-in", "/guarded"] {
        for by_owner in [false, true] {
            let site = Site::new();
            let mut client = site.acting().await;
            let token = client.get("/csrf").await.text().to_owned();
            let (sessions, owner) =
                if by_owner { (site.acting.sessions(), "bob") } else { (site.layer.sessions(), "ada") };
            for session in sessions.owned_by(owner).await.unwrap() {
                assert!(sessions.end(&session.id()).await.unwrap());
            }
            let mut form = request(Method::POST, path);
            form.headers_mut().insert("x-csrf-token", token.parse().unwrap());
            let reply = client.send(form).await;
            assert_eq!(reply.status, StatusCode::CONFLICT, "{path}, by the owner: {by_owner}");
        }
    }
}

/// Only a page that is loaded removes the cookie of an ended session: after a poll, the page's forms and sockets are still refused.
#[tokio::test]
async fn only_a_page_removes_the_cookie_of_an_ended_session() {
    let site = Site::new();
    let headers = [
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-dest", "image"),
        ("sec-fetch-dest", "iframe"),
        ("sec-purpose", "prefetch"),
        ("x-poll", "passive"),
    ];
    for (name, value) in headers {
        let mut client = site.acting().await;
        let own = client.token().unwrap();
        let ids = site.acting.sessions().ids_of("bob").await.unwrap();
        assert!(site.acting.sessions().end(&ids[0]).await.unwrap());
        for _ in 0..2 {
            let mut poll = request(Method::GET, if value == "passive" { "/passive/who" } else { "/who" });
            poll.headers_mut().insert(name, value.parse().unwrap());
            let reply = client.send(poll).await;
            // It reads the actor's own session.
            assert_eq!(reply.text(), "ada by -", "{name}: {value}");
            assert!(reply.set_cookies().iter().all(|cookie| cookie.name != ACTING), "{name}: {value}");
            assert_eq!(client.post("/order").await.status, StatusCode::CONFLICT, "{name}: {value}");
            let mut socket = request(Method::GET, "/who");
            socket.headers_mut().insert(UPGRADE, "websocket".parse().unwrap());
            assert_eq!(client.send(socket).await.status, StatusCode::CONFLICT, "{name}: {value}");
        }
        let mut page = request(Method::GET, "/who");
        page.headers_mut().insert("sec-fetch-dest", "document".parse().unwrap());
        assert_eq!(client.send(page).await.text(), "ada by -");
        assert_eq!((client.jar.value(ACTING), client.token().unwrap()), (None, own));
        assert_eq!(client.post("/order").await.status, StatusCode::OK);
    }
}

/// A new token of the actor leaves the acting session as it is, and so does a request that still has the old one.
#[tokio::test]
async fn a_rotation_of_the_actors_token_ends_nothing() {
    let site = Site::new();
    let mut client = site.acting().await;
    let mut late = client.clone();
    let mut own = client.clone();
    own.jar.put(ACTING, "");
    // Without a value there is no acting session, and the cookie goes.
    assert_eq!(who(&mut own).await, "ada by -");
    assert_eq!(own.post("/rotate").await.status, StatusCode::OK);
    client.jar.put(OWN, &own.token().unwrap());
    assert_eq!(who(&mut client).await, "bob by ada");
    let reply = late.get("/who").await;
    assert_eq!(reply.text(), "- by -");
    reply.assert_no_cookie();
    assert_eq!(late.post("/order").await.status, StatusCode::CONFLICT);
    assert_eq!(who(&mut client).await, "bob by ada");
    // The acting session's own token rotates as any.
    assert_eq!(client.post("/rotate").await.status, StatusCode::OK);
    assert_eq!(who(&mut client).await, "bob by ada");
}

/// What needs the owner in person is refused, and the session stays as it is.
#[tokio::test]
async fn an_actor_cannot_do_what_the_owner_alone_may() {
    let site = Site::new();
    let mut client = site.acting().await;
    for what in ["reauthenticate", "recent", "lifetime", "sign-in", "act-as"] {
        let reply = client.post(&format!("/forbidden/{what}")).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{what}");
        reply.assert_no_cookie();
        assert_eq!(who(&mut client).await, "bob by ada", "{what}");
    }
}

/// Only a signed-in owner with a stored session can act.
#[tokio::test]
async fn a_visitor_cannot_act() {
    let site = Site::new();
    let mut visitor = Client::new(&site.app);
    assert_eq!(visitor.post("/act-as/bob").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(visitor.post("/sign-in-and-act").await.status, StatusCode::UNAUTHORIZED);
    assert!(site.acting.sessions().owned_by("bob").await.unwrap().is_empty());
}

/// Neither cookie opens anything in the place of the other, and a session without an actor is none.
// guarantee: 4
#[tokio::test]
async fn the_cookies_open_nothing_for_each_other() {
    let site = Site::new();
    let client = site.acting().await;
    let mut swapped = Client::new(&site.app);
    swapped.jar.put(OWN, &client.jar.value(ACTING).unwrap());
    assert_eq!(who(&mut swapped).await, "- by -");
    let mut doubled = client.clone();
    doubled.jar.put(ACTING, &client.token().unwrap());
    assert_eq!(doubled.clone().post("/order").await.status, StatusCode::CONFLICT);
    assert_eq!(who(&mut doubled).await, "ada by -");

    let (id, token) = site.acting.sessions().create_owned_by("bob", &()).await.unwrap();
    assert!(site.acting.sessions().find_by_id(&id).await.unwrap().is_none());
    let mut invented = client.clone();
    invented.jar.put(ACTING, &token.expose_secret());
    assert_eq!(who(&mut invented).await, "ada by -");
}

/// The acting session lives no longer than the actor's own, and each of its uses counts for both.
// guarantee: 7
#[tokio::test]
async fn an_acting_session_lives_within_the_actors_own() {
    let site = Site::with(
        |builder| builder.with_lifetime(Lifetime::new().with_max_age(2 * HOUR)),
        |acting| acting.with_lifetime(Lifetime::aal1()),
    );
    let mut client = site.signed_in("ada").await;
    for _ in 0..23 {
        site.clock.advance(HOUR - Duration::from_secs(60));
        assert_eq!(who(&mut client).await, "ada by -");
    }
    let reply = client.post("/act-as/bob").await;
    assert_eq!(reply.set_cookies().last().unwrap().max_age(), None);
    assert_eq!(client.get("/left").await.text(), format!("Some({})", 60 * 60 + 23 * 60));
    // Polling the acting session is a use of neither.
    for _ in 0..6 {
        site.clock.advance(Duration::from_secs(11 * 60));
        client.get("/poll").await;
    }
    assert_eq!(who(&mut client).await, "- by -");

    let site = Site::new();
    let mut client = site.acting().await;
    for _ in 0..6 {
        site.clock.advance(HOUR / 2);
        assert_eq!(who(&mut client).await, "bob by ada");
    }
    client.post("/leave").await;
    assert_eq!(who(&mut client).await, "ada by -");
    let short = Lifetime::new().with_idle_timeout(HOUR / 4);
    let site = Site::with(|builder| builder, |acting| acting.with_lifetime(short));
    let mut client = site.acting().await;
    site.clock.advance(HOUR / 2);
    assert_eq!(who(&mut client).await, "ada by -");
}

/// If the store fails, nothing ends and nobody is another: 503.
// guarantee: 6
#[tokio::test]
async fn a_failing_store_ends_no_acting_session() {
    let site = Site::new();
    let mut client = site.acting().await;
    for nth in [1, 2] {
        site.faults.fail(Op::Get, nth, Fault::Before);
        let reply = client.get("/who").await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        reply.assert_no_cookie();
        assert_eq!(who(&mut client).await, "bob by ada");
    }
    // A session that is not stored is not begun.
    let mut other = site.signed_in("ada").await;
    site.faults.fail_always(Op::Set, Fault::Before);
    let reply = other.post("/act-as/bob").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    reply.assert_no_cookie();
}

/// Beginning beside the end of the actor's own session, in each order, leaves nothing that can be used.
#[tokio::test]
async fn beginning_beside_the_end_of_the_own_session() {
    for held in [Op::Get, Op::Set] {
        for after in [false, true] {
            let site = Site::new();
            let mut client = site.signed_in("ada").await;
            let id = session_of(&client.token().unwrap());
            let gate = if after { site.faults.hold_after(held, 1) } else { site.faults.hold_before(held, 1) };
            let mut other = client.clone();
            let begin = tokio::spawn(async move { (other.post("/act-as/bob").await.status, other) });
            gate.reached().await;
            assert!(site.layer.sessions().end(&id).await.unwrap());
            gate.release();
            let (status, mut other) = begin.await.unwrap();
            if status == StatusCode::OK {
                assert_eq!(other.clone().post("/order").await.status, StatusCode::CONFLICT, "{held:?} {after}");
            }
            assert_eq!(who(&mut other).await, "- by -", "{held:?} {after}");
            assert!(site.acting.sessions().owned_by("bob").await.unwrap().is_empty());
            client.jar.clear();
        }
    }
}

/// A socket in an acting session ends with the actor's own session.
#[tokio::test]
async fn a_detached_acting_session_ends_with_the_own_one() {
    let detached: Arc<Mutex<Option<Session>>> = Arc::default();
    let site = Site::new();
    let kept = Arc::clone(&detached);
    let app = routes()
        .route("/detach", post(async move |session: Session| *kept.lock().unwrap() = Some(session.detach())))
        .layer(site.acting.clone())
        .layer(site.layer.clone());
    let mut client = Client::new(&app);
    for path in ["/sign-in/ada", "/act-as/bob", "/detach"] {
        assert_eq!(client.post(path).await.status, StatusCode::OK);
    }
    let socket = detached.lock().unwrap().take().unwrap();
    assert_eq!(socket.actor().as_deref(), Some("ada"));
    socket.insert("order", "tea").unwrap();
    socket.commit().await.unwrap();
    socket.reload().await.unwrap();
    site.layer.sessions().end_all_of("ada").await.unwrap();
    site.clock.advance(HOUR / 2);
    assert_eq!(socket.touch().await.unwrap_err().kind(), ErrorKind::Ended);
    assert_eq!(socket.reload().await.unwrap_err().kind(), ErrorKind::Ended);
    socket.insert("order", "more tea").unwrap();
    assert_eq!(socket.commit().await.unwrap_err().kind(), ErrorKind::Ended);
}

/// Events of the beginning name the actor.
#[tokio::test]
async fn events_name_the_actor() {
    let log: Arc<Mutex<Vec<_>>> = Arc::default();
    let events = Arc::clone(&log);
    let hook = move |event: &Event<'_>| {
        events.lock().unwrap().push((event.kind, event.realm.to_owned(), event.actor.map(str::to_owned)));
    };
    let site = Site::with(|builder| builder.with_event_hook(hook), Ok);
    site.acting().await;
    let line = |kind, realm: &str, actor: Option<&str>| (kind, realm.to_owned(), actor.map(str::to_owned));
    assert_eq!(
        *log.lock().unwrap(),
        [
            line(EventKind::Created, "id", None),
            line(EventKind::SignedIn, "id", None),
            line(EventKind::Created, "id-acting", Some("ada")),
            line(EventKind::SignedIn, "id-acting", Some("ada")),
        ]
    );
}

/// The end of an acting session asks the browser to clear everything but the cookies: the actor's own is one.
#[tokio::test]
async fn the_end_leaves_the_other_cookies() {
    let site = Site::with(|builder| builder.with_clear_site_data([SiteData::Cache, SiteData::Cookies]), Ok);
    let mut client = site.acting().await;
    assert_eq!(client.post("/leave").await.header("clear-site-data"), Some("\"cache\""));
    assert_eq!(client.post("/sign-out").await.header("clear-site-data"), Some("\"cache\", \"cookies\""));
}

/// Layers in the wrong order are a 500, and a layer without a cookie is refused.
#[tokio::test]
async fn misplaced_layers_are_reported() {
    let site = Site::new();
    let other = SessionLayer::new(MemoryStore::new());
    for app in [
        routes().layer(site.layer.clone()).layer(site.acting.clone()),
        routes().layer(site.acting.clone()).layer(other.clone()),
        routes().layer(site.acting.clone()),
        routes().layer(site.acting.clone()).layer(site.acting.clone()).layer(site.layer.clone()),
    ] {
        assert_eq!(Client::new(&app).get("/static").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let without = routes().layer(other);
    assert_eq!(Client::new(&without).post("/act-as/bob").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let bearer = SessionLayer::builder(MemoryStore::new()).with_token_header(TokenHeader::bearer()).without_cookie();
    assert_eq!(ActingLayer::new(&bearer.build().unwrap()).unwrap_err().kind(), ConfigErrorKind::Setting);
    let long = SessionLayer::builder(MemoryStore::new()).with_realm(&"a".repeat(250)).build().unwrap();
    assert_eq!(ActingLayer::new(&long).unwrap_err().kind(), ConfigErrorKind::Setting);
}

/// A request with the token header ignores the cookies, and its answer depends on none.
#[tokio::test]
async fn a_token_header_ignores_the_acting_cookie() {
    let site = Site::with(|builder| builder.with_token_header(TokenHeader::bearer()), Ok);
    let mut client = site.acting().await;
    let own = client.token().unwrap();
    let mut api = request(Method::GET, "/who");
    api.headers_mut().insert(AUTHORIZATION, format!("Bearer {own}").parse().unwrap());
    assert_eq!(client.send(api).await.text(), "ada by -");
    assert_eq!(who(&mut client).await, "bob by ada");
    // It cannot act: the acting session has a cookie alone.
    let mut act = request(Method::POST, "/act-as/bob");
    act.headers_mut().insert(AUTHORIZATION, format!("Bearer {own}").parse().unwrap());
    let reply = support::client::send(&site.app, act).await;
    assert_eq!((reply.status, reply.set_cookies()), (StatusCode::FORBIDDEN, vec![]));
    assert_eq!(site.acting.sessions().owned_by("bob").await.unwrap().len(), 1);
}

/// Under signed cookies and a marker, acting works as without.
#[tokio::test]
async fn acting_under_a_marker_and_signed_cookies() {
    struct Staff;
    let keys = sessile::config::KeyRing::new([7; 32]).unwrap();
    let layer = SessionLayer::builder(MemoryStore::new()).with_name("staff").with_signed_cookie(keys);
    let layer = layer.build().unwrap().with_marker::<Staff>();
    let app = Router::new()
        .route("/sign-in", post(async |session: Session<Staff>| session.sign_in("ada")))
        .route("/act", post(async |acting: Acting<Staff>| acting.begin("bob").await.map(drop)))
        .route("/who", get(async |user: SignedIn<Staff>| format!("{} by {:?}", user.owner(), user.actor())))
        .layer(ActingLayer::new(&layer).unwrap())
        .layer(layer);
    let mut client = Client::new(&app);
    client.post("/sign-in").await;
    client.post("/act").await;
    assert_eq!(client.get("/who").await.text(), "bob by Some(\"ada\")");
    // Two acting cookies, of which one may be planted, open nothing.
    let mut twice = request(Method::GET, "/who");
    let cookies = client.jar.header().unwrap();
    let forged = cookies.replace("staff-acting=", "staff-acting=x; __Host-staff-acting=");
    twice.headers_mut().append(COOKIE, forged.parse().unwrap());
    assert_eq!(support::client::send(&app, twice).await.text(), "bob by Some(\"ada\")");
}
