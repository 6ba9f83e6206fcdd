//! The secrets of a session, and how one replaces another.
//!
//! There are two kinds of rotation. An explicit one (`rotate`, `sign_in`) answers a change of privilege: the old secret
//! opens nothing from then on. A refresh, the periodic rotation, must not sign a client out that loses the response: the new
//! secret is *pending* beside the current one until a client presents it, and the replaced one works for a grace period.

use super::wire::{Reader, Sink, Writer};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::lifetime::GRACE;
use crate::token::Verifier;

/// Most pending secrets of sign-ins. Each concurrent sign-in adds one, so that every response works.
const MAX_SIBLINGS: usize = 64;
/// Most pending secrets of refreshes. The client may hold any of them, so none is dropped, and no further one is issued.
const MAX_REFRESHES: usize = 8;
/// Number of the last refreshes whose replaced secrets are kept after the grace period, to detect a replay.
const MAX_REPLAYED_REFRESHES: usize = 8;
/// Most retired secrets that are not kept to detect a replay: all pending ones, the current one and a few from before.
const MAX_RETIRED: usize = 80;

/// Status of a client's secret, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TokenStatus {
    /// The current secret.
    Current,
    /// A pending secret, which replaces the current one now that a client presents it.
    Pending,
    /// A secret that was replaced within the grace period: it reads and writes, but neither rotates nor signs in.
    Replaced,
    /// A secret that was explicitly retired within the grace period: it opens nothing and starts nothing.
    Retired,
    /// A secret that a refresh replaced before the grace period: two parties hold tokens of this session.
    Replayed,
    /// Not a secret of this session.
    Unknown,
}

impl TokenStatus {
    /// Checks whether the secret opens the session.
    pub(crate) const fn is_live(self) -> bool {
        matches!(self, Self::Current | Self::Pending | Self::Replaced)
    }
}

/// The verifiers of a session's secrets.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    pub(crate) current: Verifier,
    /// When the current one became current.
    pub(crate) since: Timestamp,
    /// The verifier that CSRF tokens are derived from, unless it is the current one: the one before the first refresh.
    pub(crate) csrf: Option<Verifier>,
    pub(crate) pending: Vec<PendingSecret>,
    pub(crate) retired: Vec<RetiredSecret>,
}

/// A secret that was issued beside the current one and replaces it when a client presents it.
#[derive(Clone, Debug)]
pub(crate) struct PendingSecret {
    pub(crate) verifier: Verifier,
    pub(crate) issued_at: Timestamp,
    /// Issued by one of several concurrent sign-ins rather than by a refresh.
    pub(crate) by_sign_in: bool,
}

/// A secret that was replaced.
#[derive(Clone, Debug)]
pub(crate) struct RetiredSecret {
    pub(crate) verifier: Verifier,
    pub(crate) at: Timestamp,
    pub(crate) by: RetiredBy,
}

/// The cause of a replacement, which decides what the old secret still opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetiredBy {
    /// `rotate`: opens nothing from then on.
    Rotation = 0,
    /// A refresh: works for the grace period; after it, presenting the secret is a replay.
    Refresh = 1,
    /// Another of several concurrent sign-ins, within the grace period of that: works for the grace period, then is unknown.
    Sibling = 2,
    /// `sign_in`: opens nothing from then on, but during the grace period a sign-in of the same owner joins the session.
    SignIn = 3,
}

impl Secrets {
    pub(crate) const fn new(current: Verifier, now: Timestamp) -> Self {
        Self { current, since: now, csrf: None, pending: Vec::new(), retired: Vec::new() }
    }

