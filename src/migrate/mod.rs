//! Migration of the sessions of another crate, so that users stay signed in.
//!
//! A [`MigrationLayer`] runs inside the [`SessionLayer`](crate::SessionLayer). When a client sends the old cookie and no new
//! one, the layer loads the old session from its store, creates a new session with the same values, a new id and a new
//! token, and deletes the old record. The response sets the new cookie and removes the old one.
//!
//! ```
//! use axum::{Router, routing::get};
//! use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
//! use sessile::{Error, MemoryStore, Session, SessionLayer};
//! use sessile::store::StoreError;
//! use time::OffsetDateTime;
//!
//! /// Reads the table of the old sessions.
//! struct Old;
//!
//! impl LegacySessions for Old {
//!     async fn load(&self, cookie: &str) -> Result<Option<LegacySession>, StoreError> {
//!         // Look up the session by the cookie value.
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
//!     // The name of the old cookie.
//!     .with_name("id")?
//!     // The application stored its user under its own key.
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
//! # Ok::<(), sessile::config::ConfigError>(())
//! ```
//!
//! [`tower_sessions`] reads the stores of tower-sessions.
//!
//! # Guarantees
//!
//! - Concurrent requests with one old cookie get one session with one token: one conditional write decides which request
//!   moves the session. Their changes merge as usual.
//! - An old session is moved once, and a moved session that was ended stays ended. The store keeps a note of the move for
//!   as long as the old record could live, and for at least a day, even if the old record could not be deleted.
//! - The new session never takes over the old id. The note holds the new secret masked with a hash of the old cookie, under
//!   a key that is another hash of the old cookie, so read access to the store reveals neither.
//! - If either store fails, the client gets a 503, and its next request tries again.
//! - An old record that cannot be read stays, with its cookie, and raises the event
//!   [`Corrupt`](crate::event::EventKind::Corrupt).
//!
//! # Cost
//!
//! A request without the old cookie, or with a new one, costs no store operation. A request with only the old cookie costs at
//! most two reads of the note and one load of the old session. The layer leaves an unknown old cookie in place, so each
//! request with one pays again.
//!
//! # Rollout
//!
//! Switch all nodes within a short time: writes of an old node to a session that was already moved are lost. Once the last
//! old session has expired, remove the layer and drop the old table.
//!
//! Until then [`Sessions`](crate::Sessions) does not reach a session that was not moved yet: neither
//! [`end_all_of`](crate::Sessions::end_all_of) nor [`end_all_of_in_every_realm`](crate::Sessions::end_all_of_in_every_realm) ends it. Where
//! the application calls them, it first deletes the user's sessions in the old store, as before. A stamp, which
//! `LegacySession::set_stamp` sets, signs the user out after a change of the password.

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

/// The store of the old sessions.
///
/// The cookie value is passed on unchecked: a client can send any value. A value that opens a session must be a secret of
/// at least 64 random bits, as the ids of the known crates are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read the sessions of another crate",
    label = "no `LegacySessions`",
    note = "implement `sessile::migrate::LegacySessions`, or take a reader of `sessile::migrate::tower_sessions`"
)]
pub trait LegacySessions: Send + Sync + 'static {
    /// Returns the session that this cookie opens; `None` if it is missing or expired.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) if the stored session cannot be read;
    /// [`Unavailable`](crate::store::StoreErrorKind::Unavailable) if the store cannot be reached.
    fn load(&self, cookie: &str) -> impl Future<Output = Result<Option<LegacySession>, StoreError>> + Send;

    /// Deletes the session that this cookie opens, if it exists.
    ///
    /// # Errors
    ///
    /// If the store cannot confirm that the session is deleted.
    fn delete(&self, cookie: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}
