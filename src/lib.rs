//! Server-side sessions for axum and for any tower HTTP service.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod config;
mod error;
mod event;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod layer;
mod record;
mod service;
mod session;
mod sessions;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transient;
mod transport;

pub use tower_cookies::cookie::SameSite;

pub use self::clock::Clock;
pub use self::config::ConfigError;
pub use self::error::{Error, ErrorKind, StoreError, StoreErrorKind};
pub use self::event::{Event, EventKind};
#[cfg(feature = "axum")]
pub use self::extract::SignedIn;
pub use self::future::ResponseFuture;
pub use self::layer::{SessionLayer, SessionLayerBuilder};
pub use self::record::{Record, RecordParts, Version};
pub use self::service::SessionService;
pub use self::session::{Field, Key, KeyName, Lifetime, Main, Session, SessionHandle};
pub use self::sessions::{Sessions, StoredSession};
pub use self::store::{Expected, MemoryStore, Outcome, Store, Touch};
pub use self::token::{SessionId, Token};
pub use self::transient::Transient;
