//! `owned_by` lists what is there, and only that.

use crate::error::StoreErrorKind;
use crate::store::{Expected, Outcome, Store};
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, Stop, ensure};
use crate::testing::conformance::together::join;
use crate::testing::conformance::trial::{LONG, Prolonged, Trial, next};

pub(super) async fn a_store_without_an_index_says_so<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    if trial.fixture.has_owners() {
        return Err(Stop::NotApplicable("the store lists the sessions of an owner".into()));
    }
    match trial.store.store().owned_by(&trial.owner("user:1")).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(()),
        answer => Err(Stop::Broken(format!("owned_by answered {answer:?}"))),
    }
}

pub(super) async fn owned_by_lists_the_owners_sessions<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let (ours, theirs) = (trial.owner("user:1"), trial.owner("user:2"));
    let records = [trial.owned(&ours), trial.owned(&theirs), trial.record(|_| {}), trial.owned(&ours)];
    for record in &records {
        trial.store.create(record).await?;
    }
    trial.store.lists(&ours, [&records[0], &records[3]]).await?;
    trial.store.lists(&theirs, [&records[1]]).await
}

pub(super) async fn owned_by_lists_the_oldest_first<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let mut records: Vec<_> = (0..20).map(|_| trial.owned(&owner)).collect();
    records.sort_unstable_by_key(|record| *record.id());
    // Every third of them, again and again: neither first to last nor last to first.
    for place in 0..records.len() {
        trial.store.create(&records[place * 3 % records.len()]).await?;
    }
    trial.store.lists(&owner, &records).await
}

pub(super) async fn owned_by_lists_whole_records<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let first = trial.owned(&owner);
    trial.store.create(&first).await?;
    trial.store.lists(&owner, [&first]).await?;
    let mut second = next(&first, |parts| parts.expires_at += LONG);
    trial.store.replace(&first, &second).await?;
    trial.store.lists(&owner, [&second]).await?;
    let touch = trial.touch_after(7200);
    trial.store.touches(&second, touch).await?;
    second.touch(touch);
    trial.store.lists(&owner, [&second]).await
}

pub(super) async fn owned_by_of_an_unknown_owner_is_empty<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    // There are others to be listed by mistake.
    trial.store.create(&trial.record(|_| {})).await?;
    trial.store.create(&trial.owned(&trial.owner("user:1"))).await?;
    trial.store.lists(&trial.owner("nobody"), []).await
}

pub(super) async fn owned_by_lists_a_session_that_is_signed_in<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let anonymous = trial.record(|_| {});
    trial.store.create(&anonymous).await?;
    let signed_in = next(&anonymous, |parts| parts.owner = Some(owner.as_str().into()));
    trial.store.replace(&anonymous, &signed_in).await?;
    trial.store.lists(&owner, [&signed_in]).await
}

pub(super) async fn owned_by_follows_a_change_of_owner<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let (first, second) = (trial.owner("user:1"), trial.owner("user:2"));
    let mut record = trial.owned(&first);
    trial.store.create(&record).await?;
    for owner in [Some(&second), None, Some(&first), Some(&second)] {
        let moved = next(&record, |parts| parts.owner = owner.map(|owner| owner.as_str().into()));
        trial.store.replace(&record, &moved).await?;
        for listed in [&first, &second] {
            trial.store.lists(listed, (owner == Some(listed)).then_some(&moved)).await?;
        }
        record = moved;
    }
    Ok(())
}

pub(super) async fn owned_by_lists_once_what_was_written_often<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let mut record = trial.owned(&owner);
    trial.store.create(&record).await?;
    for _ in 0..5 {
        let next = next(&record, |_| {});
        trial.store.replace(&record, &next).await?;
        trial.store.lists(&owner, [&next]).await?;
        record = next;
    }
    Ok(())
}

pub(super) async fn owned_by_forgets_what_was_deleted<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let (kept, deleted) = (trial.owned(&owner), trial.owned(&owner));
    trial.store.create(&kept).await?;
    trial.store.create(&deleted).await?;
    trial.store.deletes(deleted.id()).await?;
    trial.store.lists(&owner, [&kept]).await?;
    // Written anew without an owner, it is nobody's.
    trial.store.create(&trial.record(|parts| parts.id = *deleted.id())).await?;
    trial.store.lists(&owner, [&kept]).await?;
    trial.store.deletes(kept.id()).await?;
    trial.store.lists(&owner, []).await
}

