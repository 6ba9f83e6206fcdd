//! Times in words.

use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns how long ago `at` was, with the exact time as a tooltip.
pub fn ago(at: OffsetDateTime) -> Markup {
    let exact = at.format(&Rfc3339).unwrap_or_default();
    html! {
        time datetime=(exact) title={ (at.date()) " " (format!("{:02}:{:02}", at.hour(), at.minute())) " UTC" } {
            (words((OffsetDateTime::now_utc() - at).whole_minutes()))
        }
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
}
