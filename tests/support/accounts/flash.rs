//! Flash messages, over any store.

use axum::Router;
use axum::extract::Path;
use axum::response::Redirect;
use axum::routing::{get, post};
use futures_util::future::join_all;
use http::StatusCode;
use sessile::flash::{Flash, FlashLevel};
use sessile::{Error, Session, SessionLayer};

use super::Setup;
use crate::support::client::Client;

pub fn app(layer: SessionLayer) -> Router {
    async fn save(session: Session, Path(text): Path<String>) -> Result<Redirect, Error> {
        session.flash(FlashLevel::Success, text)?;
        Ok(Redirect::to("/"))
    }

    async fn leave(session: Session) -> Result<Redirect, Error> {
        session.sign_out()?;
        session.flash(FlashLevel::Info, "bye")?;
        Ok(Redirect::to("/"))
    }

    async fn page(session: Session) -> Result<String, Error> {
        let flashes = session.take_flashes().await?;
        let lines = flashes.iter().map(|flash| format!("{}:{}", flash.level.as_str(), flash.message));
        Ok(lines.collect::<Vec<_>>().join(","))
    }

    async fn all_levels(session: Session) -> Result<(), Error> {
        for level in [FlashLevel::Info, FlashLevel::Success, FlashLevel::Warning, FlashLevel::Error] {
            session.flash(level, "it")?;
        }
        Ok(())
    }

    Router::new()
        .route("/save/{text}", post(save))
        .route("/leave", post(leave))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/levels", post(all_levels))
        .route(
            "/fail/{text}",
            post(async |session: Session, Path(text): Path<String>| {
                session.flash(FlashLevel::Error, text)?;
                Ok::<_, Error>(StatusCode::INTERNAL_SERVER_ERROR)
            }),
        )
        .route("/other", get(async |session: Session| format!("{:?}", session.keys())))
        .route("/", get(page))
        .layer(layer)
}

/// A message saved before a redirect stays stored until a page takes it; a second page shows none.
pub async fn flash_message_is_shown_once_after_redirect(setup: &Setup) {
    let mut client = Client::new(&app(setup.layer()));
    let answer = client.post("/save/saved").await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, Some("/")));
    assert_eq!(client.get("/other").await.text(), r#"["sessile.flash"]"#, "it stays stored until a page takes it");
    assert_eq!(client.get("/").await.text(), "success:saved");
    assert_eq!(client.get("/").await.text(), "");
    assert_eq!(client.get("/other").await.text(), "[]");
}

/// Five messages of all four levels, from two requests, are shown in the order in which they were saved.
pub async fn flash_messages_keep_order_and_levels(setup: &Setup) {
    let mut client = Client::new(&app(setup.layer()));
    client.post("/levels").await;
    client.post("/save/last").await;
    assert_eq!(client.get("/").await.text(), "info:it,success:it,warning:it,error:it,success:last");
}

/// A message survives a sign-in; after a sign-out only the message saved after it is shown.
pub async fn flash_messages_work_across_sign_in_and_sign_out(setup: &Setup) {
    let mut client = Client::new(&app(setup.layer()));
    client.post("/save/first").await;
    client.post("/sign-in").await;
    assert_eq!(client.get("/").await.text(), "success:first");
    client.post("/save/never").await;
    client.post("/leave").await.set_cookie();
    assert_eq!(client.get("/").await.text(), "info:bye");
}

/// A response with status 500 does not commit its message; the earlier message is still shown.
pub async fn failed_response_discards_its_flash_message(setup: &Setup) {
    let mut client = Client::new(&app(setup.layer()));
    client.post("/save/first").await;
    client.post("/fail/second").await;
    assert_eq!(client.get("/").await.text(), "success:first");
}

/// Five messages more than `Flash::MAX_KEPT` are saved; the page shows the newest `MAX_KEPT`.
pub async fn oldest_flash_messages_are_dropped_beyond_max_kept(setup: &Setup) {
    let mut client = Client::new(&app(setup.layer()));
    for number in 0..Flash::MAX_KEPT + 5 {
        client.post(&format!("/save/{number}")).await;
    }
    let page = client.get("/").await;
    let shown: Vec<&str> = page.text().split(',').collect();
    assert_eq!(shown.len(), Flash::MAX_KEPT);
    assert_eq!((shown[0], shown[Flash::MAX_KEPT - 1]), ("success:5", "success:36"));
}

/// Ten writers and fifty readers run at once; every message is shown exactly once.
pub async fn each_flash_message_is_shown_by_one_of_fifty_readers(setup: &Setup) {
    let app = app(setup.layer());
    let mut client = Client::new(&app);
    client.post("/save/before").await;
    let writers = (0..10).map(|number| {
        let mut tab = client.clone();
        tokio::spawn(async move { tab.post(&format!("/save/{number}")).await.status })
    });
    let readers = (0..50).map(|_| {
        let mut tab = client.clone();
        tokio::spawn(async move { tab.get("/").await.text().to_owned() })
    });
    let (writers, readers): (Vec<_>, Vec<_>) = (writers.collect(), readers.collect());
    for status in join_all(writers).await {
        assert_eq!(status.unwrap(), StatusCode::SEE_OTHER);
    }
    let pages = join_all(readers).await.into_iter().map(Result::unwrap);
    let mut shown: Vec<String> =
        pages.flat_map(|page| page.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
    shown.extend(client.get("/").await.text().split(',').map(str::to_owned));
    shown.retain(|message| !message.is_empty());
    shown.sort();
    let mut expected: Vec<String> = (0..10).map(|number| format!("success:{number}")).collect();
    expected.push("success:before".to_owned());
    expected.sort();
    assert_eq!(shown, expected);
}
