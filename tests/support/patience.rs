//! Stores for tests that expect each operation to succeed: a loaded machine may stop a server or a test for seconds.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use sessile::store::Store;
use sessile::{MySqlStore, PostgresStore, RedisStore, SessionLayer, SqliteStore};

use crate::servers::PATIENCE;

/// A store whose operations have so much time that no load ends one.
pub trait Patient: Sized {
    /// Connects to this URL.
    async fn patient(url: &str) -> Self;
}

/// Connects a store, again if it does not succeed within its own time limit.
macro_rules! patiently {
    ($connect:expr) => {{
        let started = std::time::Instant::now();
        loop {
            match $connect.await {
                Err(error)
                    if error.kind() == sessile::store::StoreErrorKind::Unavailable
                        && started.elapsed() < crate::servers::PATIENCE =>
                {
                    eprintln!("connecting again: {error:?}");
                }
                connected => break connected.unwrap().with_deadline(crate::servers::PATIENCE),
            }
        }
    }};
}

macro_rules! patient {
    ($($Store:ty),+) => {
        $(impl Patient for $Store {
            async fn patient(url: &str) -> Self {
                patiently!(<$Store>::connect(url))
            }
        })+
    };
}

patient!(MySqlStore, PostgresStore, RedisStore, SqliteStore);

/// Creates a layer whose commits have as much time.
pub fn patient_layer(store: impl Store) -> SessionLayer {
    SessionLayer::builder(store).with_commit_deadline(PATIENCE).build().unwrap()
}
