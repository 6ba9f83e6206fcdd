//! What accounts need of sessions, over any store: each test of these files runs in memory, and again on servers.

#![allow(dead_code, reason = "each test binary compiles all of it and may use a part")]
#![allow(unused_macros, unused_imports, reason = "the same")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

pub mod csrf;
pub mod flash;
pub mod owners;
pub mod protected;

use std::sync::Arc;

use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionLayer, SessionLayerBuilder};

use crate::support::client::EventLog;

/// Layers over one store, by one clock, that tell one log.
#[derive(Clone)]
pub struct Over {
    pub clock: ManualClock,
    pub events: EventLog,
    builder: Arc<dyn Fn() -> SessionLayerBuilder + Send + Sync>,
}

impl Over {
    /// Over a store that goes by a clock of its own.
    pub fn store(store: impl Store + Clone) -> Self {
        Self::with_clock(store, ManualClock::new())
    }

    pub fn memory() -> Self {
        let clock = ManualClock::new();
        Self::with_clock(MemoryStore::new().with_clock(&clock), clock)
    }

    fn with_clock(store: impl Store + Clone, clock: ManualClock) -> Self {
        let builder = Arc::new(move || SessionLayer::builder(store.clone()));
        Self { clock, events: EventLog::default(), builder }
    }

    /// A layer with other settings than the defaults.
    pub fn builder(&self) -> SessionLayerBuilder {
        (self.builder)().with_clock(&self.clock).with_event_hook(self.events.hook())
    }

    pub fn layer(&self) -> SessionLayer {
        self.builder().build().unwrap()
    }
}

/// Makes a test in memory of each of these.
macro_rules! in_memory {
    ($module:ident: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::accounts::$module::$name(&crate::accounts::Over::memory()).await;
            }
        )*
    };
}

/// Runs each of these over one store, one after another.
macro_rules! one_after_another {
    ($store:ident => $module:ident: $($name:ident),* $(,)?) => {
        $(
            eprintln!("{}: {}", stringify!($module), stringify!($name));
            crate::accounts::$module::$name(&crate::accounts::Over::store($store.clone())).await;
        )*
    };
}

/// The rules of `csrf.rs`, done with as the caller says.
macro_rules! csrf_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* csrf:
            a_page_that_shows_a_token_begins_a_session_and_its_forms_work,
            what_is_no_token_is_refused_and_changes_nothing,
            a_token_of_another_session_is_refused,
            a_token_of_before_a_rotation_or_a_sign_in_is_refused_after,
            a_planted_session_gives_no_token_that_works_after_the_sign_in,
            a_token_is_shown_of_what_the_same_request_makes,
            a_token_survives_a_periodic_rotation,
            each_token_is_masked_anew,
            the_layer_refuses_unsafe_methods_without_a_token,
            the_layer_reads_the_token_of_a_form_and_hands_the_form_on,
            a_form_that_cannot_be_taken_says_why,
            a_client_under_a_retired_token_is_shown_none,
        }
    };
}

/// The rules of `flash.rs`, done with as the caller says.
macro_rules! flash_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* flash:
            a_message_is_shown_after_the_redirect_and_once,
            messages_come_in_their_order_with_their_levels,
            a_message_outlives_a_sign_in_and_one_can_be_left_after_a_sign_out,
            a_message_of_an_answer_that_failed_is_not_left,
            too_many_messages_push_the_oldest_out,
            of_fifty_readers_at_once_one_shows_each_message,
        }
    };
}

/// The rules of `protected.rs`, done with as the caller says.
macro_rules! protected_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* protected:
            a_client_of_the_header_signs_in_and_out,
            a_private_cookie_of_an_old_key_is_sent_again_and_works,
        }
    };
}

/// The rules of `owners.rs`, done with as the caller says.
macro_rules! owners_rules {
    ($do:ident $($with:tt)*) => {
        crate::accounts::$do! {
            $($with)* owners:
            a_sign_in_beyond_the_limit_ends_the_oldest,
            sign_ins_at_once_converge_to_the_limit,
            what_asks_for_a_recent_proof_is_refused_until_there_is_another,
            a_replay_ends_the_session_where_that_is_the_policy,
            a_session_that_is_not_confirmed_lives_ten_minutes,
            the_browser_is_asked_to_forget_with_the_sign_out_alone,
        }
    };
}

pub(crate) use {csrf_rules, flash_rules, in_memory, one_after_another, owners_rules, protected_rules};
