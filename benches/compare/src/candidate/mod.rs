//! The candidates: routers with the same routes and the same responses.
//!
//! They differ in the session layer and in its use, which follows the layer's own examples.
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
pub(crate) mod tower_sessions_session;

use std::time::Duration;

use axum::Router;

/// Session layer under measurement, or none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Candidate {
    /// Layer that does nothing: its cost is subtracted from every other.
    Noop,
    /// tower-sessions with its `MemoryStore`: the unit of every ratio.
    TowerSessions,
    /// axum_session with its null pool, which keeps sessions in memory alone.
    AxumSession,
    /// sessile with its `MemoryStore`.
    Sessile,
    /// Minimal session layer, the lower bound for sessile's cost.
    Minimal,
}

/// Ways to call the router.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Serving {
    /// As `axum::serve` does: the state is set first, and the layers are applied once.
    Served,
    /// As built. axum then clones and applies the layers at every request: one allocation more for each layer with a
    /// configuration.
    Bare,
}

impl Candidate {
    /// All candidates, in the order of [`Candidate::index`].
    pub(crate) const ALL: [Self; 5] =
        [Self::Noop, Self::TowerSessions, Self::AxumSession, Self::Sessile, Self::Minimal];

    /// Candidates that are compared with the no-op layer.
    pub(crate) const MEASURED: [Self; 4] = [Self::TowerSessions, Self::AxumSession, Self::Sessile, Self::Minimal];

    /// Candidates that an application can use.
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

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.name() == name)
    }

    /// Creates an application with its own store, with the given lifetime or the candidate's default.
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

    /// Creates an application as it is served, on the Redis server with this URL or in memory.
    pub(crate) async fn app_on(self, redis: Option<&str>) -> Router {
        match redis {
            None => self.app(Serving::Served, None).await,
            #[cfg(feature = "redis")]
            Some(url) => crate::redis::apps::requested(self, url).await,
            #[cfg(not(feature = "redis"))]
            Some(_) => panic!("built without the feature redis"),
        }
    }

    /// Returns why expired sessions stay in memory, if no setting of the candidate can free them while this program
    /// runs.
    pub(crate) const fn keeps_expired(self) -> Option<&'static str> {
        match self {
            Self::Noop | Self::Sessile | Self::Minimal => None,
            Self::TowerSessions => Some("its MemoryStore never deletes expired sessions"),
            Self::AxumSession => Some("its first sweep comes an hour after start, whatever is configured"),
        }
    }
}
