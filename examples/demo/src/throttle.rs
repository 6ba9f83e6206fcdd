//! How many passwords may be tried for one name (OWASP ASVS 5.0 V6.3.1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong passwords for one name,
const MOST: u32 = 10;
/// in this time.
const SPELL: Duration = Duration::from_secs(10 * 60);

pub const SAID: &str = "Too many wrong passwords for this name. Please try again in ten minutes.";

/// Counts tries by name, whether or not a user has it, so that the count tells nobody which names are taken.
///
/// It is of this process. An application of several nodes counts in a database that they share, with one statement a try.
#[derive(Clone, Default)]
pub struct Throttle {
    names: Arc<Mutex<HashMap<String, Tries>>>,
}

struct Tries {
    count: u32,
    since: Instant,
}

impl Throttle {
    /// Whether a password may be tried for this name. Every try is counted before it is made: many at once are many.
    pub fn admits(&self, name: &str) -> bool {
        self.admits_at(name, Instant::now())
    }

    /// The password was right.
    pub fn forget(&self, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&name.to_lowercase());
    }

    fn admits_at(&self, name: &str, now: Instant) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // A try costs a hash, which is far more than to look through all who tried in the last minutes.
        names.retain(|_, tries| now.duration_since(tries.since) < SPELL);
        let tries = names.entry(name.to_lowercase()).or_insert(Tries { count: 0, since: now });
        tries.count += 1;
        tries.count <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tries_a_name_then_ten_minutes_of_none() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..MOST {
            assert!(throttle.admits_at("ada", start));
        }
        assert!(!throttle.admits_at("Ada", start + SPELL / 2));
        assert!(throttle.admits_at("bob", start + SPELL / 2));
        assert!(throttle.admits_at("ada", start + SPELL));
    }

    #[test]
    fn the_right_password_begins_the_count_anew() {
        let throttle = Throttle::default();
        for _ in 0..MOST {
            assert!(throttle.admits("ada"));
        }
        throttle.forget("ADA");
        assert!(throttle.admits("ada"));
    }
}
