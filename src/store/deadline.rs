//! Deadlines of the stores on servers.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::StoreError;

/// Default duration limit of an operation.
pub(super) const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);
/// Time limit of the first connection, which an application makes at its start, often beside much else.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Instant at which one operation fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    limit: Duration,
    /// `None` if the limit is longer than the clock can count.
    at: Option<Instant>,
}

impl Deadline {
    /// Creates a deadline that is `limit` from now.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, at: Instant::now().checked_add(limit) }
    }

    /// Returns the deadline of a step that may take half of the limit, and no longer than the operation.
    #[cfg(feature = "_sql")]
    pub(super) fn half(self) -> Self {
        let half = Self::new(self.limit / 2).at;
        Self { at: self.at.map(|at| half.map_or(at, |half| half.min(at))), ..self }
    }

    #[cfg(feature = "_sql")]
    pub(super) fn has_passed(self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Waits for a step of the operation, and fails with [`DeadlineExceeded`] at the deadline.
    pub(super) async fn limit<F: Future>(self, step: F) -> Result<F::Output, StoreError> {
        let Some(at) = self.at else { return Ok(step.await) };
        timeout_at(at, step).await.map_err(|_| StoreError::unavailable(DeadlineExceeded(self.limit)))
    }
}

/// The source of the error that an operation returns at its deadline.
#[derive(Debug)]
struct DeadlineExceeded(Duration);

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {:?}; check the server, or set a later deadline", self.0)
    }
}

impl std::error::Error for DeadlineExceeded {}
