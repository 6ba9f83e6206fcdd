//! Pauses between the attempts of a retry.

use std::time::Duration;

use tokio::runtime::Handle;

use crate::token::random;

/// Upper bound that each attempt adds to the pause: about the duration of one attempt.
const STEP: Duration = Duration::from_millis(4);
/// Length of an idle wait where there is no timer: the number of times that other tasks run.
const MAX_IDLE_YIELDS: u32 = 16;

/// Waits before attempt number `attempt + 1`, counted from 1: a random time that is at most `attempt` steps and at most `max`.
///
/// The jitter keeps writers that lost a race to each other from meeting again. With a `max` of zero, and on another runtime
/// than tokio, it only lets other tasks run.
pub(crate) async fn pause(attempt: u32, max: Duration) {
    let bound = STEP.saturating_mul(attempt).min(max);
    let fraction = f64::from(u16::from_le_bytes(random())) / f64::from(u16::MAX);
    let wait = bound.mul_f64(fraction);
    if wait.is_zero() || Handle::try_current().is_err() {
        yield_now().await;
    } else {
        tokio::time::sleep(wait).await;
    }
}

/// Lets other tasks run, on any runtime.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Waits as long as another writer may stay without progress before this one goes on without it.
pub(crate) async fn idle(max: Duration) {
    if max.is_zero() || Handle::try_current().is_err() {
        for _ in 0..MAX_IDLE_YIELDS {
            yield_now().await;
        }
    } else {
        tokio::time::sleep(max).await;
    }
}
