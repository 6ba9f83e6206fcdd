//! Check with a server whose disk is full.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sessile::store::{Expected, Outcome, Record, Store, StoreErrorKind};

use crate::damage;
use crate::servers::{DiskSpace, PATIENCE, Server};

const MEGABYTE: usize = 1 << 20;

/// A file that fills a disk except for some megabytes, until it is dropped.
struct Ballast(PathBuf);

impl Ballast {
    fn leaving(megabytes: usize, directory: &Path) -> Self {
        let path = directory.join("ballast");
        let mut file = File::create(&path).unwrap();
        let mut written = 0;
        while let Ok(more @ 1..) = file.write(&[7; MEGABYTE]) {
            written += more;
        }
        file.set_len((written - megabytes * MEGABYTE) as u64).unwrap();
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// A full disk is unavailable; acknowledged records stay, and writes succeed once there is space.
///
/// `revive` restarts a server that ends when its disk is full.
pub async fn a_full_disk_is_unavailable_and_loses_nothing(
    mut server: Server,
    store: impl Store,
    revive: impl Fn(&mut Server),
) {
    let space = server.directory().space();
    let ballast = (space == DiskSpace::SmallDisk).then(|| Ballast::leaving(4, server.directory().path()));
    let mut written = Vec::new();
    let full = loop {
        let record = large(written.len() as u128 + 1);
        match store.set(&record, Expected::Absent).await {
            Ok(outcome) => assert_eq!(outcome, Outcome::Written),
            Err(error) => break error,
        }
        written.push(record);
        assert!(written.len() < 500, "the disk does not fill up");
    };
    eprintln!("full after {} records of a megabyte: {full:?}", written.len());
    assert!(!written.is_empty());
    match space {
        DiskSpace::SmallDisk => assert_eq!(full.kind(), StoreErrorKind::Unavailable, "{full:?}"),
        // A server reports a file that may not grow differently from a full disk.
        _ => assert_ne!(full.kind(), StoreErrorKind::Corrupt, "{full:?}"),
    }
    drop(ballast);
    revive(&mut server);
    if space == DiskSpace::SmallDisk {
        let started = Instant::now();
        let more = large(written.len() as u128 + 1);
        while let Err(error) = store.set(&more, Expected::Absent).await {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
            // MariaDB waits for space, and ends after a while.
            server.restart_if_ended();
            assert!(started.elapsed() < PATIENCE, "writes still fail although there is space: {error:?}");
        }
        written.push(more);
    }
    for record in written {
        assert_eq!(store.get(record.id()).await.unwrap().as_ref(), Some(&record), "an acknowledged record is lost");
    }
}

/// Returns a record of a megabyte that cannot be compressed.
fn large(id: u128) -> Record {
    let mut parts = damage::record(id, None).into_parts();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::try_from(id).unwrap();
    parts.state = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[3]
    })
    .take(MEGABYTE)
    .collect();
    Record::from_parts(parts)
}
