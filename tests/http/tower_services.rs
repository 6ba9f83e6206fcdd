//! The layer around plain tower services, without axum: any body, any error, any readiness.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use sessile::Sessions;
use sessile::service::{ResponseFuture, SessionService};
use sessile::store::Record;
use sessile::store::StoreError;
use sessile::{Error, MemoryStore, Session, SessionHandle, SessionLayer};
use support::client::{Jar, set_cookies};
use support::store::{Fault, FaultyStore, Op};
use tower::{Layer, Service, ServiceExt, service_fn};

fn handle<B>(request: &Request<B>) -> SessionHandle {
    request.extensions().get::<SessionHandle>().cloned().expect("the layer puts it there")
}

/// Counts, and answers with its request's body in front.
async fn count(request: Request<String>) -> Result<Response<String>, Error> {
    let session = handle(&request).load().await?;
    let n = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    Ok(Response::new(format!("{} {}", request.body(), n.await?)))
}

#[tokio::test]
async fn a_service_of_strings_has_sessions() {
    let service = SessionLayer::new(MemoryStore::new()).layer(service_fn(count));
    let mut jar = Jar::default();
    for n in 1..=3 {
        let mut request = Request::new("visit".to_owned());
        if let Some(cookies) = jar.header() {
            request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
        }
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers().contains_key(SET_COOKIE), n == 1);
        jar.take_in(response.headers());
        assert_eq!(response.into_body(), format!("visit {n}"));
    }
}

#[tokio::test]
async fn the_request_reaches_the_service_as_it_was() {
    #[derive(Clone, Debug, PartialEq)]
    struct Mark(u8);

    let service = service_fn(async |request: Request<Vec<u8>>| {
        assert_eq!(request.headers()[COOKIE], "a=1; __Host-id=junk");
        assert_eq!(request.extensions().get(), Some(&Mark(7)));
        assert_eq!(request.uri(), "/path?query");
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let request = Request::put("/path?query").header(COOKIE, "a=1; __Host-id=junk").extension(Mark(7));
    let request = request.body(vec![0, 159, 146, 150]).unwrap();
    let response = SessionLayer::new(MemoryStore::new()).layer(service).oneshot(request).await.unwrap();
    assert_eq!(response.into_body(), [0, 159, 146, 150]);
}

#[tokio::test]
async fn neither_bodies_nor_futures_need_to_be_sent_between_threads() {
    let local = Rc::new(5);
    let service = service_fn(move |request: Request<Rc<String>>| {
        let local = Rc::clone(&local);
        async move {
            let session = handle(&request).load().await?;
            session.insert("n", &*local)?;
            Ok::<_, Error>(Response::new(Rc::new(vec![*local])))
        }
    });
    let request = Request::new(Rc::new(String::new()));
    let response = SessionLayer::new(MemoryStore::new()).layer(service).oneshot(request).await.unwrap();
    assert_eq!(set_cookies(response.headers()).len(), 1);
    assert_eq!(**response.body(), [5]);
}

#[derive(Debug, PartialEq)]
struct OutOfPaper(u32);

impl fmt::Display for OutOfPaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of paper in tray {}", self.0)
    }
}

#[tokio::test]
async fn an_error_of_the_service_passes_through_and_commits_nothing() {
    let store = MemoryStore::new();
    let service = service_fn(async |request: Request<()>| {
        let session = handle(&request).load().await.unwrap();
        session.insert("n", &1).unwrap();
        Err::<Response<()>, _>(OutOfPaper(3))
    });
    let failed = SessionLayer::new(store.clone()).layer(service).oneshot(Request::new(())).await;
    assert_eq!(failed.unwrap_err(), OutOfPaper(3));
    assert!(store.is_empty());
}

/// A service that cannot be cloned, and is ready only when it says so.
struct Moody {
    ready: Poll<Result<(), OutOfPaper>>,
    calls: u32,
}

