//! Sessions of another crate, taken over so that nobody is signed out by the move.
//!
//! A [`MigrationLayer`] stands inside the [`SessionLayer`](crate::SessionLayer). When a client comes with the old cookie and
//! without one of ours, its old session is looked up where it was kept, its values become those of a new session, with a
//! new id and a new token, and the old record is deleted. The client gets our cookie, and the old one is removed. From
//! then on it is a session like any other.
//!
//! ```
//! use axum::{Router, routing::get};
//! use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
//! use sessile::{Error, MemoryStore, Session, SessionLayer};
//! use sessile::store::StoreError;
//! use time::OffsetDateTime;
//!
//! /// Reads what the application kept until now.
//! struct Old;
//!
//! impl LegacySessions for Old {
//!     async fn load(&self, cookie: &str) -> Result<Option<LegacySession>, StoreError> {
//!         // Look it up by the cookie's value, in the table of old.
//!         Ok(None)
//!     }
//!
//!     async fn delete(&self, cookie: &str) -> Result<(), StoreError> {
//!         Ok(())
//!     }
//! }
//!
//! async fn visits(session: Session) -> Result<String, Error> {
//!     let n = session.update_now("visits", |n: &mut u32| { *n += 1; *n }).await?;
//!     Ok(format!("visit {n}"))
//! }
//!
//! let migration = MigrationLayer::new(Old)
//!     // The name of the cookie until now.
//!     .with_name("id")
//!     // The application kept who is signed in under a key of its own.
//!     .with_conversion(|old| {
//!         if let Some(user) = old.get::<u64>("user_id")? {
//!             old.sign_in(&format!("user:{user}"), OffsetDateTime::UNIX_EPOCH);
//!         }
//!         Ok(())
//!     });
//! let app: Router = Router::new()
//!     .route("/", get(visits))
//!     .layer(migration)
//!     .layer(SessionLayer::new(MemoryStore::new()));
//! ```
//!
//! [`tower_sessions`] has readers of what tower-sessions keeps.
//!
//! # What holds
//!
//! - Requests that come with one old cookie at the same time get one session, with one token: which of them moves it is decided
//!   by one conditional write. What they write merges, as ever.
//! - An old session is moved once. Moved and then signed out, it does not come back: that it was moved is noted in the
//!   store for as long as the old record could live, and a day at least, whether or not its deletion worked.
//! - An old id is never adopted: the new session has an id and a secret of its own. Neither is stored in the clear: the note
//!   holds the secret masked by a hash of the old cookie, and lies under another hash of it.
//! - If either store fails, the answer is 503, and the next request tries again.
//! - An old record that cannot be read is left alone, and so is its cookie; it is an event ([`Corrupt`](crate::event::EventKind::Corrupt)).
//!
//! # What it costs
//!
//! A request without the old cookie, or with one of ours: no store operation. One with the old cookie alone: at most a get
//! of the note and a look-up of the old session, each time where there is none, since an unknown cookie is left alone.
//!
//! # How to go about it
//!
//! Switch all nodes over within a short time: what a node of the old release still writes to an old session after it was moved is
//! not seen. When the longest-lived of the old sessions is over, take the layer out, and drop the old table.

mod layer;
mod legacy;
mod moving;
mod service;
pub mod tower_sessions;

use std::future::Future;

pub use self::layer::MigrationLayer;
pub use self::legacy::LegacySession;
pub use self::service::{MigrationFuture, MigrationService};

use crate::error::StoreError;

/// Where the sessions of old are kept.
///
/// A value of a cookie is handed over as it came: a client may have made it up. What opens an old session must be a secret of
/// 64 random bits at least, as the ids of the known crates are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read the sessions of another crate",
    label = "no `LegacySessions`",
    note = "implement `sessile::migrate::LegacySessions`, or take a reader of `sessile::migrate::tower_sessions`"
)]
pub trait LegacySessions: Send + Sync + 'static {
    /// The session that this cookie opens; `None` where there is none, or it has expired.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) where what is kept cannot be read;
    /// [`Unavailable`](crate::store::StoreErrorKind::Unavailable) where it cannot be asked for.
    fn load(&self, cookie: &str) -> impl Future<Output = Result<Option<LegacySession>, StoreError>> + Send;

    /// Deletes the session that this cookie opens, if there is one.
    ///
    /// # Errors
    ///
    /// Where it cannot be told that it is deleted.
    fn delete(&self, cookie: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}
