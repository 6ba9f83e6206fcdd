//! The candidates. Each is a router with the same routes, whose answers are the same; only the session
//! layer around them and the way to use it differ, and the latter is what its own examples show.
//!
//! | route | the handler | answers |
//! |---|---|---|
//! | `/untouched` | takes no session | nothing |
//! | `/counter` | reads `counter`, a u64 | the number |
//! | `/user` | reads `user`, a struct | the user's id |
//! | `/increment` | reads `counter`, adds 1, writes it | nothing |
//! | `/create` | writes `counter` | nothing |
//! | `/seed` | writes the three keys | nothing |
//! | `/seed-large` | writes all 52 keys | nothing |

pub(crate) mod axum_session;
mod minimal;
pub(crate) mod noop;
pub(crate) mod sessile;
pub(crate) mod tower_sessions;
pub(crate) mod tower_sessions_of;

use std::time::Duration;

use axum::Router;

/// A session layer under measurement, or none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Candidate {
    /// A layer that does nothing: the zero of every figure.
    Noop,
    /// tower-sessions with its `MemoryStore`: the unit of every ratio.
    TowerSessions,
    /// axum_session with its null pool, which keeps sessions in memory only.
    AxumSession,
    /// sessile with its `MemoryStore`.
    Sessile,
    /// The least that a layer with sessions can do: what sessile's cost is held against.
    Minimal,
}

/// How the router is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Serving {
    /// As `axum::serve` does: its state is given first, and the layer applied then, once.
    Served,
    /// As it was built. axum then clones and applies the layer for every request: one allocation more for each
    /// that has a configuration, none for a no-op.
    Bare,
}

impl Candidate {
    /// All of them, in the order of [`Candidate::index`].
    pub(crate) const ALL: [Self; 5] =
        [Self::Noop, Self::TowerSessions, Self::AxumSession, Self::Sessile, Self::Minimal];

    /// Those whose requests are held against the no-op layer's.
    pub(crate) const MEASURED: [Self; 4] = [Self::TowerSessions, Self::AxumSession, Self::Sessile, Self::Minimal];

    /// Those that an application can use.
    pub(crate) const LAYERS: [Self; 3] = [Self::TowerSessions, Self::AxumSession, Self::Sessile];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Noop => "no-op layer",
            Self::TowerSessions => "tower-sessions",
            Self::AxumSession => "axum_session",
            Self::Sessile => "sessile",
            Self::Minimal => "minimal layer",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.name() == name)
    }

    /// A new application with a store of its own, of the candidate's default lifetime or of the one given.
    pub(crate) async fn app(self, serving: Serving, lifetime: Option<Duration>) -> Router {
        let app = match self {
            Self::Noop => noop::app(),
            Self::TowerSessions => tower_sessions::app(lifetime),
            Self::AxumSession => axum_session::app(lifetime).await,
            Self::Sessile => sessile::app(lifetime),
            Self::Minimal => minimal::app(),
        };
        match serving {
            Serving::Served => app.with_state(()),
            Serving::Bare => app,
        }
    }

    /// A new application as it is served, with the defaults: on the Redis server of this URL or, without one, in memory.
    pub(crate) async fn app_on(self, redis: Option<&str>) -> Router {
        match redis {
            None => self.app(Serving::Served, None).await,
            #[cfg(feature = "redis")]
            Some(url) => crate::redis::apps::requested(self, url).await,
            #[cfg(not(feature = "redis"))]
            Some(_) => panic!("built without the feature redis"),
        }
    }

    /// Why the memory of expired sessions stays, where nothing an application can configure gives it back
    /// while this program runs.
    pub(crate) const fn keeps_expired(self) -> Option<&'static str> {
        match self {
            Self::Noop | Self::Sessile | Self::Minimal => None,
            Self::TowerSessions => Some("its MemoryStore never deletes what has expired"),
            Self::AxumSession => Some("its first sweep comes an hour after start, whatever is configured"),
        }
    }
}