    /// Returns what a secret is to the session. Compares every known verifier, each in constant time.
    pub(crate) fn status(&self, secret: &Verifier, now: Timestamp) -> TokenStatus {
        let mut status = TokenStatus::Unknown;
        for retired in self.retired.iter().filter(|retired| retired.verifier.matches(secret)) {
            let in_grace = now.since(retired.at) < GRACE;
            status = status.min(match retired.by {
                RetiredBy::Rotation | RetiredBy::SignIn if in_grace => TokenStatus::Retired,
                RetiredBy::Refresh | RetiredBy::Sibling if in_grace => TokenStatus::Replaced,
                RetiredBy::Refresh => TokenStatus::Replayed,
                RetiredBy::Rotation | RetiredBy::Sibling | RetiredBy::SignIn => TokenStatus::Unknown,
            });
        }
        if self.pending.iter().any(|pending| pending.verifier.matches(secret)) {
            status = TokenStatus::Pending;
        }
        if self.current.matches(secret) {
            status = TokenStatus::Current;
        }
        status
    }

    /// Checks whether a sign-in has retired this secret within the grace period.
    pub(crate) fn was_retired_by_sign_in(&self, secret: &Verifier, now: Timestamp) -> bool {
        let mut retired = self.retired.iter().filter(|retired| retired.verifier.matches(secret));
        retired.any(|retired| retired.by == RetiredBy::SignIn && now.since(retired.at) < GRACE)
    }

    /// Rotates explicitly, for `rotate` or a sign-in: only `new` opens the session from now on.
    ///
    /// In a new epoch no secret of the old one counts as a replay.
    pub(crate) fn rotate(&mut self, new: Verifier, now: Timestamp, by: RetiredBy, new_epoch: bool) {
        for retired in &mut self.retired {
            let in_grace = now.since(retired.at) < GRACE;
            let opens = matches!(retired.by, RetiredBy::Refresh | RetiredBy::Sibling);
            if opens && (in_grace || new_epoch) {
                retired.by = by;
                if in_grace {
                    retired.at = now;
                }
            }
        }
        let pending = std::mem::take(&mut self.pending).into_iter().map(|pending| pending.verifier);
        let retire = |verifier| RetiredSecret { verifier, at: now, by };
        self.retired.extend(pending.map(retire));
        self.retired.push(retire(self.current));
        self.current = new;
        self.since = now;
        self.csrf = None;
        self.prune(now);
    }

    /// Adds the secret of a sign-in that lost to another sign-in of the same owner: it stands beside the winner's.
    pub(crate) fn add_sibling(&mut self, new: Verifier, now: Timestamp) {
        self.pending.push(PendingSecret { verifier: new, issued_at: now, by_sign_in: true });
        self.prune(now);
    }

    /// Returns the verifier that CSRF tokens are derived from: that of the last explicit rotation, so that the forms of open
    /// pages survive a refresh.
    pub(crate) const fn csrf(&self) -> &Verifier {
        match &self.csrf {
            Some(before) => before,
            None => &self.current,
        }
    }

    /// Checks whether the client may still be receiving a pending secret.
    pub(crate) fn is_issuing(&self, now: Timestamp) -> bool {
        self.pending.iter().any(|pending| now.since(pending.issued_at) < GRACE)
    }

    /// Checks whether a refresh may issue another secret: not while the client may still be receiving the last one, and not
    /// beyond the limit, since each may be the one that the client holds.
    pub(crate) fn can_refresh(&self, now: Timestamp) -> bool {
        let refreshes = self.pending.iter().filter(|pending| !pending.by_sign_in).count();
        refreshes < MAX_REFRESHES && !self.is_issuing(now)
    }

    /// Issues a pending secret: the first half of a refresh. Only if it [can](Self::can_refresh).
    pub(crate) fn issue_refresh(&mut self, new: Verifier, now: Timestamp) {
        self.pending.push(PendingSecret { verifier: new, issued_at: now, by_sign_in: false });
        self.prune(now);
    }