pub(super) async fn owned_by_forgets_what_has_expired<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let kept = trial.owned(&owner);
    trial.store.create(&kept).await?;
    trial.expired(|parts| parts.owner = Some(owner.as_str().into())).await?;
    trial.store.lists(&owner, [&kept]).await
}

pub(super) async fn owned_by_forgets_what_was_replaced_after_its_expiry<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let (first, second) = (trial.owner("user:1"), trial.owner("user:2"));
    let expired = trial.expired(|parts| parts.owner = Some(first.as_str().into())).await?;
    let anew = trial.record(|parts| {
        parts.id = *expired.id();
        parts.owner = Some(second.as_str().into());
    });
    trial.store.create(&anew).await?;
    trial.store.lists(&first, []).await?;
    trial.store.lists(&second, [&anew]).await
}

pub(super) async fn owned_by_lists_what_was_touched<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let touched = trial.prolonged(Prolonged::Touch, Some(&owner)).await?;
    // On a slow machine others of the same owner may have expired before they were touched.
    trial.store.lists(&owner, [&touched]).await
}

pub(super) async fn a_refused_set_moves_no_owner<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let (ours, theirs) = (trial.owner("user:1"), trial.owner("user:2"));
    let record = trial.owned(&ours);
    trial.store.create(&record).await?;
    let taken = next(&record, |parts| parts.owner = Some(theirs.as_str().into()));
    trial.store.refuses(&taken, Expected::Version(taken.version())).await?;
    trial.store.refuses(&taken, Expected::Absent).await?;
    trial.store.lists(&theirs, []).await?;
    trial.store.lists(&ours, [&record]).await
}

pub(super) async fn anonymous_sessions_are_listed_under_nobody<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let anonymous = trial.record(|_| {});
    trial.store.create(&anonymous).await?;
    // Others may have sessions of the empty owner, so that this one alone is looked for.
    let listed = trial.store.owned_by("").await?.iter().any(|listed| listed.id() == anonymous.id());
    ensure!(!listed, "owned_by of the empty string listed a session without an owner");
    let empty = trial.owned("");
    trial.store.create(&empty).await?;
    let listed = trial.store.owned_by("").await?.iter().any(|listed| listed == &empty);
    trial.store.deletes(empty.id()).await?;
    ensure!(listed, "owned_by of the empty string did not list the session of that owner");
    Ok(())
}

pub(super) async fn three_hundred_sessions_of_one_owner_are_listed<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let owner = trial.owner("user:1");
    let records: Vec<_> = (0..300).map(|_| trial.owned(&owner)).collect();
    for written in join(records.iter().map(|record| trial.store.create(record))).await {
        written?;
    }
    trial.store.lists(&owner, &records).await
}

pub(super) async fn owned_by_is_exact_after_writers_at_once<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    const WRITERS: usize = 3;
    trial.needs_owners()?;
    let owners = [trial.owner("user:1"), trial.owner("user:2")];
    let mut sessions: Vec<_> = (0..12).map(|_| trial.record(|_| {})).collect();
    for session in &sessions {
        trial.store.create(session).await?;
    }
    // Each round is looked at, since the next one may put right what went wrong in it.
    for round in 0..10 {
        let writers = sessions.iter().flat_map(|session| (0..WRITERS).map(move |writer| (session, writer)));
        let writers = writers.map(|(session, writer)| {
            let (store, id, owner) = (trial.store.clone(), *session.id(), owners.get((round + writer) % 3).cloned());
            async move {
                for attempt in 1.. {
                    let current = store.live(&id).await?;
                    let moved = next(&current, |parts| parts.owner = owner.as_deref().map(Into::into));
                    if store.set(&moved, Expected::Version(current.version())).await? == Outcome::Written {
                        break;
                    }
                    ensure!(
                        attempt < WRITERS,
                        "a set was refused {attempt} times, by one write each of {WRITERS} writers"
                    );
                }
                Ok(())
            }
        });
        trial.at_once(writers).await?;
        for session in &mut sessions {
            *session = trial.store.live(session.id()).await?;
        }
        for owner in &owners {
            trial.store.lists(owner, sessions.iter().filter(|record| record.owner() == Some(owner))).await?;
        }
    }
    Ok(())
}
