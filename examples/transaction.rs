//! An order and its cart in one transaction with the application's own tables.
//!
//! ```sh
//! DATABASE_URL=sqlite:shop.db cargo run --example transaction --features sqlite
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.

use std::fmt;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sessile::{Error, Field, Session, SessionLayer, SqliteStore};
use sqlx::SqlitePool;

const CART: Field<Vec<String>> = Field::new("cart");

async fn show(session: Session) -> Result<Json<Vec<String>>, Error> {
    Ok(Json(session.get(CART)?.unwrap_or_default()))
}

async fn add(session: Session, article: String) -> Result<(), Error> {
    session.update(CART, move |cart| cart.push(article))
}

/// Stores an order and empties the cart: both, or neither. After a conflict with another request, the closure runs again.
async fn order(State(pool): State<SqlitePool>, session: Session) -> Result<String, ShopError> {
    let placed = session.transact(&pool, |mut transaction, session| async move {
        let cart = session.get(CART)?.unwrap_or_default();
        if cart.is_empty() {
            // Rolls back.
            return Err(ShopError::EmptyCart);
        }
        let insert = sqlx::query_scalar("INSERT INTO orders (articles) VALUES (?) RETURNING id");
        let id: i64 = insert.bind(cart.join(", ")).fetch_one(&mut **transaction).await?;
        session.remove(CART)?;
        Ok(id)
    });
    Ok(format!("order {}\n", placed.await?))
}

/// Creates a user and signs in: both, or neither. A name that is taken leaves the visitor as it was.
async fn sign_up(State(pool): State<SqlitePool>, session: Session, name: String) -> Result<(), ShopError> {
    // SQLite locks the file at the beginning, so that the last statement cannot fail for another writer.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT INTO users (name) VALUES (?)").bind(&name).execute(&mut *transaction).await?;
    session.commit_with(transaction, |session| session.sign_in(&name)).await?;
    Ok(())
}

async fn orders(State(pool): State<SqlitePool>) -> Result<Json<Vec<String>>, ShopError> {
    Ok(Json(sqlx::query_scalar("SELECT articles FROM orders ORDER BY id").fetch_all(&pool).await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite:shop.db".to_owned());
    let store = SqliteStore::connect(&url).await?;
    store.migrate().await?;
    // The store has its own connections. The application's transactions need others.
    let pool = SqlitePool::connect(&url).await?;
    let tables = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, articles TEXT NOT NULL); \
                  CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY)";
    sqlx::raw_sql(tables).execute(&pool).await?;

    let app = Router::new()
        .route("/", get(show))
        .route("/cart", post(add))
        .route("/order", post(order))
        .route("/orders", get(orders))
        .route("/sign-up", post(sign_up))
        .with_state(pool)
        .layer(SessionLayer::new(store));
    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// The application's error. `transact` needs the two conversions, and looks for conflicts of the database among its sources.
#[derive(Debug)]
enum ShopError {
    EmptyCart,
    Session(Error),
    Database(sqlx::Error),
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

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyCart => f.write_str("the cart is empty"),
            Self::Session(error) => error.fmt(f),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ShopError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::EmptyCart => None,
            Self::Session(error) => Some(error),
            Self::Database(error) => Some(error),
        }
    }
}

impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        match self {
            Self::EmptyCart => (StatusCode::CONFLICT, "the cart is empty\n").into_response(),
            Self::Session(error) => error.into_response(),
            Self::Database(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
                (StatusCode::CONFLICT, "the name is taken\n").into_response()
            }
            Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
