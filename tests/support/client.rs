//! A client with a cookie jar, for a router in this process. Tests over a socket use the same jar.
//!
//! The jar is simple on purpose: it keeps `name=value` and removes a cookie at `Max-Age=0`. It does not check
//! attributes; the tests do.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::handler::Handler;
use axum::routing::any;
use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use sessile::event::{EndReason, Event, EventKind};
use sessile::{Session, SessionId, SessionLayer, Token};
use tower::ServiceExt;

/// A client of an application in this process. A clone has a separate jar with the same cookies.
#[derive(Clone)]
pub struct Client {
    app: Router,
    pub jar: Jar,
}

impl Client {
    pub fn new(app: &Router) -> Self {
        Self { app: app.clone(), jar: Jar::default() }
    }

    /// Creates a client that already has a cookie.
    pub fn with_cookie(app: &Router, name: &str, value: &str) -> Self {
        let mut client = Self::new(app);
        client.jar.put(name, value);
        client
    }

    /// Creates a client that has this token in the default cookie.
    pub fn with_token(app: &Router, token: &Token) -> Self {
        Self::with_cookie(app, COOKIE_NAME, &token.expose_secret())
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(request(Method::GET, path)).await
    }

    pub async fn post(&mut self, path: &str) -> Reply {
        self.send(request(Method::POST, path)).await
    }

    pub async fn post_body(&mut self, path: &str, body: impl Into<Body>) -> Reply {
        self.send(Request::post(path).body(body.into()).unwrap()).await
    }

    /// Sends a request with the jar's cookies, and stores the response's cookies.
    pub async fn send(&mut self, mut request: Request<Body>) -> Reply {
        if let Some(cookies) = self.jar.header() {
            request.headers_mut().append(COOKIE, cookies.parse().unwrap());
        }
        let reply = send(&self.app, request).await;
        self.jar.take_in(&reply.headers);
        reply
    }

    /// Returns the token in the default session cookie.
    pub fn token(&self) -> Option<String> {
        self.jar.value(COOKIE_NAME)
    }
}

/// A client of a layer, which runs the test's handler in each request.
///
/// A clone is another client with the same cookies in a separate jar.
#[derive(Clone)]
pub struct Visitor {
    layer: SessionLayer,
    pub jar: Jar,
}

impl Visitor {
    pub fn new(layer: &SessionLayer) -> Self {
        Self { layer: layer.clone(), jar: Jar::default() }
    }

    /// Creates a client with a session that holds `n = 1`.
    pub async fn with_session(layer: &SessionLayer) -> Self {
        let mut visitor = Self::new(layer);
        visitor.visit(async |session: Session| session.insert("n", &1)).await.set_cookie();
        visitor
    }

    /// Sends a request to this handler.
    pub async fn visit<H, T>(&mut self, handler: H) -> Reply
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        let app = Router::new().route("/", any(handler)).layer(self.layer.clone());
        let mut client = Client { app, jar: std::mem::take(&mut self.jar) };
        let reply = client.get("/").await;
        self.jar = client.jar;
        reply
    }

    /// Returns the token in the layer's session cookie.
    pub fn token(&self) -> Option<String> {
        self.jar.value(self.layer.cookie_name())
    }
}

/// The session cookie's default name.
pub const COOKIE_NAME: &str = "__Host-id";

/// Creates a request without a body.
pub fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

/// Creates a `GET` request with exactly these `Cookie` headers.
pub fn request_with_cookies(path: &str, cookies: &[&[u8]]) -> Request<Body> {
    let mut request = request(Method::GET, path);
    for cookie in cookies {
        request.headers_mut().append(COOKIE, http::HeaderValue::from_bytes(cookie).unwrap());
    }
    request
}

/// Sends one request unchanged, without a jar.
pub async fn send(app: &Router, request: Request<Body>) -> Reply {
    let response: Result<Response<Body>, Infallible> = app.clone().oneshot(request).await;
    let (head, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: head.status, headers: head.headers, body }
}

/// Returns the id of the token's session.
pub fn session_of(token: &str) -> SessionId {
    Token::parse(token.as_bytes()).expect("a well-formed token").id()
}