impl Service<Request<()>> for Moody {
    type Response = Response<String>;
    type Error = OutOfPaper;
    type Future = Ready<Result<Response<String>, OutOfPaper>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutOfPaper>> {
        std::mem::replace(&mut self.ready, Poll::Ready(Ok(())))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.calls += 1;
        ready(Ok(Response::new(self.calls.to_string())))
    }
}

#[tokio::test]
async fn the_readiness_of_the_service_is_that_of_the_layer() {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut service = layer.layer(Moody { ready: Poll::Pending, calls: 0 });
    assert!(service.poll_ready(&mut context).is_pending());
    assert_eq!(service.poll_ready(&mut context), Poll::Ready(Ok(())));
    assert_eq!(service.call(Request::new(())).await.unwrap().into_body(), "1");
    // It is the very service that was found ready, not a copy of it.
    assert_eq!(service.call(Request::new(())).await.unwrap().into_body(), "2");

    let mut broken = layer.layer(Moody { ready: Poll::Ready(Err(OutOfPaper(1))), calls: 0 });
    assert_eq!(broken.poll_ready(&mut context), Poll::Ready(Err(OutOfPaper(1))));
}

#[tokio::test]
async fn a_commit_that_fails_becomes_an_empty_503_of_the_service_s_own_body() {
    let store = FaultyStore::new(MemoryStore::new());
    store.fail_always(Op::Set, Fault::Before);
    let service = service_fn(async |request: Request<()>| {
        handle(&request).load().await?.insert("n", &1)?;
        let response = Response::builder().header("x-handler", "1").body("all is well".to_owned());
        Ok::<_, Error>(response.unwrap())
    });
    let response = SessionLayer::new(store).layer(service).oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains_key(SET_COOKIE) && !response.headers().contains_key("x-handler"));
    assert_eq!(response.into_body(), "");
}

#[tokio::test]
async fn a_token_made_outside_opens_the_session_inside() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions: Sessions = layer.sessions();
    let (id, token) = sessions.create(&serde_json::json!({ "n": 41 })).await.unwrap();
    let mut request = Request::new("visit".to_owned());
    let cookie = format!("{}={}", layer.cookie_name(), token.expose_secret());
    request.headers_mut().insert(COOKIE, cookie.parse().unwrap());
    let response = layer.layer(service_fn(count)).oneshot(request).await.unwrap();
    assert_eq!(response.into_body(), "visit 42");
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().get::<u32>("n").unwrap(), Some(42));
}

#[tokio::test]
async fn the_session_cookie_is_marked_as_sensitive() {
    let service = SessionLayer::new(MemoryStore::new()).layer(service_fn(count));
    let response = service.oneshot(Request::new(String::new())).await.unwrap();
    assert!(response.headers()[SET_COOKIE].is_sensitive());
}

#[test]
fn what_is_shared_between_threads_can_be() {
    fn is_shared<T: Send + Sync + 'static>() {}
    fn is_sent<T: Send>(_: &T) {}

    struct NotEvenSend(#[expect(dead_code, reason = "it is there for its type")] Rc<()>);

    is_shared::<SessionLayer>();
    is_shared::<SessionLayer<NotEvenSend>>();
    is_shared::<SessionService<()>>();
    is_shared::<Session<NotEvenSend>>();
    is_shared::<SessionHandle<NotEvenSend>>();
    is_shared::<Sessions>();
    is_shared::<MemoryStore>();
    is_shared::<Record>();
    is_shared::<Error>();
    is_shared::<StoreError>();

    let mut service = SessionLayer::new(MemoryStore::new()).layer(service_fn(count));
    is_sent(&service.call(Request::new(String::new())));
}

#[test]
fn a_response_that_is_never_polled_does_nothing() {
    let store = MemoryStore::new();
    let mut service = SessionLayer::new(store.clone()).layer(service_fn(count));
    let response: ResponseFuture<_, String> = service.call(Request::new(String::new()));
    let _: &dyn Future<Output = _> = &response;
    drop(response);
    assert!(store.is_empty());
}
