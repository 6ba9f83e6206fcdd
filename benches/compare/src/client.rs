//! A client in the same process, which calls the router as a service.

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, Response};
use tower_service::Service;

use crate::candidate::{Candidate, Serving};

/// Cookie of candidates that set none, so that all requests have the same headers.
const NO_COOKIE: &str = "id=AAAAAAAAAAAAAAAAAAAAAA";

/// One application, and the cookie of its requests.
#[derive(Debug)]
pub(crate) struct Client {
    app: Router,
    cookie: Option<String>,
}

impl Client {
    /// Creates a client of `app` without a cookie.
    pub(crate) fn new(app: Router) -> Self {
        Self { app, cookie: None }
    }

    /// Creates a client of a new application, with the cookie that the route `seed` sets.
    pub(crate) async fn seeded(candidate: Candidate, serving: Serving, seed: Option<&str>) -> Self {
        let mut client = Self::new(candidate.app(serving, None).await);
        if let Some(seed) = seed {
            client.sign_on(seed).await;
        }
        client
    }

    /// Returns the cookie of the requests.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Requests `path` and keeps the cookie of the response.
    pub(crate) async fn sign_on(&mut self, path: &str) {
        let request = self.request(path);
        let response = self.send(request).await;
        self.cookie = Some(session_cookies(&response).unwrap_or_else(|| NO_COOKIE.to_owned()));
    }

    /// Builds a request, outside the measured time.
    pub(crate) fn request(&self, path: &str) -> Request<Body> {
        let mut request = Request::builder().uri(path);
        if let Some(cookie) = &self.cookie {
            // A new value for each request, as in a server: cloning a shared value would save an allocation.
            request = request.header(COOKIE, cookie.as_str());
        }
        request.body(Body::empty()).expect("the routes are valid paths")
    }

    /// Sends one request and returns the response.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = self.app.call(request).await;
        assert!(response.status().is_success(), "answered {}", response.status());
        response
    }
}

/// Returns the `name=value` pairs of the cookies in a response, as a browser sends them back.
fn session_cookies(response: &Response<Body>) -> Option<String> {
    let pairs: Vec<&str> = response
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next())
        .collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}
