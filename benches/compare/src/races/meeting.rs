//! A meeting point for handlers, between loading a session and writing to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::time::timeout;

/// Maximum time that a handler waits. If a candidate runs handlers one after another, the others never arrive.
const MAX_WAIT: Duration = Duration::from_millis(200);

/// Barrier with a timeout, so that handlers which run one after another finish too.
#[derive(Clone, Debug)]
pub(crate) struct Meeting(Arc<Barrier>);

impl Meeting {
    /// Creates a meeting of this many handlers.
    pub(crate) fn new(attendants: usize) -> Self {
        Self(Arc::new(Barrier::new(attendants)))
    }

    /// Waits for the others.
    pub(crate) async fn arrive(&self) {
        // The request goes on, whether the others arrived or not.
        let _ = timeout(MAX_WAIT, self.0.wait()).await;
    }
}
