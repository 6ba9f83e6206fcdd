//! Deterministic races: an application with handlers from the test, a store that counts calls and can block them, and a
//! manual clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures_util::FutureExt;
use http::header::COOKIE;
use http::{Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{
    Error, Lifetime, MemoryStore, Session, SessionHandle, SessionId, SessionLayer, SessionLayerBuilder, Sessions,
};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::client::{COOKIE_NAME, EventLog, SetCookie, send, session_of, set_cookies};
use super::store::{CountingStore, Counts, FaultyStore, Gate};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The default lifetime, which most tests use.
pub const LIFETIME: Lifetime = Lifetime::new();

/// The time after which a test reports a hang. No assertion depends on it.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(60);

type Run = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;
type Job = Box<dyn FnOnce(SessionHandle) -> Run + Send>;

/// A token for a request, or no token.
pub trait OptionalToken {
    fn token(self) -> Option<String>;
}

impl OptionalToken for &str {
    fn token(self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl OptionalToken for &String {
    fn token(self) -> Option<String> {
        Some(self.clone())
    }
}

impl OptionalToken for Option<String> {
    fn token(self) -> Option<String> {
        self
    }
}

/// Returns two tokens, for a request with two cookies.
pub fn both(first: &str, second: &str) -> String {
    format!("{first}; {COOKIE_NAME}={second}")
}

/// A request without a token.
pub const NO_TOKEN: Option<String> = None;

/// An application with its store and its clock. Clones share them.
#[derive(Clone)]
pub struct World {
    pub clock: ManualClock,
    pub memory: MemoryStore,
    pub faults: FaultyStore<MemoryStore>,
    pub store: CountingStore<FaultyStore<MemoryStore>>,
    pub events: EventLog,
    pub layer: SessionLayer,
    router: Router,
}

impl World {
    pub fn new() -> Self {
        Self::with(|layer| layer)
    }

    pub fn with(settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> Self {
        let clock = ManualClock::new();
        let memory = MemoryStore::new().with_clock(&clock);
        Self::over(memory, clock, settings)
    }

    pub fn over(
        memory: MemoryStore,
        clock: ManualClock,
        settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder,
    ) -> Self {
        let faults = FaultyStore::new(memory.clone());
        let store = CountingStore::new(faults.clone());
        let events = EventLog::default();
        let builder = SessionLayer::builder(store.clone()).with_clock(&clock).with_event_hook(events.hook());
        let layer = settings(builder).build().unwrap();
        let router = router(layer.clone());
        Self { clock, memory, faults, store, events, layer, router }
    }

    /// Returns the same store and clock with a new layer, as after a deployment with other settings.
    pub fn redeployed(&self, settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> Self {
        let builder = SessionLayer::builder(self.store.clone());
        let builder = builder.with_clock(&self.clock).with_event_hook(self.events.hook());
        self.with_layer(settings(builder).build().unwrap())
    }

    /// Returns the same store and clock with this layer.
    pub fn with_layer(&self, layer: SessionLayer) -> Self {
        Self { router: router(layer.clone()), layer, ..self.clone() }
    }

    pub fn sessions(&self) -> Sessions {
        self.layer.sessions()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Sends a request with this token; the session is loaded for the handler.
    pub async fn send<F, Fut, R>(&self, token: impl OptionalToken, handler: F) -> Answer
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        self.send_unloaded(token.token(), |handle| async move { handler(handle.load().await?).await }).await
    }

    /// Sends a request with this token; the handler gets the session handle.
    pub async fn send_unloaded<F, Fut, R>(&self, token: impl OptionalToken, handler: F) -> Answer
    where
        F: FnOnce(SessionHandle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let answer = self.response(token.token(), handler);
        tokio::time::timeout(HANG_TIMEOUT, answer).await.expect("the request hangs")
    }

    fn response<F, Fut, R>(
        &self,
        token: Option<String>,
        handler: F,
    ) -> impl Future<Output = Answer> + Send + use<F, Fut, R>
    where
        F: FnOnce(SessionHandle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let request = request(token, handler);
        let router = self.router.clone();
        async move { Answer::of(send(&router, request).await) }
    }

    /// Returns the response future, for a test that polls it.
    pub fn call<F, Fut, R>(&self, token: impl OptionalToken, handler: F) -> Pin<Box<dyn Future<Output = Answer> + Send>>
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let request =
            request(token.token(), |handle: SessionHandle| async move { handler(handle.load().await?).await });
        let router = self.router.clone();
        Box::pin(async move {
            let response = router.oneshot(request).await.unwrap();
            let status = response.status();
            Answer { status, set: set_cookies(response.headers()), body: String::new() }
        })
    }

    /// Runs [`send`](World::send) in a new task.
    pub fn spawn<F, Fut, R>(&self, token: impl OptionalToken, handler: F) -> JoinHandle<Answer>
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let (world, token) = (self.clone(), token.token());
        tokio::spawn(async move { world.send(token, handler).await })
    }

    /// Sends a request and returns when its handler waits at the gate.
    pub async fn hold<F, Fut, R>(&self, token: impl OptionalToken, handler: F) -> Held
    where
        F: FnOnce(Session, Gate) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let gate = Gate::new();
        let held = gate.clone();
        let request = self.spawn(token, move |session| handler(session, held));
        tokio::time::timeout(HANG_TIMEOUT, gate.reached()).await.expect("the handler never reaches the gate");
        Held { gate, request }
    }

    /// Holds the first request at the end of its handler, runs the second request, then finishes the first.
    pub async fn overtake<A, FutA, B, FutB>(&self, token: &str, slow: A, quick: B) -> (Answer, Answer)
    where
        A: FnOnce(Session) -> FutA + Send + 'static,
        FutA: Future<Output = Result<(), Error>> + Send,
        B: FnOnce(Session) -> FutB + Send + 'static,
        FutB: Future<Output = Result<(), Error>> + Send,
    {
        let slow = self
            .hold(token, |session, gate| async move {
                let done = slow(session).await;
                gate.wait().await;
                done
            })
            .await;
        let quick = self.send(token, quick).await;
        (slow.finish().await, quick)
    }

    /// Creates an anonymous session with `start = true` and returns its token.
    pub async fn begin(&self) -> String {
        self.send(NO_TOKEN, |session| async move { session.insert("start", &true) }).await.token()
    }

    /// Creates a signed-in session and returns its token.
    pub async fn begin_signed_in(&self, owner: &'static str) -> String {
        self.send(NO_TOKEN, move |session| async move { session.sign_in(owner) }).await.token()
    }

    /// Sets one value in a request.
    pub async fn insert<T: Serialize + Send + Sync + 'static>(
        &self,
        token: &str,
        key: &'static str,
        value: T,
    ) -> Answer {
        self.send(token, move |session| async move { session.insert(key, &value) }).await
    }

    /// Returns one value, read in a request with this token.
    pub async fn read<T: DeserializeOwned + Send + 'static>(&self, token: &str, key: &'static str) -> Option<T> {
        let found = Arc::new(Mutex::new(None));
        let place = Arc::clone(&found);
        let answer = self
            .send(token, move |session| async move {
                *place.lock().unwrap() = session.get::<T>(key)?;
                Ok(())
            })
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        Arc::into_inner(found).unwrap().into_inner().unwrap()
    }

    /// Returns the session that a token opens, or `None`.
    pub async fn opens(&self, token: &str) -> Option<Opened> {
        let found = Arc::new(Mutex::new(None));
        let place = Arc::clone(&found);
        let answer = self
            .send(token, move |session| async move {
                let Some(id) = session.id() else { return Ok(()) };
                let owner = session.owner().map(|owner| owner.to_string());
                *place.lock().unwrap() = Some(Opened { id, owner, keys: session.keys() });
                Ok(())
            })
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        Arc::into_inner(found).unwrap().into_inner().unwrap()
    }

    /// Returns whether a token opens a session.
    pub async fn is_live(&self, token: &str) -> bool {
        self.opens(token).await.is_some()
    }

    /// Returns all values of a stored session, read without the layer; `None` if the session is missing.
    pub async fn stored(&self, token: &str) -> Option<BTreeMap<String, u64>> {
        let stored = self.quiet().find_by_id(&session_of(token)).await.unwrap()?;
        Some(stored.keys().into_iter().map(|key| (key.clone(), stored.get(&key).unwrap().unwrap())).collect())
    }

    /// Returns the number of stored sessions. Every other record must be the mark of an ended one: without an owner, without
    /// the value of [`begin`](World::begin), and gone within a minute.
    #[track_caller]
    pub fn live_sessions(&self) -> usize {
        let unlimited = Lifetime::new().without_idle_timeout().with_absolute_timeout(10_000 * DAY);
        let builder = SessionLayer::builder(self.memory.clone()).with_clock(&self.clock).with_lifetime(unlimited);
        let sessions = builder.build().unwrap().sessions();
        let mut live = 0;
        for id in self.store.ids() {
            let Some(record) = at_once(self.memory.get(&id)).unwrap() else { continue };
            let sessions = sessions.clone().with_realm(record.realm()).unwrap();
            if at_once(sessions.find_by_id(&id)).unwrap().is_some() {
                live += 1;
            } else {
                assert_eq!(record.owner(), None, "{record:?}");
                assert!(record.expires_at() - record.last_seen() <= MINUTE, "{record:?}");
                assert!(!record.state().windows(5).any(|bytes| bytes == b"start"), "a mark holds a value");
            }
        }
        live
    }

    /// Returns the sessions without the stores that count calls and inject faults.
    pub fn quiet(&self) -> Sessions {
        SessionLayer::builder(self.memory.clone()).with_clock(&self.clock).build().unwrap().sessions()
    }

    pub fn counts(&self) -> Counts {
        self.store.counts()
    }

    /// Returns the output and the number of store calls.
    pub async fn cost<F: Future>(&self, work: F) -> (F::Output, Counts) {
        self.store.reset();
        let done = work.await;
        (done, self.store.counts())
    }

    pub fn saw(&self, kind: EventKind) -> bool {
        self.events.count(kind) > 0
    }
}

