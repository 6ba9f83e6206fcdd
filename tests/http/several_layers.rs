//! Several session layers in one application: separate with different cookies, refused if nested with the same cookie.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeSet;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use sessile::{Error, MemoryStore, Session, SessionLayer, SignedIn};
use support::client::{Client, Reply};
use support::store::{CountingStore, Counts};

struct Admin;
struct Shop;
struct Staff;

const VISITOR: &str = "__Host-id";
const ADMIN: &str = "__Host-admin";

/// Creates a layer with this cookie name.
fn layer(name: &str) -> SessionLayer {
    SessionLayer::builder(MemoryStore::new()).with_name(name).build().unwrap()
}

fn routes() -> Router {
    async fn both(visitor: Session, admin: Session<Admin>) -> Result<String, Error> {
        let visits: u32 = visitor.get("n")?.unwrap_or_default();
        let commands: u32 = admin.get("n")?.unwrap_or_default();
        Ok(format!("{visits} {commands} {:?} {:?}", visitor.owner(), admin.owner()))
    }

    async fn count_both(visitor: Session, admin: Session<Admin>) -> Result<(), Error> {
        visitor.update("n", |n: &mut u32| *n += 1)?;
        admin.update("n", |n: &mut u32| *n += 1)
    }

    async fn change_over(visitor: Session, admin: Session<Admin>) -> Result<(), Error> {
        visitor.sign_out()?;
        admin.sign_in("root")
    }

    Router::new()
        .route("/", get(both))
        .route("/count-both", post(count_both))
        .route("/change-over", post(change_over))
        .route("/visitor", get(async |session: Session| session.keys().join(",")))
        .route("/visitor/count", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route("/visitor/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/visitor/sign-out", post(async |session: Session| session.sign_out()))
        .route("/admin/count", post(async |session: Session<Admin>| session.update("n", |n: &mut u32| *n += 1)))
        .route("/admin/sign-in", post(async |session: Session<Admin>| session.sign_in("root")))
        .route("/admin/sign-out", post(async |session: Session<Admin>| session.sign_out()))
        .route("/admin/only", get(async |admin: SignedIn<Admin>| admin.owner().to_owned()))
        .route("/static", get(async || "static"))
}

/// Returns both nestings of two layers with different cookies.
fn both_nestings() -> [Router; 2] {
    let admin = || layer("admin").with_marker::<Admin>();
    [routes().layer(admin()).layer(layer("id")), routes().layer(layer("id")).layer(admin())]
}

fn names(reply: &Reply) -> BTreeSet<String> {
    let cookies = reply.set_cookies();
    let names: BTreeSet<String> = cookies.iter().map(|cookie| cookie.name.clone()).collect();
    assert_eq!(names.len(), cookies.len(), "duplicate cookie in {reply:?}");
    names
}

/// With either layer outside, each counter and each cookie belongs to its own layer.
#[tokio::test]
async fn two_layers_have_separate_sessions_and_cookies() {
    for app in both_nestings() {
        let mut client = Client::new(&app);
        let set = names(&client.post("/visitor/count").await);
        assert_eq!(set, BTreeSet::from([VISITOR.to_owned()]));
        assert_eq!(client.get("/").await.text(), "1 0 None None");

        let set = names(&client.post("/admin/count").await);
        assert_eq!(set, BTreeSet::from([ADMIN.to_owned()]));
        client.post("/admin/count").await.assert_no_cookie();
        assert_eq!(client.get("/").await.text(), "1 2 None None");
    }
}

/// Sign-ins and sign-outs in one layer leave the other layer's cookie, owner and values unchanged.
#[tokio::test]
async fn sign_in_and_sign_out_affect_only_their_layer() {
    for app in both_nestings() {
        let mut client = Client::new(&app);
        client.post("/count-both").await;
        let visitor = client.jar.value(VISITOR);

        assert_eq!(names(&client.post("/admin/sign-in").await), BTreeSet::from([ADMIN.to_owned()]));
        assert_eq!(client.jar.value(VISITOR), visitor);
        assert_eq!(client.get("/").await.text(), r#"1 1 None Some("root")"#);
        assert_eq!(client.get("/admin/only").await.text(), "root");

        assert_eq!(names(&client.post("/visitor/sign-in").await), BTreeSet::from([VISITOR.to_owned()]));
        assert_eq!(names(&client.post("/admin/sign-out").await), BTreeSet::from([ADMIN.to_owned()]));
        assert_eq!(client.get("/").await.text(), r#"1 0 Some("ada") None"#);
        assert_eq!(client.get("/admin/only").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// A response signs in to one layer and out of the other; it has both cookies and one set of cache headers.
#[tokio::test]
async fn one_response_sets_one_cookie_and_removes_the_other() {
    for app in both_nestings() {
        let mut client = Client::new(&app);
        let reply = client.post("/count-both").await;
        assert_eq!(names(&reply).len(), 2);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("vary"), Some("cookie"));

        let reply = client.post("/change-over").await;
        assert_eq!(names(&reply).len(), 2);
        for cookie in reply.set_cookies() {
            assert_eq!(cookie.is_removal(), cookie.name == VISITOR, "{cookie:?}");
        }
        assert_eq!(client.get("/").await.text(), r#"0 1 None Some("root")"#);
    }
}

/// A signed-in token of the first layer, sent in the second layer's cookie, gets 401.
#[tokio::test]
async fn token_of_one_layer_opens_nothing_in_the_other() {
    let store = MemoryStore::new();
    let layers = || {
        let visitors = SessionLayer::builder(MemoryStore::new()).build().unwrap();
        let admins = SessionLayer::builder(MemoryStore::new()).with_name("admin").build().unwrap();
        (visitors, admins.with_marker::<Admin>())
    };
    let (visitors, admins) = layers();
    let app = routes().layer(admins).layer(visitors);
    let mut client = Client::new(&app);
    client.post("/visitor/sign-in").await;
    let token = client.jar.value(VISITOR).unwrap();
    assert_eq!(Client::with_cookie(&app, ADMIN, &token).get("/admin/only").await.status, StatusCode::UNAUTHORIZED);
    assert!(store.is_empty());
}

/// A handler of one layer costs one `get` in its store and none in the other; a static route costs none.
#[tokio::test]
async fn request_calls_only_the_stores_of_the_layers_it_uses() {
    let (visitors, admins) = (CountingStore::new(MemoryStore::new()), CountingStore::new(MemoryStore::new()));
    let admin = SessionLayer::builder(admins.clone()).with_name("admin").build().unwrap().with_marker::<Admin>();
    let app = routes().layer(admin).layer(SessionLayer::new(visitors.clone()));
    let mut client = Client::new(&app);
    client.post("/count-both").await;
    for (path, expected) in [("/visitor", [1, 0]), ("/static", [0, 0]), ("/", [1, 1])] {
        visitors.reset();
        admins.reset();
        client.get(path).await;
        assert_eq!([visitors.counts(), admins.counts()], expected.map(Counts::gets), "{path}");
    }
}

/// Fifteen nestings with a duplicate cookie name answer every request with 500 and set no cookie.
#[tokio::test]
async fn nested_layers_with_one_cookie_name_are_refused() {
    let main = || layer("id");
    let admin = || layer("id").with_marker::<Admin>();
    let shop = || layer("shop").with_marker::<Shop>();
    let staff = || layer("staff").with_marker::<Staff>();
    let apps = [
        ("main in main", routes().layer(main()).layer(main())),
        ("main in a marker", routes().layer(main()).layer(admin())),
        ("a marker in main", routes().layer(admin()).layer(main())),
        ("a marker in the same", routes().layer(admin()).layer(admin())),
        ("a marker in another", routes().layer(layer("id").with_marker::<Shop>()).layer(admin())),
        ("around a third, main", routes().layer(main()).layer(shop()).layer(main())),
        ("around a third, markers", routes().layer(admin()).layer(shop()).layer(main())),
        ("around main, markers", routes().layer(admin()).layer(layer("x")).layer(layer("id").with_marker::<Staff>())),
        ("the inner two of three", routes().layer(main()).layer(admin()).layer(shop())),
        (
            "the inner two of three, in main",
            routes().layer(admin()).layer(layer("id").with_marker::<Shop>()).layer(layer("x")),
        ),
        ("the inner two of three, one main, in a marker", routes().layer(admin()).layer(main()).layer(shop())),
        ("the inner two of four", routes().layer(admin()).layer(main()).layer(layer("x")).layer(shop())),
        ("the outer two of three", routes().layer(shop()).layer(main()).layer(admin())),
        ("around two others", routes().layer(main()).layer(shop()).layer(staff()).layer(admin())),
        (
            "around main and a marker",
            routes().layer(admin()).layer(shop()).layer(layer("x")).layer(layer("id").with_marker::<Staff>()),
        ),
    ];
    for (nesting, app) in apps {
        for path in ["/static", "/visitor"] {
            let reply = Client::new(&app).get(path).await;
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{nesting}");
            assert_eq!(reply.text(), "", "{nesting}");
            reply.assert_no_cookie();
        }
        let reply = Client::new(&app).post("/visitor/count").await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{nesting}");
        reply.assert_no_cookie();
    }
}

/// Layers with the cookies `__Host-id` and `id` work together.
#[tokio::test]
async fn name_prefix_distinguishes_cookie_names() {
    let insecure = SessionLayer::builder(MemoryStore::new()).with_secure(false).build().unwrap().with_marker::<Admin>();
    let app = routes().layer(insecure).layer(layer("id"));
    let mut client = Client::new(&app);
    let set = names(&client.post("/count-both").await);
    assert_eq!(set, BTreeSet::from([VISITOR.to_owned(), "id".to_owned()]));
    assert_eq!(client.get("/").await.text(), "1 1 None None");
}

/// In three nesting orders, one handler writes and reads the sessions of three layers.
#[tokio::test]
async fn three_layers_with_three_cookies_work() {
    async fn all(one: Session, two: Session<Admin>, three: Session<Shop>) -> Result<(), Error> {
        one.insert("n", &1)?;
        two.insert("n", &2)?;
        three.insert("n", &3)
    }

    async fn sum(one: Session, two: Session<Admin>, three: Session<Shop>) -> Result<String, Error> {
        Ok(format!("{:?} {:?} {:?}", one.get::<u8>("n")?, two.get::<u8>("n")?, three.get::<u8>("n")?))
    }

    let app = Router::new().route("/", post(all).get(sum));
    let (main, admin, shop) =
        (|| layer("id"), || layer("admin").with_marker::<Admin>(), || layer("shop").with_marker::<Shop>());
    let apps = [
        app.clone().layer(main()).layer(admin()).layer(shop()),
        app.clone().layer(admin()).layer(shop()).layer(main()),
        app.layer(shop()).layer(main()).layer(admin()),
    ];
    for app in apps {
        let mut client = Client::new(&app);
        assert_eq!(names(&client.post("/").await).len(), 3);
        assert_eq!(client.get("/").await.text(), "Some(1) Some(2) Some(3)");
    }
}

/// Three sibling routers have layers with the same cookie name; each sets its cookie.
#[tokio::test]
async fn separate_routers_may_share_a_cookie_name() {
    let (one, other) = (MemoryStore::new(), MemoryStore::new());
    let app = Router::new()
        .nest("/a", routes().layer(SessionLayer::new(one.clone())))
        .nest("/b", routes().layer(SessionLayer::new(other.clone())))
        .nest("/c", routes().layer(layer("id").with_marker::<Admin>()));
    for path in ["/a/visitor/count", "/b/visitor/count", "/c/admin/count"] {
        Client::new(&app).post(path).await.set_cookie();
    }
    assert_eq!((one.len(), other.len()), (1, 1));
}

/// One route writes and another route with a clone of the layer reads the value.
#[tokio::test]
async fn clones_of_a_layer_on_several_routes_share_sessions() {
    let layer = SessionLayer::new(MemoryStore::new());
    let app = Router::new()
        .route("/a", post(async |session: Session| session.insert("from", "a")).layer(layer.clone()))
        .route("/b", get(async |session: Session| session.keys().join(",")).layer(layer));
    let mut client = Client::new(&app);
    client.post("/a").await;
    assert_eq!(client.get("/b").await.text(), "from");
}
