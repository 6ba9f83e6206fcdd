//! Users of the application who act as another: permission, credentials, and guards.

use crate::support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{any, get, post};
use http::StatusCode;
use sessile::acting::{Acting, ActingLayer};
use sessile::event::EndReason;
use sessile::user::{CurrentUser, Stamp, User, UserGuard, UserLayer, Users};
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer};
use support::client::{Client, EventLog};

#[derive(Clone, Debug, PartialEq)]
struct Account {
    id: u64,
    password: u64,
    is_admin: bool,
}

/// The accounts of an application, which count their look-ups.
#[derive(Clone, Default)]
struct Accounts {
    rows: Arc<Mutex<BTreeMap<u64, Account>>>,
    finds: Arc<Mutex<usize>>,
}

impl Users for Accounts {
    type Id = u64;
    type User = Account;
    type Error = Infallible;

    async fn find(&self, id: &u64) -> Result<Option<Account>, Infallible> {
        *self.finds.lock().unwrap() += 1;
        Ok(self.rows.lock().unwrap().get(id).cloned())
    }

    fn id(account: &Account) -> u64 {
        account.id
    }

    fn may_act_as(&self, actor: &Account, user: &Account) -> bool {
        actor.is_admin && !user.is_admin
    }

    fn stamp(&self, account: &Account) -> Stamp {
        Stamp::from_version(account.password)
    }
}

impl Accounts {
    fn set(&self, id: u64, password: u64, is_admin: bool) {
        self.rows.lock().unwrap().insert(id, Account { id, password, is_admin });
    }

    fn get(&self, id: u64) -> Account {
        self.rows.lock().unwrap()[&id].clone()
    }
}

type Current = CurrentUser<Accounts>;

const ADMIN: u64 = 1;
const MEMBER: u64 = 2;

struct Site {
    accounts: Accounts,
    events: EventLog,
    app: Router,
}

impl Site {
    fn new() -> Self {
        async fn act_as(user: Current, Path(id): Path<u64>) -> Result<(), Error> {
            user.act_as(&user.users().get(id)).await.map(drop)
        }
        async fn who(user: Current) -> Result<String, Error> {
            let names = (user.load().await?.map(|user| user.id), user.load_actor().await?.map(|actor| actor.id));
            Ok(format!("{names:?}"))
        }
        async fn why(user: Current) -> Result<String, Error> {
            user.load().await?;
            Ok(format!("{:?}", user.session().await?.end_reason()))
        }
        async fn change_password(user: Current, session: Session) -> Result<(), Error> {
            let account = user.load().await?.expect("a user");
            let changed = Account { password: 99, ..account };
            assert_eq!(user.accept_credentials_on(&session, &changed).unwrap_err().kind(), ErrorKind::ActingAsAnother);
            user.accept_credentials_of(&changed).await
        }
        let (accounts, events) = (Accounts::default(), EventLog::default());
        accounts.set(ADMIN, 10, true);
        accounts.set(MEMBER, 20, false);
        accounts.set(3, 30, true);
        let guard = UserGuard::<Accounts>::new;
        let layer =
            SessionLayer::builder(MemoryStore::new()).with_event_hook(events.hook()).build().expect("valid settings");
        let app = Router::new()
            .route(
                "/sign-in/{id}",
                post(async |user: Current, Path(id): Path<u64>| user.sign_in(&user.users().get(id)).await),
            )
            .route("/act-as/{id}", post(act_as))
            .route("/sign-out", post(async |session: Session| session.sign_out()))
            .route("/who", get(who))
            .route("/why", get(why))
            .route("/change-password", post(change_password))
            .route("/order", post(async |User(_): User<Accounts>, session: Session| session.insert("order", "tea")))
            .route("/guarded", any(async || "guarded").layer(guard()))
            .route("/in-person", any(async || "in person").layer(guard().without_actor()))
            .route("/recent", any(async || "recent").layer(guard().with_recent(Duration::from_secs(60))))
            .route("/admin", any(async || "admin").layer(guard().with_permission(async |user: Account| user.is_admin)))
            .layer(UserLayer::new(accounts.clone()))
            .layer(ActingLayer::new(&layer).unwrap())
            .layer(layer);
        Self { accounts, events, app }
    }

