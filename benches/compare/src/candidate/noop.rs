//! A layer that does nothing: the cost of axum itself.

use std::hint::black_box;
use std::task::{Context, Poll};

use axum::{Router, routing::get};
use tower_layer::Layer;
use tower_service::Service;

pub(crate) fn app() -> Router {
    Router::new()
        .route("/untouched", get(nothing))
        .route("/counter", get(number))
        .route("/user", get(number))
        .route("/increment", get(nothing))
        .route("/create", get(nothing))
        .route("/seed", get(nothing))
        .route("/seed-large", get(nothing))
        .layer(Noop)
}

async fn nothing() {}

async fn number() -> String {
    black_box(0_u64).to_string()
}

#[derive(Clone, Copy, Debug)]
struct Noop;

impl<S> Layer<S> for Noop {
    type Service = NoopService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        NoopService { inner }
    }
}

#[derive(Clone, Debug)]
struct NoopService<S> {
    inner: S,
}

impl<S, R> Service<R> for NoopService<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.inner.call(request)
    }
}