/// A request whose handler waits at a gate.
#[derive(Debug)]
pub struct Held {
    gate: Gate,
    request: JoinHandle<Answer>,
}

impl Held {
    /// Releases the handler and returns the response.
    pub async fn finish(self) -> Answer {
        self.gate.release();
        self.request.await.unwrap()
    }
}

/// The session that a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub id: SessionId,
    pub owner: Option<String>,
    pub keys: Vec<String>,
}

/// The parts of a response that these tests check.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub set: Vec<SetCookie>,
    pub body: String,
}

impl Answer {
    fn of(reply: super::client::Reply) -> Self {
        Self { status: reply.status, set: reply.set_cookies(), body: reply.text().to_owned() }
    }

    /// Returns the token that the response sets; panics if it sets none.
    #[track_caller]
    pub fn token(&self) -> String {
        self.new_token().unwrap_or_else(|| panic!("{self:?} sets no token"))
    }

    /// Returns the token that the response sets, if any.
    #[track_caller]
    pub fn new_token(&self) -> Option<String> {
        assert!(self.set.len() <= 1, "at most one Set-Cookie is expected in {self:?}");
        let cookie = self.set.first()?;
        (!cookie.is_removal()).then(|| cookie.value.clone())
    }

    #[track_caller]
    pub fn is_removal(&self) -> bool {
        assert!(self.set.len() <= 1, "at most one Set-Cookie is expected in {self:?}");
        self.set.first().is_some_and(SetCookie::is_removal)
    }

