//! The lines that allocate in a request of each row.

use std::collections::BTreeMap;
use std::path::Path;

use crate::candidate::{Candidate, Serving};
use crate::client::Client;
use crate::heap::{self, Site};
use crate::workload::{ROWS, Row};

/// Number of requests before the traced one, for allocations that happen once.
const WARM_UP: usize = 2_000;

/// Prints the allocations of one request per row, without those over the no-op layer.
pub(crate) async fn print(serving: Serving) {
    for row in &ROWS {
        let mut base: BTreeMap<String, usize> = BTreeMap::new();
        for ((allocator, _), sizes) in trace(row, Candidate::Noop, serving).await {
            *base.entry(allocator).or_default() += sizes.len();
        }
        let sites = trace(row, Candidate::Sessile, serving).await;
        println!("\n{}", row.name);
        let mut total = 0;
        for ((allocator, ours), sizes) in sites {
            // axum's allocations below sessile's layer also happen below the no-op layer, on the same line.
            let common = base.get_mut(&allocator).map_or(0, |left| {
                let common = (*left).min(sizes.len());
                *left -= common;
                common
            });
            if common == sizes.len() {
                continue;
            }
            total += sizes.len() - common;
            println!("  {} of {sizes:?} bytes in {allocator}", sizes.len() - common);
            for frame in ours {
                println!("      {frame}");
            }
        }
        println!("  = {total}");
    }
}

/// Line that allocates, the first outside the standard library, with sessile's lines that call it.
type Place = (String, Vec<String>);

async fn trace(row: &Row, candidate: Candidate, serving: Serving) -> BTreeMap<Place, Vec<usize>> {
    let mut client = Client::seeded(candidate, serving, row.seed).await;
    for _ in 0..WARM_UP {
        let request = client.request(row.path);
        client.send(request).await;
    }
    let request = client.request(row.path);
    heap::trace(true);
    let response = client.send(request).await;
    heap::trace(false);
    drop(response);
    let mut sites: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    for Site { bytes, backtrace } in heap::take_sites() {
        sites.entry(place(&backtrace.to_string())).or_default().push(bytes);
    }
    sites
}

fn place(backtrace: &str) -> Place {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let root = root.expect("this package lies two folders deep").join("src");
    let mut allocator = None;
    let mut ours = Vec::new();
    let lines = backtrace.lines().filter_map(|line| line.trim_start().strip_prefix("at "));
    let lines = lines.filter(|line| !line.starts_with("/rustc/"));
    // Frames of the allocator, and of the client below the request.
    let lines = lines.skip_while(|line| line.contains("src/heap.rs"));
    for line in lines.take_while(|line| !line.contains("src/client.rs")) {
        allocator.get_or_insert_with(|| short(line));
        if let Ok(line) = Path::new(line).strip_prefix(&root) {
            ours.push(line.display().to_string());
        }
    }
    (allocator.unwrap_or_default(), ours)
}

/// Returns a source line without its crate's folder.
///
/// The lines of axum depend on the handler's arguments, and a handler's lines on the candidate, so only their file is
/// returned.
fn short(line: &str) -> String {
    let Some((package, rest)) = line.rsplit_once("/src/") else {
        return line.to_owned();
    };
    let package = package.rsplit('/').next().unwrap_or(package);
    let file = rest.split(':').next().unwrap_or(rest);
    if file.starts_with("candidate/") {
        "the handler".to_owned()
    } else if package.starts_with("axum-") {
        format!("{package}/src/{file}")
    } else {
        format!("{package}/src/{rest}")
    }
}
