//! Tests of `RedisStore` as a user with few permissions, and of the keys that its scripts declare.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use redis::{Client, Commands, Connection};
use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, StoreErrorKind, Touch, Version};
use sessile::testing::conformance::check;

use super::Direct;
use super::cluster::Cluster;
use super::index::lasting;
use super::sentinel::SentinelGroup;
use crate::damage;
use crate::patience::Patient;
use crate::servers::{self, Server};

const GUIDE: &str = include_str!("../../../docs/stores.md");

/// Returns the permissions that the guide lists.
fn permissions() -> &'static str {
    let line = GUIDE.lines().find_map(|line| line.strip_prefix("ACL SETUSER app ")).expect("the guide has a user");
    line.split_once(" ~sessile:* ").expect("the user has the store's keys").1
}

/// A server on which the user `app` has the permissions of the guide.
struct Restricted(Server);

impl Restricted {
    fn start() -> Self {
        let this = Self(Server::redis());
        this.allow(permissions());
        this
    }

    fn allow(&self, permissions: &str) {
        let said =
            servers::ask(self.0.port(), &format!("ACL SETUSER app on >secret resetkeys ~sessile:* {permissions}"));
        assert!(said.starts_with("+OK"), "{said}");
    }

    async fn connect(&self) -> RedisStore {
        RedisStore::patient(&format!("redis://app:secret@127.0.0.1:{}/", self.0.port())).await
    }
}

/// A user with the permissions of the guide can do all that the contract demands.
#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_user_keeps_every_rule_of_the_contract() {
    let restricted = Restricted::start();
    let report = check(&Direct(|| restricted.connect())).await;
    eprintln!("{report}");
    report.assert();
}

/// In a Cluster and through sentinels, the user needs the permissions that the guide adds.
#[tokio::test(flavor = "multi_thread")]
async fn restricted_users_of_clusters_and_sentinels_lack_nothing() {
    let added = |after: &str| {
        let line = GUIDE.lines().find(|line| line.contains(after)).expect("the guide has more permissions");
        line.split(after).nth(1).unwrap().split('`').next().unwrap().to_owned()
    };
    let allow = |server: &Server, added: &str| {
        let user = format!("ACL SETUSER app on >secret ~sessile:* {} {added}", permissions());
        assert!(servers::ask(server.port(), &user).starts_with("+OK"), "{user}");
    };
    let cluster = Cluster(servers::cluster());
    cluster.0.iter().for_each(|server| allow(server, &added("in a Cluster `")));
    let urls: Vec<_> = cluster.0.iter().map(|server| server.url().replace("//", "//app:secret@")).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let store = patiently!(RedisStore::connect_cluster(&urls));
    change_and_list(&store).await;

    let group = SentinelGroup::start().await;
    allow(&group.master, &added("the user also needs `"));
    let store = group.connect("redis://app:secret@main").await;
    change_and_list(&store).await;
}

/// Runs every operation.
async fn change_and_list(store: &RedisStore) {
    for change in Change::ALL {
        for record in stored() {
            let _ = store.delete(record.id(), record.owner()).await.unwrap();
            assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        }
        assert!(store.delete(stored()[1].id(), None).await.unwrap());
        let _ = store.delete(damage::record(3, None).id(), None).await.unwrap();
        change.run(store).await.unwrap();
        store.ids_of("a", Some("id")).await.unwrap();
        store.owned_by("a").await.unwrap();
        store.summaries_of(&[*stored()[0].id()]).await.unwrap();
        store.list(None, 10).await.unwrap();
        store.count().await.unwrap();
        store.ping().await.unwrap();
    }
}

/// A write of the store, on a server that has [`stored`] records.
#[derive(Clone, Copy, Debug)]
enum Change {
    Create,
    CreateFirstOfOwner,
    CreateWithoutOwner,
    Replace,
    ReplaceWithLongerLife,
    ReplaceOwner,
    ReplaceKeepingTimes,
    ReplaceByExpired,
    Touch,
    TouchWithLongerLife,
    Delete,
    DeleteOwned,
    RemoveFromIndex,
}

impl Change {
    const ALL: [Self; 13] = [
        Self::Create,
        Self::CreateFirstOfOwner,
        Self::CreateWithoutOwner,
        Self::Replace,
        Self::ReplaceWithLongerLife,
        Self::ReplaceOwner,
        Self::ReplaceKeepingTimes,
        Self::ReplaceByExpired,
        Self::Touch,
        Self::TouchWithLongerLife,
        Self::Delete,
        Self::DeleteOwned,
        Self::RemoveFromIndex,
    ];

