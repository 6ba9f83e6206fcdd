//! Tests of the stores over TLS, on real servers: a store trusts only the certificate authority that its URL names.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, nodes, servers};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use redis::{Client, TlsCertificates};
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::{MySqlStore, PostgresStore, RedisStore};

use self::servers::{Directory, PATIENCE, Server, free_port};
use crate::patience::Patient;

/// A certificate authority, and a certificate for this machine that it signed.
struct Certificates(Directory);

impl Certificates {
    /// Creates certificates whose key this user may read.
    fn for_user(user: &str) -> Self {
        let these = Self(Directory::new("certificates"));
        these.make("authority", &["-subj", "/CN=test authority"]);
        let (signer, key) = (these.path("authority.crt"), these.path("authority.key"));
        let signing = ["-CA", &signer, "-CAkey", &key, "-subj", "/CN=localhost"];
        let extensions =
            ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"];
        these.make("server", &[signing.as_slice(), &extensions].concat());
        servers::hand_over(Path::new(&these.path("server.key")), servers::unprivileged(user));
        these
    }

    fn make(&self, name: &str, arguments: &[&str]) {
        let mut openssl = Command::new(servers::program("openssl", "openssl"));
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.arg("-keyout").arg(self.path(&format!("{name}.key")));
        openssl.arg("-out").arg(self.path(&format!("{name}.crt"))).args(arguments);
        servers::run(&mut openssl);
    }

    fn path(&self, name: &str) -> String {
        PathBuf::from(self.0.path()).join(name).display().to_string()
    }
}

/// Writes and reads a record and a session through this store.
async fn check_session(store: impl Store + Clone) {
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    assert_eq!(store.get(record.id()).await.unwrap().as_ref(), Some(&record));
    let node = nodes::Node::new(store);
    let cookie = node.begin().await;
    assert_eq!(node.post("/count", Some(&cookie)).await.body, "1");
}

/// The Redis store connects over TLS and refuses an unknown authority and a connection without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn redis_over_tls() {
    let certificates = Certificates::for_user("root");
    let port = free_port();
    let [port_text, ca, cert, key] = [
        port.to_string(),
        certificates.path("authority.crt"),
        certificates.path("server.crt"),
        certificates.path("server.key"),
    ];
    let settings =
        ["--tls-port", &port_text, "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert, "--tls-key-file", &key];
    let _server = Server::redis_with(&[settings.as_slice(), &["--tls-auth-clients", "no"]].concat());
    let url = format!("rediss://127.0.0.1:{port}/");
    let trusted = TlsCertificates { client_tls: None, root_cert: Some(fs::read(&ca).unwrap()) };
    let store = RedisStore::new(Client::build_with_tls(url.as_str(), trusted).unwrap());
    check_session(store.with_deadline(PATIENCE)).await;
    let refused = RedisStore::connect(&url).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "an unknown authority is trusted: {refused:?}");
    let refused = RedisStore::connect(&url.replace("rediss", "redis")).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "the port accepts a connection without TLS: {refused:?}");
}

/// The PostgreSQL store connects over TLS and refuses another authority.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_over_tls() {
    let certificates = Certificates::for_user("postgres");
    let ca = certificates.path("authority.crt");
    let files = [
        format!("ssl_cert_file={}", certificates.path("server.crt")),
        format!("ssl_key_file={}", certificates.path("server.key")),
    ];
    let server = Server::postgres_with(&["ssl=on", &files[0], &files[1]]);
    let url = format!("{}?sslmode=verify-full&sslrootcert=", server.url());
    let store = PostgresStore::patient(&format!("{url}{ca}")).await;
    store.migrate().await.unwrap();
    check_session(store.clone()).await;
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(
        sqlx::query_scalar::<_, bool>(query).fetch_one(store.pool()).await.unwrap(),
        "the connection is not encrypted"
    );
    let other = Certificates::for_user("postgres");
    let refused = PostgresStore::connect(&format!("{url}{}", other.path("authority.crt"))).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "another authority is trusted: {refused:?}");
}

/// The MySQL store connects over TLS and refuses another authority.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_over_tls() {
    let certificates = Certificates::for_user("mysql");
    let ca = certificates.path("authority.crt");
    let files = [
        format!("ssl-ca={ca}"),
        format!("ssl-cert={}", certificates.path("server.crt")),
        format!("ssl-key={}", certificates.path("server.key")),
    ];
    let server = Server::mariadb_with(&[&files[0], &files[1], &files[2]]);
    let url = format!("{}?ssl-mode=VERIFY_IDENTITY&ssl-ca=", server.url());
    let store = MySqlStore::patient(&format!("{url}{ca}")).await;
    store.migrate().await.unwrap();
    check_session(store.clone()).await;
    let query = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'";
    let cipher: String = sqlx::query_scalar(query).fetch_one(store.pool()).await.unwrap();
    assert!(!cipher.is_empty(), "the connection is not encrypted");
    let other = Certificates::for_user("mysql");
    let refused = MySqlStore::connect(&format!("{url}{}", other.path("authority.crt"))).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "another authority is trusted: {refused:?}");
}
