//! What the suite says of what it has found.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use sessile::store::Outcome;
use sessile::testing::conformance::{Rule, Verdict, check, rules};

use crate::plain::{Honest, Workshop};
use crate::saboteurs::{Panics, Set};

#[test]
fn each_rule_has_a_name_of_its_own_and_a_sentence() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_every_rule_is_told_so() {
    let report = check(&Workshop::of(Honest)).await;
    report.assert();
    assert_eq!(report.broken().count(), 0, "{report}");
    assert_eq!(report.findings().len(), rules().len());
    let not_applicable: Vec<_> = report.not_applicable().map(|finding| finding.rule().name()).collect();
    assert_eq!(not_applicable, ["a_store_without_an_index_says_so"]);
    assert!(report.to_string().ends_with(&format!("{} rules kept, 0 broken, 1 not applicable", rules().len() - 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_apply_are_listed_and_not_kept() {
    let report = check(&crate::memory::Memory::new()).await;
    let not_applicable: Vec<_> = report.not_applicable().map(|finding| finding.rule().name()).collect();
    let due = [
        "get_costs_one_round_trip",
        "set_costs_one_round_trip",
        "touch_costs_one_round_trip",
        "delete_costs_one_round_trip",
        "a_store_without_an_index_says_so",
    ];
    assert_eq!(not_applicable, due);
    let text = report.to_string();
    assert!(text.contains("not applicable  get_costs_one_round_trip: the fixture cannot count"), "{text}");
    assert!(text.ends_with("5 not applicable"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_broken_rules_are_told_with_name_sentence_and_what_was_seen() {
    let report = check(&Workshop::of(Set(|_, _, _| Outcome::Refused))).await;
    let panic = std::panic::catch_unwind(|| report.assert()).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    for finding in report.broken() {
        assert!(text.contains(finding.rule().name()) && text.contains(finding.rule().sentence()), "{text}");
    }
    let told = "set_absent_writes_where_nothing_is: Set, expecting nothing, writes where nothing is.\n                \
                seen: set, expecting nothing, answered Refused; Written was due";
    assert!(text.contains(told), "{text}");
    assert!(report.broken().count() > 40, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_alone_panics_with_name_sentence_and_what_was_seen() {
    let rule = Rule::named("set_absent_writes_where_nothing_is").unwrap();
    let workshop = Workshop::of(Set(|_, _, _| Outcome::Refused));
    let panic = std::panic::AssertUnwindSafe(rule.assert(&workshop)).catch_unwind().await.unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.contains(rule.name()) && text.contains(rule.sentence()) && text.contains("answered Refused"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_panics_breaks_the_rule_and_not_the_suite() {
    let report = check(&Workshop::of(Panics)).await;
    assert_eq!(report.findings().len(), rules().len());
    let rule = Rule::named("an_unknown_id_is_absent").unwrap();
    let verdict = rule.check(&Workshop::of(Panics)).await;
    assert_eq!(verdict, Verdict::Broken("a panic: out of cheese".into()));
}
