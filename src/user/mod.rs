//! The signed-in user, as the application has it.
//!
//! A session has an owner, which is text. [`Users`] turns it into the application's own user, [`UserLayer`] loads that at most
//! once per request, and the extractor [`User`] gives it to handlers. A user whose credentials have changed, or who is gone, is
//! signed out. [`UserGuard`] protects routes: it redirects visitors to the sign-in page, and asks the application for permission.
//!
//! Sign users in with [`CurrentUser::sign_in`], not with [`Session::sign_in`](crate::Session::sign_in): if users have a
//! [stamp](Users::stamp) of their credentials, a session without one ends at the next look-up.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use axum::extract::Query;
//! use axum::response::Redirect;
//! use axum::routing::{get, post};
//! use axum::Router;
//! use sessile::user::{CurrentUser, LocalPath, NextPath, Stamp, User, UserGuard, UserLayer, Users};
//! use sessile::{Error, MemoryStore, SessionLayer};
//!
//! #[derive(Clone)]
//! struct Account {
//!     id: u64,
//!     name: String,
//!     is_admin: bool,
//!     password_hash: String,
//! }
//!
//! /// Reads accounts from the application's database.
//! struct Accounts;
//!
//! impl Users for Accounts {
//!     type Id = u64;
//!     type User = Account;
//!     type Error = Infallible;
//!
//!     async fn find(&self, id: &u64) -> Result<Option<Account>, Infallible> {
//!         Ok(Some(Account { id: *id, name: "Ada".into(), is_admin: *id == 1, password_hash: "$argon2id$…".into() }))
//!     }
//!
//!     fn id(account: &Account) -> u64 {
//!         account.id
//!     }
//!
//!     fn stamp(&self, account: &Account) -> Stamp {
//!         Stamp::from_password_hash(b"a secret of this site", account.password_hash.as_bytes())
//!     }
//! }
//!
//! async fn sign_in(user: CurrentUser<Accounts>, Query(query): Query<NextPath>) -> Result<Redirect, Error> {
//!     // After the password was checked:
//!     let account = user.users().find(&1).await.unwrap().expect("the account that has signed in");
//!     user.sign_in(&account).await?;
//!     Ok(Redirect::to(query.next_or("/").as_str()))
//! }
//!
//! async fn home(User(account): User<Accounts>) -> String {
//!     format!("hello, {}", account.name)
//! }
//!
//! let admin = Router::new()
//!     .route("/admin", get(home))
//!     .route_layer(UserGuard::<Accounts>::new().with_permission(async |account: Account| account.is_admin));
//! let app: Router = Router::new()
//!     .route("/", get(home))
//!     .merge(admin)
//!     .route_layer(UserGuard::<Accounts>::new().with_sign_in_page(LocalPath::from_static("/sign-in")))
//!     .route("/sign-in", post(sign_in))
//!     .layer(UserLayer::new(Accounts))
//!     .layer(SessionLayer::new(MemoryStore::new()));
//! ```

mod current;
mod guard;
mod layer;
mod local_path;
mod stamp;
mod stamps;

use std::error::Error as StdError;
use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;

pub use self::current::{CurrentUser, User};
pub use self::guard::{GuardFuture, GuardService, UserGuard};
pub use self::layer::{UserLayer, UserService};
pub use self::local_path::{LocalPath, NextPath};
pub use self::stamp::Stamp;
#[cfg(feature = "migrate")]
pub(crate) use self::stamps::signed_in_with;

/// The users of an application, by the owner of a session.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not look users up",
    label = "not a `Users`",
    note = "name the type that implements `Users`, such as `Accounts`, and not the type of one user"
)]
pub trait Users: Send + Sync + 'static {
    /// The id of a user. Its text is the owner of the user's sessions.
    type Id: Display + FromStr + Send + Sync;
    /// A user. Handlers of one request get clones.
    type User: Clone + Send + Sync + 'static;
    /// An error of the database.
    type Error: Into<Box<dyn StdError + Send + Sync>>;

    /// Returns the user of this id; `None` if it is gone, which signs the session out.
    ///
    /// # Errors
    ///
    /// If the database fails. The client gets 503 and stays signed in.
    fn find(&self, id: &Self::Id) -> impl Future<Output = Result<Option<Self::User>, Self::Error>> + Send;

    /// Returns the id of a user.
    fn id(user: &Self::User) -> Self::Id;

    /// Checks whether `actor` may [act](crate::acting) as `user`, at the beginning and whenever a request looks the user up.
    ///
    /// It asks no database: load in [`find`](Self::find) what it needs. The provided method refuses.
    fn may_act_as(&self, actor: &Self::User, user: &Self::User) -> bool {
        let _ = (actor, user);
        false
    }

    /// Returns the stamp of the user's credentials: once it has changed, the sessions from before are signed out.
    ///
    /// The provided method returns [none](Stamp::none): no change signs a session out.
    fn stamp(&self, user: &Self::User) -> Stamp {
        let _ = user;
        Stamp::none()
    }
}
