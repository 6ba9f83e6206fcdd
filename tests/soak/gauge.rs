//! Resource use over the run: memory, sessions, tasks and open files.

use std::time::{Duration, Instant};

use crate::servers::PATIENCE;

type CountSessions = Box<dyn Fn() -> usize + Send>;

pub struct Gauge {
    count_sessions: CountSessions,
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
    pub fn new(count_sessions: impl Fn() -> usize + Send + 'static) -> Self {
        Self { count_sessions: Box::new(count_sessions), started: Instant::now() }
    }

    pub fn sample(&self) -> Sample {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        Sample {
            at: self.started.elapsed(),
            memory: pages * 4,
            sessions: (self.count_sessions)(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }

    /// Waits until the tasks and files of the clients are closed, and returns a last sample.
    pub async fn wait_for_cleanup(&self, before: &Sample) -> Sample {
        let started = Instant::now();
        loop {
            let now = self.sample();
            let is_clean = now.tasks <= before.tasks && now.files <= before.files;
            if is_clean || started.elapsed() > PATIENCE {
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

/// Asserts that memory in the last third of the run exceeds the second third by 10 % and 4 MiB at most.
pub fn assert_flat(samples: &[Sample]) {
    let third = samples.len() / 3;
    if third == 0 {
        return;
    }
    let max = |samples: &[Sample]| samples.iter().map(|sample| sample.memory).max().unwrap();
    let (second, last) = (max(&samples[third..2 * third]), max(&samples[2 * third..]));
    let allowed = second + second / 10 + 4096;
    assert!(last <= allowed, "memory grows: {second} KiB in the second third of the run, {last} KiB in the last");
}
