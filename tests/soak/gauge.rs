//! What must not grow.

use std::time::{Duration, Instant};

/// How long what is left over may take to go.
const PATIENCE: Duration = Duration::from_secs(30);

type Held = Box<dyn Fn() -> usize + Send>;

pub struct Gauge {
    held: Held,
    started: Instant,
}

#[derive(Clone, Debug)]
pub struct Sample {
    at: Duration,
    /// Resident memory of the process, in KiB.
    pub memory: usize,
    /// Sessions in the store.
    pub sessions: usize,
    pub tasks: usize,
    pub files: usize,
}

impl Gauge {
    pub fn new(held: impl Fn() -> usize + Send + 'static) -> Self {
        Self { held: Box::new(held), started: Instant::now() }
    }

    pub fn sample(&self) -> Sample {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        Sample {
            at: self.started.elapsed(),
            memory: pages * 4,
            sessions: (self.held)(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }

    /// Waits until what the clients have left behind is gone.
    pub async fn settle(&self, before: &Sample) -> Sample {
        let started = Instant::now();
        loop {
            let now = self.sample();
            let gone = now.tasks <= before.tasks && now.files <= before.files;
            if gone || started.elapsed() > PATIENCE {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub fn report(samples: &[Sample], before: &Sample, after: &Sample) {
    let every = samples.len().div_ceil(20).max(1);
    eprintln!("| seconds | resident MiB | sessions | tasks | open files |\n|---|---|---|---|---|");
    let some = samples.iter().step_by(every);
    for Sample { at, memory, sessions, tasks, files } in [before].into_iter().chain(some).chain([after]) {
        let memory = (*memory as f64) / 1024.0;
        eprintln!("| {} | {memory:.1} | {sessions} | {tasks} | {files} |", at.as_secs());
    }
}

/// The last third of the run holds no more than the second, but for a little that an allocator may keep.
pub fn assert_flat(samples: &[Sample]) {
    let third = samples.len() / 3;
    if third == 0 {
        return;
    }
    let most = |samples: &[Sample]| samples.iter().map(|sample| sample.memory).max().unwrap();
    let (second, last) = (most(&samples[third..2 * third]), most(&samples[2 * third..]));
    let allowed = second + second / 10 + 4096;
    assert!(last <= allowed, "{second} KiB in the second third of the run, {last} KiB in the last");
}
