//! A client in the same process: calls the router as a service, no socket between.

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, Response};
use tower_service::Service;

use crate::candidate::{Candidate, Serving};

/// Sent where a candidate sets no cookie, so that its requests carry as many headers as the others'.
const NO_COOKIE: &str = "id=AAAAAAAAAAAAAAAAAAAAAA";

/// One application, and the cookie its requests carry.
#[derive(Debug)]
pub(crate) struct Client {
    app: Router,
    cookie: Option<String>,
}

impl Client {
    /// A client of `app` without a cookie.
    pub(crate) fn new(app: Router) -> Self {
        Self { app, cookie: None }
    }

    /// A client of a new application, with the cookie that `seed` sets, if one is named.
    pub(crate) async fn seeded(candidate: Candidate, serving: Serving, seed: Option<&str>) -> Self {
        let mut client = Self::new(candidate.app(serving, None).await);
        if let Some(seed) = seed {
            client.sign_on(seed).await;
        }
        client
    }

    /// The cookie that its requests carry.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Requests `path` and keeps the cookie that the response sets.
    pub(crate) async fn sign_on(&mut self, path: &str) {
        let request = self.request(path);
        let response = self.send(request).await;
        self.cookie = Some(session_cookies(&response).unwrap_or_else(|| NO_COOKIE.to_owned()));
    }

    /// A request of `path`, built apart from its sending, so that building it is not measured.
    pub(crate) fn request(&self, path: &str) -> Request<Body> {
        let mut request = Request::builder().uri(path);
        if let Some(cookie) = &self.cookie {
            // A value of its own for each request, as a server has: one shared by all would save those who
            // clone it an allocation.
            request = request.header(COOKIE, cookie.as_str());
        }
        request.body(Body::empty()).expect("the routes are valid paths")
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = self.app.call(request).await;
        assert!(response.status().is_success(), "answered {}", response.status());
        response
    }
}

/// The `name=value` of the cookies that a response sets, as a browser sends them back.
fn session_cookies(response: &Response<Body>) -> Option<String> {
    let pairs: Vec<&str> = response
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next())
        .collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}
