//! The example `permissions` of axum-login, ported: pages for users whose team has a permission.
//!
//! ```sh
//! cargo run --manifest-path tests/moving/Cargo.toml --example permissions
//! ```
//!
//! Listens on 127.0.0.1:3000. The users are `ada` and `grace`, both with the password `correct horse`; `/restricted` is for `grace`.

mod accounts;

use std::error::Error as StdError;

use askama::Template;
use axum::extract::Query;
use axum::response::{Html, IntoResponse, Redirect, Response, Result};
use axum::routing::get;
use axum::{Form, Router};
use sessile::user::{CurrentUser, LocalPath, NextPath, User, UserGuard, UserLayer};
use sessile::{Error, Session};
use sqlx::SqlitePool;
use tokio::net::TcpListener;

use self::accounts::{Account, Accounts, Credentials, in_memory, open, sign_in_page};

const HAS_PERMISSION: &str = "select exists \
    (select * from members join grants using (team) where user_id = ? and permission = ?)";

#[derive(Template)]
#[template(path = "permissions_login.html")]
struct LoginPage {
    is_refused: bool,
    next: Option<LocalPath>,
}

#[derive(Template)]
#[template(path = "permissions_page.html")]
struct Page {
    username: String,
    permission: &'static str,
}

/// Lets users with this permission pass, and sends visitors to the sign-in page.
fn guard(db: &SqlitePool, permission: &'static str) -> UserGuard<Accounts> {
    let db = db.clone();
    UserGuard::new().with_sign_in_page(sign_in_page()).with_permission(move |account: Account| {
        let db = db.clone();
        async move {
            let query = sqlx::query_scalar(HAS_PERMISSION).bind(account.id).bind(permission);
            query.fetch_one(&db).await.unwrap_or(false)
        }
    })
}

fn page(account: Account, permission: &'static str) -> Html<String> {
    Html(Page { username: account.username, permission }.render().expect("the template is complete"))
}

fn login_page(is_refused: bool, next: Option<LocalPath>) -> Html<String> {
    Html(LoginPage { is_refused, next }.render().expect("the template is complete"))
}

async fn sign_in(user: CurrentUser<Accounts>, Form(form): Form<Credentials>) -> Result<Response> {
    let Some(account) = user.users().verify(&form).await? else {
        return Ok(login_page(true, form.next.next).into_response());
    };
    user.sign_in(&account).await?;
    Ok(Redirect::to(form.next.next_or("/").as_str()).into_response())
}

async fn sign_out(session: Session) -> Result<Redirect, Error> {
    session.sign_out()?;
    Ok(Redirect::to("/login"))
}

pub async fn app(db: SqlitePool) -> Result<Router, Box<dyn StdError>> {
    let (accounts, sessions) =
        open(db.clone(), concat!(include_str!("accounts.sql"), include_str!("permissions.sql"))).await?;
    Ok(Router::new()
        .route("/restricted", get(async |User(account): User<Accounts>| page(account, "restricted.read")))
        .route_layer(guard(&db, "restricted.read"))
        .route("/", get(async |User(account): User<Accounts>| page(account, "protected.read")))
        .route_layer(guard(&db, "protected.read"))
        .route("/login", get(async |Query(query): Query<NextPath>| login_page(false, query.next)).post(sign_in))
        .route("/logout", get(sign_out))
        .layer(UserLayer::new(accounts))
        .layer(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt::init();
    let app = app(in_memory().await?).await?;
    axum::serve(TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
