//! Pauses between the attempts of a retry.

use std::time::Duration;

use crate::token::random;

/// Growth of the longest pause with each attempt: about the duration of one attempt.
const STEP: Duration = Duration::from_millis(4);
/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// Waits a random time between attempt number `attempt`, counted from 1, and the next. It needs the timer of a tokio runtime.
///
/// The pause grows with the attempts, up to 250 ms. The jitter keeps writers that lost a race to each other from meeting again.
pub(crate) async fn pause(attempt: u32) {
    let max = STEP.saturating_mul(attempt).min(MAX_PAUSE);
    let fraction = f64::from(u16::from_le_bytes(random())) / f64::from(u16::MAX);
    tokio::time::sleep(max.mul_f64(fraction)).await;
}

/// Waits for the longest pause. It needs the timer of a tokio runtime.
pub(crate) async fn longest_pause() {
    tokio::time::sleep(MAX_PAUSE).await;
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
