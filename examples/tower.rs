//! A plain tower service without axum, served by hyper.
//!
//! ```sh
//! cargo run --example tower
//! ```

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use sessile::{Error, MemoryStore, SessionHandle, SessionLayer};
use tower::ServiceBuilder;

type Body = Full<Bytes>;

/// Reads the session handle from the request's extensions, since there are no extractors.
async fn visits(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let handle = request.extensions().get::<SessionHandle>().cloned();
    let answer = match handle {
        Some(handle) => count(handle).await,
        None => Ok("no session layer is around this service\n".to_owned()),
    };
    Ok(match answer {
        Ok(text) => Response::new(Body::from(text)),
        Err(error) => refused(error.status()),
    })
}

async fn count(handle: SessionHandle) -> Result<String, Error> {
    let session = handle.load().await?;
    let visits = session
        .update_now("visits", |visits: &mut u64| {
            *visits += 1;
            *visits
        })
        .await?;
    Ok(format!("visit {visits}\n"))
}

fn refused(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = ServiceBuilder::new().layer(SessionLayer::new(MemoryStore::new())).service_fn(visits);

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}
