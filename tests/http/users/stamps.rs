//! Values that a handler writes or removes under the key of the credential stamps.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use sessile::acting::ActingLayer;
use sessile::user::{CurrentUser, Stamp, User, UserLayer, Users};
use sessile::{Error, MemoryStore, Session, SessionLayer};

use crate::support::client::{COOKIE_NAME, Client, session_of};
use crate::support::users::{Account, Accounts, Down, Site, USER};

const KEY: &str = "sessile.stamps";

/// Returns a client that is signed in, and whose request to `/write` runs this handler.
async fn client_with(write: impl Fn(&Session) -> Result<(), Error> + Clone + Send + Sync + 'static) -> (Site, Client) {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut site = Site::new(layer.clone(), 10);
    let write = post(async move |session: Session| write(&session));
    site.app = Router::new().route("/own", write).layer(layer).fallback_service(site.app);
    let mut client = Client::new(&site.app);
    assert_eq!(client.post("/sign-in/10").await.status, StatusCode::OK);
    (site, client)
}

/// Removing all values keeps the user signed in, and the stamps still end the session when the password changes.
#[tokio::test]
async fn clearing_a_session_keeps_its_stamps() {
    let (site, mut client) = client_with(|session| {
        session.insert("theme", "dark")?;
        session.clear()?;
        assert!(session.keys().is_empty());
        Ok(())
    })
    .await;
    assert_eq!(client.post("/own").await.status, StatusCode::OK);
    assert!(site.is_signed_in(&client.token().unwrap()).await);
    site.accounts.set(USER, 11);
    assert!(!site.is_signed_in(&client.token().unwrap()).await);
}

/// A session without stamps, or with other values in their place, is signed out; the next sign-in replaces them.
#[tokio::test]
async fn a_session_without_stamps_is_signed_out() {
    let remove: fn(&Session) -> Result<(), Error> = |session| session.remove(KEY).map(drop);
    for write in [
        remove,
        |session| session.insert(KEY, &7),
        |session| session.insert(KEY, "sessile"),
        |session| session.insert(KEY, &json!([])),
        |session| session.insert(KEY, &json!([{ "stamp": "11", "at": 0 }])),
        |session| session.insert(KEY, &json!([{ "stamp": 10, "at": "now" }])),
        |session| session.insert(KEY, &json!([["10", 0], { "stamp": "10" }])),
    ] {
        for signs_in_first in [false, true] {
            let (site, mut client) = client_with(write).await;
            assert_eq!(client.post("/own").await.status, StatusCode::OK);
            if !signs_in_first {
                assert!(!site.is_signed_in(&client.token().unwrap()).await);
            }
            assert_eq!(client.post("/sign-in/10").await.status, StatusCode::OK);
            assert!(site.is_signed_in(&client.token().unwrap()).await);
        }
    }
}

/// Accounts whose users have a stamp, or none if the password is 0.
#[derive(Clone)]
struct OptionalStamps(Accounts);

impl Users for OptionalStamps {
    type Id = u64;
    type User = Account;
    type Error = Down;

    async fn find(&self, id: &u64) -> Result<Option<Account>, Down> {
        self.0.find(id).await
    }

    fn id(account: &Account) -> u64 {
        account.id
    }

    fn may_act_as(&self, actor: &Account, _: &Account) -> bool {
        actor.is_admin
    }

    fn stamp(&self, account: &Account) -> Stamp {
        if account.password == 0 { Stamp::none() } else { Stamp::from_version(account.password) }
    }
}

