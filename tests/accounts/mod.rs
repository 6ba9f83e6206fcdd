//! What accounts need of sessions, over any store: each test of these files runs in memory, and again on servers.

#![allow(dead_code, reason = "each test binary compiles all of it and may use a part")]
#![allow(unused_macros, unused_imports, reason = "the same")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

pub mod csrf;
pub mod flash;

use std::sync::Arc;

use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionLayer, SessionLayerBuilder, Store};

use crate::support::client::EventLog;

/// Layers over one store, by one clock, that tell one log.
#[derive(Clone)]
pub struct Over {
    pub clock: ManualClock,
    pub events: EventLog,
    builder: Arc<dyn Fn() -> SessionLayerBuilder + Send + Sync>,
}

impl Over {
    /// Over a store that goes by a clock of its own.
    pub fn store(store: impl Store + Clone) -> Self {
        Self::with_clock(store, ManualClock::new())
    }

    pub fn memory() -> Self {
        let clock = ManualClock::new();
        Self::with_clock(MemoryStore::new().with_clock(&clock), clock)
    }

    fn with_clock(store: impl Store + Clone, clock: ManualClock) -> Self {
        let builder = Arc::new(move || SessionLayer::builder(store.clone()));
        Self { clock, events: EventLog::default(), builder }
    }

    /// A layer with other settings than the defaults.
    pub fn builder(&self) -> SessionLayerBuilder {
        (self.builder)().with_clock(&self.clock).with_event_hook(self.events.hook())
    }

    pub fn layer(&self) -> SessionLayer {
        self.builder().build().unwrap()
    }
}

/// Makes a test in memory of each of these.
macro_rules! in_memory {
    ($module:ident: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::accounts::$module::$name(&crate::accounts::Over::memory()).await;
            }
        )*
    };
}

/// Runs each of these over one store, one after another.
macro_rules! one_after_another {
    ($over:expr => $($module:ident: $($name:ident),* $(,)?;)*) => {
        $($(
            eprintln!("{} {}", stringify!($module), stringify!($name));
            crate::accounts::$module::$name($over).await;
        )*)*
    };
}

pub(crate) use {in_memory, one_after_another};
