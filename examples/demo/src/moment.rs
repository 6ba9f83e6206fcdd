//! Times in words.

use std::time::Duration;

use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns how long ago `at` was, with the exact time as a tooltip.
pub fn ago(at: OffsetDateTime) -> Markup {
    let machine_readable = at.format(&Rfc3339).unwrap_or_default();
    html! {
        time datetime=(machine_readable) title=(exact(at)) { (words((OffsetDateTime::now_utc() - at).whole_minutes())) }
    }
}

/// Returns how long ago `at` was, and the exact time.
pub fn on(at: OffsetDateTime) -> Markup {
    html! { (ago(at)) ", on " (exact(at)) }
}

fn exact(at: OffsetDateTime) -> String {
    format!("{} {} at {:02}:{:02} UTC", at.day(), at.month(), at.hour(), at.minute())
}

/// Returns a length of time in its largest whole unit.
pub fn span(time: Duration) -> String {
    let (count, unit) = match time.as_secs() {
        seconds if seconds % 86_400 == 0 => (seconds / 86_400, "day"),
        seconds if seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        seconds if seconds % 60 == 0 => (seconds / 60, "minute"),
        seconds => (seconds, "second"),
    };
    match (count, unit) {
        (1, "hour") => "an hour".to_owned(),
        (1, unit) => format!("a {unit}"),
        (count, unit) => format!("{count} {unit}s"),
    }
}

fn words(minutes: i64) -> String {
    let (count, unit) = match minutes {
        ..1 => return "just now".to_owned(),
        1..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each unit begins at its first whole number.
    #[test]
    fn times_are_in_minutes_hours_or_days() {
        let said = [-1, 0, 1, 59, 60, 119, 1439, 1440, 2880].map(words);
        let expected = [
            "just now",
            "just now",
            "1 minute ago",
            "59 minutes ago",
            "1 hour ago",
            "1 hour ago",
            "23 hours ago",
            "1 day ago",
            "2 days ago",
        ];
        assert_eq!(said, expected);
    }

    /// A length of time has the largest unit that divides it.
    #[test]
    fn spans_are_in_their_largest_whole_unit() {
        let said = [59, 60, 90, 3_600, 5_400, 86_400, 14 * 86_400].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(said, ["59 seconds", "a minute", "90 seconds", "an hour", "90 minutes", "a day", "14 days"]);
    }
}
