//! Reports of the suite.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use sessile::store::Outcome;
use sessile::testing::conformance::{Rule, Verdict, check, rules};

use crate::defects::{Panics, Set, Slow};
use crate::plain::{BrokenFixture, NoDefect};

/// Each rule has a unique name in snake case and a sentence.
#[test]
fn rules_have_unique_names_and_a_sentence() {
    let names: BTreeSet<&str> = rules().iter().map(Rule::name).collect();
    assert_eq!(names.len(), rules().len());
    assert!(names.len() >= 40, "{} rules", names.len());
    for rule in rules() {
        assert!(rule.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
        assert!(rule.sentence().ends_with('.') && rule.sentence().len() > 20, "{rule}");
        assert_eq!(Rule::named(rule.name()), Some(*rule));
    }
    assert_eq!(Rule::named("no_such_rule"), None);
}

/// The report of a correct store has no broken rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_every_rule_passes() {
    let report = check(&BrokenFixture::of(NoDefect)).await;
    report.assert();
    assert_eq!(report.broken().count(), 0, "{report}");
    assert_eq!(report.findings().len(), rules().len());
    let not_applicable: Vec<_> = report.not_applicable().map(|finding| finding.rule().name()).collect();
    let due = [
        "owned_by_without_an_index_is_unsupported",
        "delete_owned_by_without_an_index_is_unsupported",
        "ids_of_without_an_index_is_unsupported",
        "list_without_a_listing_is_unsupported",
    ];
    assert_eq!(not_applicable, due);
    assert!(report.to_string().ends_with(&format!("{} rules kept, 0 broken, 4 not applicable", rules().len() - 4)));
}

/// The rules about expiry pass on a store that takes seconds for a set.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_keeps_the_rules_about_expiry() {
    let names = [
        "a_record_is_absent_once_it_has_expired",
        "set_of_a_version_is_refused_after_expiry",
        "set_absent_replaces_an_expired_record",
        "touch_does_not_revive_an_expired_record",
        "delete_of_an_expired_record_returns_false",
        "delete_expired_keeps_live_records",
        "delete_expired_keeps_touched_records",
        "delete_expired_returns_the_number_deleted",
        "delete_expired_counts_each_record_once",
        "set_can_move_the_expiry_earlier",
        "set_can_move_the_expiry_later",
        "set_keeping_times_revives_no_expired_record",
        "set_keeping_times_does_not_prolong_a_life",
        "set_keeping_times_does_not_shorten_a_life",
        "delete_owned_by_omits_expired_sessions",
        "touch_keeps_a_record_past_its_first_expiry",
        "owned_by_omits_expired_sessions",
        "owned_by_omits_an_expired_id_that_was_replaced",
        "owned_by_lists_touched_sessions",
        "ids_of_omits_deleted_and_expired_sessions",
        "list_and_count_omit_deleted_and_expired_records",
    ];
    for name in names {
        let rule = Rule::named(name).unwrap();
        assert_eq!(rule.check(&BrokenFixture::of(Slow)).await, Verdict::Kept, "{rule}");
    }
}

/// The report lists rules that do not apply, with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_apply_are_not_counted_as_kept() {
    let report = check(&crate::memory::Memory::new()).await;
    let not_applicable: Vec<_> = report.not_applicable().map(|finding| finding.rule().name()).collect();
    let due = [
        "get_costs_one_round_trip",
        "set_costs_one_round_trip",
        "touch_costs_one_round_trip",
        "delete_costs_one_round_trip",
        "delete_owned_by_costs_two_round_trips_at_most",
        "ids_of_costs_two_round_trips_at_most",
        "summaries_of_costs_two_round_trips_at_most",
        "ping_costs_one_round_trip",
        "owned_by_without_an_index_is_unsupported",
        "delete_owned_by_without_an_index_is_unsupported",
        "ids_of_without_an_index_is_unsupported",
        "list_without_a_listing_is_unsupported",
    ];
    assert_eq!(not_applicable, due);
    let text = report.to_string();
    assert!(text.contains("not applicable  get_costs_one_round_trip: the fixture cannot count"), "{text}");
    assert!(text.ends_with("12 not applicable"), "{text}");
}

/// `Report::assert` panics with each broken rule and how the store breaks it.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_describes_every_broken_rule() {
    let report = check(&BrokenFixture::of(Set(|_, _, _| Outcome::Refused))).await;
    let panic = std::panic::catch_unwind(|| report.assert()).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    for finding in report.broken() {
        assert!(text.contains(finding.rule().name()) && text.contains(finding.rule().sentence()), "{text}");
    }
    let due = "set_absent_creates_a_record: Set with `Expected::Absent` writes if no record is stored.\n                \
                seen: set with Absent returned Refused instead of Written";
    assert!(text.contains(due), "{text}");
    assert!(report.broken().count() > 40, "{report}");
}

/// `Rule::assert` panics with the rule and how the store breaks it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_describes_how_it_is_broken() {
    let rule = Rule::named("set_absent_creates_a_record").unwrap();
    let fixture = BrokenFixture::of(Set(|_, _, _| Outcome::Refused));
    let panic = std::panic::AssertUnwindSafe(rule.assert(&fixture)).catch_unwind().await.unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.contains(rule.name()) && text.contains(rule.sentence()) && text.contains("returned Refused"),
        "{text}"
    );
}

/// A panic of the store is a broken rule, and the suite goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_panics_breaks_only_the_rule() {
    let report = check(&BrokenFixture::of(Panics)).await;
    assert_eq!(report.findings().len(), rules().len());
    let rule = Rule::named("an_unknown_id_is_absent").unwrap();
    let verdict = rule.check(&BrokenFixture::of(Panics)).await;
    assert_eq!(verdict, Verdict::Broken("a panic: out of cheese".into()));
}
