//! Which secret opens a session, and how one takes the place of another.
//!
//! Two kinds of rotation differ on purpose. An explicit one (`rotate`, `sign_in`) must shut the old secret out at once:
//! it answers a change of privilege. A periodic one must not sign anybody out whose response is lost: the new secret is
//! *pending* beside the current one until a client presents it, and the one it replaces works on for a grace.

use super::lifetime::GRACE;
use crate::clock::Timestamp;
use crate::record::{Pending, Retired, RetiredBy, Secrets};
use crate::token::Verifier;

/// How many pending secrets a record holds: as many sign-ins at once as keep every response good.
const MOST_PENDING: usize = 64;
/// How many retired ones: every pending one and a few from before.
const MOST_RETIRED: usize = 80;
/// How many replaced ones are remembered beyond the grace, to notice a replay.
const MOST_REPLAYS: usize = 8;

/// What a client's secret is to a session, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presented {
    /// The current secret.
    Current,
    /// A pending one, which takes the current one's place now that it is seen.
    Pending,
    /// One that was replaced within the grace: reads and writes, but neither rotates nor signs in.
    Replaced,
    /// One that was explicitly retired a moment ago: opens nothing and starts nothing.
    Retired,
    /// One that a periodic rotation retired longer ago than the grace: somebody has a copy.
    Replayed,
    /// None of this session's.
    Unknown,
}

impl Presented {
    /// Whether it opens the session.
    pub(crate) const fn is_live(self) -> bool {
        matches!(self, Self::Current | Self::Pending | Self::Replaced)
    }
}

impl Secrets {
    /// What this secret is to the session. Every known verifier is compared, in constant time each.
    pub(crate) fn presented(&self, secret: &Verifier, now: Timestamp) -> Presented {
        let mut found = Presented::Unknown;
        for retired in self.retired.iter().filter(|retired| retired.verifier.matches(secret)) {
            let in_grace = now.since(retired.at) < GRACE;
            found = found.min(match retired.by {
                RetiredBy::Rotation if in_grace => Presented::Retired,
                RetiredBy::Refresh | RetiredBy::SignIn if in_grace => Presented::Replaced,
                RetiredBy::Refresh => Presented::Replayed,
                RetiredBy::Rotation | RetiredBy::SignIn => Presented::Unknown,
            });
        }
        if self.pending.iter().any(|pending| pending.verifier.matches(secret)) {
            found = Presented::Pending;
        }
        if self.current.matches(secret) {
            found = Presented::Current;
        }
        found
    }

    /// An explicit rotation: `new` is the only secret that opens the session from now on.
    ///
    /// In a new epoch nothing of the old one counts as a replay.
    pub(crate) fn replace_all(&mut self, new: Verifier, now: Timestamp, new_epoch: bool) {
        for retired in &mut self.retired {
            let in_grace = now.since(retired.at) < GRACE;
            if retired.by != RetiredBy::Rotation && (in_grace || new_epoch) {
                retired.by = RetiredBy::Rotation;
                if in_grace {
                    retired.at = now;
                }
            }
        }
        let pending = std::mem::take(&mut self.pending).into_iter().map(|pending| pending.verifier);
        let retire = |verifier| Retired { verifier, at: now, by: RetiredBy::Rotation };
        self.retired.extend(pending.map(retire));
        self.retired.push(retire(self.current));
        self.current = new;
        self.since = now;
        self.csrf = None;
        self.prune(now);
    }

    /// A sign-in that another of the same owner has overtaken: its secret stands beside the winner's.
    pub(crate) fn add_sibling(&mut self, new: Verifier, now: Timestamp) {
        self.pending.push(Pending { verifier: new, issued_at: now, by_sign_in: true });
        self.prune(now);
    }

    /// What the session's CSRF tokens are derived from: the secret that the last explicit rotation made, so that the
    /// forms on open pages survive a periodic one.
    pub(crate) const fn csrf(&self) -> &Verifier {
        match &self.csrf {
            Some(before) => before,
            None => &self.current,
        }
    }

    /// Whether a periodic rotation may issue another secret: not while the last may still be on its way.
    pub(crate) fn may_refresh(&self, now: Timestamp) -> bool {
        self.pending.iter().all(|pending| now.since(pending.issued_at) >= GRACE)
    }

    /// The first half of a periodic rotation.
    pub(crate) fn add_pending(&mut self, new: Verifier, now: Timestamp) {
        self.pending.retain(|pending| pending.by_sign_in);
        self.pending.push(Pending { verifier: new, issued_at: now, by_sign_in: false });
        self.prune(now);
    }

    /// The second half: a client has shown that the pending secret reached it. Says whether anything changed.
    pub(crate) fn promote(&mut self, secret: &Verifier, now: Timestamp) -> bool {
        let Some(at) = self.pending.iter().position(|pending| pending.verifier.matches(secret)) else {
            return false;
        };
        let promoted = self.pending.remove(at);
        let by = if promoted.by_sign_in { RetiredBy::SignIn } else { RetiredBy::Refresh };
        self.retired.push(Retired { verifier: self.current, at: now, by });
        self.csrf.get_or_insert(self.current);
        self.current = promoted.verifier;
        self.since = now;
        // A sibling's response may still reach the browser; what is older will not.
        self.pending.retain(|pending| pending.by_sign_in && now.since(pending.issued_at) < GRACE);
        self.prune(now);
        true
    }

    /// Forgets what no longer makes a difference, oldest first.
    fn prune(&mut self, now: Timestamp) {
        let replays = self.retired.iter().filter(|retired| retired.by == RetiredBy::Refresh).count();
        let mut surplus = replays.saturating_sub(MOST_REPLAYS);
        self.retired.retain(|retired| {
            let in_grace = now.since(retired.at) < GRACE;
            if in_grace || retired.by != RetiredBy::Refresh {
                return in_grace;
            }
            let drop = surplus > 0;
            surplus = surplus.saturating_sub(1);
            !drop
        });
        self.retired.drain(..self.retired.len().saturating_sub(MOST_RETIRED));
        self.pending.drain(..self.pending.len().saturating_sub(MOST_PENDING));
    }
}
