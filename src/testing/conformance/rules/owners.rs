//! Owners are compared byte by byte.

use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::Checked;
use crate::testing::conformance::trial::Trial;

/// Each of these is an owner of its own.
async fn are_told_apart<F: Fixture>(trial: &Trial<'_, F>, owners: &[String]) -> Checked {
    trial.needs_owners()?;
    let records: Vec<_> = owners.iter().map(|owner| trial.owned(owner)).collect();
    for record in &records {
        trial.store.create(record).await?;
    }
    for (owner, record) in owners.iter().zip(&records) {
        trial.store.lists(owner, [record]).await?;
    }
    Ok(())
}

pub(super) async fn owners_differ_by_case<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let name = trial.owner("");
    are_told_apart(trial, &["User:1", "user:1", "USER:1", "ΣΣ", "σς"].map(|owner| format!("{name}{owner}"))).await
}

pub(super) async fn owners_differ_by_spaces<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let name = trial.owner("user");
    let forms = ["", " ", "  ", "\t", "\u{a0}"].map(|space| format!("{name}{space}"));
    are_told_apart(trial, &forms).await?;
    are_told_apart(trial, &[format!(" {name}"), format!("\t{name}")]).await
}

pub(super) async fn owners_differ_by_accents_and_composition<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let name = trial.owner("");
    let forms = ["renee", "renée", "rene\u{301}e", "strasse", "straße", "ﬁ", "fi", "i", "ı", "a\u{200b}", "a"];
    are_told_apart(trial, &forms.map(|owner| format!("{name}{owner}"))).await
}

pub(super) async fn wildcards_in_an_owner_match_nothing_else<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let name = trial.owner("");
    let forms = ["user", "%", "_ser", "u%", "*", "u*", "?ser", "[a-z]ser", "u.*", "us\\er"];
    are_told_apart(trial, &forms.map(|owner| format!("{name}{owner}"))).await
}

pub(super) async fn long_owners_differ_by_their_last_character<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let name = trial.owner(&"u".repeat(300));
    are_told_apart(trial, &["1", "2", "", "22"].map(|end| format!("{name}{end}"))).await
}

pub(super) async fn an_owner_that_begins_another_is_not_that_one<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let name = trial.owner("user:1");
    are_told_apart(trial, &["", "2", ":admin", ":", "\u{1}"].map(|end| format!("{name}{end}"))).await
}
