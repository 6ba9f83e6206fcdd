//! Sessions in a transaction with the application's own tables: an order is stored and the cart is emptied, or neither.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::databases;
use crate::nodes::Answer;
use crate::patience::{Patient, patient_layer};
use crate::proxy::Proxy;
use crate::servers::{Directory, PATIENCE, Server};
use crate::support::client::Client;
use crate::support::site::Site;

use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use sessile::acting::{Acting, ActingLayer};
use sessile::config::KeyRing;
use sessile::store::{SqlParameter, Store};
use sessile::{
    Error, ErrorKind, Field, MySqlStore, PostgresStore, SealedStore, Session, SessionHandle, SessionLayer,
    SessionWrite, SqliteStore, Token,
};
use sqlx::{MySql, Postgres, Sqlite};
use tower::{Layer, ServiceExt};

const CART: Field<String> = Field::new("cart");
const COUNT: Field<u64> = Field::new("count");

/// The databases of a test: files in a directory, or those of a server.
enum Databases {
    Files(Directory),
    Server(Server),
}

impl Databases {
    /// Returns the URL of a database, for a server at this port instead of its own.
    fn url(&self, name: &str, port: Option<u16>) -> String {
        match self {
            Self::Files(directory) => format!("sqlite:{}/{name}.db", directory.path().display()),
            Self::Server(server) => {
                let url = server.url_at(port.unwrap_or(server.port()));
                format!("{}/{name}", url.rsplit_once('/').unwrap().0)
            }
        }
    }
}

/// An error of a handler, as an application has it.
#[derive(Debug)]
enum ShopError {
    Session(Error),
    Database(sqlx::Error),
    SoldOut,
}

impl From<Error> for ShopError {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<sqlx::Error> for ShopError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl std::error::Error for ShopError {
    /// Hides the error of sqlx, as a transparent error does.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Session(error) => error.source(),
            Self::Database(error) => error.source(),
            Self::SoldOut => None,
        }
    }
}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ShopError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Session(error) => error.status(),
            Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::SoldOut => StatusCode::CONFLICT,
        }
    }

    fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Session(error) => Some(error.kind()),
            Self::Database(_) | Self::SoldOut => None,
        }
    }
}

/// Sends a request with this cookie to a handler.
async fn call<R>(layer: &SessionLayer, cookie: Option<&str>, handler: impl FnOnce(Session) -> R) -> Answer
where
    R: Future<Output = Result<(), ShopError>>,
{
    let handler = Mutex::new(Some(handler));
    let service = tower::service_fn(|request: Request<Body>| {
        let handler = handler.lock().unwrap().take().unwrap();
        async move {
            let handle = request.extensions().get::<SessionHandle>().unwrap().clone();
            let done = match handle.load().await {
                Ok(session) => handler(session).await,
                Err(error) => Err(error.into()),
            };
            let status = done.map_or_else(|error| error.status(), |()| StatusCode::OK);
            Ok::<_, std::convert::Infallible>(Response::builder().status(status).body(Body::empty()).unwrap())
        }
    });
    let mut request = Request::post("/");
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    let response = layer.layer(service).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let cookie = response.headers().get(header::SET_COOKIE);
    let cookie = cookie.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
    Answer { status: response.status(), cookie, body: String::new() }
}

/// Starts a session with a cart, and returns its cookie.
async fn begin(layer: &SessionLayer) -> String {
    call(layer, None, async |session| Ok(session.insert(CART, "tea")?)).await.cookie.unwrap()
}

fn token(cookie: &str) -> Token {
    Token::parse(cookie.split_once('=').unwrap().1.as_bytes()).unwrap()
}

/// Polls a future as its tasks wake it, and drops it after this many polls.
async fn dropped_after<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // The poll after the last one finds no more to do.
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Returns a new key of an order.
fn new_key() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // Processes of one test have different keys.
    ((std::process::id() % 10_000) << 16) + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the times between kills: random ones, up to half a second.
fn pauses() -> impl Iterator<Item = Duration> {
    let mut random = std::hash::RandomState::new().build_hasher();
    (0..4).map(move |number| {
        random.write_u64(number);
        Duration::from_millis(random.finish() % 500)
    })
}

