//! Responses that report a failure: their changes are not committed, or they do not claim that all went well.

use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderValue, StatusCode};

/// Checks whether a response commits the changes of its handler, unless the application decides otherwise.
///
/// Not one with a status of 5xx, nor 408, which timeout layers send for a handler that they stopped halfway, nor a gRPC failure.
pub(crate) fn commits_by_default(head: &Parts) -> bool {
    !head.status.is_server_error() && head.status != StatusCode::REQUEST_TIMEOUT && !is_grpc_failure(head)
}

/// Checks whether a response tells the client that the request succeeded.
pub(crate) fn claims_success(head: &Parts) -> bool {
    !head.status.is_client_error() && !head.status.is_server_error() && !is_grpc_failure(head)
}

/// Checks for a gRPC response without messages that has failed: its status stands in the head, under HTTP status 200.
///
/// The content types of gRPC-Web begin alike.
fn is_grpc_failure(head: &Parts) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let is_grpc = |content_type: &HeaderValue| {
        content_type.as_bytes().get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
    };
    head.headers.get(CONTENT_TYPE).is_some_and(is_grpc)
        && head.headers.get_all("grpc-status").iter().any(|status| status.as_bytes().trim_ascii() != b"0")
}
