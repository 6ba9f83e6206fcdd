//! The times that a touch changes.

use time::OffsetDateTime;

/// New times of a record, for [`Store::touch`](crate::store::Store::touch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Touch {
    /// When the session was used.
    pub last_seen: OffsetDateTime,
    /// When the record expires.
    pub expires_at: OffsetDateTime,
}

impl Touch {
    /// Creates a touch for a use at `last_seen`, after which the record expires at `expires_at`.
    #[must_use]
    pub const fn new(last_seen: OffsetDateTime, expires_at: OffsetDateTime) -> Self {
        Self { last_seen, expires_at }
    }
}