/// Declares the tests of a database: its type, its store, a new one, the statement that begins a transaction, a statement that
/// fails as after a deadlock, and the name of the test that kills the server.
macro_rules! transaction_tests {
    ($name:ident, $Database:ty, $Store:ident, $new:expr, $begin:literal, $deadlock:expr $(, $kills:ident)?) => {
        mod $name {
            use super::*;

            /// Sessions take part in the application's transactions.
            #[tokio::test(flavor = "multi_thread")]
            async fn sessions_take_part_in_transactions() {
                let databases = &$new;
                macro_rules! run {
                    ($check:ident) => {
                        let began = Instant::now();
                        $check(databases).await;
                        eprintln!("{} took {:?}", stringify!($check), began.elapsed());
                    };
                }
                run!(order_and_cart_change_together_or_not_at_all);
                run!(earlier_changes_survive_a_conflict);
                run!(a_sign_in_is_part_of_the_transaction);
                run!(a_transaction_refuses_what_it_cannot_do);
                run!(a_session_that_is_no_longer_the_same_is_refused);
                run!(a_transaction_on_another_database_is_refused);
                run!(a_detached_session_needs_to_be_stored);
                run!(a_dropped_commit_leaves_both_or_neither);
                run!(a_dropped_sign_up_sends_its_token_or_did_not_happen);
                run!(a_lost_connection_leaves_both_or_neither);
                run!(parallel_increments_of_session_and_table_agree);
                run!(a_transaction_runs_again_after_a_conflict);
                run!(sealed_and_renamed_stores_take_part);
                run!(the_outcome_of_a_foreign_transaction_is_found);
            }

            $(/// Orders and their counts agree after the server was killed at random moments.
            #[tokio::test(flavor = "multi_thread")]
            async fn $kills() {
                let databases = $new;
                let shop = Shop::open(&databases).await;
                let (store, layer, url) = (shop.store.clone(), shop.layer.clone(), databases.url(&shop.name, None));
                drop(shop);
                let pool: Pool = sqlx::pool::PoolOptions::new().max_connections(4).connect(&url).await.unwrap();
                let cookies = futures_util::future::join_all((0..4).map(|_| begin(&layer))).await;
                let is_over = &AtomicBool::new(false);
                let killing = tokio::task::spawn_blocking(move || {
                    let Databases::Server(mut server) = databases else { unreachable!() };
                    for wait in pauses() {
                        std::thread::sleep(wait);
                        server.kill();
                        server.start();
                    }
                    server
                });
                let orders = cookies.iter().map(async |cookie| {
                    let (mut acknowledged, mut requests) = (0, 0);
                    while !is_over.load(Ordering::SeqCst) {
                        let status = call(&layer, Some(cookie), |session| count_order(session, &pool)).await.status;
                        acknowledged += u64::from(status == StatusCode::OK);
                        requests += 1;
                        tokio::task::yield_now().await;
                    }
                    (acknowledged, requests)
                });
                let killed = async {
                    let server = killing.await.unwrap();
                    is_over.store(true, Ordering::SeqCst);
                    server
                };
                let (server, reports) = tokio::join!(killed, futures_util::future::join_all(orders));
                let orders = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM orders").fetch_one(store.pool());
                let (mut orders, mut counted) = (u64::try_from(orders.await.unwrap()).unwrap(), 0);
                for (cookie, (acknowledged, requests)) in cookies.iter().zip(reports) {
                    let stored = layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap();
                    let count = stored.get(COUNT).unwrap().unwrap_or_default();
                    assert!((acknowledged..=requests).contains(&count), "{count} of {acknowledged} to {requests}");
                    orders -= count;
                    counted += count;
                }
                eprintln!("{counted} orders were counted");
                assert_eq!(orders, 0, "some orders were not counted");
                drop(server);
            })?

            /// Stores an order and counts it in the session.
            pub(super) async fn count_order(session: Session, pool: &Pool) -> Result<(), ShopError> {
                session
                    .transact(pool, |mut transaction, s| async move {
                        insert(&mut transaction, new_key()).await?;
                        Ok(s.update(COUNT, |count| *count += 1)?)
                    })
                    .await
            }

            type Transaction = sqlx::Transaction<'static, $Database>;
            type Pool = sqlx::Pool<$Database>;

            /// A shop: its database, its sessions and its own pool of one connection.
            struct Shop<'a> {
                store: $Store,
                layer: SessionLayer,
                pool: Pool,
                databases: &'a Databases,
                name: String,
            }

            async fn pool_at(url: &str) -> Pool {
                sqlx::pool::PoolOptions::new().max_connections(1).connect(url).await.unwrap()
            }

            impl<'a> Shop<'a> {
                /// Creates a database.
                async fn open(databases: &'a Databases) -> Self {
                    let name = format!("shop{}", new_key());
                    if let Databases::Server(server) = databases {
                        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
                        sqlx::raw_sql(create).execute(&pool_at(&server.url()).await).await.unwrap();
                    }
                    let url = databases.url(&name, None);
                    let store = $Store::patient(&url).await;
                    store.migrate().await.unwrap();
                    let pool = pool_at(&url).await;
                    sqlx::raw_sql("CREATE TABLE orders (id bigint PRIMARY KEY)").execute(&pool).await.unwrap();
                    Self { layer: patient_layer(store.clone()), store, pool, databases, name }
                }

                async fn begin(&self) -> Transaction {
                    self.pool.begin_with($begin).await.unwrap()
                }

                /// Begins a transaction that stores an order.
                async fn order(&self, key: u32) -> Transaction {
                    let mut transaction = self.begin().await;
                    insert(&mut transaction, key).await.unwrap();
                    transaction
                }

                /// Has the connection prepare the statements: that of MySQL is unusable once a preparation was dropped.
                async fn prepare(&self) {
                    let answer = call(&self.layer, None, async |session| {
                        session.commit_with(self.order(new_key()).await, |s| s.insert(CART, "tea")).await?;
                        Ok(session.commit_with(self.begin().await, |s| s.insert(CART, "milk")).await?)
                    });
                    assert_eq!(answer.await.status, StatusCode::OK);
                }

                async fn has_order(&self, key: u32) -> bool {
                    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM orders WHERE id = {key}"));
                    sqlx::query_scalar::<_, i64>(count).fetch_one(&self.pool).await.unwrap() == 1
                }

                async fn cart(&self, cookie: &str) -> Option<String> {
                    let found = self.layer.sessions().find_by_token(&token(cookie)).await.unwrap();
                    found.expect("the session is there").get(CART).unwrap()
                }

                /// Returns whether the order is stored; the cart must then be empty, and full otherwise.
                async fn is_ordered(&self, key: u32, cookie: &str) -> bool {
                    let is_ordered = self.has_order(key).await;
                    assert_eq!(self.cart(cookie).await.is_none(), is_ordered, "one without the other");
                    is_ordered
                }
            }

            async fn insert(transaction: &mut Transaction, key: u32) -> Result<(), sqlx::Error> {
                let insert = sqlx::AssertSqlSafe(format!("INSERT INTO orders VALUES ({key})"));
                sqlx::query(insert).execute(&mut **transaction).await.map(drop)
            }

            /// Empties the cart in a transaction.
            async fn place(session: &Session, transaction: Transaction) -> Result<(), Error> {
                session.commit_with(transaction, |s| s.remove(CART).map(drop)).await
            }

            /// Order and cart change together on success, and neither on an error, a rollback or a conflict.
            async fn order_and_cart_change_together_or_not_at_all(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let cookie = &begin(&shop.layer).await;

                // The application fails before the commit, and in the closure.
                let key = new_key();
                let answer = call(&shop.layer, Some(cookie), async |_| {
                    drop(shop.order(key).await);
                    Err(ShopError::SoldOut)
                });
                assert_eq!(answer.await.status, StatusCode::CONFLICT);
                assert!(!shop.is_ordered(key, cookie).await);
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    let failed = session.commit_with(shop.order(key).await, |s| {
                        s.remove(CART)?;
                        assert!(s.get(CART)?.is_none() && session.get(CART)?.is_some());
                        s.update("cart", |wrong: &mut u32| *wrong += 1)?;
                        s.insert(CART, "x")?;
                        Err::<(), _>(s.get::<u32>("cart").unwrap_err())
                    });
                    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::TypeMismatch);
                    assert_eq!(session.get(CART)?.as_deref(), Some("tea"), "the view shows a change that was dropped");
                    Err(ShopError::SoldOut)
                });
                assert_eq!(answer.await.status, StatusCode::CONFLICT);
                assert!(!shop.is_ordered(key, cookie).await);

                // A conflict rolls back; earlier changes stay pending, and the second run succeeds.
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    session.insert("note", "earlier")?;
                    let other = call(&shop.layer, Some(cookie), async |other| Ok(other.insert("other", &1)?)).await;
                    assert_eq!(other.status, StatusCode::OK);
                    let conflict = place(&session, shop.order(key).await).await.unwrap_err();
                    assert_eq!(conflict.kind(), ErrorKind::Conflict, "{conflict:?}");
                    assert!(!shop.is_ordered(key, cookie).await);
                    assert_eq!(session.get::<String>("note")?.as_deref(), Some("earlier"));
                    session.reload().await?;
                    Ok(place(&session, shop.order(key).await).await?)
                });
                assert_eq!(answer.await.status, StatusCode::OK);
                assert!(shop.is_ordered(key, cookie).await);
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    assert_eq!(session.get::<u32>("other")?, Some(1));
                    assert_eq!(session.get::<String>("note")?.as_deref(), Some("earlier"));
                    session.insert(CART, "milk")?;
                    Ok(())
                });
                assert_eq!(answer.await.status, StatusCode::OK);

                // Changes before the call are part of the write, and later ones are committed with the response.
                let key = new_key();
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    session.update(COUNT, |count| *count += 1)?;
                    session.insert(CART, "more milk")?;
                    place(&session, shop.order(key).await).await?;
                    assert!(session.get(CART)?.is_none());
                    session.update(COUNT, |count| *count += 1)?;
                    Ok(())
                });
                assert_eq!(answer.await.status, StatusCode::OK);
                assert!(shop.is_ordered(key, cookie).await);
                let stored = shop.layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap();
                assert_eq!(stored.get(COUNT).unwrap(), Some(2));
            }

            /// A conflict that the handler ignores commits its earlier changes, and no change of the closure.
            async fn earlier_changes_survive_a_conflict(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let cookie = &begin(&shop.layer).await;
                let key = new_key();
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    session.update(COUNT, |count| *count += 1)?;
                    let _ = call(&shop.layer, Some(cookie), async |other| Ok(other.insert("other", &1)?)).await;
                    assert_eq!(place(&session, shop.order(key).await).await.unwrap_err().kind(), ErrorKind::Conflict);
                    session.update(COUNT, |count| *count += 10)?;
                    Ok(())
                });
                assert_eq!(answer.await.status, StatusCode::OK);
                assert!(!shop.is_ordered(key, cookie).await);
                let stored = shop.layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap();
                assert_eq!(stored.get(COUNT).unwrap(), Some(11));
            }

            /// A sign-up and a sign-in take effect with the transaction, and their tokens go out.
            async fn a_sign_in_is_part_of_the_transaction(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let (up, none) = (new_key(), new_key());
                let sign_up = async |session: Session, key: u32, fails: bool| {
                    let changes = session.commit_with(shop.order(key).await, |s| {
                        s.sign_in("user:1")?;
                        s.insert(CART, "tea")?;
                        if fails { s.insert("cart", &f64::NAN).and(s.get::<u32>("cart").map(drop)) } else { Ok(()) }
                    });
                    let result = changes.await;
                    assert_eq!(session.owner().is_some(), result.is_ok());
                    result.map_err(ShopError::from)
                };
                let answer = call(&shop.layer, None, |session| sign_up(session, none, true)).await;
                assert_eq!((answer.status, answer.cookie), (StatusCode::INTERNAL_SERVER_ERROR, None));
                assert!(!shop.has_order(none).await);
                assert!(shop.store.owned_by("user:1").await.unwrap().is_empty());
                let answer = call(&shop.layer, None, |session| sign_up(session, up, false)).await;
                assert_eq!(answer.status, StatusCode::OK);
                assert!(shop.has_order(up).await);
                assert_eq!(shop.cart(&answer.cookie.unwrap()).await.as_deref(), Some("tea"));

                // An anonymous session gets a new token, and the old one dies.
                let (cookie, key) = (begin(&shop.layer).await, new_key());
                let answer = call(&shop.layer, Some(&cookie), async |session| {
                    Ok(session.commit_with(shop.order(key).await, |s| s.sign_in("user:2")).await?)
                })
                .await;
                assert_eq!(answer.status, StatusCode::OK);
                let renewed = answer.cookie.unwrap();
                assert!(shop.has_order(key).await && shop.cart(&renewed).await.is_some());
                assert!(shop.layer.sessions().find_by_token(&token(&cookie)).await.unwrap().is_none());

                // A visitor whose transaction writes nothing to the session gets no cookie.
                let key = new_key();
                let answer = call(&shop.layer, None, async |session| {
                    Ok(session.commit_with(shop.order(key).await, |_| Ok(())).await?)
                });
                assert_eq!(answer.await.cookie, None);
                assert!(shop.has_order(key).await);
            }

            /// Whatever a transaction cannot do is refused, and nothing is done.
            async fn a_transaction_refuses_what_it_cannot_do(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let sign_in = async |session: Session| {
                    session.insert(CART, "tea")?;
                    Ok(session.sign_in("user:1")?)
                };
                let key = new_key();
                type Change = fn(&Session) -> Result<(), Error>;
                for change in [|s| s.sign_in("user:2"), |s| s.end(), |s| s.sign_out()] as [Change; 3] {
                    let cookie = call(&shop.layer, None, sign_in).await.cookie.unwrap();
                    let answer = call(&shop.layer, Some(&cookie), async |session| {
                        let refused = session.commit_with(shop.order(key).await, change).await.unwrap_err();
                        assert_eq!(refused.kind(), ErrorKind::InvalidTransaction, "{refused:?}");
                        // The same before the call.
                        change(&session)?;
                        let refused = place(&session, shop.order(key).await).await.unwrap_err();
                        assert_eq!(refused.kind(), ErrorKind::InvalidTransaction, "{refused:?}");
                        Err(ShopError::SoldOut)
                    });
                    assert_eq!(answer.await.status, StatusCode::CONFLICT);
                    assert!(!shop.has_order(key).await);
                }
                // Another kind of database, and a store in none.
                let files = sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap();
                for layer in [&shop.layer, &SessionLayer::new(sessile::MemoryStore::new())] {
                    let answer = call(layer, None, async |session| {
                        let transaction = files.begin().await?;
                        let refused = session.commit_with(transaction, |s| s.insert(CART, "tea")).await.unwrap_err();
                        assert_eq!(refused.kind(), ErrorKind::InvalidTransaction, "{refused:?}");
                        Ok(())
                    });
                    assert_eq!(answer.await.cookie, None);
                }
            }

            /// A transaction has no effect if the session has ended or changed hands, or an earlier commit is in doubt.
            async fn a_session_that_is_no_longer_the_same_is_refused(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                type Change = fn(&Session) -> Result<(), Error>;
                let changes = [
                    (ErrorKind::Superseded, (|s| s.sign_in("user:1")) as Change),
                    (ErrorKind::Ended, |s| s.end()),
                ];
                for (kind, change) in changes {
                    let (cookie, key) = (&begin(&shop.layer).await, new_key());
                    let answer = call(&shop.layer, Some(cookie), async |session| {
                        let other = call(&shop.layer, Some(cookie), async |other| Ok(change(&other)?));
                        assert_eq!(other.await.status, StatusCode::OK);
                        let refused = place(&session, shop.order(key).await).await.unwrap_err();
                        assert_eq!(refused.kind(), kind, "{refused:?}");
                        Ok(())
                    });
                    assert_eq!(answer.await.cookie, None);
                    assert!(!shop.has_order(key).await);
                }
                let (cookie, key) = (&begin(&shop.layer).await, new_key());
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    session.insert("note", "earlier")?;
                    assert!(dropped_after(1, session.commit()).await.is_none());
                    let refused = place(&session, shop.order(key).await).await.unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::InvalidTransaction, "{refused:?}");
                    assert!(!shop.is_ordered(key, cookie).await);
                    session.commit().await?;
                    Ok(place(&session, shop.order(key).await).await?)
                });
                assert_eq!(answer.await.status, StatusCode::OK);
                assert!(shop.is_ordered(key, cookie).await);
            }

            /// A transaction on another database is refused, with and without a table of sessions there.
            async fn a_transaction_on_another_database_is_refused(databases: &Databases) {
                let (shop, other) = (&Shop::open(databases).await, &Shop::open(databases).await);
                let cookie = &begin(&shop.layer).await;
                let key = new_key();
                for has_table in [true, false] {
                    if !has_table {
                        sqlx::raw_sql("DROP TABLE sessile_sessions").execute(&other.pool).await.unwrap();
                    }
                    for is_new in [true, false] {
                        let answer = call(&shop.layer, Some(cookie).filter(|_| !is_new).map(|c| c.as_str()), async |session| {
                            let transaction = other.order(key).await;
                            let refused = session.commit_with(transaction, |s| s.insert(CART, "x")).await;
                            // Where the table exists, a new session is written: nothing tells the two databases apart.
                            if is_new && has_table {
                                return Ok(refused?);
                            }
                            let refused = refused.unwrap_err();
                            assert_eq!(refused.kind(), ErrorKind::InvalidTransaction, "{refused:?}");
                            if has_table {
                                assert!(refused.to_string().contains("another database"), "{refused}");
                            }
                            Err(ShopError::SoldOut)
                        });
                        let is_written = answer.await.status == StatusCode::OK;
                        assert_eq!(is_written, is_new && has_table);
                        sqlx::raw_sql("DELETE FROM orders").execute(&other.pool).await.unwrap();
                    }
                }
                assert!(!shop.is_ordered(key, cookie).await);
            }

            /// A detached session commits with a transaction once it is stored.
            async fn a_detached_session_needs_to_be_stored(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let cookie = &begin(&shop.layer).await;
                let key = new_key();
                let answer = call(&shop.layer, None, async |session| {
                    let unsaved = place(&session.detach(), shop.order(key).await).await;
                    assert_eq!(unsaved.unwrap_err().kind(), ErrorKind::Detached);
                    session.insert(CART, "tea")?;
                    let promised = place(&session.detach(), shop.order(key).await).await;
                    assert_eq!(promised.unwrap_err().kind(), ErrorKind::Detached);
                    Ok(())
                });
                assert_eq!(answer.await.status, StatusCode::OK);
                let mut detached = None;
                let _ = call(&shop.layer, Some(cookie), async |session| {
                    detached = Some(session.detach());
                    Ok(())
                })
                .await;
                place(&detached.unwrap(), shop.order(key).await).await.unwrap();
                assert!(shop.is_ordered(key, cookie).await);
            }

            /// A commit that was dropped at any poll leaves both or neither, also if its request answers with success.
            async fn a_dropped_commit_leaves_both_or_neither(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                shop.prepare().await;
                let mut effects = Vec::new();
                for polls in 0.. {
                    let (cookie, key) = (&begin(&shop.layer).await, new_key());
                    let mut done = None;
                    let answer = call(&shop.layer, Some(cookie), async |session| {
                        session.update(COUNT, |count| *count += 1)?;
                        let transaction = shop.order(key).await;
                        done = dropped_after(polls, place(&session, transaction)).await;
                        // Its connection is back in the pool, and so its transaction is over.
                        drop(shop.pool.acquire().await?);
                        Ok(())
                    });
                    let status = answer.await.status;
                    let is_ordered = shop.is_ordered(key, cookie).await;
                    let stored = shop.layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap();
                    let count = stored.get(COUNT).unwrap();
                    match status {
                        StatusCode::OK => assert_eq!(count, Some(1), "after {polls} polls"),
                        StatusCode::SERVICE_UNAVAILABLE => assert!(!is_ordered && count.is_none()),
                        other => panic!("{other} after {polls} polls"),
                    }
                    effects.push(is_ordered);
                    if done.is_some() {
                        break;
                    }
                }
                assert!(effects.len() > 2 && effects[0] != effects[effects.len() - 1], "{effects:?}");
            }

            /// A sign-up that was dropped during its `COMMIT` still sends its token, or has not taken place.
            async fn a_dropped_sign_up_sends_its_token_or_did_not_happen(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                shop.prepare().await;
                for polls in 0.. {
                    let (key, owner) = (new_key(), format!("user:{polls}"));
                    let mut done = None;
                    let answer = call(&shop.layer, None, async |session| {
                        let transaction = shop.order(key).await;
                        let sign_up = session.commit_with(transaction, |s| s.sign_in(&owner));
                        done = dropped_after(polls, sign_up).await;
                        drop(shop.pool.acquire().await?);
                        Ok(())
                    })
                    .await;
                    let is_ordered = shop.has_order(key).await;
                    let sessions = shop.store.owned_by(&owner).await.unwrap().len();
                    assert_eq!((sessions == 1, answer.cookie.is_some()), (is_ordered, is_ordered), "after {polls} polls");
                    if done.is_some() {
                        assert!(is_ordered);
                        break;
                    }
                }
            }

            /// A connection that is lost at any request or answer leaves both or neither, and the error says which.
            async fn a_lost_connection_leaves_both_or_neither(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let Databases::Server(server) = databases else { return };
                let proxy = Proxy::to(server.port()).await;
                let url = databases.url(&shop.name, Some(proxy.port()));
                let mut conflicts = None;
                for loses_answers in [false, true] {
                    let mut results = Vec::new();
                    for others in 0.. {
                        let (cookie, key) = (&begin(&shop.layer).await, new_key());
                        let pool = pool_at(&url).await;
                        let mut result = None;
                        let answer = call(&shop.layer, Some(cookie), async |session| {
                            let mut transaction = pool.begin_with($begin).await?;
                            insert(&mut transaction, key).await?;
                            if loses_answers {
                                proxy.lose_an_answer_after(others);
                            } else {
                                proxy.lose_a_request_after(others);
                            }
                            let placed = place(&session, transaction).await;
                            result = Some(placed.as_ref().map_err(Error::kind).copied());
                            Ok(placed?)
                        });
                        let status = answer.await.status;
                        let is_ordered = shop.is_ordered(key, cookie).await;
                        let result = result.unwrap();
                        let expected = match result {
                            Ok(()) => (true, StatusCode::OK),
                            Err(ErrorKind::Conflict) => (false, StatusCode::CONFLICT),
                            Err(_) => (false, StatusCode::SERVICE_UNAVAILABLE),
                        };
                        assert_eq!((is_ordered, status), expected, "{result:?}");
                        results.push(result);
                        // Without a loss, or with one after the commit.
                        if !proxy.is_passing() || results.len() > 5 {
                            break;
                        }
                    }
                    proxy.pass();
                    let before = results.iter().position(|result| *result != Err(ErrorKind::Conflict)).unwrap();
                    // A lost `COMMIT` leaves the outcome open, and a lost answer does not: the record has it.
                    let at_commit = if loses_answers { Ok(()) } else { Err(ErrorKind::Unavailable) };
                    assert_eq!(results[before], at_commit, "{results:?}");
                    assert!(results[before + 1..].iter().all(Result::is_ok), "{results:?}");
                    assert_eq!(*conflicts.get_or_insert(before), before, "{results:?}");
                    assert!(before > 0, "{results:?}");
                }
                // A commit that was dropped after its `COMMIT` was lost is not written again without the order.
                for polls in 0.. {
                    let (cookie, key) = (&begin(&shop.layer).await, new_key());
                    let pool = pool_at(&url).await;
                    let mut done = None;
                    let answer = call(&shop.layer, Some(cookie), async |session| {
                        let mut transaction = pool.begin_with($begin).await?;
                        insert(&mut transaction, key).await?;
                        proxy.lose_a_request_after(u32::try_from(conflicts.unwrap()).unwrap());
                        done = dropped_after(polls, place(&session, transaction)).await;
                        Ok(())
                    });
                    let status = answer.await.status;
                    proxy.pass();
                    assert!(!shop.is_ordered(key, cookie).await, "the order and the empty cart after {polls} polls");
                    if done.is_some() {
                        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                        break;
                    }
                }
            }

            /// Parallel increments of the session and of a table agree, and none is lost.
            async fn parallel_increments_of_session_and_table_agree(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let create = "CREATE TABLE counter (n bigint); INSERT INTO counter VALUES (0)";
                sqlx::raw_sql(create).execute(&shop.pool).await.unwrap();
                let pool = &sqlx::pool::PoolOptions::new().max_connections(10);
                let pool: &Pool = &pool.clone().connect(&shop.databases.url(&shop.name, None)).await.unwrap();
                let cookie = &begin(&shop.layer).await;
                let runs = &AtomicU32::new(0);
                let increments = (0..50).map(async |_| {
                    // A client repeats a request that was refused.
                    while call(&shop.layer, Some(cookie), async |session| {
                        let add = session.transact(pool, |mut transaction, s| async move {
                            runs.fetch_add(1, Ordering::Relaxed);
                            sqlx::query("UPDATE counter SET n = n + 1").execute(&mut **transaction).await?;
                            s.update(COUNT, |count| *count += 1)?;
                            Ok(())
                        });
                        add.await
                    })
                    .await
                    .status
                        != StatusCode::OK
                    {}
                });
                futures_util::future::join_all(increments).await;
                let stored = shop.layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap();
                let table: i64 = sqlx::query_scalar("SELECT n FROM counter").fetch_one(&shop.pool).await.unwrap();
                eprintln!("50 increments took {} runs", runs.load(Ordering::Relaxed));
                assert_eq!((stored.get(COUNT).unwrap(), table), (Some(50), 50));
            }

            /// A transaction runs again after a conflict, with a session that is read anew, and up to eight times.
            async fn a_transaction_runs_again_after_a_conflict(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let cookie = &begin(&shop.layer).await;
                let deadlock: Option<&'static str> = $deadlock;
                for (conflicts, is_deadlock) in [(1, false), (7, false), (8, false), (7, true), (8, true)] {
                    if deadlock.is_none() {
                        // A transaction of SQLite excludes other writers, so that none can come between.
                        break;
                    }
                    let (key, runs) = (new_key(), &AtomicU32::new(0));
                    let answer = call(&shop.layer, Some(cookie), async |session| {
                        session.insert(CART, "tea")?;
                        let placed = session.transact(&shop.pool, |mut transaction, s| async move {
                            let run = runs.fetch_add(1, Ordering::Relaxed);
                            // Run by run, the session is the one of the other request.
                            assert_eq!(s.get::<u32>("other")?.unwrap_or_default() % 10, run);
                            insert(&mut transaction, key).await?;
                            s.remove(CART)?;
                            if run < conflicts {
                                let other = call(&shop.layer, Some(cookie), async |other| {
                                    Ok(other.update("other", |n: &mut u32| *n += 1)?)
                                });
                                assert_eq!(other.await.status, StatusCode::OK);
                                if is_deadlock {
                                    sqlx::raw_sql(deadlock.unwrap()).execute(&mut **transaction).await?;
                                }
                            }
                            Ok(run)
                        });
                        let placed: Result<u32, ShopError> = placed.await;
                        if conflicts == 8 {
                            assert_eq!(runs.load(Ordering::Relaxed), 8);
                            let error = placed.unwrap_err();
                            assert!(is_deadlock || error.kind() == Some(ErrorKind::Conflict), "{error:?}");
                            return Err(error);
                        }
                        assert_eq!(placed?, conflicts);
                        session.remove("other")?;
                        Ok(())
                    });
                    assert_eq!(answer.await.status == StatusCode::OK, conflicts < 8);
                    assert_eq!(shop.is_ordered(key, cookie).await, conflicts < 8);
                    let _ = call(&shop.layer, Some(cookie), async |session| Ok(session.remove("other").map(drop)?)).await;
                }

                // The second run has the session as another request has written it since it was loaded.
                let (key, runs) = (new_key(), &AtomicU32::new(0));
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    let other = call(&shop.layer, Some(cookie), async |other| Ok(other.insert(CART, "milk")?));
                    assert_eq!(other.await.status, StatusCode::OK);
                    let placed = session.transact(&shop.pool, |mut transaction, s| async move {
                        let is_first = runs.fetch_add(1, Ordering::Relaxed) == 0;
                        assert_ne!(s.get(CART)?.as_deref() == Some("milk"), is_first);
                        insert(&mut transaction, key).await?;
                        s.remove(CART)?;
                        Ok(())
                    });
                    placed.await
                });
                assert_eq!((answer.await.status, runs.load(Ordering::Relaxed)), (StatusCode::OK, 2));
                assert!(shop.is_ordered(key, cookie).await);

                // The closure cannot commit the session apart from the transaction.
                let key = new_key();
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    let other = SqliteStore::patient("sqlite::memory:").await;
                    let placed = session.transact(&shop.pool, |mut transaction, s| {
                        let other = other.pool().begin();
                        async move {
                            insert(&mut transaction, key).await?;
                            s.insert(CART, "juice")?;
                            let refused = [
                                s.commit().await,
                                s.update_now(COUNT, |count| *count += 1).await,
                                s.reload().await,
                                s.touch().await,
                                s.commit_with(other.await?, |_| Ok(())).await,
                                s.prepare_write(|_| Ok(())).await.map(drop),
                            ];
                            let kinds = refused.map(|refused| refused.unwrap_err().kind());
                            assert_eq!(kinds, [ErrorKind::InvalidTransaction; 6]);
                            Err::<(), _>(ShopError::SoldOut)
                        }
                    });
                    placed.await
                });
                assert_eq!(answer.await.status, StatusCode::CONFLICT);
                assert!(!shop.has_order(key).await && shop.cart(cookie).await.is_none());

                // An error of the application is no conflict.
                let (key, runs) = (new_key(), &AtomicU32::new(0));
                let answer = call(&shop.layer, Some(cookie), async |session| {
                    session.insert(CART, "tea")?;
                    let placed = session.transact(&shop.pool, |mut transaction, s| async move {
                        runs.fetch_add(1, Ordering::Relaxed);
                        insert(&mut transaction, key).await?;
                        s.remove(CART)?;
                        Err::<(), _>(ShopError::SoldOut)
                    });
                    placed.await
                });
                assert_eq!(answer.await.status, StatusCode::CONFLICT);
                assert_eq!(runs.load(Ordering::Relaxed), 1);
                assert!(!shop.is_ordered(key, cookie).await);
            }

            /// The sealed store and a store in another table commit with a transaction.
            async fn sealed_and_renamed_stores_take_part(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let renamed = shop.store.clone().with_table("Sessions_new").unwrap();
                renamed.migrate().await.unwrap();
                let keys = KeyRing::new([7; 32]).unwrap();
                let sealed = SealedStore::new(Arc::new(renamed.clone()), &keys).unwrap();
                #[allow(unused_mut, reason = "SQLite has no schemas")]
                let mut layers = vec![patient_layer(renamed), patient_layer(sealed)];
                $(
                    const _: &str = stringify!($kills);
                    sqlx::raw_sql("CREATE SCHEMA other").execute(&shop.pool).await.unwrap();
                    let elsewhere = shop.store.clone().with_schema("other").unwrap();
                    elsewhere.migrate().await.unwrap();
                    layers.push(patient_layer(elsewhere));
                )?
                for layer in layers {
                    let (cookie, key) = (&begin(&layer).await, new_key());
                    for is_late in [true, false] {
                        let answer = call(&layer, Some(cookie), async |session| {
                            if is_late {
                                let _ = call(&layer, Some(cookie), async |other| Ok(other.insert("other", &1)?)).await;
                            }
                            Ok(place(&session, shop.order(key).await).await?)
                        })
                        .await;
                        let cart: Option<String> =
                            layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap().get(CART).unwrap();
                        assert_eq!((shop.has_order(key).await, cart.is_none()), (!is_late, !is_late));
                        assert_eq!(answer.status == StatusCode::OK, !is_late);
                    }
                }
            }

            /// A transaction of another library runs the statement, and the record tells the outcome.
            async fn the_outcome_of_a_foreign_transaction_is_found(databases: &Databases) {
                let shop = &Shop::open(databases).await;
                let run = async |key: u32, write: &SessionWrite, commits: bool| {
                    let mut transaction = shop.order(key).await;
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(write.sql().to_owned()));
                    for parameter in write.parameters() {
                        query = match parameter.clone() {
                            SqlParameter::Id(id) => query.bind(id),
                            SqlParameter::Number(number) => query.bind(number),
                            SqlParameter::Bytes(bytes) => query.bind(bytes),
                        };
                    }
                    let rows = query.execute(&mut *transaction).await.unwrap().rows_affected();
                    if rows == 1 && commits { transaction.commit().await } else { transaction.rollback().await }.unwrap();
                };
                for (is_late, commits) in [(false, true), (true, true), (false, false)] {
                    let (cookie, key) = (&begin(&shop.layer).await, new_key());
                    let answer = call(&shop.layer, Some(cookie), async |session| {
                        session.insert("note", "earlier")?;
                        let write = session.prepare_write(|s| s.remove(CART).map(drop)).await?;
                        assert_eq!(session.get(CART)?.as_deref(), Some("tea"));
                        assert!(!format!("{write:?}").contains("tea"));
                        if is_late {
                            let _ = call(&shop.layer, Some(cookie), async |other| Ok(other.insert("other", &1)?)).await;
                        }
                        run(key, &write, commits).await;
                        Ok(write.outcome().await?)
                    });
                    let expected = match (is_late, commits) {
                        (true, _) => StatusCode::CONFLICT,
                        (_, true) => StatusCode::OK,
                        (_, false) => StatusCode::SERVICE_UNAVAILABLE,
                    };
                    assert_eq!(answer.await.status, expected);
                    assert_eq!(shop.is_ordered(key, cookie).await, expected == StatusCode::OK);
                }
                // A sign-up sends its token.
                let key = new_key();
                let answer = call(&shop.layer, None, async |session| {
                    let write = session.prepare_write(|s| s.sign_in("user:1")).await?;
                    run(key, &write, true).await;
                    Ok(write.outcome().await?)
                });
                let cookie = answer.await.cookie.unwrap();
                let found = shop.layer.sessions().find_by_token(&token(&cookie)).await.unwrap().unwrap();
                assert_eq!((found.owner(), shop.has_order(key).await), (Some("user:1"), true));
            }
        }
    };
}