    /// Makes a pending secret current, since a client has presented it: the second half of a refresh.
    ///
    /// The current secret and all other pending ones are replaced: each works for the grace period, and presenting it later is a
    /// replay, whichever of two parties has moved first. Only the secrets of sign-ins within the grace period stay pending.
    pub(crate) fn confirm_refresh(&mut self, secret: &Verifier, now: Timestamp) {
        let Some(at) = self.pending.iter().position(|pending| pending.verifier.matches(secret)) else { return };
        let confirmed = self.pending.remove(at);
        // The response of a concurrent sign-in may still reach the browser; an older one has, or will not.
        let is_on_its_way = |pending: &PendingSecret| pending.by_sign_in && now.since(pending.issued_at) < GRACE;
        let (siblings, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(is_on_its_way);
        self.pending = siblings;
        let retire = |verifier, by| RetiredSecret { verifier, at: now, by };
        self.retired.extend(others.into_iter().map(|pending| retire(pending.verifier, RetiredBy::Refresh)));
        let by = if is_on_its_way(&confirmed) { RetiredBy::Sibling } else { RetiredBy::Refresh };
        self.retired.push(retire(self.current, by));
        self.csrf.get_or_insert(self.current);
        self.current = confirmed.verifier;
        self.since = now;
        self.prune(now);
    }

    /// Removes secrets past the grace period, then the oldest beyond each limit.
    fn prune(&mut self, now: Timestamp) {
        let first_replay = self.first_replay();
        let retired = std::mem::take(&mut self.retired).into_iter().enumerate();
        let (replays, mut others): (Vec<_>, Vec<_>) =
            retired.partition(|(at, retired)| retired.by == RetiredBy::Refresh && *at >= first_replay);
        others.retain(|(_, retired)| now.since(retired.at) < GRACE);
        others.drain(..others.len().saturating_sub(MAX_RETIRED));
        self.retired.extend(others.into_iter().chain(replays).map(|(_, retired)| retired));
        let siblings = self.pending.iter().filter(|pending| pending.by_sign_in).count();
        let mut surplus = siblings.saturating_sub(MAX_SIBLINGS);
        self.pending.retain(|pending| {
            let is_dropped = surplus > 0 && pending.by_sign_in;
            surplus -= usize::from(is_dropped);
            !is_dropped
        });
    }

    /// Returns the place of the first secret that is kept to detect a replay.
    fn first_replay(&self) -> usize {
        let (mut first, mut refreshes, mut previous) = (self.retired.len(), 0, None);
        for (at, retired) in self.retired.iter().enumerate().rev() {
            if retired.by != RetiredBy::Refresh {
                continue;
            }
            // The secrets that one refresh has replaced have one time.
            if previous.replace(retired.at) != Some(retired.at) {
                refreshes += 1;
            }
            if refreshes > MAX_REPLAYED_REFRESHES {
                break;
            }
            first = at;
        }
        first
    }

    pub(super) fn write(&self, out: &mut Writer<'_, impl Sink>) {
        out.bytes(self.current.as_bytes());
        out.timestamp(self.since);
        if let Some(csrf) = &self.csrf {
            out.bytes(csrf.as_bytes());
        }
        out.varint(self.pending.len() as u64);
        for pending in &self.pending {
            out.bytes(pending.verifier.as_bytes());
            out.timestamp(pending.issued_at);
            out.byte(u8::from(pending.by_sign_in));
        }
        out.varint(self.retired.len() as u64);
        for retired in &self.retired {
            out.bytes(retired.verifier.as_bytes());
            out.timestamp(retired.at);
            out.byte(retired.by as u8);
        }
    }

    pub(super) fn read(&mut self, input: &mut Reader<'_>, has_csrf: bool) -> Result<(), StoreError> {
        self.current = Verifier::from_bytes(input.array()?);
        self.since = input.timestamp()?;
        self.csrf = if has_csrf { Some(Verifier::from_bytes(input.array()?)) } else { None };
        self.pending.clear();
        for _ in 0..input.length()? {
            self.pending.push(PendingSecret {
                verifier: Verifier::from_bytes(input.array()?),
                issued_at: input.timestamp()?,
                by_sign_in: match input.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(StoreError::corrupt("unknown kind of pending secret")),
                },
            });
        }
        self.retired.clear();
        for _ in 0..input.length()? {
            self.retired.push(RetiredSecret {
                verifier: Verifier::from_bytes(input.array()?),
                at: input.timestamp()?,
                by: match input.byte()? {
                    0 => RetiredBy::Rotation,
                    1 => RetiredBy::Refresh,
                    2 => RetiredBy::Sibling,
                    3 => RetiredBy::SignIn,
                    _ => return Err(StoreError::corrupt("unknown kind of retired secret")),
                },
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::TokenStatus::{Current, Pending, Replaced, Replayed, Retired, Unknown};
    use super::*;

    fn verifier(number: usize) -> Verifier {
        Verifier::from_bytes(std::array::from_fn(|place| (number as u64).to_be_bytes()[place % 8]))
    }

    fn start() -> (Secrets, Timestamp) {
        let now = Timestamp::from_milliseconds(1_000);
        (Secrets::new(verifier(0), now), now)
    }

    /// Returns the statuses of the first `N` secrets, by their numbers.
    fn statuses<const N: usize>(secrets: &Secrets, now: Timestamp) -> [TokenStatus; N] {
        std::array::from_fn(|number| secrets.status(&verifier(number), now))
    }

    /// A refreshed secret works for the grace period; a rotated one does not.
    #[test]
    fn each_step_changes_the_status_of_the_secrets() {
        let (mut secrets, now) = start();
        secrets.issue_refresh(verifier(1), now);
        assert!(!secrets.can_refresh(now) && secrets.can_refresh(now.plus(GRACE)));
        assert_eq!(statuses(&secrets, now), [Current, Pending]);
        secrets.confirm_refresh(&verifier(1), now);
        assert!(secrets.csrf().matches(&verifier(0)));
        assert_eq!(statuses(&secrets, now), [Replaced, Current]);
        secrets.add_sibling(verifier(2), now);
        secrets.confirm_refresh(&verifier(2), now);
        assert_eq!(statuses(&secrets, now), [Replaced, Replaced, Current]);
        let later = now.plus(GRACE);
        assert_eq!(statuses(&secrets, later), [Replayed, Unknown, Current]);
        secrets.rotate(verifier(3), later, RetiredBy::Rotation, false);
        assert_eq!(statuses(&secrets, later), [Replayed, Unknown, Retired, Current]);
        assert!(secrets.csrf().matches(&verifier(3)));
        secrets.rotate(verifier(4), later, RetiredBy::SignIn, true);
        assert_eq!(statuses(&secrets, later.plus(GRACE)), [Unknown, Unknown, Unknown, Unknown, Current]);
    }

    /// All pending secrets of refreshes stay until one is presented; the others are then replays after the grace period.
    #[test]
    fn no_pending_refresh_is_dropped() {
        let (mut secrets, mut now) = start();
        for number in 1..=MAX_REFRESHES {
            assert!(secrets.can_refresh(now));
            secrets.issue_refresh(verifier(number), now);
            now = now.plus(GRACE);
        }
        assert!(!secrets.can_refresh(now) && !secrets.is_issuing(now));
        secrets.add_sibling(verifier(20), now);
        let pending: [TokenStatus; MAX_REFRESHES + 1] = statuses(&secrets, now);
        assert!(pending[0] == Current && pending[1..].iter().all(|status| *status == Pending));
        secrets.confirm_refresh(&verifier(3), now);
        assert_eq!(statuses(&secrets, now), [Replaced, Replaced, Replaced, Current, Replaced]);
        assert_eq!(secrets.status(&verifier(20), now), Pending);
        assert_eq!(statuses(&secrets, now.plus(GRACE)), [Replayed, Replayed, Replayed, Current, Replayed]);
    }

    /// After the grace period, the pending secret of a sign-in retires others, and is retired, as that of a refresh.
    #[test]
    fn an_old_secret_of_a_sign_in_is_as_one_of_a_refresh() {
        let (mut secrets, now) = start();
        (1..=2).for_each(|number| secrets.add_sibling(verifier(number), now));
        let later = now.plus(GRACE);
        secrets.add_sibling(verifier(3), later);
        secrets.confirm_refresh(&verifier(1), later);
        assert_eq!(statuses(&secrets, later), [Replaced, Current, Replaced, Pending]);
        secrets.confirm_refresh(&verifier(3), later);
        assert_eq!(statuses(&secrets, later.plus(GRACE)), [Replayed, Unknown, Replayed, Current]);
    }

    /// Only a secret that a sign-in retired, and only within the grace period, lets another sign-in join.
    #[test]
    fn a_sign_in_is_told_from_a_rotation() {
        let (mut secrets, now) = start();
        secrets.rotate(verifier(1), now, RetiredBy::SignIn, true);
        secrets.rotate(verifier(2), now, RetiredBy::Rotation, false);
        assert_eq!(statuses(&secrets, now), [Retired, Retired, Current]);
        let joins = [0, 1, 2].map(|number| secrets.was_retired_by_sign_in(&verifier(number), now));
        assert_eq!(joins, [true, false, false]);
        assert!(!secrets.was_retired_by_sign_in(&verifier(0), now.plus(GRACE)));
    }

    /// Past each bound, the oldest secrets are forgotten.
    #[test]
    fn the_newest_secrets_are_kept() {
        let (mut siblings, mut now) = start();
        let (mut rotated, mut refreshed) = (siblings.clone(), siblings.clone());
        (1..=MAX_SIBLINGS + 2).for_each(|number| siblings.add_sibling(verifier(number), now));
        assert_eq!(statuses(&siblings, now), [Current, Unknown, Unknown, Pending]);
        (1..=MAX_RETIRED + 2).for_each(|number| rotated.rotate(verifier(number), now, RetiredBy::Rotation, false));
        assert_eq!(statuses(&rotated, now), [Unknown, Unknown, Retired]);
        for number in 1..=MAX_REPLAYED_REFRESHES + 2 {
            refreshed.issue_refresh(verifier(number), now);
            refreshed.confirm_refresh(&verifier(number), now);
            now = now.plus(GRACE);
        }
        assert_eq!(statuses(&refreshed, now), [Unknown, Unknown, Replayed]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        /// Any sequence of steps keeps the bounds and the newest secrets.
        #[test]
        fn the_lists_of_secrets_are_bounded(steps in vec((0..60u8, prop_oneof![40 => Just(0), 1 => 1..3u32]), 0..300)) {
            let (mut secrets, mut now) = start();
            for (number, (kind, wait)) in (1..).zip(steps) {
                now = now.plus(GRACE / 2 * wait);
                let (before, new, newest) = (secrets.current, verifier(number), secrets.pending.last().cloned());
                let expected = match (kind, newest) {
                    (0, _) => { secrets.rotate(new, now, RetiredBy::Rotation, wait > 0); (Retired, Current) }
                    (1..20, Some(newest)) => { secrets.confirm_refresh(&newest.verifier, now); (Replaced, Unknown) }
                    (20..25, _) if secrets.can_refresh(now) => { secrets.issue_refresh(new, now); (Current, Pending) }
                    _ => { secrets.add_sibling(new, now); (Current, Pending) }
                };
                prop_assert_eq!((secrets.status(&before, now), secrets.status(&new, now)), expected);
                let count = |by_sign_in| secrets.pending.iter().filter(|pending| pending.by_sign_in == by_sign_in).count();
                prop_assert!(count(true) <= MAX_SIBLINGS && count(false) <= MAX_REFRESHES);
                prop_assert!(secrets.retired.len() <= MAX_RETIRED + MAX_REPLAYED_REFRESHES * (MAX_SIBLINGS + MAX_REFRESHES));
            }
        }
    }
}
