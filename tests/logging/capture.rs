//! Captured output: the log of this thread, `Debug` output and errors.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// All captured output, to be searched.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    /// Captures what this thread logs, up to a level, until the guard is dropped.
    pub(crate) fn log(level: Level) -> (Self, DefaultGuard) {
        // A subscriber of all threads: without one, a thread that captures nothing could settle that an event is never logged.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        let capture = Self::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(level);
        let guard = tracing::subscriber::set_default(subscriber.with_writer(capture.clone()).finish());
        (capture, guard)
    }

    pub(crate) fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }

    pub(crate) fn add_debug(&self, value: &dyn std::fmt::Debug) {
        self.add(format!("{value:?} {value:#?}\n").as_bytes());
    }

    /// Adds an error and its sources, as text and as `Debug` shows them.
    pub(crate) fn add_error(&self, error: &(dyn std::error::Error + 'static)) {
        self.add_debug(error);
        let mut source = Some(error);
        while let Some(error) = source {
            self.add(error.to_string().as_bytes());
            source = error.source();
        }
    }

    pub(crate) fn contains(&self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Returns the lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    /// Asserts that one line was captured since the last call, with this level and these parts.
    #[track_caller]
    pub(crate) fn assert_says(&self, level: &str, parts: &[&str]) {
        let lines = self.take();
        assert_eq!(lines.len(), 1, "one line was expected: {lines:?}");
        for part in [&[level], parts].concat() {
            assert!(lines[0].contains(part), "{part:?} is missing: {lines:?}");
        }
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Capture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
