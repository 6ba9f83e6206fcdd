//! A client that sends requests in parallel, each in a task.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, Response, StatusCode};
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::races::meeting::Meeting;

/// Client with one cookie, which the responses do not change.
///
/// It sends its requests to the nodes in turn, and reads from a separate node.
#[derive(Debug)]
pub(crate) struct Client {
    nodes: Vec<Router>,
    reader: Router,
    sent: AtomicUsize,
    cookie: String,
}

impl Client {
    /// Creates a client with the cookie that the first node's `/seed` sets.
    pub(crate) async fn seeded(nodes: Vec<Router>, reader: Router) -> Self {
        let mut client = Self { nodes, reader, sent: AtomicUsize::new(0), cookie: String::new() };
        let response = call(client.nodes[0].clone(), client.request("/seed")).await;
        client.cookie = session_cookie(&response).expect("a session sets its cookie");
        client
    }

    /// Replaces the value of the cookie.
    pub(crate) fn with_cookie_value(self, value: &str) -> Self {
        let (name, _) = self.cookie.split_once('=').expect("a cookie has a name");
        Self { cookie: format!("{name}={value}"), ..self }
    }

    /// Starts one request, whose handler waits at `meeting`.
    pub(crate) fn spawn(&self, path: &str, meeting: &Meeting) -> JoinHandle<StatusCode> {
        let mut request = self.request(path);
        request.extensions_mut().insert(meeting.clone());
        let app = self.nodes[self.sent.fetch_add(1, Ordering::Relaxed) % self.nodes.len()].clone();
        tokio::spawn(async move { call(app, request).await.status() })
    }

    /// Returns the response of the node that created the session. The reader must not see it earlier.
    pub(crate) async fn read_at_first(&self, path: &str) -> String {
        body(call(self.nodes[0].clone(), self.request(path)).await).await
    }

    /// Returns the response of the reader to `path`.
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

/// Returns the `name=value` pair of the cookie that a response sets. axum_session also removes a second cookie, before
/// or after that one.
fn session_cookie(response: &Response<Body>) -> Option<String> {
    let set = response.headers().get_all(SET_COOKIE).iter();
    let pair = set.filter_map(|value| value.to_str().ok()?.split(';').next()).find(|pair| !pair.ends_with('='));
    pair.map(str::to_owned)
}