/// A user who has a stamp at the sign-in and none later is signed out, whatever was in the session before.
#[tokio::test]
async fn removing_the_stamp_signs_out() {
    type Current = CurrentUser<OptionalStamps>;
    async fn sign_in(user: Current, Path(id): Path<u64>) -> Result<(), Error> {
        user.sign_in(&user.users().0.get(id)).await
    }
    async fn remove_at_once(user: Current) -> Result<String, Error> {
        let accounts = &user.users().0;
        user.sign_in(&accounts.get(USER)).await?;
        accounts.set(USER, 0);
        Ok(format!("{:?}", user.load().await?))
    }
    let accounts = Accounts::default();
    let layer = SessionLayer::new(MemoryStore::new());
    let who = get(async |user: Option<User<OptionalStamps>>| user.map_or(0, |User(user)| user.id).to_string());
    let app = Router::new()
        .route("/visit", post(async |session: Session| session.insert("visited", &true)))
        .route("/sign-in/{id}", post(sign_in))
        .route("/act", post(async |user: Current| user.act_as(&user.users().0.get(USER)).await.map(drop)))
        .route("/at-once", post(remove_at_once))
        .route("/who", who)
        .layer(UserLayer::new(OptionalStamps(accounts.clone())))
        .layer(ActingLayer::new(&layer).unwrap())
        .layer(layer);
    let user = format!("/sign-in/{USER}");
    for steps in [&["/visit", &user][..], &["/sign-in/1", &user], &["/sign-in/1", "/act"]] {
        accounts.set(1, 10);
        accounts.set(USER, 70);
        let mut client = Client::new(&app);
        for step in steps {
            assert_eq!(client.post(step).await.status, StatusCode::OK, "{steps:?}");
        }
        assert_eq!(client.get("/who").await.text(), USER.to_string(), "{steps:?}");
        accounts.set(USER, 0);
        assert_ne!(client.get("/who").await.text(), USER.to_string(), "{steps:?}");
    }
    for first in [None, Some("/visit"), Some("/sign-in/1")] {
        accounts.set(USER, 70);
        let mut client = Client::new(&app);
        if let Some(first) = first {
            client.post(first).await;
        }
        assert_eq!(client.post("/at-once").await.text(), "None", "{first:?}");
    }
}

/// If users have no stamp, each kind of sign-in stays, also those from before the layer was added; once they have one, all end.
#[tokio::test]
async fn users_without_a_stamp_stay_signed_in() {
    let layer = SessionLayer::new(MemoryStore::new());
    let accounts = Accounts::default();
    accounts.set(USER, 0);
    let by_owner = post(async |session: Session| session.sign_in(&USER.to_string()));
    let by_user = post(async |user: CurrentUser<OptionalStamps>| user.sign_in(&user.users().0.get(USER)).await);
    let who = get(async |user: Option<User<OptionalStamps>>| user.map_or(0, |User(user)| user.id).to_string());
    let app = Router::new()
        .route("/by-owner", by_owner.clone())
        .route("/by-user", by_user)
        .route("/who", who)
        .layer(UserLayer::new(OptionalStamps(accounts.clone())));
    let before = Router::new().route("/before", by_owner).fallback_service(app).layer(layer.clone());
    let mut clients = Vec::new();
    for path in ["/before", "/by-owner", "/by-user"] {
        let mut client = Client::new(&before);
        assert_eq!(client.post(path).await.status, StatusCode::OK);
        for _ in 0..2 {
            assert_eq!(client.get("/who").await.text(), USER.to_string(), "{path}");
        }
        clients.push(client);
    }
    let (_, token) = layer.sessions().create_owned_by(&USER.to_string(), &()).await.unwrap();
    let mut created = Client::with_cookie(&before, COOKIE_NAME, &token.expose_secret());
    assert_eq!(created.get("/who").await.text(), USER.to_string());
    clients.push(created);

    // Now they have a stamp.
    let site = Site::new(layer, 11);
    for client in clients {
        assert!(!site.is_signed_in(&client.token().unwrap()).await);
    }
}

/// The stamps are not among the values that a handler, or an operator, lists.
#[tokio::test]
async fn the_stamps_are_not_listed() {
    let layer = SessionLayer::new(MemoryStore::new());
    let site = Site::new(layer.clone(), 10);
    let token = site.begin("/sign-in/10", None).await;
    assert_eq!(site.send("/visit", Some(&token)).await.status, StatusCode::OK);
    let stored = layer.sessions().find_by_id(&session_of(&token)).await.unwrap().unwrap();
    assert_eq!(stored.keys(), ["visited"]);
    assert_eq!(stored.to::<BTreeMap<String, Value>>().unwrap().len(), 1);
    assert!(!serde_json::to_string(&stored).unwrap().contains("stamp"));
}