transaction_tests!(
    postgres,
    Postgres,
    PostgresStore,
    Databases::Server(Server::postgres()),
    "BEGIN",
    Some("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"),
    a_killed_server_leaves_both_or_neither
);
transaction_tests!(
    mysql,
    MySql,
    MySqlStore,
    Databases::Server(Server::mariadb()),
    "BEGIN",
    Some("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"),
    a_killed_server_leaves_both_or_neither
);
transaction_tests!(sqlite, Sqlite, SqliteStore, Databases::Files(Directory::new("sqlite")), "BEGIN IMMEDIATE", None);

/// The program of the next test: stores orders and counts them in the session.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test that kills it"]
async fn a_process_that_is_killed_orders() {
    let url = std::env::var("SESSILE_DATABASE").unwrap();
    let layer = patient_layer(SqliteStore::patient(&url).await);
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let cookie = std::env::var("SESSILE_COOKIE").unwrap();
    println!("started");
    loop {
        call(&layer, Some(&cookie), |session| sqlite::count_order(session, &pool)).await;
    }
}

/// Orders in a SQLite file and their count agree after processes were killed at random moments.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_both_or_neither() {
    let directory = Directory::new("sqlite");
    let url = format!("sqlite:{}/shop.db", directory.path().display());
    let store = SqliteStore::patient(&url).await;
    store.migrate().await.unwrap();
    sqlx::raw_sql("CREATE TABLE orders (id bigint PRIMARY KEY)").execute(store.pool()).await.unwrap();
    let layer = patient_layer(store.clone());
    let cookie = begin(&layer).await;
    for wait in pauses() {
        let mut processes = [(); 2].map(|()| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "transactions::a_process_that_is_killed_orders", "--ignored", "--nocapture"]);
            command.env("SESSILE_DATABASE", &url).env("SESSILE_COOKIE", &cookie);
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        });
        for process in &mut processes {
            let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert!(lines.any(|line| line.ends_with("started")), "the process does not start");
        }
        std::thread::sleep(wait);
        for mut process in processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(store.pool()).await.unwrap();
        let stored = layer.sessions().find_by_token(&token(&cookie)).await.unwrap().unwrap();
        let counted = stored.get(COUNT).unwrap().unwrap_or_default();
        assert_eq!(u64::try_from(orders).unwrap(), counted, "some orders were not counted");
    }
}