    /// Checks that the response has this status and sets no cookie.
    #[track_caller]
    pub fn assert_silent(&self, status: StatusCode) {
        assert_eq!(self.status, status, "in {self:?}");
        assert!(self.set.is_empty(), "no Set-Cookie is expected in {self:?}");
    }

    #[track_caller]
    pub fn assert_ok(&self) -> &Self {
        assert_eq!(self.status, StatusCode::OK, "in {self:?}");
        self
    }
}

/// The request extension in which [`router`] finds the handler.
#[derive(Clone)]
struct Slot(Arc<Mutex<Option<Job>>>);

fn request<F, Fut, R>(token: Option<String>, handler: F) -> Request<Body>
where
    F: FnOnce(SessionHandle) -> Fut + Send + 'static,
    Fut: Future<Output = Result<R, Error>> + Send,
    R: IntoResponse,
{
    let job: Job =
        Box::new(|handle| Box::pin(async move { handler(handle).await.map(IntoResponse::into_response) }) as Run);
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    if let Some(token) = token {
        request.headers_mut().insert(COOKIE, format!("{COOKIE_NAME}={token}").parse().unwrap());
    }
    request.extensions_mut().insert(Slot(Arc::new(Mutex::new(Some(job)))));
    request
}

/// Returns the output of a future that is never pending, as those of the memory store.
#[track_caller]
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory store answers at once")
}

fn router(layer: SessionLayer) -> Router {
    async fn handle(Extension(slot): Extension<Slot>, session: SessionHandle) -> Result<Response, Error> {
        let job = slot.0.lock().unwrap().take().expect("each request has one handler");
        job(session).await
    }
    Router::new().fallback(handle).layer(layer)
}
