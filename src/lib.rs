//! Server-side sessions for axum and for any tower HTTP service.
//!
//! A [`SessionLayer`] reads a cookie, gives every request a [`Session`] that is loaded when a handler asks for it, and
//! commits what changed with the response. The data lives in a [`Store`]: [`MemoryStore`], a database behind a feature of
//! its own, or a store of yours.
//!
//! ```
//! use axum::{Json, Router, routing::{get, post}};
//! use sessile::{Error, Field, MemoryStore, Session, SessionLayer};
//!
//! const CART: Field<Vec<String>> = Field::new("cart");
//!
//! async fn visits(session: Session) -> Result<String, Error> {
//!     let n = session.update_now("visits", |n: &mut u32| { *n += 1; *n }).await?;
//!     Ok(format!("visit {n}"))
//! }
//!
//! async fn add(session: Session, Json(item): Json<String>) -> Result<(), Error> {
//!     session.update(CART, move |cart| cart.push(item))
//! }
//!
//! let app: Router = Router::new()
//!     .route("/", get(visits))
//!     .route("/cart", post(add))
//!     .layer(SessionLayer::new(MemoryStore::new()));
//! ```
//!
//! # What holds
//!
//! - A change that was answered with success is in the session, however many requests run at once. Different keys
//!   merge, [`update`](Session::update) closures run one after another, and of two inserts of one key the later stays.
//! - A session that was ended stays ended: no request that is still under way brings it back.
//! - A token that was rotated out opens nothing from that commit on. Work begun before a sign-in never lands after.
//! - An id or token that the server did not make is never adopted.
//! - A request that does not use its session costs no store operation, and works while the store is down. Reading costs
//!   one `get`, writing one `set` more.
//! - If the store fails, the client is told (503), and no cookie is sent for what was not stored.
//! - A visitor for whom nothing is written gets no cookie and no record. Expired records do not accumulate.
//!
//! # How it does that
//!
//! The cookie carries a [`Token`]: the session's public [`SessionId`] and a secret. The record keeps the SHA-256 of the
//! secret alone, so rotating the token is one conditional write of one record, and who reads the store learns no token.
//!
//! Each request keeps what it does as a change set. At the end it is applied to the record as it was loaded, and written
//! on the condition that the record is still of that version. If another request was quicker, the change set is applied
//! again, to the newer record. If an answer of the store is lost, the record says whether the write took effect: it
//! holds the names of its last commits.
//!
//! # Where to go from here
//!
#![cfg_attr(
    doc,
    doc = "- The [`guide`]: getting started, how a session lives, concurrency, stores, testing, proxies, moving from other crates."
)]
//! - [`Session`]: what a handler can do. [`Lifetime`]: how long sessions live. [`SessionLayerBuilder`]: the settings.
//! - [`SessionHandle`]: for middleware, and for services without axum. [`Session::detach`]: for WebSockets and background work.
//! - [`Sessions`]: sessions outside of a request, "sign out everywhere" among them. [`Transient`]: values under any string key.
//! - [`Session::csrf_token`]: against forged requests, with `CsrfLayer`, `CsrfForm` and `Csrf` to check it.
//!   [`Session::flash`]: messages for the next page.
//! - [`Store`]: the contract of a store.
#![cfg_attr(feature = "testing", doc = "  [`testing`]: a clock to move, and the suite that tries every rule of it.")]
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `axum` | yes | the extractors [`Session`], `Option<Session>`, [`SessionHandle`], `SignedIn`, `Csrf` and `CsrfForm` for axum 0.8, and `CsrfLayer`; [`Error`] is a response |
//! | `tracing` | yes | [events](event::Event) in the log: at `debug`, and at `warn` what an operator must act on |
//! | `sqlite` | | `SqliteStore`: a file, on one machine |
//! | `postgres` | | `PostgresStore` |
//! | `mysql` | | `MySqlStore`, for MySQL and MariaDB |
//! | `redis` | | `RedisStore`, for Redis 6.2 and later and Valkey: one server, Sentinel or Cluster |
//! | `tls-rustls` | | TLS for the connections of these stores, by rustls |
//! | `sealed` | | `SealedStore`: records that are encrypted where they are stored, on any store |
//! | `signed`, `private` | | session cookies that are signed, or encrypted, under a `KeyRing` |
//! | `migrate` | | takes over the sessions of other crates: nobody is signed out by the move |
//! | `testing` | | a clock that tests can move, and the conformance suite for stores |
//!
//! Features only ever add: none changes what another does.
//!
//! [`Store`]: store::Store

#![cfg_attr(docsrs, feature(doc_cfg))]
// Badges name features that are there to be switched on.
#![cfg_attr(docsrs, doc(auto_cfg(hide(feature = "_keys", feature = "_network", feature = "_sql"))))]

mod backoff;
mod clock;
mod commit;
pub mod config;
mod error;
pub mod event;
mod future;
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(feature = "_keys")]
mod keys;
mod layer;
mod lifetime;
#[cfg(feature = "migrate")]
pub mod migrate;
mod plain_http;
mod queue;
mod record;
mod request;
pub mod service;
mod session;
mod sessions;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transient;
mod transport;

pub use self::error::{Error, ErrorKind};
pub use self::layer::{SessionLayer, SessionLayerBuilder};
pub use self::lifetime::Lifetime;
pub use self::session::{Field, Session, SessionHandle, csrf, flash, key};
#[cfg(feature = "axum")]
pub use self::session::{RecentlySignedIn, SignedIn};
pub use self::sessions::{Sessions, StoredSession};
pub use self::store::memory::MemoryStore;
#[cfg(feature = "mysql")]
pub use self::store::mysql::MySqlStore;
#[cfg(feature = "postgres")]
pub use self::store::postgres::PostgresStore;
#[cfg(feature = "redis")]
pub use self::store::redis::RedisStore;
#[cfg(feature = "sealed")]
pub use self::store::sealed::SealedStore;
#[cfg(feature = "sqlite")]
pub use self::store::sqlite::SqliteStore;
pub use self::token::{SessionId, Token};
pub use self::transient::Transient;

/// The front page's code is compiled and run, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
