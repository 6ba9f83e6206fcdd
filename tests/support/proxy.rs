//! A proxy that counts a store's round trips and can hang or cut its connections.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use sessile::SessionId;

use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    port: u16,
    server: Arc<AtomicU16>,
    trips: Arc<AtomicU64>,
    received: Arc<AtomicUsize>,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Forwards all data.
    Passing,
    /// Holds all data back; connections stay open.
    Hanging,
    /// Drops the server's next answer and closes its connection, then forwards all data.
    LosingAnAnswer,
    /// Closes existing and new connections.
    Cut,
}

impl Proxy {
    /// Creates a proxy to the server on this loopback port.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trips = Arc::new(AtomicU64::new(0));
        let mode = watch::Sender::new(Mode::Passing);
        let (received, modes) = (Arc::default(), mode.clone());
        let counters = (Arc::clone(&trips), Arc::clone(&received));
        let server = Arc::new(AtomicU16::new(server));
        let servers = Arc::clone(&server);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = servers.load(Ordering::SeqCst);
                tokio::spawn(serve(client, server, counters.clone(), modes.clone()));
            }
        });
        Self(Arc::new(Inner { port, server, trips, received, mode, task }))
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Sends new connections to the server on another port.
    pub fn lead_to(&self, server: u16) {
        self.0.server.store(server, Ordering::SeqCst);
    }

    /// Returns the number of requests on all connections: data from the client after data from the server.
    pub fn round_trips(&self) -> u64 {
        self.0.trips.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes that the server has sent.
    pub fn received(&self) -> usize {
        self.0.received.load(Ordering::SeqCst)
    }

    pub fn pass(&self) {
        self.0.mode.send_replace(Mode::Passing);
    }

    pub fn hang(&self) {
        self.0.mode.send_replace(Mode::Hanging);
    }

    pub fn lose_an_answer(&self) {
        self.0.mode.send_replace(Mode::LosingAnAnswer);
    }

    pub fn cut(&self) {
        self.0.mode.send_replace(Mode::Cut);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    client: TcpStream,
    server: u16,
    (trips, received): (Arc<AtomicU64>, Arc<AtomicUsize>),
    modes: watch::Sender<Mode>,
) {
    let mut mode = modes.subscribe();
    let _ = mode.wait_for(|mode| *mode != Mode::Hanging).await;
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // False at first, so that the client's first data counts.
    let client_spoke = Arc::new(AtomicBool::new(false));
    let outward = pump(from_client, to_server, mode.clone(), {
        let client_spoke = Arc::clone(&client_spoke);
        move |_| {
            if !client_spoke.swap(true, Ordering::SeqCst) {
                trips.fetch_add(1, Ordering::SeqCst);
            }
            true
        }
    });
    let inward = pump(from_server, to_client, mode.clone(), move |bytes| {
        client_spoke.store(false, Ordering::SeqCst);
        received.fetch_add(bytes, Ordering::SeqCst);
        !modes.send_if_modified(|mode| {
            let is_lost = *mode == Mode::LosingAnAnswer;
            if is_lost {
                *mode = Mode::Passing;
            }
            is_lost
        })
    });
    tokio::select! {
        () = outward => {}
        () = inward => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Forwards data until a half closes, or `forwards` returns false for what was read.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    forwards: impl Fn(usize) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let _ = mode.wait_for(|mode| *mode != Mode::Hanging).await;
        if !forwards(read) || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// A store that connects through a proxy.
#[derive(Clone)]
pub struct ProxiedStore<S> {
    pub store: S,
    pub proxy: Proxy,
}

impl<S: Store> Store for ProxiedStore<S> {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.store.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        self.store.set(record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        self.store.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        self.store.delete(id, owner).await
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        self.store.owned_by(owner).await
    }

    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.store.delete_owned_by(owner, realm, keep).await
    }

    async fn delete_expired(&self) -> Result<u64, StoreError> {
        self.store.delete_expired().await
    }

    fn is_remote(&self) -> bool {
        self.store.is_remote()
    }
}
