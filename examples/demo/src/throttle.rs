//! Limit on password attempts per name (OWASP ASVS 5.0 V6.3.1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of attempts per name and interval.
const MAX_ATTEMPTS: u32 = 10;
/// Interval in which attempts are counted.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

pub const MESSAGE: &str = "Too many wrong passwords for this name. Please try again in ten minutes.";

/// Counts attempts by name, whether or not the name exists, so that the count does not reveal names.
///
/// The counts are in this process. Several nodes need a shared database instead.
#[derive(Clone, Default)]
pub struct Throttle {
    names: Arc<Mutex<HashMap<String, Attempts>>>,
}

struct Attempts {
    count: u32,
    since: Instant,
}

impl Throttle {
    /// Counts an attempt and checks the limit. Counting comes first, so that parallel attempts are all counted.
    pub fn allows(&self, name: &str) -> bool {
        self.allows_at(name, Instant::now())
    }

    /// Resets the count after a correct password.
    pub fn reset(&self, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&name.to_lowercase());
    }

    /// Returns the number of names that are kept.
    #[cfg(test)]
    pub fn names(&self) -> usize {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn allows_at(&self, name: &str, now: Instant) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // Expired attempts are removed at each attempt, which costs far less than the hash.
        names.retain(|_, attempts| now.duration_since(attempts.since) < INTERVAL);
        let attempts = names.entry(name.to_lowercase()).or_insert(Attempts { count: 0, since: now });
        attempts.count += 1;
        attempts.count <= MAX_ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name allows ten attempts in ten minutes, whatever its case.
    #[test]
    fn a_name_allows_ten_attempts_in_ten_minutes() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..MAX_ATTEMPTS {
            assert!(throttle.allows_at("ada", start));
        }
        assert!(!throttle.allows_at("Ada", start + INTERVAL / 2));
        assert!(throttle.allows_at("bob", start + INTERVAL / 2));
        assert!(throttle.allows_at("ada", start + INTERVAL));
    }

    /// A correct password resets the count.
    #[test]
    fn a_correct_password_resets_the_count() {
        let throttle = Throttle::default();
        for _ in 0..MAX_ATTEMPTS {
            assert!(throttle.allows("ada"));
        }
        throttle.reset("ADA");
        assert!(throttle.allows("ada"));
    }
}
