//! The header by which a test's request has a session.

use http::HeaderValue;

use crate::error::Error;
use crate::layer::SessionLayer;
use crate::token::Token;

/// The value of the `Cookie` header with which a request presents this token to this layer.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, header::COOKIE};
/// use sessile::{MemoryStore, SessionLayer, testing};
///
/// let layer = SessionLayer::new(MemoryStore::new());
/// let (_, token) = layer.sessions().create(&serde_json::json!({ "theme": "dark" })).await?;
/// let request = Request::get("/").header(COOKIE, testing::cookie(&layer, &token)).body(())?;
/// # Ok(()) }
/// ```
#[must_use]
pub fn cookie<M>(layer: &SessionLayer<M>, token: &Token) -> HeaderValue {
    let text = format!("{}={}", layer.cookie_name(), layer.cookie_value(token));
    let mut value = HeaderValue::try_from(text).expect("a cookie's name and a token are printable ASCII");
    value.set_sensitive(true);
    value
}

/// Creates a session that is signed in for this owner, and gives the [`Cookie` header](cookie) that opens it.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, header::COOKIE};
/// use sessile::{MemoryStore, SessionLayer, testing};
///
/// let layer = SessionLayer::new(MemoryStore::new());
/// let request = Request::get("/").header(COOKIE, testing::sign_in(&layer, "user:42").await?).body(())?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// Those of [`Sessions::create_owned_by`](crate::Sessions::create_owned_by).
pub async fn sign_in<M>(layer: &SessionLayer<M>, owner: &str) -> Result<HeaderValue, Error> {
    let (_, token) = layer.sessions().create_owned_by(owner, &()).await?;
    Ok(cookie(layer, &token))
}
