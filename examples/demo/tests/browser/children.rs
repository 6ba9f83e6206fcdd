//! Child processes and directories that are removed when the test ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A child process that is killed when it is dropped.
pub struct ChildProcess(Child);

impl ChildProcess {
    /// Starts a program and waits for a line of its output for which `find` returns a value.
    pub fn start<T>(command: &mut Command, find: impl Fn(&str) -> Option<T>) -> (Self, T) {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = Self(child.unwrap_or_else(|error| panic!("{command:?} failed to start: {error}")));
        let mut output = BufReader::new(process.0.stdout.take().unwrap());
        let mut output_so_far = String::new();
        loop {
            let mut line = String::new();
            let read = output.read_line(&mut line).unwrap();
            assert!(read > 0, "{command:?} exited after this output:\n{output_so_far}");
            if let Some(found) = find(line.trim()) {
                // The rest of the output is read so that the pipe never fills up.
                std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
                return (process, found);
            }
            output_so_far.push_str(&line);
        }
    }
}

impl Drop for ChildProcess {
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
