//! Tests of account features over any store. They run in memory and on real servers.

#![allow(dead_code, reason = "each test binary compiles all of it and may use a part")]
#![allow(unused_macros, unused_imports, reason = "the same")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

pub mod csrf;
pub mod ends;
pub mod flash;
pub mod owners;
pub mod protected;
pub mod realms;

use std::sync::Arc;
use std::time::Duration;

use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionLayer, SessionLayerBuilder, Transient};

use crate::support::client::EventLog;

/// Time limit of a commit, which no load ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// Layers that share one store, one clock and one event log.
#[derive(Clone)]
pub struct Setup {
    pub clock: ManualClock,
    pub events: EventLog,
    builder: Arc<dyn Fn() -> SessionLayerBuilder + Send + Sync>,
    transient: Arc<dyn Fn() -> Transient + Send + Sync>,
}

impl Setup {
    /// Creates a setup over a store with its own clock.
    pub fn with_store(store: impl Store + Clone) -> Self {
        Self::with_clock(store, ManualClock::new())
    }

    pub fn memory() -> Self {
        let clock = ManualClock::new();
        Self::with_clock(MemoryStore::new().with_clock(&clock), clock)
    }

    fn with_clock(store: impl Store + Clone, clock: ManualClock) -> Self {
        let (one, other) = (store.clone(), store);
        let builder = Arc::new(move || SessionLayer::builder(one.clone()).with_commit_deadline(PATIENCE));
        let transient = Arc::new(move || Transient::new(other.clone()));
        Self { clock, events: EventLog::default(), builder, transient }
    }

    /// Returns a layer builder, for settings other than the defaults.
    pub fn builder(&self) -> SessionLayerBuilder {
        (self.builder)().with_clock(&self.clock).with_event_hook(self.events.hook())
    }

    /// Returns the transient values of the store.
    pub fn transient(&self) -> Transient {
        (self.transient)()
    }

    pub fn layer(&self) -> SessionLayer {
        self.builder().build().unwrap()
    }
}

/// Defines an in-memory test for each of these functions.
macro_rules! in_memory {
    ($module:ident: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::accounts::$module::$name(&crate::accounts::Setup::memory()).await;
            }
        )*
    };
}

/// Runs each of these functions over one store, in sequence.
macro_rules! one_after_another {
    ($store:ident => $module:ident: $($name:ident),* $(,)?) => {
        $(
            eprintln!("{}: {}", stringify!($module), stringify!($name));
            crate::accounts::$module::$name(&crate::accounts::Setup::with_store($store.clone())).await;
        )*
    };
}

/// Passes the tests of `csrf.rs` to the macro `$do`.
macro_rules! csrf_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* csrf:
            csrf_token_creates_session_and_is_accepted,
            invalid_csrf_tokens_are_refused_without_changes,
            csrf_token_of_another_session_is_refused,
            csrf_token_from_before_rotation_or_sign_in_is_refused,
            csrf_token_of_planted_session_is_refused_after_sign_in,
            csrf_token_belongs_to_session_after_rotation_in_request,
            csrf_token_survives_refresh,
            each_csrf_token_has_a_fresh_mask,
            csrf_layer_refuses_unsafe_methods_without_token,
            csrf_layer_reads_form_token_and_passes_body_on,
            rejected_csrf_form_has_matching_status,
            retired_token_gets_no_csrf_token,
        }
    };
}

/// Passes the tests of `ends.rs` to the macro `$do`.
macro_rules! ends_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* ends:
            ended_token_is_refused_for_a_minute,
            write_with_two_live_cookies_ends_both,
            repeated_sign_in_joins_the_session,
            slow_upload_outlasts_the_idle_timeout,
            no_request_begins_at_the_idle_timeout,
            each_end_reaches_a_session_past_its_idle_timeout,
        }
    };
}

/// Passes the tests of `flash.rs` to the macro `$do`.
macro_rules! flash_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* flash:
            flash_message_is_shown_once_after_redirect,
            flash_messages_keep_order_and_levels,
            flash_messages_work_across_sign_in_and_sign_out,
            failed_response_discards_its_flash_message,
            oldest_flash_messages_are_dropped_beyond_max_kept,
            each_flash_message_is_shown_by_one_of_fifty_readers,
        }
    };
}

/// Passes the tests of `protected.rs` to the macro `$do`.
macro_rules! protected_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* protected:
            token_header_carries_sign_in_and_sign_out,
            private_cookie_under_old_key_is_sent_again,
        }
    };
}

/// Passes the tests of `owners.rs` to the macro `$do`.
macro_rules! owners_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* owners:
            sign_in_beyond_owner_limit_ends_oldest_sessions,
            concurrent_sign_ins_converge_to_owner_limit,
            stale_authentication_is_refused_until_reauthentication,
            replay_ends_session_only_under_policy_end,
            unconfirmed_session_expires_after_ten_minutes,
            only_sign_out_sends_clear_site_data,
        }
    };
}

/// Passes the tests of `realms.rs` to the macro `$do`.
macro_rules! realms_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* realms:
            a_token_opens_nothing_in_another_realm,
            a_token_in_a_header_opens_nothing_in_another_realm,
            a_csrf_token_of_another_realm_is_refused,
            sessions_of_another_realm_are_absent,
            an_owners_sessions_end_by_realm_or_in_every_realm,
            a_renamed_cookie_keeps_its_sessions_by_its_realm,
        }
    };
}

pub(crate) use {
    csrf_rules, ends_rules, flash_rules, in_memory, one_after_another, owners_rules, protected_rules, realms_rules,
};
