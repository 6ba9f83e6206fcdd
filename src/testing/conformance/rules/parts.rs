//! What is written comes back.

use std::sync::Arc;

use uuid::Uuid;

use crate::record::{RecordParts, Version};
use crate::store::{Expected, Store};
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, Stop, ensure};
use crate::testing::conformance::trial::{Trial, at_version, next, noise};
use crate::token::{SessionId, random};

/// Writes a record with this change and reads it back.
async fn comes_back<F: Fixture>(trial: &Trial<'_, F>, change: impl FnOnce(&mut RecordParts)) -> Checked {
    let record = trial.record(change);
    trial.store.create(&record).await?;
    trial.store.holds(&record).await
}

async fn state_comes_back<F: Fixture>(trial: &Trial<'_, F>, state: impl Into<Arc<[u8]>>) -> Checked {
    let state = state.into();
    comes_back(trial, |parts| parts.state = state).await
}

async fn owner_comes_back<F: Fixture>(trial: &Trial<'_, F>, owner: &str) -> Checked {
    comes_back(trial, |parts| parts.owner = Some(owner.into())).await
}

pub(super) async fn every_part_comes_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let owner = trial.owner("user:42");
    comes_back(trial, |parts| {
        parts.version = Version::new(7);
        parts.owner = Some(owner.into());
        parts.last_seen -= std::time::Duration::from_millis(86_400_123);
        parts.expires_at += std::time::Duration::from_millis(86_400_456);
    })
    .await
}

pub(super) async fn an_unknown_id_is_absent<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.store.lacks(trial.record(|_| {}).id()).await
}

pub(super) async fn ids_of_every_kind_of_uuid_are_kept<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let random_bits = Uuid::from_bytes(random());
    let mut top = random::<16>();
    top[0] = 0xff;
    let mut low = random::<16>();
    low[..4].fill(0);
    let ids = [
        uuid::Builder::from_random_bytes(random()).into_uuid(),
        uuid::Builder::from_custom_bytes(random()).into_uuid(),
        random_bits,
        Uuid::from_bytes(top),
        Uuid::from_bytes(low),
    ];
    for id in ids {
        comes_back(trial, |parts| parts.id = SessionId::from(id)).await?;
    }
    Ok(())
}

pub(super) async fn versions_go_up_to_the_largest_signed_number<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let largest = i64::MAX.unsigned_abs();
    let record = trial.record(|parts| parts.version = Version::new(largest - 1));
    trial.store.create(&record).await?;
    let last = next(&record, |_| {});
    trial.store.replace(&record, &last).await?;
    trial.store.holds(&last).await?;
    trial.store.touches(&last, trial.touch_after(0)).await
}

pub(super) async fn large_versions_that_differ_by_one_are_told_apart<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    // A 64-bit float holds 2^53 and 2^53 + 2, and nothing between.
    let even = 1 << 53;
    let record = trial.record(|parts| parts.version = Version::new(even + 1));
    trial.store.create(&record).await?;
    for other in [even, even + 2] {
        trial.store.refuses(&at_version(&record, even + 3), Expected::Version(Version::new(other))).await?;
        let touched = trial.store.touch(&at_version(&record, other), trial.touch_after(60)).await?;
        ensure!(!touched, "touch of version {other} where {} is stored answered true", even + 1);
    }
    trial.store.holds(&record).await
}

pub(super) async fn an_empty_state_comes_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    state_comes_back(trial, []).await
}

pub(super) async fn every_byte_value_comes_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    state_comes_back(trial, (0..=255).collect::<Vec<u8>>()).await
}

pub(super) async fn bytes_at_the_ends_of_a_state_come_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    for state in [&[0][..], &[0; 64], b"\0\0state\0\0", b"  state  ", b"\r\nstate\r\n\n", b"\xef\xbb\xbfstate\x1a"] {
        state_comes_back(trial, state).await?;
    }
    Ok(())
}

pub(super) async fn a_state_of_one_mebibyte_comes_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    large_state_comes_back(trial, 1 << 20).await
}

pub(super) async fn a_state_of_sixteen_mebibytes_comes_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    large_state_comes_back(trial, 16 << 20).await
}

async fn large_state_comes_back<F: Fixture>(trial: &Trial<'_, F>, size: usize) -> Checked {
    let largest = trial.fixture.largest_state();
    if largest < size {
        return Err(Stop::NotApplicable(format!("the store is made for states of {largest} bytes at most")));
    }
    let record = trial.record(|parts| parts.state = noise(size));
    trial.store.create(&record).await?;
    trial.store.holds(&record).await?;
    trial.store.deletes(record.id()).await
}

pub(super) async fn no_owner_and_an_empty_owner_are_told_apart<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    comes_back(trial, |parts| parts.owner = None).await?;
    owner_comes_back(trial, "").await
}

pub(super) async fn owners_of_every_script_come_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    for owner in ["Ἀθηνᾶ", "محمد‏", "東京 さん", "é e\u{301}", "👩‍👩‍👧‍👦 𝔘𝔰𝔢𝔯", "\u{feff}user\u{200b}", "ﬁ ß İ ı"]
    {
        owner_comes_back(trial, &trial.owner(owner)).await?;
    }
    Ok(())
}

pub(super) async fn owners_with_quotes_come_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    for owner in
        ["' or ''='", "\"user\"", "`user`", "\\' \\n \\", "'; drop table sessions; --", "{$1} %s ?1 :a\r\n*1\t"]
    {
        owner_comes_back(trial, &trial.owner(owner)).await?;
    }
    Ok(())
}

pub(super) async fn long_owners_come_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    for letter in ["u", "𝔲"] {
        owner_comes_back(trial, &trial.owner(&letter.repeat(300))).await?;
    }
    Ok(())
}

pub(super) async fn an_owner_with_a_zero_character_is_kept_or_refused<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let cut_short = trial.owner("user");
    let record = trial.owned(&format!("{cut_short}\0:42"));
    match trial.store.store().set(&record, Expected::Absent).await {
        Ok(_) => trial.store.holds(&record).await?,
        Err(_) => trial.store.lacks(record.id()).await?,
    }
    if trial.fixture.has_owners() {
        trial.store.lists(&cut_short, []).await?;
    }
    Ok(())
}
