//! The stores over TLS, to real servers whose certificates are made here: the authority is trusted where it is named, and
//! nowhere else.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, nodes, servers};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use redis::{Client, TlsCertificates};
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::{MySqlStore, PostgresStore, RedisStore};

use self::servers::{Directory, Server, free_port};

/// An authority, and a certificate of it for this machine.
struct Certificates(Directory);

impl Certificates {
    /// The server that runs as this user may read the key.
    fn for_user(user: &str) -> Self {
        let these = Self(Directory::new("certificates"));
        these.make("authority", &["-subj", "/CN=an authority for a test"]);
        let (signer, key) = (these.path("authority.crt"), these.path("authority.key"));
        let of_authority = ["-CA", &signer, "-CAkey", &key, "-subj", "/CN=localhost"];
        let for_us = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"];
        these.make("server", &[of_authority.as_slice(), &for_us].concat());
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

/// The whole way of a session, over this store.
async fn serves(store: impl Store + Clone) {
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    assert_eq!(store.get(record.id()).await.unwrap().as_ref(), Some(&record));
    let node = nodes::Node::new(store);
    let cookie = node.begin().await;
    assert_eq!(node.post("/count", Some(&cookie)).await.body, "1");
}

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
    serves(RedisStore::new(Client::build_with_tls(url.as_str(), trusted).unwrap())).await;
    let refused = RedisStore::connect(&url).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "an authority that nobody named is trusted: {refused:?}");
    let refused = RedisStore::connect(&url.replace("rediss", "redis")).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "the port speaks without TLS: {refused:?}");
}

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
    let store = PostgresStore::connect(&format!("{url}{ca}")).await.unwrap();
    store.migrate().await.unwrap();
    serves(store.clone()).await;
    let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(sqlx::query_scalar::<_, bool>(asked).fetch_one(store.pool()).await.unwrap(), "it is not encrypted");
    let other = Certificates::for_user("postgres");
    let refused = PostgresStore::connect(&format!("{url}{}", other.path("authority.crt"))).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "another authority is trusted: {refused:?}");
}

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
    let store = MySqlStore::connect(&format!("{url}{ca}")).await.unwrap();
    store.migrate().await.unwrap();
    serves(store.clone()).await;
    let asked = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'";
    let cipher: String = sqlx::query_scalar(asked).fetch_one(store.pool()).await.unwrap();
    assert!(!cipher.is_empty(), "it is not encrypted");
    let other = Certificates::for_user("mysql");
    let refused = MySqlStore::connect(&format!("{url}{}", other.path("authority.crt"))).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "another authority is trusted: {refused:?}");
}
