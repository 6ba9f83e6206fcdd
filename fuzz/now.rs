//! A blocking executor for futures that never wait.

use std::future::Future;
use std::task::{Context, Poll, Waker};

/// Polls a future until it is ready.
pub fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
