//! Set writes a whole record over the expected version, or nothing.

use crate::record::{RecordParts, Version};
use crate::store::Expected;
use crate::testing::conformance::probe::{LONG, Probe, Prolonged, SHORT, next, noise};
use crate::testing::conformance::verdict::Checked;

/// Number of tries with a second connection, since a replica does not lag every time.
pub(super) const TRIES: u64 = 10;

pub(super) async fn set_absent_creates_a_record(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|_| {}).await?;
    probe.store.holds(&record).await
}

pub(super) async fn set_absent_is_refused_if_a_record_exists(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|_| {}).await?;
    for other in [next(&record, |parts| parts.version = record.version()), next(&record, |_| {})] {
        probe.store.refuses(&other, Expected::Absent).await?;
        probe.store.holds(&record).await?;
    }
    Ok(())
}

pub(super) async fn set_replaces_the_expected_version(probe: &Probe<'_>) -> Checked {
    let mut record = probe.stored(|_| {}).await?;
    for _ in 0..3 {
        let next = probe.replaced(&record, |_| {}).await?;
        probe.store.holds(&next).await?;
        record = next;
    }
    Ok(())
}

pub(super) async fn set_expecting_an_older_version_is_refused(probe: &Probe<'_>) -> Checked {
    let first = probe.stored(|_| {}).await?;
    let second = probe.replaced(&first, |_| {}).await?;
    for late in [next(&first, |_| {}), next(&second, |_| {})] {
        probe.store.refuses(&late, Expected::Version(first.version())).await?;
        probe.store.holds(&second).await?;
    }
    Ok(())
}

pub(super) async fn set_expecting_a_newer_version_is_refused(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|_| {}).await?;
    let second = next(&record, |_| {});
    probe.store.refuses(&next(&second, |_| {}), Expected::Version(second.version())).await?;
    probe.store.holds(&record).await
}

pub(super) async fn set_of_a_version_creates_nothing(probe: &Probe<'_>) -> Checked {
    let record = probe.record(|_| {});
    for expected in [0, 1, 5] {
        probe.store.refuses(&next(&record, |_| {}), Expected::Version(Version::new(expected))).await?;
        probe.store.lacks(record.id()).await?;
    }
    Ok(())
}

pub(super) async fn set_of_a_version_revives_nothing(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|_| {}).await?;
    probe.store.deletes(&record).await?;
    probe.store.refuses(&next(&record, |_| {}), Expected::Version(record.version())).await?;
    probe.store.lacks(record.id()).await
}

pub(super) async fn set_replaces_every_field(probe: &Probe<'_>) -> Checked {
    let change = |parts: &mut RecordParts| {
        parts.owner = Some(probe.owner.as_str().into());
        parts.state = noise(5_000);
    };
    let first = probe.stored(change).await?;
    let change = |parts: &mut RecordParts| {
        parts.realm = "admin".into();
        parts.owner = None;
        parts.last_seen -= LONG;
        parts.expires_at -= LONG / 2;
        parts.state = noise(3);
    };
    let second = probe.replaced(&first, change).await?;
    probe.store.holds(&second).await?;
    let change = |parts: &mut RecordParts| {
        parts.owner = Some(probe.other_owner.as_str().into());
        parts.expires_at += LONG;
        parts.state = noise(7_000);
    };
    let third = probe.replaced(&second, change).await?;
    probe.store.holds(&third).await
}

pub(super) async fn set_can_move_the_expiry_earlier(probe: &Probe<'_>) -> Checked {
    let first = probe.stored(|_| {}).await?;
    let expires_at = probe.expiry_after(SHORT).await;
    probe.replaced(&first, |parts| parts.expires_at = expires_at).await?;
    probe.pass(SHORT).await?;
    probe.store.lacks(first.id()).await
}

pub(super) async fn set_can_move_the_expiry_later(probe: &Probe<'_>) -> Checked {
    let prolonged = probe.prolonged(Prolonged::Set, None).await?;
    probe.store.holds(&prolonged).await
}

pub(super) async fn records_are_independent(probe: &Probe<'_>) -> Checked {
    // Ids of one millisecond share their first six bytes; the id of `near` differs in a single bit.
    let bystander = probe.record(|_| {});
    let near = probe.record(|parts| {
        let mut bytes = *bystander.id().as_uuid().as_bytes();
        bytes[15] ^= 1;
        parts.id = uuid::Uuid::from_bytes(bytes).into();
    });
    for other in [near, probe.record(|_| {})] {
        probe.store.create(&bystander).await?;
        probe.store.create(&other).await?;
        probe.store.holds(&bystander).await?;
        let second = probe.replaced(&other, |_| {}).await?;
        probe.store.holds(&bystander).await?;
        probe.store.touches(&second, probe.touch_after(60)).await?;
        probe.store.holds(&bystander).await?;
        probe.store.deletes(&other).await?;
        probe.store.holds(&bystander).await?;
        probe.store.deletes(&bystander).await?;
    }
    Ok(())
}

pub(super) async fn another_connection_sees_a_set(probe: &Probe<'_>) -> Checked {
    let (here, there) = (&probe.store, probe.fixture.another().await);
    let mut record = probe.stored(|_| {}).await?;
    there.holds(&record).await?;
    for _ in 0..TRIES {
        let next = next(&record, |_| {});
        here.replace(&record, &next).await?;
        there.holds(&next).await?;
        record = next;
    }
    Ok(())
}

pub(super) async fn a_set_by_another_connection_counts(probe: &Probe<'_>) -> Checked {
    let (here, there) = (&probe.store, probe.fixture.another().await);
    let mut record = probe.stored(|_| {}).await?;
    there.refuses(&record, Expected::Absent).await?;
    for _ in 0..TRIES {
        let second = next(&record, |_| {});
        there.replace(&record, &second).await?;
        here.refuses(&next(&record, |_| {}), Expected::Version(record.version())).await?;
        here.holds(&second).await?;
        record = next(&second, |_| {});
        here.replace(&second, &record).await?;
        there.refuses(&next(&second, |_| {}), Expected::Version(second.version())).await?;
    }
    there.holds(&record).await
}
