//! A store of your own, over files.
//!
//! Each record is a file in one directory. A write replaces the file by renaming, under a lock that threads and
//! processes share. At the end of this file, the conformance suite (feature `testing`) checks the store.
//!
//! ```sh
//! cargo run --example custom_store
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one. `SESSIONS` sets the directory.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use sessile::store::{Cursor, Expected, Outcome, Page, Record, Store, StoreError, Touch};
use sessile::{Error, Session, SessionId, SessionLayer};
use time::OffsetDateTime;

/// Session store in a directory.
///
/// Acknowledged writes survive a crash of the process. A power failure may lose the last ones, since the store does not
/// wait for the disk. The store keeps no index of owners, so it cannot list the sessions of one owner.
#[derive(Debug)]
struct FileStore(PathBuf);

impl FileStore {
    /// Calls `work` with the stored record, under the lock, and stores what `work` leaves of it.
    ///
    /// The call runs to its end even if the caller drops the future.
    #[expect(clippy::incompatible_msrv, reason = "`File::lock` makes this example need Rust 1.89")]
    async fn with<T: Send + 'static>(
        &self,
        id: &SessionId,
        work: impl FnOnce(&mut Option<Record>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let [lock, new, file] = ["lock", "new", &id.to_string()].map(|name| self.0.join(name));
        let work = move || {
            let lock = fs::File::create(lock).map_err(StoreError::unavailable)?;
            lock.lock().map_err(StoreError::unavailable)?;
            let bytes = if file.exists() { Some(fs::read(&file).map_err(StoreError::unavailable)?) } else { None };
            let before = bytes.map(|bytes| Record::decode(&bytes)).transpose()?;
            let before = before.filter(|record| OffsetDateTime::now_utc() < record.expires_at());
            let mut after = before.clone();
            let answer = work(&mut after);
            let kept = match &after {
                Some(_) if after == before => Ok(()),
                Some(record) => fs::write(&new, record.encode()).and_then(|()| fs::rename(&new, &file)),
                None if file.exists() => fs::remove_file(&file),
                None => Ok(()),
            };
            kept.map(|()| answer).map_err(StoreError::unavailable)
        };
        tokio::task::spawn_blocking(work).await.map_err(StoreError::other)?
    }

    /// Returns the ids of all records in ascending order, expired ones included.
    fn ids(&self) -> Result<Vec<SessionId>, StoreError> {
        let files = fs::read_dir(&self.0).map_err(StoreError::unavailable)?;
        let mut ids: Vec<_> = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

impl Store for FileStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.with(id, |stored| stored.clone()).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let mut new = record.clone();
        let swap = move |stored: &mut Option<Record>| {
            if stored.as_ref().map(Record::version) != expected.version() {
                return Outcome::Refused;
            }
            if let (Some(stored), Expected::VersionKeepingTimes(_)) = (&stored, expected) {
                new.keep_times_of(stored);
            }
            *stored = Some(new);
            Outcome::Written
        };
        self.with(record.id(), swap).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let version = record.version();
        let move_times = move |stored: &mut Option<Record>| match stored {
            Some(stored) if stored.version() == version => {
                stored.touch(touch);
                true
            }
            _ => false,
        };
        self.with(record.id(), move_times).await
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        self.with(id, |stored| stored.take().is_some()).await
    }

    /// Reads every file: `get` deletes those that have expired.
    async fn delete_expired(&self) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for id in self.ids()? {
            deleted += u64::from(self.get(&id).await?.is_none());
        }
        Ok(deleted)
    }

    /// Lists in the order of the ids. The cursor is the last id, which need not exist any more.
    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let after = after.map(|cursor| cursor.as_str().parse()).transpose().map_err(StoreError::unsupported)?;
        let mut records = Vec::new();
        for id in self.ids()?.into_iter().filter(|id| after.is_none_or(|after: SessionId| after < *id)) {
            records.extend(self.get(&id).await?);
            if records.len() >= limit {
                return Ok(Page { records, next: Some(Cursor::new(id.to_string())) });
            }
        }
        Ok(Page { records, next: None })
    }
}

async fn visit(session: Session) -> Result<String, Error> {
    let visits = session
        .update_now("visits", |visits: &mut u64| {
            *visits += 1;
            *visits
        })
        .await?;
    Ok(format!("visit {visits}, also after a restart\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::var_os("SESSIONS").map_or_else(|| std::env::temp_dir().join("sessions"), PathBuf::from);
    fs::create_dir_all(&directory)?;
    let layer = SessionLayer::new(FileStore(directory));
    tokio::spawn(layer.sessions().sweep_every(Duration::from_secs(60)));
    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/", get(visit)).layer(layer)).await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
mod tests {
    use sessile::testing::conformance::{Fixture, Task, check};

    use super::*;

    struct Directory(PathBuf);

    impl Fixture for Directory {
        type Store = FileStore;

        async fn open(&self) -> FileStore {
            FileStore(self.0.clone())
        }

        async fn another(&self, _: &FileStore) -> FileStore {
            self.open().await
        }

        fn has_owners(&self) -> bool {
            false
        }

        fn spawn(&self, task: Task) {
            tokio::spawn(task);
        }

        async fn advance(&self, by: Duration) {
            tokio::time::sleep(by).await;
        }
    }

    /// The store passes the conformance suite.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_file_store_keeps_every_rule() {
        let now = OffsetDateTime::now_utc();
        let directory = Directory(std::env::temp_dir().join(format!(
            "sessions-{}-{}",
            std::process::id(),
            now.unix_timestamp_nanos()
        )));
        fs::create_dir_all(&directory.0).unwrap();
        let report = check(&directory).await;
        fs::remove_dir_all(&directory.0).unwrap();
        report.assert();
    }
}