    async fn run(self, store: &RedisStore) -> Result<(), StoreError> {
        let [hour, day] = [time::Duration::HOUR, time::Duration::DAY];
        let [first, ended] = stored();
        let next = |owner: &str, life| {
            let mut parts = lasting(1, owner, life).into_parts();
            parts.version = Version::new(2);
            Record::from_parts(parts)
        };
        let set = async |record: &Record, expected| {
            store.set(record, expected).await.map(|outcome| assert_eq!(outcome, Outcome::Written, "{self:?}"))
        };
        let touch = async |life| {
            let touch = Touch::new(first.last_seen(), first.last_seen() + life);
            store.touch(&first, touch).await.map(|moved| assert!(moved, "{self:?}"))
        };
        let old = Expected::Version(first.version());
        match self {
            Self::Create => set(&damage::record(3, Some("a")), Expected::Absent).await,
            Self::CreateFirstOfOwner => set(&damage::record(3, Some("b")), Expected::Absent).await,
            Self::CreateWithoutOwner => set(&damage::record(3, None), Expected::Absent).await,
            Self::Replace => set(&next("a", hour), old).await,
            Self::ReplaceWithLongerLife => set(&next("a", day), old).await,
            Self::ReplaceOwner => set(&next("b", hour), old).await,
            Self::ReplaceKeepingTimes => set(&next("a", day), Expected::VersionKeepingTimes(first.version())).await,
            Self::ReplaceByExpired => set(&next("a", -hour), old).await,
            Self::Touch => touch(hour + time::Duration::MINUTE).await,
            Self::TouchWithLongerLife => touch(day).await,
            Self::Delete => store.delete(first.id(), Some("a")).await.map(|deleted| assert!(deleted)),
            Self::DeleteOwned => store.delete_owned_by("a", None, None).await.map(|ids| assert_eq!(ids, [*first.id()])),
            Self::RemoveFromIndex => store.remove_from_index(ended.id(), "a").await,
        }
    }
}

/// A live record, and one that has ended but is still in its owner's index.
fn stored() -> [Record; 2] {
    [damage::record(1, Some("a")), damage::record(2, Some("a"))]
}

/// The content of a server: records with whether they expire, and the members of indexes.
fn content(admin: &mut Connection) -> BTreeMap<String, Vec<(Vec<u8>, bool)>> {
    let keys: Vec<String> = admin.keys("*").unwrap();
    let content = keys.into_iter().map(|key| {
        let expires = admin.pttl::<_, i64>(&key).unwrap() > 0;
        let values = if key.contains("owner:") {
            let members: Vec<Vec<u8>> = admin.zrange(&key, 0, -1).unwrap();
            members.into_iter().map(|member| (member, expires)).collect()
        } else {
            vec![(admin.get(&key).unwrap(), expires)]
        };
        (key, values)
    });
    content.collect()
}

/// Whatever the server refuses, a write has its whole effect or none.
///
/// Obstacles are each missing permission, full memory, and a missing replica.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_leaves_nothing_half_done() {
    let server = Restricted::start();
    let mut admin = Client::open(server.0.url()).unwrap().get_connection().unwrap();
    let (mut whole, mut refused) = (0, 0);
    let missing = permissions().split(' ').map(|missing| format!("ACL SETUSER app {}", missing.replace('+', "-")));
    let settings = ["CONFIG SET maxmemory 1", "CONFIG SET min-replicas-to-write 1"].map(str::to_owned);
    let send = |command: &str| {
        let said = servers::ask(server.0.port(), command);
        assert!(said.starts_with("+OK"), "{command}: {said}");
    };
    for obstacle in missing.chain(settings) {
        for change in Change::ALL {
            // The change as it ought to be, made by the store of an unrestricted user, and the change as it is.
            let mut after = Vec::new();
            let mut outcomes = Vec::new();
            for is_restricted in [false, true] {
                for command in ["CONFIG SET maxmemory 0", "CONFIG SET min-replicas-to-write 0", "FLUSHALL"] {
                    send(command);
                }
                server.allow(permissions());
                let unrestricted = RedisStore::patient(&server.0.url()).await;
                for record in stored() {
                    assert_eq!(unrestricted.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
                }
                assert!(unrestricted.delete(stored()[1].id(), None).await.unwrap());
                let store = if is_restricted { server.connect().await } else { unrestricted };
                if is_restricted {
                    // The code of a script is sent in full, too.
                    send("SCRIPT FLUSH");
                    send(&obstacle);
                }
                let before = content(&mut admin);
                outcomes.push(change.run(&store).await);
                after.push((before, content(&mut admin)));
            }
            assert!(outcomes[0].is_ok(), "{change:?}: {outcomes:?}");
            let [(_, expected), (before, actual)] = &after[..] else { unreachable!() };
            match &outcomes[1] {
                // Entries of ended sessions may stay.
                Ok(()) => {
                    assert_eq!(records(actual), records(expected), "{change:?} {obstacle}");
                    for (key, entries) in expected.iter().filter(|(key, _)| key.contains("owner:")) {
                        let is_listed = |entry| actual.get(key).is_some_and(|actual| actual.contains(entry));
                        assert!(entries.iter().all(is_listed), "{change:?} {obstacle}: {key}");
                    }
                    whole += 1;
                }
                Err(_) => {
                    assert_eq!(actual, before, "{change:?} {obstacle}");
                    refused += 1;
                }
            }
        }
    }
    eprintln!("{whole} changes were made, {refused} refused");
    assert!(whole > 50 && refused > 50, "{whole} changes were made, {refused} refused");
}

