//! Processes and directories that end with the test, however it ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running program, killed when it is dropped.
pub struct Running(Child);

impl Running {
    /// Starts a program, and waits until a line of its output says what is asked for.
    pub fn start<T>(command: &mut Command, find: impl Fn(&str) -> Option<T>) -> (Self, T) {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut running = Self(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")));
        let mut output = BufReader::new(running.0.stdout.take().unwrap());
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = output.read_line(&mut line).unwrap();
            assert!(read > 0, "{command:?} ended, and had said no more than:\n{said}");
            if let Some(found) = find(line.trim()) {
                // What it says from here on must not block it.
                std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
                return (running, found);
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A new directory, removed when it is dropped.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sessile-demo-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
