//! Arbitrary `Cookie` headers.
//!
//! The layer must not panic, reads at most four sessions from the store, sets no cookie, and opens the session exactly
//! if a simple parser finds its token in the headers.
//!
//! In the input, a line feed starts another header, `%` stands for the token of a live session, and `$` for that of an
//! ended one.
#![no_main]

#[path = "../now.rs"]
mod now;

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{Request, Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use now::now;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use sessile::{MemoryStore, SessionHandle, SessionId, SessionLayer, Token};
use tower_layer::Layer;
use tower_service::Service;

/// Maximum number of tokens that a request may look up.
const MAX_TOKENS: usize = 4;

/// Store that counts its reads.
#[derive(Clone)]
struct Counting(MemoryStore, Arc<AtomicUsize>);

impl Store for Counting {
    fn get(&self, id: &SessionId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(id)
    }

    fn set(&self, record: &Record, expected: Expected) -> impl Future<Output = Result<Outcome, StoreError>> + Send {
        self.0.set(record, expected)
    }

    fn touch(&self, record: &Record, touch: Touch) -> impl Future<Output = Result<bool, StoreError>> + Send {
        self.0.touch(record, touch)
    }

    fn delete(&self, id: &SessionId, owner: Option<&str>) -> impl Future<Output = Result<bool, StoreError>> + Send {
        self.0.delete(id, owner)
    }
}

struct World {
    layer: SessionLayer,
    asked: Arc<AtomicUsize>,
    there: String,
    gone: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let asked = Arc::default();
    let layer = SessionLayer::new(Counting(MemoryStore::new(), Arc::clone(&asked)));
    let create = || now(layer.sessions().create(&serde_json::json!({ "n": 1 }))).unwrap();
    let ((_, there), (id, gone)) = (create(), create());
    assert!(now(layer.sessions().end(&id)).unwrap());
    World { there: there.expose_secret(), gone: gone.expose_secret(), layer, asked }
});

fuzz_target!(|input: &[u8]| {
    let world = &*WORLD;
    let mut text = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            b'%' => text.extend_from_slice(world.there.as_bytes()),
            b'$' => text.extend_from_slice(world.gone.as_bytes()),
            other => text.push(*other),
        }
    }
    let mut request = Request::new(());
    for line in text.split(|byte| *byte == b'\n').take(100) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        request.headers_mut().append(COOKIE, value);
    }
    let opens = parse_simply(&request, world.layer.cookie_name()).iter().any(|token| *token == world.there);

    world.asked.store(0, Ordering::Relaxed);
    let mut service = world.layer.layer(Open);
    let response = now(service.call(request)).unwrap();
    assert!(world.asked.load(Ordering::Relaxed) <= MAX_TOKENS);
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(response.status(), if opens { StatusCode::OK } else { StatusCode::NO_CONTENT });
});

/// Returns the first tokens in the headers, by a simple parser after RFC 6265bis §5.6.
fn parse_simply(request: &Request<()>, name: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for header in request.headers().get_all(COOKIE) {
        for pair in header.as_bytes().split(|byte| *byte == b';') {
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
            let (left, right) = (trim_blanks(&pair[..equals]), trim_blanks(&pair[equals + 1..]));
            if left != name.as_bytes() || Token::parse(right).is_none() {
                continue;
            }
            let token = String::from_utf8(right.to_vec()).unwrap();
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
    }
    tokens.truncate(MAX_TOKENS);
    tokens
}

fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Service that answers 200 if the request has a session, and 204 otherwise.
#[derive(Clone)]
struct Open;

impl Service<Request<()>> for Open {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<()>, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let handle = request.extensions().get::<SessionHandle>().cloned().expect("the layer adds the handle");
        Box::pin(async move {
            let session = handle.load().await.expect("the store does not fail");
            let mut response = Response::new(());
            if session.is_new() {
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            Ok(response)
        })
    }
}
