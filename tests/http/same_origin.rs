//! The check that a page of this origin has made a request.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use sessile::csrf::SameOrigin;
use support::client::send;

/// A request passes by `Sec-Fetch-Site`, or else if the host of `Origin` is its own; without both it passes.
#[tokio::test]
async fn requests_from_other_origins_are_refused() {
    let app = Router::new().route("/ws", get(async |_: SameOrigin| "open"));
    let cases: [(&[(&str, &str)], bool); 18] = [
        (&[("host", "shop.test")], true),
        (&[("host", "shop.test"), ("origin", "https://shop.test")], true),
        (&[("host", "shop.test:8443"), ("origin", "https://SHOP.test:8443")], true),
        (&[("host", "shop.test"), ("origin", "https://evil.test")], false),
        (&[("host", "shop.test"), ("origin", "https://shop.test.evil.test")], false),
        (&[("host", "shop.test"), ("origin", "https://evil.test/?https://shop.test")], false),
        (&[("host", "shop.test"), ("origin", "https://a.shop.test")], false),
        (&[("host", "shop.test"), ("origin", "https://shop.test:8443")], false),
        // A sandboxed page, and a header that is no origin.
        (&[("host", "shop.test"), ("origin", "null")], false),
        (&[("host", "shop.test"), ("origin", "")], false),
        (&[("host", "shop.test"), ("origin", "shop.test")], false),
        (&[("origin", "https://shop.test")], false),
        // Behind a proxy that changes the host, the browser's own word counts.
        (&[("host", "10.0.0.7"), ("origin", "https://shop.test"), ("sec-fetch-site", "same-origin")], true),
        (&[("host", "shop.test"), ("sec-fetch-site", "none")], true),
        (&[("host", "shop.test"), ("origin", "https://shop.test"), ("sec-fetch-site", "cross-site")], false),
        (&[("host", "shop.test"), ("origin", "https://shop.test"), ("sec-fetch-site", "same-site")], false),
        (&[("host", "shop.test"), ("sec-fetch-site", "")], false),
        (&[("host", "shop.test"), ("sec-fetch-site", "Same-Origin, same-origin")], false),
    ];
    for (headers, passes) in cases {
        let request = headers.iter().fold(Request::get("/ws"), |request, (name, value)| request.header(*name, *value));
        let reply = send(&app, request.body(Body::empty()).unwrap()).await;
        let expected = if passes { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(reply.status, expected, "{headers:?}");
    }
    // HTTP/2 has no `Host` header.
    let request = Request::get("https://shop.test/ws").header("origin", "https://shop.test");
    assert_eq!(send(&app, request.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
}
