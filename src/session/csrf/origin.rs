//! The extractor that refuses requests from pages of other sites.

use axum_core::extract::FromRequestParts;
use http::Uri;
use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::request::Parts;

use crate::error::{Error, ErrorKind};

/// Says in browsers whether a page of this origin has made the request (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request that no page of another origin has made. Rejects with 403 otherwise.
///
/// For handlers that open a WebSocket: any site may open one, browsers add the cookies of this site, and no CSRF token can be asked
/// for. Browsers say where the request comes from, in `Sec-Fetch-Site` and in `Origin`; the host of `Origin` must be that of the
/// request. Clients that are not browsers send neither, and pass.
///
/// Behind a proxy that changes `Host`, browsers without `Sec-Fetch-Site` (from before 2023) are refused.
///
/// ```
/// use axum::extract::ws::{WebSocket, WebSocketUpgrade};
/// use axum::response::Response;
/// use sessile::SignedIn;
/// use sessile::csrf::SameOrigin;
///
/// async fn chat(_: SameOrigin, user: SignedIn, upgrade: WebSocketUpgrade) -> Response {
///     let session = user.session().detach();
///     upgrade.on_upgrade(move |socket: WebSocket| async move { drop((socket, session)) })
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(chat));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SameOrigin;

impl SameOrigin {
    /// Checks the head of a request, for a service without axum.
    #[must_use]
    pub fn matches(headers: &HeaderMap, uri: &Uri) -> bool {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if let Some(site) = text(&SEC_FETCH_SITE) {
            // `none` is a request of the user, such as a typed address.
            return matches!(site, "same-origin" | "none");
        }
        let Some(origin) = text(&ORIGIN) else { return true };
        // HTTP/2 has the host in the address.
        let host = text(&HOST).or_else(|| uri.authority().map(http::uri::Authority::as_str));
        let of_origin = origin.split_once("://").map(|(_, host)| host);
        of_origin.zip(host).is_some_and(|(of_origin, host)| of_origin.eq_ignore_ascii_case(host))
    }
}

impl<S: Sync> FromRequestParts<S> for SameOrigin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        if Self::matches(&parts.headers, &parts.uri) { Ok(Self) } else { Err(Error::new(ErrorKind::CrossOrigin)) }
    }
}