/// A transaction of SQLite that holds the lock commits while other writers wait in the queue of the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_does_not_wait_for_the_queue_of_writers() {
    let directory = Directory::new("sqlite");
    let url = format!("sqlite:{}/shop.db", directory.path().display());
    let store = SqliteStore::patient(&url).await;
    store.migrate().await.unwrap();
    let layer = patient_layer(store.clone());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let cookie = &begin(&layer).await;
    let answer = call(&layer, Some(cookie), async |session| {
        let transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut other = pin!(call(&layer, Some(cookie), async |other| Ok(other.insert("other", &1)?)));
        tokio::select! {
            _ = &mut other => panic!("the other writer did not wait for the lock"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        session.commit_with(transaction, |s| s.remove(CART).map(drop)).await?;
        assert_eq!(other.await.status, StatusCode::OK);
        Ok(())
    });
    assert_eq!(answer.await.status, StatusCode::OK);
    let stored = layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap();
    assert_eq!((stored.get(CART).unwrap(), stored.get("other").unwrap()), (None, Some(1)));
}

/// SQLite may have rolled back by itself: the session's write then stands alone, is found, and is not made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_stands_alone_is_not_repeated() {
    let directory = Directory::new("sqlite");
    let url = format!("sqlite:{}/shop.db", directory.path().display());
    let store = SqliteStore::patient(&url).await;
    store.migrate().await.unwrap();
    let layer = patient_layer(store);
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let cookie = &begin(&layer).await;
    let answer = call(&layer, Some(cookie), async |session| {
        session.update(COUNT, |count| *count += 1)?;
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        // As after a full disk, with the error ignored.
        sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await?;
        session.commit_with(transaction, |s| s.remove(CART).map(drop)).await?;
        Ok(())
    });
    assert_eq!(answer.await.status, StatusCode::OK);
    let stored = layer.sessions().find_by_token(&token(cookie)).await.unwrap().unwrap();
    assert_eq!((stored.get(CART).unwrap(), stored.get(COUNT).unwrap()), (None, Some(1)));
}

