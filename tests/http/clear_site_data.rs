//! `Clear-Site-Data`: where it is asked for, in the response that ends the session, and in no other.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use sessile::config::SiteData;
use sessile::{Error, MemoryStore, Session, SessionLayer};
use support::client::Client;

const HEADER: &str = "clear-site-data";

fn app(data: &[SiteData]) -> Router {
    async fn failing(session: Session) -> Result<StatusCode, Error> {
        session.sign_out()?;
        Ok(StatusCode::INTERNAL_SERVER_ERROR)
    }

    async fn goodbye(session: Session) -> Result<(), Error> {
        session.sign_out()?;
        session.insert("goodbye", &true)
    }

    let layer = SessionLayer::builder(MemoryStore::new()).with_clear_site_data(data.iter().copied()).build().unwrap();
    Router::new()
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/read", get(async |session: Session| session.get::<u32>("n").map(|_| ())))
        .route("/rotate", get(async |session: Session| session.rotate()))
        .route("/sign-out", get(async |session: Session| session.sign_out()))
        .route("/failing", get(failing))
        .route("/bob", get(async |session: Session| session.sign_in("bob")))
        .route("/goodbye", get(goodbye))
        .layer(layer)
}

// checklist: 32
#[tokio::test]
async fn the_response_that_ends_the_session_says_what_to_remove() {
    let app = app(&[SiteData::Cache, SiteData::Cookies, SiteData::Storage, SiteData::ExecutionContexts]);
    let mut client = Client::new(&app);
    for path in ["/sign-in", "/read", "/rotate"] {
        assert_eq!(client.get(path).await.header(HEADER), None, "{path}");
    }
    let reply = client.get("/sign-out").await;
    assert_eq!(reply.header(HEADER), Some("\"cache\", \"cookies\", \"storage\", \"executionContexts\""));
    assert_eq!(client.get("/sign-out").await.header(HEADER), None, "there was no session to end");
}

#[tokio::test]
async fn it_goes_with_the_end_of_the_session_whatever_the_status() {
    let app = app(&[SiteData::Cache]);
    let mut client = Client::new(&app);
    client.get("/sign-in").await;
    let reply = client.get("/failing").await;
    assert_eq!((reply.status, reply.header(HEADER)), (StatusCode::INTERNAL_SERVER_ERROR, Some("\"cache\"")));
}

#[tokio::test]
async fn a_response_that_begins_another_session_leaves_its_cookie() {
    let app = app(&[SiteData::Cache, SiteData::Cookies]);
    for path in ["/goodbye", "/bob"] {
        let mut client = Client::new(&app);
        client.get("/sign-in").await;
        let reply = client.get(path).await;
        assert!(!reply.set_cookie().is_removal());
        assert_eq!(reply.header(HEADER), Some("\"cache\""), "{path}");
    }
}

#[tokio::test]
async fn by_default_it_is_not_sent() {
    let app = app(&[]);
    let mut client = Client::new(&app);
    client.get("/sign-in").await;
    assert_eq!(client.get("/sign-out").await.header(HEADER), None);
}
