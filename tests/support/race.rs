//! Races that go the same way every time: an application whose handlers are written in the test, over a store that counts
//! and can be held up, by a clock that the test moves.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::header::COOKIE;
use http::{Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sessile::event::EventKind;
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

/// The lifetime of most tests: the default one.
pub const LIFETIME: Lifetime = Lifetime::new();

/// How long a test waits for what must happen before it says that it hangs. No assertion rests on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

type Run = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;
type Job = Box<dyn FnOnce(SessionHandle) -> Run + Send>;

/// The token that a request brings, if it brings one.
pub trait Presented {
    fn token(self) -> Option<String>;
}

impl Presented for &str {
    fn token(self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl Presented for &String {
    fn token(self) -> Option<String> {
        Some(self.clone())
    }
}

impl Presented for Option<String> {
    fn token(self) -> Option<String> {
        self
    }
}

/// No token at all.
pub const NOBODY: Option<String> = None;

/// An application, its store and its clock. Clones are the same.
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

    /// The same store and clock behind another layer, as after a deployment with other settings.
    pub fn redeployed(&self, settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> Self {
        let builder = SessionLayer::builder(self.store.clone());
        let builder = builder.with_clock(&self.clock).with_event_hook(self.events.hook());
        self.behind(settings(builder).build().unwrap())
    }

    /// The same store and clock behind this layer.
    pub fn behind(&self, layer: SessionLayer) -> Self {
        Self { router: router(layer.clone()), layer, ..self.clone() }
    }

    pub fn sessions(&self) -> Sessions {
        self.layer.sessions()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// A request with this token, whose handler loads the session and does this.
    pub async fn send<F, Fut, R>(&self, token: impl Presented, handler: F) -> Answer
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        self.send_unloaded(token.token(), |handle| async move { handler(handle.load().await?).await }).await
    }

    /// A request with this token, whose handler gets the handle.
    pub async fn send_unloaded<F, Fut, R>(&self, token: impl Presented, handler: F) -> Answer
    where
        F: FnOnce(SessionHandle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let answer = self.response(token.token(), handler);
        tokio::time::timeout(PATIENCE, answer).await.expect("the request hangs")
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

    /// The response's future, for a test that polls it by itself.
    pub fn call<F, Fut, R>(&self, token: impl Presented, handler: F) -> Pin<Box<dyn Future<Output = Answer> + Send>>
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

    /// The same as [`send`](World::send), at the same time as what the test does next.
    pub fn spawn<F, Fut, R>(&self, token: impl Presented, handler: F) -> JoinHandle<Answer>
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let (world, token) = (self.clone(), token.token());
        tokio::spawn(async move { world.send(token, handler).await })
    }

    /// The same, up to where the handler waits at the gate.
    pub async fn hold<F, Fut, R>(&self, token: impl Presented, handler: F) -> Held
    where
        F: FnOnce(Session, Gate) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, Error>> + Send,
        R: IntoResponse,
    {
        let gate = Gate::new();
        let held = gate.clone();
        let request = self.spawn(token, move |session| handler(session, held));
        tokio::time::timeout(PATIENCE, gate.reached()).await.expect("the handler never waits");
        Held { gate, request }
    }

    /// Runs one request up to its answer, holds it there, runs another whole, and lets the first go on.
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

    /// A new anonymous session with one value, `start = true`; its token.
    pub async fn begin(&self) -> String {
        self.send(NOBODY, |session| async move { session.insert("start", &true) }).await.token()
    }

    /// A new session that is signed in; its token.
    pub async fn begin_signed_in(&self, owner: &'static str) -> String {
        self.send(NOBODY, move |session| async move { session.sign_in(owner) }).await.token()
    }

    /// Writes one value.
    pub async fn insert<T: Serialize + Send + Sync + 'static>(
        &self,
        token: &str,
        key: &'static str,
        value: T,
    ) -> Answer {
        self.send(token, move |session| async move { session.insert(key, &value) }).await
    }

    /// One value, as a request with this token reads it.
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

    /// What a token opens: `None` where it opens nothing.
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

    /// Whether a token opens a session.
    pub async fn is_live(&self, token: &str) -> bool {
        self.opens(token).await.is_some()
    }

    /// Everything in a session, read past the layer; `None` where there is none.
    pub async fn stored(&self, token: &str) -> Option<BTreeMap<String, u64>> {
        let stored = self.quiet().find_by_id(&session_of(token)).await.unwrap()?;
        Some(stored.keys().into_iter().map(|key| (key.clone(), stored.get(&key).unwrap().unwrap())).collect())
    }

    /// The sessions past the stores that count and fail.
    pub fn quiet(&self) -> Sessions {
        SessionLayer::builder(self.memory.clone()).with_clock(&self.clock).build().unwrap().sessions()
    }

    pub fn counts(&self) -> Counts {
        self.store.counts()
    }

    /// What a request costs the store.
    pub async fn cost<F: Future>(&self, work: F) -> (F::Output, Counts) {
        self.store.reset();
        let done = work.await;
        (done, self.store.counts())
    }

    pub fn saw(&self, kind: EventKind) -> bool {
        self.events.count(kind) > 0
    }
}

/// A request whose handler waits.
#[derive(Debug)]
pub struct Held {
    gate: Gate,
    request: JoinHandle<Answer>,
}

impl Held {
    /// Lets the handler go on, to the answer.
    pub async fn finish(self) -> Answer {
        self.gate.release();
        self.request.await.unwrap()
    }
}

/// What a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub id: SessionId,
    pub owner: Option<String>,
    pub keys: Vec<String>,
}

/// A response, as far as these tests look at it.
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

    /// The token that the response sets; there must be one.
    #[track_caller]
    pub fn token(&self) -> String {
        self.given().unwrap_or_else(|| panic!("{self:?} sets no token"))
    }

    /// The token that the response sets, if it sets one.
    #[track_caller]
    pub fn given(&self) -> Option<String> {
        assert!(self.set.len() <= 1, "one Set-Cookie at most, not {self:?}");
        let cookie = self.set.first()?;
        (!cookie.is_removal()).then(|| cookie.value.clone())
    }

    #[track_caller]
    pub fn is_removal(&self) -> bool {
        assert!(self.set.len() <= 1, "one Set-Cookie at most, not {self:?}");
        self.set.first().is_some_and(SetCookie::is_removal)
    }

    /// A response of this status that leaves the browser's cookie alone.
    #[track_caller]
    pub fn assert_silent(&self, status: StatusCode) {
        assert_eq!(self.status, status, "in {self:?}");
        assert!(self.set.is_empty(), "no Set-Cookie was expected in {self:?}");
    }

    #[track_caller]
    pub fn assert_ok(&self) -> &Self {
        assert_eq!(self.status, StatusCode::OK, "in {self:?}");
        self
    }
}

/// Places the handler of this request where [`router`] finds it.
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

fn router(layer: SessionLayer) -> Router {
    async fn handle(Extension(slot): Extension<Slot>, session: SessionHandle) -> Result<Response, Error> {
        let job = slot.0.lock().unwrap().take().expect("one handler for one request");
        job(session).await
    }
    Router::new().fallback(handle).layer(layer)
}