    async fn signed_in(&self, id: u64) -> Client {
        let mut client = Client::new(&self.app);
        assert_eq!(client.post(&format!("/sign-in/{id}")).await.status, StatusCode::OK);
        client
    }

    /// Returns a client in which the administrator acts as the member.
    async fn acting(&self) -> Client {
        let mut client = self.signed_in(ADMIN).await;
        assert_eq!(client.post("/act-as/2").await.status, StatusCode::OK);
        assert_eq!(who(&mut client).await, "(Some(2), Some(1))");
        client
    }
}

async fn who(client: &mut Client) -> String {
    client.get("/who").await.text().to_owned()
}

/// Only who may act as a user does; both are looked up once per request.
#[tokio::test]
async fn acting_needs_the_applications_permission() {
    let site = Site::new();
    for (actor, user, status) in [(ADMIN, 3, 403), (MEMBER, ADMIN, 403), (MEMBER, MEMBER, 403), (ADMIN, MEMBER, 200)] {
        let mut client = site.signed_in(actor).await;
        let reply = client.post(&format!("/act-as/{user}")).await;
        assert_eq!(reply.status, status, "{actor} as {user}");
        assert_eq!(reply.set_cookies().len(), usize::from(status == 200));
    }
    assert_eq!(Client::new(&site.app).post("/act-as/2").await.status, StatusCode::UNAUTHORIZED);
    let mut client = site.acting().await;
    *site.accounts.finds.lock().unwrap() = 0;
    who(&mut client).await;
    assert_eq!(*site.accounts.finds.lock().unwrap(), 2);
    // From one user to another takes a return to the actor's own session.
    assert_eq!(client.post("/act-as/3").await.status, StatusCode::FORBIDDEN);
    client.post("/sign-out").await;
    assert_eq!(who(&mut client).await, "(Some(1), None)");
}

/// A change of either account ends the acting session at the next request: it is 401, and nothing is done as the actor.
#[tokio::test]
async fn a_change_of_either_account_ends_the_acting_session() {
    for (change, reason, own) in [
        ("role", EndReason::ActorGone, "(Some(1), None)"),
        ("actor's password", EndReason::ActorGone, "(None, None)"),
        ("actor gone", EndReason::ActorGone, "(None, None)"),
        ("user's password", EndReason::CredentialsChanged, "(Some(1), None)"),
        ("user gone", EndReason::UserGone, "(Some(1), None)"),
        ("user promoted", EndReason::ActorGone, "(Some(1), None)"),
    ] {
        let site = Site::new();
        let mut client = site.acting().await;
        let mut kept = client.clone();
        match change {
            "role" => site.accounts.set(ADMIN, 10, false),
            "actor's password" => site.accounts.set(ADMIN, 11, true),
            "actor gone" => drop(site.accounts.rows.lock().unwrap().remove(&ADMIN)),
            "user's password" => site.accounts.set(MEMBER, 21, false),
            "user gone" => drop(site.accounts.rows.lock().unwrap().remove(&MEMBER)),
            _ => site.accounts.set(MEMBER, 20, true),
        }
        assert_eq!(client.post("/order").await.status, StatusCode::UNAUTHORIZED, "{change}");
        assert!(site.events.ends().iter().any(|(_, ended)| *ended == reason), "{change}: {:?}", site.events.ends());
        assert_eq!(who(&mut client).await, own, "{change}");
        // It does not come back with the account as it was.
        site.accounts.set(ADMIN, 10, true);
        site.accounts.set(MEMBER, 20, false);
        assert_ne!(who(&mut kept).await, "(Some(2), Some(1))", "{change}");
    }
}

