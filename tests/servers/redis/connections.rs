//! Tests of connections to Redis that are closed, lead to the wrong server, or belong to a runtime that has ended.

use std::error::Error;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use redis::Client;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_read_routing::RandomReplicaStrategy;
use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Store, StoreError, StoreErrorKind};
use tokio::runtime::Runtime;

use super::cluster::Cluster;
use super::wait_for;
use crate::damage;
use crate::faults::Write;
use crate::patience::Patient;
use crate::proxy::Proxy;
use crate::servers::{self, PATIENCE, Server};

/// Longer than a connection may be idle without a question whether the server has closed it.
const IDLE: Duration = Duration::from_millis(1_100);

/// Returns the texts of an error and of its sources.
fn texts(error: &StoreError) -> String {
    let sources = std::iter::successors(Some(error as &dyn Error), |error| (*error).source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Closes the connections of all clients.
pub(super) fn close_connections(server: &Server) {
    let said = servers::ask(server.port(), "CLIENT KILL TYPE normal");
    assert!(said.starts_with(':'), "{said}");
}

/// Lets a proxy pass data after longer than the client waits for a sentinel or for a node of a Cluster.
pub(super) async fn pass_late(proxy: &Proxy) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.pass();
}

/// Each operation succeeds on a connection that the server has closed while it was idle.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_write_on_a_closed_idle_connection_succeeds() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    for write in Write::ALL {
        close_connections(&server);
        tokio::time::sleep(IDLE).await;
        assert!(write.run(&store, &damage::record(1, Some("a"))).await.unwrap(), "{write:?}");
    }
}

/// In a Cluster, the first write to each node succeeds after the node has closed an idle connection.
#[tokio::test(flavor = "multi_thread")]
async fn first_writes_on_idle_cluster_connections_succeed() {
    let cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    for write in Write::ALL {
        cluster.0.iter().for_each(close_connections);
        tokio::time::sleep(IDLE).await;
        for id in 1..20 {
            assert!(write.run(&store, &damage::record(id, None)).await.unwrap(), "{write:?} of record {id}");
        }
    }
}

/// An owner's sessions are listed over a closed connection, however many commands that takes.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_listed_over_a_closed_connection() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    for _ in 0..3 {
        close_connections(&server);
        assert_eq!(store.owned_by("a").await.unwrap(), std::slice::from_ref(&record));
        close_connections(&server);
        assert_eq!(store.ids_of("a", None).await.unwrap(), [*record.id()]);
        close_connections(&server);
        assert!(store.summaries_of(&[*record.id()]).await.unwrap()[0].is_some());
        close_connections(&server);
        assert_eq!(store.count().await.unwrap(), 1);
    }
}

/// A store in a `static` works in each of several runtimes, one after the other and side by side.
#[test]
fn a_static_store_works_in_every_runtime() {
    static SERVER: LazyLock<Server> = LazyLock::new(Server::redis);
    static STORE: LazyLock<RedisStore> =
        LazyLock::new(|| RedisStore::new(Client::open(SERVER.url()).unwrap()).with_deadline(PATIENCE));
    let lasting = Runtime::new().unwrap();
    let write_all = async |id| {
        for write in Write::ALL {
            assert!(write.run(&*STORE, &damage::record(id, Some("a"))).await.unwrap(), "{write:?}");
        }
    };
    for id in 1..5 {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(write_all(id));
        lasting.block_on(write_all(id));
        drop(runtime);
        lasting.block_on(write_all(id));
    }
    // A static is never dropped.
    let said = servers::ask(SERVER.port(), "SHUTDOWN NOSAVE");
    assert!(said.is_empty(), "{said}");
}

/// A write on a replica fails at once and says why; a read of the state before succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_a_replica_fails_at_once() {
    let master = Server::redis();
    let replica = Server::redis_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let store = RedisStore::patient(&replica.url()).await;
    let started = Instant::now();
    let error = store.set(&damage::record(1, None), Expected::Absent).await.unwrap_err();
    assert!(started.elapsed() < PATIENCE / 2, "the write waits for the deadline");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(texts(&error).contains("READONLY"), "{}", texts(&error));
}

