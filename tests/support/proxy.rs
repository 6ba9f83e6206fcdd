//! A proxy that counts a store's round trips and can hang or cut its connections.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use sessile::SessionId;

use sessile::store::{Cursor, Expected, Outcome, Page, Record, RecordSummary, Store, StoreError, Touch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

/// Lengths of a ping of PostgreSQL (a `Sync`) and of MySQL, and of one of Redis.
const PING_LENGTHS: [usize; 2] = [5, 14];

struct Inner {
    port: u16,
    /// Port of the server of new connections.
    server: Arc<AtomicU16>,
    connections: Arc<AtomicU64>,
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
    /// Drops the server's answer after this many others, closes its connection, and then forwards all data.
    LosingAnAnswer(u32),
    /// The same for a request.
    LosingARequest(u32),
    /// Closes existing and new connections.
    Cut,
    /// Holds back the data of the first connections, up to this number, forever; forwards that of later ones.
    Forgetting(u64),
}

impl Mode {
    /// Checks whether the data of a connection is held back.
    fn holds(self, number: u64) -> bool {
        match self {
            Self::Hanging => true,
            Self::Forgetting(last) => number <= last,
            _ => false,
        }
    }
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
        let (server, connections) = (Arc::new(AtomicU16::new(server)), Arc::<AtomicU64>::default());
        let (target, accepted) = (Arc::clone(&server), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(serve(client, number, target.load(Ordering::SeqCst), counters.clone(), modes.clone()));
            }
        });
        Self(Arc::new(Inner { port, server, connections, trips, received, mode, task }))
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Returns the number of connections that were accepted.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Connects new clients to the server on this port; existing connections stay.
    pub fn redirect(&self, server: u16) {
        self.0.server.store(server, Ordering::SeqCst);
    }

    /// Forgets the existing connections, as a firewall does: their data is held back, and they stay open.
    pub fn forget(&self) {
        self.0.mode.send_replace(Mode::Forgetting(self.connections()));
    }

    /// Returns the number of requests on all connections, pings apart: data from the client after data from the server.
    ///
    /// A store pings a connection that was idle before a write, which depends on the load of the machine.
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
        self.lose_an_answer_after(0);
    }

    /// Loses the answer after this many others.
    pub fn lose_an_answer_after(&self, others: u32) {
        self.0.mode.send_replace(Mode::LosingAnAnswer(others));
    }

    /// Loses the request after this many others.
    pub fn lose_a_request_after(&self, others: u32) {
        self.0.mode.send_replace(Mode::LosingARequest(others));
    }

    /// Returns whether all data passes, as after a loss.
    pub fn is_passing(&self) -> bool {
        *self.0.mode.borrow() == Mode::Passing
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
    number: u64,
    server: u16,
    (trips, received): (Arc<AtomicU64>, Arc<AtomicUsize>),
    modes: watch::Sender<Mode>,
) {
    let mut mode = modes.subscribe();
    let _ = mode.wait_for(|mode| !mode.holds(number)).await;
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // False at first, so that the client's first data counts.
    let client_spoke = Arc::new(AtomicBool::new(false));
    let is_ping = Arc::new(AtomicBool::new(false));
    let outward = pump(from_client, to_server, number, mode.clone(), {
        let (client_spoke, is_ping) = (Arc::clone(&client_spoke), Arc::clone(&is_ping));
        let modes = modes.clone();
        move |bytes| {
            let is_first = !client_spoke.swap(true, Ordering::SeqCst);
            if is_first {
                let pings = PING_LENGTHS.contains(&bytes);
                is_ping.store(pings, Ordering::SeqCst);
                trips.fetch_add(u64::from(!pings), Ordering::SeqCst);
            }
            !(is_first && counts_down_to_loss(&modes, Mode::LosingARequest))
        }
    });
    let inward = pump(from_server, to_client, number, mode.clone(), move |bytes| {
        let is_first = client_spoke.swap(false, Ordering::SeqCst);
        received.fetch_add(bytes, Ordering::SeqCst);
        let counts = is_first && !is_ping.load(Ordering::SeqCst);
        !(counts && counts_down_to_loss(&modes, Mode::LosingAnAnswer))
    });
    tokio::select! {
        () = outward => {}
        () = inward => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Counts down to a loss of this kind; returns whether it is now.
fn counts_down_to_loss(modes: &watch::Sender<Mode>, losing: fn(u32) -> Mode) -> bool {
    let mut is_lost = false;
    modes.send_if_modified(|mode| {
        let (Mode::LosingAnAnswer(others) | Mode::LosingARequest(others)) = *mode else { return false };
        if *mode != losing(others) {
            return false;
        }
        is_lost = others == 0;
        *mode = if is_lost { Mode::Passing } else { losing(others - 1) };
        true
    });
    is_lost
}

/// Forwards data until a half closes, or `forwards` returns false for what was read.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut mode: watch::Receiver<Mode>,
    forwards: impl Fn(usize) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let _ = mode.wait_for(|mode| !mode.holds(number)).await;
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

    async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Result<Vec<SessionId>, StoreError> {
        self.store.ids_of(owner, realm).await
    }

    async fn summaries_of(&self, ids: &[SessionId]) -> Result<Vec<Option<RecordSummary>>, StoreError> {
        self.store.summaries_of(ids).await
    }

    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.store.list(after, limit).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.store.count().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    fn is_remote(&self) -> bool {
        self.store.is_remote()
    }
}