/// On PostgreSQL: an aborted transaction is an error of the program, and a visitor's session is stored once.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_reports_an_aborted_transaction() {
    let server = Server::postgres_with(&["fsync=off", "synchronous_commit=off"]);
    let store = PostgresStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    let layer = patient_layer(store);
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    let cookie = &begin(&layer).await;
    let runs = &AtomicU32::new(0);
    for cookie in [Some(&**cookie), None] {
        let answer = call(&layer, cookie, async |session| {
            let is_visitor = session.is_new();
            let placed = session.transact(&pool, |mut transaction, s| async move {
                runs.fetch_add(1, Ordering::Relaxed);
                // The error of a statement is ignored.
                let _ = sqlx::raw_sql("SELECT 1 / 0").execute(&mut **transaction).await;
                if !is_visitor {
                    s.remove(CART)?;
                }
                Ok::<_, ShopError>(())
            });
            let error = placed.await.unwrap_err();
            assert_eq!(error.kind(), Some(ErrorKind::InvalidTransaction));
            Err(error)
        });
        assert_eq!(answer.await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 2, "an aborted transaction runs once");

    runs.store(0, Ordering::Relaxed);
    let answer = call(&layer, None, async |session| {
        let outer = &session.clone();
        let placed = session.transact(&pool, |_, s| async move {
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                outer.insert("note", &1)?;
                outer.commit().await?;
            }
            s.insert(CART, "tea")?;
            Ok::<_, ShopError>(())
        });
        placed.await
    });
    let answer = answer.await;
    assert_eq!((answer.status, runs.load(Ordering::Relaxed)), (StatusCode::OK, 2));
    let stored = layer.sessions().find_by_token(&token(&answer.cookie.unwrap())).await.unwrap().unwrap();
    assert_eq!((stored.get(CART).unwrap().as_deref(), stored.get("note").unwrap()), (Some("tea"), Some(1)));
}

