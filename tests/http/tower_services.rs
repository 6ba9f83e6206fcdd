//! The layer around plain tower services, without axum: any body, error and readiness.

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
    request.extensions().get::<SessionHandle>().cloned().expect("the layer inserts a handle into each request")
}

/// Increments `n` and responds with the request body and the count.
async fn count(request: Request<String>) -> Result<Response<String>, Error> {
    let session = handle(&request).load().await?;
    let n = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    Ok(Response::new(format!("{} {}", request.body(), n.await?)))
}

/// A service from `Request<String>` to `Response<String>` counts requests of one session and sets one cookie.
#[tokio::test]
async fn string_bodies_work() {
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

/// Headers, extensions, URI and a body of bytes arrive as they were sent.
#[tokio::test]
async fn request_reaches_the_service_unchanged() {
    #[derive(Clone, Debug, PartialEq)]
    struct Marker(u8);

    let service = service_fn(async |request: Request<Vec<u8>>| {
        assert_eq!(request.headers()[COOKIE], "a=1; __Host-id=junk");
        assert_eq!(request.extensions().get(), Some(&Marker(7)));
        assert_eq!(request.uri(), "/path?query");
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let request = Request::put("/path?query").header(COOKIE, "a=1; __Host-id=junk").extension(Marker(7));
    let request = request.body(vec![0, 159, 146, 150]).unwrap();
    let response = SessionLayer::new(MemoryStore::new()).layer(service).oneshot(request).await.unwrap();
    assert_eq!(response.into_body(), [0, 159, 146, 150]);
}

/// A service over `Rc` bodies and a future that is not `Send` compiles, runs and stores its session.
#[tokio::test]
async fn bodies_and_futures_need_not_be_send() {
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
struct ServiceError(u32);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service error {}", self.0)
    }
}

/// The service inserts a value and fails: the caller gets that error, and the store stays empty.
#[tokio::test]
async fn service_error_passes_through_without_a_commit() {
    let store = MemoryStore::new();
    let service = service_fn(async |request: Request<()>| {
        let session = handle(&request).load().await.unwrap();
        session.insert("n", &1).unwrap();
        Err::<Response<()>, _>(ServiceError(3))
    });
    let failed = SessionLayer::new(store.clone()).layer(service).oneshot(Request::new(())).await;
    assert_eq!(failed.unwrap_err(), ServiceError(3));
    assert!(store.is_empty());
}

/// A service without `Clone` whose readiness the test sets.
struct NotClonable {
    ready: Poll<Result<(), ServiceError>>,
    calls: u32,
}

impl Service<Request<()>> for NotClonable {
    type Response = Response<String>;
    type Error = ServiceError;
    type Future = Ready<Result<Response<String>, ServiceError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ServiceError>> {
        std::mem::replace(&mut self.ready, Poll::Ready(Ok(())))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.calls += 1;
        ready(Ok(Response::new(self.calls.to_string())))
    }
}

/// `poll_ready` returns the inner pending, ready and error results, and `call` uses the polled service.
#[tokio::test]
async fn readiness_of_the_service_is_passed_through() {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut service = layer.layer(NotClonable { ready: Poll::Pending, calls: 0 });
    assert!(service.poll_ready(&mut context).is_pending());
    assert_eq!(service.poll_ready(&mut context), Poll::Ready(Ok(())));
    assert_eq!(service.call(Request::new(())).await.unwrap().into_body(), "1");
    // The second call shows that the layer calls the service it polled, not a clone.
    assert_eq!(service.call(Request::new(())).await.unwrap().into_body(), "2");

    let mut broken = layer.layer(NotClonable { ready: Poll::Ready(Err(ServiceError(1))), calls: 0 });
    assert_eq!(broken.poll_ready(&mut context), Poll::Ready(Err(ServiceError(1))));
}

/// With sets failing, the response is 503 without the handler's headers and body, and without a cookie.
#[tokio::test]
async fn failed_commit_answers_503_with_an_empty_body() {
    let store = FaultyStore::new(MemoryStore::new());
    store.fail_always(Op::Set, Fault::Before);
    let service = service_fn(async |request: Request<()>| {
        handle(&request).load().await?.insert("n", &1)?;
        let response = Response::builder().header("x-handler", "1").body("handler body".to_owned());
        Ok::<_, Error>(response.unwrap())
    });
    let response = SessionLayer::new(store).layer(service).oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains_key(SET_COOKIE) && !response.headers().contains_key("x-handler"));
    assert_eq!(response.into_body(), "");
}

/// A request with the token of `Sessions::create` increments the stored value.
#[tokio::test]
async fn token_from_sessions_create_opens_the_session() {
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

/// The `Set-Cookie` value has the sensitive flag, so that HTTP/2 does not index it.
#[tokio::test]
async fn session_cookie_header_is_sensitive() {
    let service = SessionLayer::new(MemoryStore::new()).layer(service_fn(count));
    let response = service.oneshot(Request::new(String::new())).await.unwrap();
    assert!(response.headers()[SET_COOKIE].is_sensitive());
}

/// Layers, handles, stores, records and errors are `Send + Sync`, even with a marker that is not.
#[test]
fn public_types_are_send_and_sync() {
    fn assert_send_sync<T: Send + Sync + 'static>() {}
    fn assert_send<T: Send>(_: &T) {}

    struct NotSend(#[expect(dead_code, reason = "only its type matters")] Rc<()>);

    assert_send_sync::<SessionLayer>();
    assert_send_sync::<SessionLayer<NotSend>>();
    assert_send_sync::<SessionService<()>>();
    assert_send_sync::<Session<NotSend>>();
    assert_send_sync::<SessionHandle<NotSend>>();
    assert_send_sync::<Sessions>();
    assert_send_sync::<MemoryStore>();
    assert_send_sync::<Record>();
    assert_send_sync::<Error>();
    assert_send_sync::<StoreError>();

    let mut service = SessionLayer::new(MemoryStore::new()).layer(service_fn(count));
    assert_send(&service.call(Request::new(String::new())));
}

/// A response future that is dropped before its first poll leaves the store empty.
#[test]
fn dropped_response_future_does_nothing() {
    let store = MemoryStore::new();
    let mut service = SessionLayer::new(store.clone()).layer(service_fn(count));
    let response: ResponseFuture<_, String> = service.call(Request::new(String::new()));
    let _: &dyn Future<Output = _> = &response;
    drop(response);
    assert!(store.is_empty());
}
