//! A global allocator over the system's, with optional counting and tracing.
//!
//! While both are off, an allocation costs one relaxed load more than the system's, so counting does not distort the
//! times.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

#[global_allocator]
static HEAP: Heap = Heap;

static COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

static TRACING: AtomicBool = AtomicBool::new(false);
static SITES: Mutex<Vec<Site>> = Mutex::new(Vec::new());

thread_local! {
    /// Set while a backtrace is taken, whose own allocations are not recorded.
    static IN_TRACE: Cell<bool> = const { Cell::new(false) };
}

/// One allocation and its call site.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) bytes: usize,
    pub(crate) backtrace: Backtrace,
}

/// Starts or stops counting calls and live bytes.
pub(crate) fn count(on: bool) {
    COUNTING.store(on, Relaxed);
}

/// Returns the number of calls of `alloc`, `alloc_zeroed` and `realloc` counted so far.
pub(crate) fn calls() -> u64 {
    CALLS.load(Relaxed)
}

/// Returns the bytes allocated minus the bytes freed while counting. Only differences are meaningful.
pub(crate) fn live_bytes() -> i64 {
    LIVE.load(Relaxed)
}

/// Starts or stops recording a backtrace for every allocation.
pub(crate) fn trace(on: bool) {
    TRACING.store(on, Relaxed);
}

/// Returns the sites recorded since the last call.
pub(crate) fn take_sites() -> Vec<Site> {
    std::mem::take(&mut *SITES.lock().expect("recording a site does not panic"))
}

#[derive(Debug)]
struct Heap;

// SAFETY: every call is passed on to `System` unchanged; the counting does not access the memory in question.
#[allow(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size(), 0);
        // SAFETY: the caller's contract is that of `System::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        record(layout.size(), 0);
        // SAFETY: the caller's contract is that of `System::alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        record(size, layout.size());
        // SAFETY: the caller's contract is that of `System::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTING.load(Relaxed) {
            LIVE.fetch_sub(signed(layout.size()), Relaxed);
        }
        // SAFETY: the caller's contract is that of `System::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn record(bytes: usize, replaced: usize) {
    if COUNTING.load(Relaxed) {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(signed(bytes) - signed(replaced), Relaxed);
    }
    if TRACING.load(Relaxed) && !IN_TRACE.replace(true) {
        let backtrace = Backtrace::force_capture();
        if let Ok(mut sites) = SITES.lock() {
            sites.push(Site { bytes, backtrace });
        }
        IN_TRACE.set(false);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("a layout's size fits an isize")
}
