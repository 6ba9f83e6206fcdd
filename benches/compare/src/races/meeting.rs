//! Where handlers wait for each other between loading a session and writing to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::time::timeout;

/// How long a handler waits. One that a candidate lets run only when another has ended never arrives.
const PATIENCE: Duration = Duration::from_millis(200);

/// A barrier that is given up in time, so that requests which are served one after another end too.
#[derive(Clone, Debug)]
pub(crate) struct Meeting(Arc<Barrier>);

impl Meeting {
    /// One that so many attend.
    pub(crate) fn of(attendants: usize) -> Self {
        Self(Arc::new(Barrier::new(attendants)))
    }

    /// Waits for the others.
    pub(crate) async fn arrive(&self) {
        // Too late or not: the request goes on.
        let _ = timeout(PATIENCE, self.0.wait()).await;
    }
}