/// An index of another type refuses a write that needs it, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_type_leaves_nothing_half_done() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    let record = damage::record(1, Some("a"));
    let replace_index = || assert!(servers::ask(server.port(), "SET sessile:owner:a foreign").starts_with("+OK"));
    replace_index();
    for _ in 0..2 {
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
        assert_eq!(servers::ask(server.port(), "DBSIZE"), ":1\r\n");
    }
    assert!(servers::ask(server.port(), "DEL sessile:owner:a").starts_with(':'));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    replace_index();
    assert!(store.delete(record.id(), Some("a")).await.unwrap());
    assert_eq!(store.get(record.id()).await.unwrap(), None);
}

/// Returns the keys of records, with the length of each: times and versions differ between two runs.
fn records(content: &BTreeMap<String, Vec<(Vec<u8>, bool)>>) -> Vec<(String, usize, bool)> {
    let records = content.iter().filter(|(key, _)| !key.contains("owner:"));
    records.map(|(key, values)| (key.clone(), values[0].0.len(), values[0].1)).collect()
}

/// The commands of a server, as `MONITOR` shows them.
struct Monitor {
    lines: BufReader<TcpStream>,
    port: u16,
}

impl Monitor {
    fn start(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert!(first.starts_with("+OK"), "{first}");
        Self { lines, port }
    }

    /// Returns the commands so far: whether a script sent each, and its words.
    fn commands(mut self) -> Vec<(bool, Vec<String>)> {
        servers::ask(self.port, "ECHO last");
        let mut commands = Vec::new();
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            let (source, words) = line.trim().split_once("] ").unwrap();
            let words = words.trim_matches('"').split("\" \"").map(str::to_owned).collect::<Vec<_>>();
            if words[..] == ["ECHO", "last"] {
                return commands;
            }
            commands.push((source.ends_with("lua"), words));
        }
    }
}

/// Checks that the scripts of every operation touch only the keys that they declare.
async fn scripts_declare_their_keys(servers: &[Server], store: &RedisStore) {
    let monitors: Vec<_> = servers.iter().map(|server| Monitor::start(server.port())).collect();
    change_and_list(store).await;
    let mut checked = 0;
    for monitor in monitors {
        let mut declared = Vec::new();
        for (is_from_script, words) in monitor.commands() {
            match (is_from_script, words[0].as_str()) {
                (false, "EVAL" | "EVALSHA") => {
                    let count: usize = words[2].parse().unwrap();
                    declared = words[3..3 + count].to_vec();
                }
                (true, "TIME") | (false, _) => {}
                (true, command) => {
                    assert!(declared.contains(&words[1]), "{command} touches {}, not one of {declared:?}", words[1]);
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 100, "{checked} commands");
}

/// Scripts declare every key that they touch, on one server.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_on_one_server_declare_their_keys() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    scripts_declare_their_keys(std::slice::from_ref(&server), &store).await;
}

/// Scripts declare every key that they touch, in a Cluster.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_in_a_cluster_declare_their_keys() {
    let cluster = Cluster(servers::cluster());
    scripts_declare_their_keys(&cluster.0, &cluster.connect().await).await;
}
