//! `Cookie` headers for requests in tests.

use http::HeaderValue;

use crate::error::Error;
use crate::layer::SessionLayer;
use crate::token::{SessionId, Token};

/// Returns the `Cookie` header that presents this token to this layer.
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
    let mut value = HeaderValue::try_from(text).expect("the cookie name and the token are printable ASCII");
    value.set_sensitive(true);
    value
}

/// Creates a session of this owner; returns its id and its [`Cookie` header](cookie).
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, header::COOKIE};
/// use sessile::{MemoryStore, SessionLayer, testing};
///
/// let layer = SessionLayer::new(MemoryStore::new());
/// let (id, cookie) = testing::sign_in(&layer, "user:42").await?;
/// let request = Request::get("/").header(COOKIE, cookie).body(())?;
/// assert!(layer.sessions().find_by_id(&id).await?.is_some());
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// The errors of [`Sessions::create_owned_by`](crate::Sessions::create_owned_by).
pub async fn sign_in<M>(layer: &SessionLayer<M>, owner: &str) -> Result<(SessionId, HeaderValue), Error> {
    let (id, token) = layer.sessions().create_owned_by(owner, &()).await?;
    Ok((id, cookie(layer, &token)))
}