/// The password of another is not changed, recent authentication is not faked, and a guard can ask for the user in person.
#[tokio::test]
async fn guards_know_who_is_here_in_person() {
    let site = Site::new();
    let mut client = site.acting().await;
    assert_eq!(client.post("/change-password").await.status, StatusCode::FORBIDDEN);
    for (path, acting, in_person) in
        [("/guarded", 200, 200), ("/in-person", 403, 200), ("/recent", 403, 200), ("/admin", 403, 403)]
    {
        assert_eq!(client.get(path).await.status, acting, "{path}");
        assert_eq!(site.signed_in(MEMBER).await.get(path).await.status, in_person, "{path}");
    }
    assert_eq!(who(&mut client).await, "(Some(2), Some(1))");
}

/// A user layer outside the acting layer is reported rather than serving the actor's own account.
#[tokio::test]
async fn a_user_layer_outside_the_acting_layer_is_a_500() {
    let site = Site::new();
    let client = site.acting().await;
    let layer = SessionLayer::new(MemoryStore::new());
    let app = Router::new()
        .route("/who", get(async |User(user): User<Accounts>| user.id.to_string()))
        .route("/act-as", post(async |user: Current| user.act_as(&user.users().get(MEMBER)).await.map(drop)))
        .route("/sign-in", post(async |user: Current| user.sign_in(&user.users().get(ADMIN)).await))
        .layer(ActingLayer::new(&layer).unwrap())
        .layer(UserLayer::new(site.accounts.clone()))
        .layer(layer);
    let mut other = Client::new(&app);
    other.post("/sign-in").await;
    assert_eq!(other.get("/who").await.text(), "1");
    assert_eq!(other.post("/act-as").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    other.jar.put("__Host-id-acting", &client.jar.value("__Host-id-acting").unwrap());
    assert_eq!(other.get("/who").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// Acting belongs to its session layer: within a nested one, it neither begins for the outer actor nor hides that it is missing.
#[tokio::test]
async fn acting_belongs_to_its_session_layer() {
    async fn begin(acting: Acting) -> Result<(), Error> {
        acting.begin("3").await.map(drop)
    }
    async fn act_as(user: Current) -> Result<(), Error> {
        user.act_as(&user.users().get(MEMBER)).await.map(drop)
    }
    let accounts = Accounts::default();
    accounts.set(ADMIN, 10, true);
    accounts.set(MEMBER, 20, false);
    let routes = || {
        Router::new()
            .route("/sign-in", post(async |user: Current| user.sign_in(&user.users().get(ADMIN)).await))
            .route("/begin", post(begin))
            .route("/act-as", post(act_as))
            .route("/who", get(async |session: Session| format!("{:?} {:?}", session.owner(), session.actor())))
    };
    let layer = |name: &str| SessionLayer::builder(MemoryStore::new()).with_name(name).build().unwrap();
    let (outer, without, with) = (layer("id"), layer("desk"), layer("staff"));
    let users = || UserLayer::new(accounts.clone());
    let app = routes()
        .nest("/desk", routes().layer(users()).layer(without))
        .nest("/staff", routes().layer(users()).layer(ActingLayer::new(&with).unwrap()).layer(with))
        .layer(users())
        .layer(ActingLayer::new(&outer).unwrap())
        .layer(outer);
    let mut client = Client::new(&app);
    for place in ["", "/desk", "/staff"] {
        assert_eq!(client.post(&format!("{place}/sign-in")).await.status, StatusCode::OK);
    }
    for path in ["/desk/begin", "/desk/act-as"] {
        assert_eq!(client.post(path).await.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(client.post("/staff/act-as").await.status, StatusCode::OK);
    let own = format!("Some(\"{ADMIN}\") None");
    assert_eq!(client.get("/who").await.text(), own);
    assert_eq!(client.get("/desk/who").await.text(), own);
    assert_eq!(client.get("/staff/who").await.text(), format!("Some(\"{MEMBER}\") Some(\"{ADMIN}\")"));
}

/// A socket looks its user up again, for a detached session: after changed credentials, or without the permission, nobody is there.
#[tokio::test]
async fn a_socket_looks_its_user_up_again() {
    type Detached = Arc<Mutex<Option<(Current, Session)>>>;
    let site = Site::new();
    let detached = Detached::default();
    let kept = Arc::clone(&detached);
    let open = async move |user: Current, session: Session| {
        *kept.lock().unwrap() = Some((user, session.detach()));
    };
    let layer = SessionLayer::new(MemoryStore::new());
    let app = Router::new()
        .route("/open", get(open))
        .route("/act", post(async |user: Current| user.act_as(&user.users().get(MEMBER)).await.map(drop)))
        .route(
            "/sign-in/{id}",
            post(async |user: Current, Path(id): Path<u64>| user.sign_in(&user.users().get(id)).await),
        )
        .layer(UserLayer::new(site.accounts.clone()))
        .layer(ActingLayer::new(&layer).unwrap())
        .layer(layer);
    let again = async || {
        let (user, session) = detached.lock().unwrap().clone().expect("an open socket");
        session.reload().await.unwrap();
        user.load_on(&session).await.unwrap().map(|user| user.id)
    };
    let mut client = Client::new(&app);
    client.post("/sign-in/1").await;
    client.get("/open").await;
    assert_eq!(again().await, Some(ADMIN));
    client.post("/act").await;
    client.get("/open").await;
    assert_eq!(again().await, Some(MEMBER));
    site.accounts.set(ADMIN, 10, false);
    assert_eq!(again().await, None);
    site.accounts.set(ADMIN, 10, true);
    assert_eq!(again().await, None, "it was signed out");
    client.get("/open").await;
    client.post("/act").await;
    client.get("/open").await;
    assert_eq!(again().await, Some(MEMBER));
    site.accounts.set(MEMBER, 21, false);
    assert_eq!(again().await, None);

    let mut client = Client::new(&app);
    client.post("/sign-in/1").await;
    client.get("/open").await;
    site.accounts.set(ADMIN, 11, true);
    assert_eq!(again().await, None);
}

/// A form that the look-up refuses is refused again, and not done in the administrator's name; so until a page is loaded.
#[tokio::test]
async fn a_form_refused_by_the_look_up_stays_refused() {
    for change in ["password", "gone", "promoted", "the administrator's password"] {
        let site = Site::new();
        let mut client = site.acting().await;
        match change {
            "password" => site.accounts.set(MEMBER, 21, false),
            "gone" => drop(site.accounts.rows.lock().unwrap().remove(&MEMBER)),
            "promoted" => site.accounts.set(MEMBER, 20, true),
            _ => site.accounts.set(ADMIN, 11, true),
        }
        for status in [StatusCode::UNAUTHORIZED, StatusCode::CONFLICT, StatusCode::CONFLICT] {
            assert_eq!(client.post("/order").await.status, status, "{change}");
        }
        let left = if change.starts_with("the admin") { "(None, None)" } else { "(Some(1), None)" };
        assert_eq!(who(&mut client).await, left, "{change}");
        assert_eq!(client.jar.value("__Host-id-acting"), None, "{change}");
    }
}

/// A page that looks its user up says why the session has ended.
#[tokio::test]
async fn the_request_that_ends_a_session_knows_why() {
    let site = Site::new();
    for (id, why) in [(MEMBER, "Some(CredentialsChanged)"), (ADMIN, "Some(ActorGone)")] {
        let mut client = if id == ADMIN { site.acting().await } else { site.signed_in(id).await };
        assert_eq!(client.get("/why").await.text(), "None");
        if id == ADMIN {
            site.accounts.set(ADMIN, 10, false);
        } else {
            site.accounts.set(id, 21, false);
        }
        assert_eq!(client.get("/why").await.text(), why);
        assert_eq!(client.get("/why").await.text(), "None");
    }
}
