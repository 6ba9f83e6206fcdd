//! A minimal session layer: parses the cookie, looks up a map and inserts an extension.
//!
//! A write clones the session's map and replaces the old one. There is no lifetime, verifier, version, merge or limit,
//! so the cost of a layer over this one is the cost of its guarantees.

use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::extract::Extension;
use axum::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use axum::http::{Request, Response};
use axum::{Router, routing::get};
use pin_project_lite::pin_project;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_layer::Layer;
use tower_service::Service;
use uuid::Uuid;

use crate::workload::{THEME, User, padding};

pub(crate) fn app() -> Router {
    Router::new()
        .route("/untouched", get(untouched))
        .route("/counter", get(counter))
        .route("/user", get(user))
        .route("/increment", get(increment))
        .route("/create", get(create))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .layer(Minimal::default())
}

async fn untouched() {}

async fn counter(Extension(session): Extension<Session>) -> String {
    session.get::<u64>("counter").unwrap_or(0).to_string()
}

async fn user(Extension(session): Extension<Session>) -> String {
    let user = session.get::<User>("user");
    black_box(user).map_or(0, |user| user.id).to_string()
}

async fn increment(Extension(session): Extension<Session>) {
    let n = session.get::<u64>("counter").unwrap_or(0);
    session.insert("counter", &(n + 1));
}

async fn create(Extension(session): Extension<Session>) {
    session.insert("counter", &0_u64);
}

async fn seed(Extension(session): Extension<Session>) {
    session.insert("counter", &0_u64);
    session.insert("user", &User::sample());
    session.insert("theme", THEME);
}

async fn seed_large(session: Extension<Session>) {
    for (key, value) in padding() {
        session.insert(&key, &value);
    }
    seed(session).await;
}

/// Values of a session, each as MessagePack.
type Data = HashMap<String, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Minimal {
    sessions: Arc<Mutex<HashMap<Uuid, Arc<Data>>>>,
}

impl<S> Layer<S> for Minimal {
    type Service = MinimalService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MinimalService { inner, sessions: self.clone() }
    }
}

#[derive(Clone, Debug)]
struct MinimalService<S> {
    inner: S,
    sessions: Minimal,
}

impl<S, B, R> Service<Request<B>> for MinimalService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let known = id(request.headers()).and_then(|id| Some((id, lock(&self.sessions.sessions).get(&id).cloned()?)));
        let session = Session::new(known);
        request.extensions_mut().insert(session.clone());
        ResponseFuture { inner: self.inner.call(request), session, sessions: self.sessions.clone() }
    }
}

fn id(headers: &HeaderMap) -> Option<Uuid> {
    let mut pairs = headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|&byte| byte == b';'));
    let value = pairs.find_map(|pair| pair.trim_ascii().strip_prefix(b"id="))?;
    Uuid::try_parse_ascii(value).ok()
}

pin_project! {
    struct ResponseFuture<F> {
        #[pin]
        inner: F,
        session: Session,
        sessions: Minimal,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let mut state = lock(&this.session.0);
        let Some(data) = state.changed.take() else { return Poll::Ready(Ok(response)) };
        let is_new = state.id.is_none();
        let id = *state.id.get_or_insert_with(Uuid::new_v4);
        lock(&this.sessions.sessions).insert(id, Arc::new(data));
        if is_new {
            let cookie = format!("id={}; HttpOnly; SameSite=Lax; Secure; Path=/", id.simple());
            let cookie = HeaderValue::try_from(cookie).expect("the cookie is ASCII");
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Poll::Ready(Ok(response))
    }
}

#[derive(Clone, Debug)]
struct Session(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    id: Option<Uuid>,
    loaded: Arc<Data>,
    changed: Option<Data>,
}

impl Session {
    fn new(known: Option<(Uuid, Arc<Data>)>) -> Self {
        let (id, loaded) = known.map_or_else(Default::default, |(id, data)| (Some(id), data));
        Self(Arc::new(Mutex::new(State { id, loaded, changed: None })))
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let state = lock(&self.0);
        let data = state.changed.as_ref().unwrap_or(&state.loaded);
        rmp_serde::from_slice(data.get(key)?).ok()
    }

    fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) {
        let value = rmp_serde::to_vec_named(value).expect("the values can be serialized");
        let state = &mut *lock(&self.0);
        let data = state.changed.get_or_insert_with(|| Data::clone(&state.loaded));
        data.insert(key.to_owned(), value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