/// The example stores an order and empties the cart, and signs up each name once.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_orders_and_signs_up() {
    let directory = Directory::new("sqlite");
    let mut command = Command::new(databases::build("transaction"));
    let url = format!("sqlite:{}/shop.db", directory.path().display());
    let site = Site::run(command.env("PORT", "0").env("DATABASE_URL", url));
    let (mut ada, mut eve) = (site.visitor(), site.visitor());
    assert_eq!(ada.post("/order", "").await, (409, "the cart is empty\n".to_owned()));
    ada.post("/cart", "tea").await;
    ada.post("/cart", "milk").await;
    let before = ada.jar.header();
    assert_eq!(ada.post("/sign-up", "ada").await.0, 200);
    assert_ne!(ada.jar.header(), before);
    assert_eq!(eve.post("/sign-up", "ada").await, (409, "the name is taken\n".to_owned()));
    assert!(eve.jar.is_empty());
    assert_eq!(ada.get_json("/").await, serde_json::json!(["tea", "milk"]));
    assert_eq!(ada.post("/order", "").await, (200, "order 1\n".to_owned()));
    assert_eq!(ada.post("/order", "").await.0, 409);
    assert_eq!(ada.get_json("/").await, serde_json::json!([]));
    assert_eq!(ada.get_json("/orders").await, serde_json::json!(["tea, milk"]));
}

