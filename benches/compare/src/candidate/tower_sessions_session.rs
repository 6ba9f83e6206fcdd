//! The session type of tower-sessions, in two versions: the Redis store needs the older one.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Session methods that the handlers need. The errors are not responses, so an application maps them.
pub(crate) trait Session: FromRequestParts<()> + Send + Sync + 'static {
    fn get<T: DeserializeOwned>(&self, key: &str) -> impl Future<Output = Result<Option<T>, StatusCode>> + Send;
    fn insert(&self, key: &str, value: impl Serialize + Send) -> impl Future<Output = Result<(), StatusCode>> + Send;
    fn flush(&self) -> impl Future<Output = Result<(), StatusCode>> + Send;
}

macro_rules! session_of {
    ($version:ident) => {
        impl Session for $version::Session {
            async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StatusCode> {
                $version::Session::get(self, key).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
            }

            async fn insert(&self, key: &str, value: impl Serialize + Send) -> Result<(), StatusCode> {
                $version::Session::insert(self, key, value).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
            }

            async fn flush(&self) -> Result<(), StatusCode> {
                $version::Session::flush(self).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

session_of!(tower_sessions);
#[cfg(feature = "redis")]
session_of!(tower_sessions_14);
