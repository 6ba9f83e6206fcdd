//! Style sheet, script and icon, compiled into the program.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;

/// Returns the routes of the assets. They are the same for every client, so caches may keep them, and no session layer
/// wraps them.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/assets/style.css", get(|| serve("text/css; charset=utf-8", include_str!("assets/style.css"))))
        .route("/assets/script.js", get(|| serve("text/javascript; charset=utf-8", include_str!("assets/script.js"))))
        .route("/assets/session.js", get(|| serve("text/javascript; charset=utf-8", include_str!("assets/session.js"))))
        .route("/assets/leaf.svg", get(|| serve("image/svg+xml", include_str!("assets/leaf.svg"))))
}

type Asset = ([(axum::http::HeaderName, &'static str); 2], &'static str);

async fn serve(content_type: &'static str, text: &'static str) -> Asset {
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "public, max-age=300")], text)
}