/// After the end of the actor's own session, neither a slow request nor a detached session of the actor commits a transaction.
///
/// So it is in an ordinary session.
#[tokio::test]
async fn a_transaction_of_an_actor_ends_with_the_own_session() {
    for is_acting in [false, true] {
        let directory = Directory::new("acting");
        let url = format!("sqlite:{}/acting.db?mode=rwc", directory.path().display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let store = SqliteStore::new(pool.clone()).with_deadline(PATIENCE);
        store.migrate().await.unwrap();
        sqlx::query("CREATE TABLE orders (item TEXT)").execute(&pool).await.unwrap();
        let layer = patient_layer(store);
        let (orders, sessions) = (pool.clone(), layer.sessions());
        let order = async move |session: &Session, item: &'static str| -> Result<(), Error> {
            let mut transaction = orders.begin().await.unwrap();
            sqlx::query("INSERT INTO orders VALUES (?)").bind(item).execute(&mut *transaction).await.unwrap();
            session.commit_with(transaction, |session| session.insert(CART, item)).await
        };
        let kinds = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&kinds);
        let slow = async move |session: Session| -> Result<(), Error> {
            let detached = session.detach();
            order(&detached, "tea").await?;
            session.reload().await?;
            sessions.end_all_of("ada").await?;
            let prepared = session.prepare_write(|session| session.insert(CART, "none")).await;
            for refused in [order(&session, "milk").await, order(&detached, "more tea").await] {
                seen.lock().unwrap().push(refused.unwrap_err().kind());
            }
            if is_acting {
                assert_eq!(prepared.unwrap_err().kind(), ErrorKind::Ended);
            }
            Ok(())
        };
        let app = axum::Router::new()
            .route("/sign-in", axum::routing::post(async |session: Session| session.sign_in("ada")))
            .route("/act-as", axum::routing::post(async |acting: Acting| acting.begin("bob").await.map(drop)))
            .route("/slow", axum::routing::post(slow))
            .layer(ActingLayer::new(&layer).unwrap())
            .layer(layer.clone());
        let mut client = Client::new(&app);
        client.post("/sign-in").await;
        if is_acting {
            client.post("/act-as").await;
        }
        assert_eq!(client.post("/slow").await.status, StatusCode::OK);
        assert_eq!(*kinds.lock().unwrap(), [ErrorKind::Ended; 2], "acting: {is_acting}");
        let placed: Vec<String> = sqlx::query_scalar("SELECT item FROM orders").fetch_all(&pool).await.unwrap();
        assert_eq!(placed, ["tea"], "acting: {is_acting}");
    }
}
