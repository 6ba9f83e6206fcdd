//! Server-side sessions for axum and any tower HTTP service.
//!
//! A [`SessionLayer`] reads the session cookie, loads the [`Session`] when a handler asks for it, and commits the changes with
//! the response. The data is in a [`Store`](store::Store): [`MemoryStore`], a database behind a feature, or your own store.
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
//! # Guarantees
//!
//! - A change that was answered with success is in the session, however many requests run in parallel. Different keys merge,
//!   [`update`](Session::update) closures run one after another, and of two inserts of one key the later stays.
//! - An ended session stays ended: no concurrent request revives it.
//! - A rotated token opens nothing once the rotation is committed. Work that began before a sign-in never takes effect after it.
//! - The layer never adopts an id or a token that the server did not make.
//! - A request that does not use its session costs no store operation, and works while the store is down. Reading costs one
//!   `get`, and writing one more `set`.
//! - If the store fails, the client gets a 503, and no cookie for data that was not stored.
//! - A visitor without writes gets no cookie and no record. Expired records do not accumulate.
//!
//! # How it works
//!
//! The cookie carries a [`Token`]: the public [`SessionId`] and a secret. The record holds the SHA-256 of the secret, so that a
//! rotation is one conditional write of one record, and read access to the store does not reveal tokens.
//!
//! Each request keeps its changes as a change set. The commit applies them to the record as loaded, and writes the result if the
//! stored record still has the loaded version (optimistic concurrency). If another request has committed in between, the change
//! set is applied to the newer record. If the answer of the store is lost, the record tells whether the write took effect: it
//! holds the ids of its last commits.
//!
//! # Where to start
//!
#![cfg_attr(
    doc,
    doc = "- The [`guide`]: getting started, the life of a session, concurrency, stores, testing, proxies, moving from other crates."
)]
//! - [`Session`]: the handler's interface. [`Lifetime`]: the timeouts. [`SessionLayerBuilder`]: the settings.
//! - [`SessionHandle`]: for middleware, and for services without axum. [`Session::detach`]: for WebSockets and background work.
//! - [`Sessions`]: sessions outside a request, such as "sign out everywhere". [`Transient`]: values under string keys.
//! - `Session::transact`: one transaction with the application's own tables, in an SQL database.
#![cfg_attr(
    feature = "axum",
    doc = "- [`user`]: the application's user, guarded routes, redirects to the sign-in page. [`errors`]: own error pages."
)]
//! - [`acting`]: support staff who act as a user, without the user's password.
//! - [`csrf`]: tokens against forged requests. [`flash`]: messages for the next page.
//! - [`store`]: the storage contract.
#![cfg_attr(
    feature = "testing",
    doc = "  [`testing`]: a manual clock, test helpers, and the conformance suite for stores."
)]
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | yes | the extractors [`Session`], `Option<Session>`, [`SessionHandle`], `SignedIn`, `Option<SignedIn>`, `Csrf` and `CsrfForm` for axum 0.8, and `CsrfLayer`; [`Error`] is a response |
//! | `tracing` | yes | [events](event::Event) in the log: at `debug`, and at `warn` if an operator should act |
//! | `sqlite` | | `SqliteStore`: a file on one machine |
//! | `postgres` | | `PostgresStore` |
//! | `mysql` | | `MySqlStore`, for MySQL and MariaDB |
//! | `redis` | | `RedisStore`, for Redis 6.2 and later and Valkey: one server, Sentinel or Cluster |
//! | `tls-rustls` | | TLS for the connections of these stores, by rustls |
//! | `sealed` | | `SealedStore`: encrypted records, over any store |
//! | `signed`, `private` | | signed or encrypted session cookies, under a `KeyRing` |
//! | `migrate` | | takes over the sessions of other crates, so that users stay signed in |
//! | `testing` | | a manual clock, test helpers, and the conformance suite for stores |
//!
//! Features only add; none changes what another does.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Badges name only features that are for users.
#![cfg_attr(docsrs, doc(auto_cfg(hide(feature = "_keys", feature = "_network", feature = "_sql"))))]

pub mod acting;
mod backoff;
mod caching;
mod clock;
mod commit;
pub mod config;
mod cookie_path;
mod error;
#[cfg(feature = "axum")]
pub mod errors;
pub mod event;
mod failure;
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
mod stored_session;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transient;
mod transport;
#[cfg(feature = "axum")]
pub mod user;

pub use self::error::{Error, ErrorKind};
pub use self::layer::{SessionLayer, SessionLayerBuilder};
pub use self::lifetime::Lifetime;
pub use self::session::{Field, Session, SessionHandle, csrf, flash, key, passive};
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use self::session::{OpenTransaction, SessionWrite};
#[cfg(feature = "axum")]
pub use self::session::{RecentlySignedIn, SignedIn};
pub use self::sessions::{SessionPage, Sessions};
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
pub use self::stored_session::StoredSession;
pub use self::token::{SessionId, Token};
pub use self::transient::Transient;
/// An instant, of the crate `time`.
pub use time::OffsetDateTime;

/// Runs the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