/// A jar of cookies, by name.
#[derive(Clone, Debug, Default)]
pub struct Jar(BTreeMap<String, String>);

impl Jar {
    pub fn put(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub fn value(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the value for a `Cookie` header, or `None` if the jar is empty.
    pub fn header(&self) -> Option<String> {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    pub fn take_in(&mut self, headers: &HeaderMap) {
        for cookie in set_cookies(headers) {
            if cookie.max_age() == Some(0) {
                self.0.remove(&cookie.name);
            } else {
                self.0.insert(cookie.name, cookie.value);
            }
        }
    }
}

/// A parsed `Set-Cookie` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    pub name: String,
    pub value: String,
    /// Names and values, in the header's order.
    pub attributes: Vec<(String, Option<String>)>,
}

impl SetCookie {
    fn parse(text: &str) -> Self {
        let split = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
            None => (pair.trim().to_owned(), None),
        };
        let mut pairs = text.split(';').map(split);
        let (name, value) = pairs.next().unwrap();
        Self { name, value: value.expect("a cookie has a value"), attributes: pairs.collect() }
    }

    /// Returns an attribute's value: `None` if it is missing, an empty text if it has no value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut found = self.attributes.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_deref().unwrap_or_default());
        assert!(found.next().is_none(), "duplicate {name} in {self:?}");
        first
    }

    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub fn max_age(&self) -> Option<i64> {
        self.attribute("Max-Age").map(|seconds| seconds.parse().unwrap())
    }

    /// Returns whether the header removes the cookie.
    pub fn is_removal(&self) -> bool {
        self.max_age() == Some(0)
    }

    /// Returns the sorted attribute names.
    pub fn attribute_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.attributes.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

pub fn set_cookies(headers: &HeaderMap) -> Vec<SetCookie> {
    headers.get_all(SET_COOKIE).iter().map(|value| SetCookie::parse(value.to_str().unwrap())).collect()
}

/// A response with its whole body.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn set_cookies(&self) -> Vec<SetCookie> {
        set_cookies(&self.headers)
    }

    /// Returns the only cookie that the response sets.
    #[track_caller]
    pub fn set_cookie(&self) -> SetCookie {
        let mut cookies = self.set_cookies();
        assert_eq!(cookies.len(), 1, "exactly one Set-Cookie is expected in {self:?}");
        cookies.remove(0)
    }

    #[track_caller]
    pub fn assert_no_cookie(&self) {
        assert!(self.set_cookies().is_empty(), "no Set-Cookie is expected in {self:?}");
    }

    /// Returns the only value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "duplicate {name} in {self:?}");
        first
    }

    /// Returns all values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// An event's kind and session.
pub type EventSummary = (EventKind, Option<SessionId>);

/// The events of a layer, in order.
#[derive(Clone, Debug, Default)]
pub struct EventLog(Arc<Mutex<Vec<Logged>>>);

type Logged = (EventSummary, Option<EndReason>);

impl EventLog {
    /// Returns a hook for `with_event_hook` that adds each event to this log.
    pub fn hook(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let events = self.clone();
        move |event| events.0.lock().unwrap().push(((event.kind, event.session), event.reason))
    }

    pub fn kinds(&self) -> Vec<EventKind> {
        self.0.lock().unwrap().iter().map(|((kind, _), _)| *kind).collect()
    }

    pub fn count(&self, kind: EventKind) -> usize {
        self.kinds().into_iter().filter(|known| *known == kind).count()
    }

    /// Returns the events so far and removes them.
    pub fn take(&self) -> Vec<EventSummary> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(|(summary, _)| summary).collect()
    }

    /// Returns the sessions that ended, with the reasons.
    pub fn ends(&self) -> Vec<(SessionId, EndReason)> {
        self.with_reason(EventKind::Ended)
    }

    /// Returns the sessions and the reasons of the events of a kind.
    pub fn with_reason(&self, wanted: EventKind) -> Vec<(SessionId, EndReason)> {
        let found = |((kind, session), reason): &Logged| (*kind == wanted).then_some(((*session)?, (*reason)?));
        self.0.lock().unwrap().iter().filter_map(found).collect()
    }
}