/// A write that a former master refuses is sent to the new one, to which the name of the server leads.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_refused_by_a_former_master_reaches_the_new_one() {
    let [former, new] = [Server::redis(), Server::redis()];
    let proxy = Proxy::to(former.port()).await;
    let store = RedisStore::patient(&former.url_at(proxy.port())).await;
    proxy.redirect(new.port());
    let said = servers::ask(former.port(), &format!("REPLICAOF 127.0.0.1 {}", new.port()));
    assert!(said.starts_with("+OK"), "{said}");
    let record = damage::record(1, None);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let direct = RedisStore::patient(&new.url()).await;
    assert_eq!(direct.get(record.id()).await.unwrap(), Some(record));
}

/// A store for one server refuses a node of a Cluster, when it connects and when it is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_node_is_no_single_server() {
    let cluster = Cluster(servers::cluster());
    for node in &cluster.0 {
        let error = RedisStore::connect(&node.url()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{}", texts(&error));
        assert!(texts(&error).contains("connect_cluster"), "{}", texts(&error));

        let store = RedisStore::new(Client::open(node.url()).unwrap()).with_deadline(PATIENCE);
        let started = Instant::now();
        let mut refused = 0;
        for (id, owner) in (1..10).flat_map(|id| [(id, None), (id, Some("a"))]) {
            if let Err(error) = store.set(&damage::record(id, owner), Expected::Absent).await {
                assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{}", texts(&error));
                refused += 1;
            }
        }
        assert!(refused > 0 && started.elapsed() < PATIENCE / 2, "{refused} refused");
    }
}

/// A server that is not running is named in the error, without the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_named_in_the_error() {
    let address = format!("127.0.0.1:{}", servers::free_port());
    let url = format!("redis://app:secret@{address}/");
    let errors = [
        RedisStore::connect(&url).await.unwrap_err(),
        RedisStore::new(Client::open(url.as_str()).unwrap()).get(damage::record(1, None).id()).await.unwrap_err(),
        RedisStore::connect_sentinel(&[&url], "main").await.unwrap_err(),
        RedisStore::connect_cluster(&[&url]).await.unwrap_err(),
    ];
    for error in errors {
        let texts = texts(&error);
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{texts}");
        assert!(texts.contains(&address) && texts.to_lowercase().contains("refused"), "{texts}");
        assert!(!format!("{texts} {error:?}").contains("secret"), "{texts}");
    }
}

/// A Cluster client that reads from replicas is refused.
#[test]
fn a_client_that_reads_from_replicas_is_refused() {
    let builder = || ClusterClientBuilder::new(vec!["redis://127.0.0.1/"]);
    assert!(RedisStore::from_cluster(builder()).is_ok());
    let strategies = [
        builder().read_routing_strategy(RandomReplicaStrategy),
        #[expect(deprecated, reason = "applications call it")]
        builder().read_from_replicas(),
    ];
    for builder in strategies {
        let error = RedisStore::from_cluster(builder).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{}", texts(&error));
    }
}

/// In a Cluster with replicas, the masters answer every read.
#[tokio::test(flavor = "multi_thread")]
async fn masters_answer_every_read() {
    let cluster = Cluster(servers::cluster_with_replicas(1));
    let reads = |server: &Server| {
        let said = servers::ask(server.port(), "INFO commandstats");
        let counts = said.lines().filter_map(|line| {
            let (command, counts) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let is_read = ["get", "getrange", "zrange", "scan"].contains(&command);
            is_read.then(|| counts.split(',').next().unwrap().parse::<u64>().unwrap())
        });
        counts.sum::<u64>()
    };
    let role = |server: &Server| servers::ask(server.port(), "ROLE").lines().nth(2).unwrap().to_owned();
    let (masters, replicas): (Vec<_>, Vec<_>) = cluster.0.iter().partition(|server| role(server) == "master");
    assert_eq!((masters.len(), replicas.len()), (3, 3));
    for replica in &replicas {
        wait_for(|| servers::ask(replica.port(), "INFO replication").contains("master_link_status:up")).await;
    }
    let store = cluster.connect().await;
    let before: Vec<_> = replicas.iter().map(|server| reads(server)).collect();
    for id in 1..20 {
        let record = damage::record(id, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        assert_eq!(store.get(record.id()).await.unwrap(), Some(record));
    }
    assert_eq!(store.owned_by("a").await.unwrap().len(), 19);
    assert_eq!(store.ids_of("a", None).await.unwrap().len(), 19);
    assert_eq!(store.count().await.unwrap(), 19);
    assert_eq!(replicas.iter().map(|server| reads(server)).collect::<Vec<_>>(), before);
    assert!(masters.iter().all(|server| reads(server) > 0));
}
