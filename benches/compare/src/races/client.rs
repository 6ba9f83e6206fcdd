//! A client whose requests are tasks, so that they run in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, Response, StatusCode};
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::races::meeting::Meeting;

/// Applications that are sent to in turn, one that is read from, and the cookie that every request carries, whatever its
/// answers set.
#[derive(Debug)]
pub(crate) struct Client {
    nodes: Vec<Router>,
    reader: Router,
    sent: AtomicUsize,
    cookie: String,
}

impl Client {
    /// A client with the cookie that the `/seed` of the first node sets.
    pub(crate) async fn seeded(nodes: Vec<Router>, reader: Router) -> Self {
        let mut client = Self { nodes, reader, sent: AtomicUsize::new(0), cookie: String::new() };
        let response = call(client.nodes[0].clone(), client.request("/seed")).await;
        client.cookie = session_cookie(&response).expect("a session sets its cookie");
        client
    }

    /// The same client with another value for its cookie.
    pub(crate) fn with_cookie_value(self, value: &str) -> Self {
        let (name, _) = self.cookie.split_once('=').expect("a cookie has a name");
        Self { cookie: format!("{name}={value}"), ..self }
    }

    /// Starts one request, whose handler attends `meeting`.
    pub(crate) fn spawn(&self, path: &str, meeting: &Meeting) -> JoinHandle<StatusCode> {
        let mut request = self.request(path);
        request.extensions_mut().insert(meeting.clone());
        let app = self.nodes[self.sent.fetch_add(1, Ordering::Relaxed) % self.nodes.len()].clone();
        tokio::spawn(async move { call(app, request).await.status() })
    }

    /// What the node that has made the session answers: the reader has not seen it before it is asked.
    pub(crate) async fn read_at_first(&self, path: &str) -> String {
        body(call(self.nodes[0].clone(), self.request(path)).await).await
    }

    /// What `path` answers, when nothing else runs.
    pub(crate) async fn read(&self, path: &str) -> String {
        body(call(self.reader.clone(), self.request(path)).await).await
    }

    fn request(&self, path: &str) -> Request<Body> {
        let request = Request::builder().uri(path).header(COOKIE, self.cookie.as_str());
        request.body(Body::empty()).expect("the routes are valid paths")
    }
}

async fn call(mut app: Router, request: Request<Body>) -> Response<Body> {
    let Ok(response) = app.call(request).await;
    response
}

async fn body(response: Response<Body>) -> String {
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory cannot fail");
    String::from_utf8_lossy(&body).into_owned()
}

/// The `name=value` of the one cookie that a response sets to something. axum_session removes a second one along
/// with it, now before and now after.
fn session_cookie(response: &Response<Body>) -> Option<String> {
    let set = response.headers().get_all(SET_COOKIE).iter();
    let pair = set.filter_map(|value| value.to_str().ok()?.split(';').next()).find(|pair| !pair.ends_with('='));
    pair.map(str::to_owned)
}
