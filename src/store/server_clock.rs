//! Comparison of a server's clock with this node's.

use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// Difference above which a warning is logged.
const MAX_DIFFERENCE: Duration = Duration::from_secs(60);

/// Logs a warning if the server's clock and this node's differ by more than a minute.
///
/// A node computes the expiry of the records that it writes, so its sessions would expire too early or too late.
pub(super) fn warn_if_clock_differs(store: &'static str, server: Timestamp) {
    let node = Clock::system().now();
    let difference = Duration::from_millis(server.milliseconds().abs_diff(node.milliseconds()));
    if difference > MAX_DIFFERENCE {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            store,
            difference_seconds = difference.as_secs(),
            node_is_ahead = node > server,
            "the clock of this node differs from the database server's, so sessions expire too early or too late: synchronize both"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = store;
    }
}
