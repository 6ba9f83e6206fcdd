//! Guides, from the first session to many nodes.
//!
//! Every piece of Rust in them is compiled, and run where it needs no server.
//!
//! - [`getting_started`]: from `cargo new` to a working session
//! - [`lifecycle`]: lifetimes, rotation, what is sent and committed when
//! - [`concurrency`]: what merges, and how
//! - [`accounts`]: a user's devices, limits, step-up, forms, tokens in headers, keys
//! - [`stores`]: choosing and running a store
//! - [`writing_a_store`]: the contract, and a store in 60 lines
//! - [`testing`]: testing an application that uses sessions
//! - [`proxies`]: behind a proxy or load balancer
//! - [`scaling`]: from one node to many
//! - [`security`]: what the standards ask, and the tests that show it
//! - [`from_tower_sessions`]: moving from tower-sessions
//! - [`from_axum_session`]: moving from axum_session
//! - [`from_actix_session`]: moving from actix-session
//! - [`architecture`]: how it is built

/// A page of `docs`. What its links mean here stands before the page, so that it wins over the file names at its end.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = "[getting-started]: crate::guide::getting_started"]
        #[doc = "[lifecycle]: crate::guide::lifecycle"]
        #[doc = "[concurrency]: crate::guide::concurrency"]
        #[doc = "[accounts]: crate::guide::accounts"]
        #[doc = "[stores]: crate::guide::stores"]
        #[doc = "[writing-a-store]: crate::guide::writing_a_store"]
        #[doc = "[testing]: crate::guide::testing"]
        #[doc = "[proxies]: crate::guide::proxies"]
        #[doc = "[scaling]: crate::guide::scaling"]
        #[doc = "[security]: crate::guide::security"]
        #[doc = "[from-tower-sessions]: crate::guide::from_tower_sessions"]
        #[doc = "[from-axum-session]: crate::guide::from_axum_session"]
        #[doc = "[from-actix-session]: crate::guide::from_actix_session"]
        #[doc = "[architecture]: crate::guide::architecture"]
        #[doc = ""]
        #[doc = include_str!(concat!("../docs/", $file, ".md"))]
        pub mod $name {}
    };
}

page!(getting_started, "getting-started");
page!(lifecycle, "lifecycle");
page!(concurrency, "concurrency");
page!(accounts, "accounts");
page!(stores, "stores");
page!(writing_a_store, "writing-a-store");
page!(testing, "testing");
page!(proxies, "proxies");
page!(scaling, "scaling");
page!(security, "security");
page!(from_tower_sessions, "from-tower-sessions");
page!(from_axum_session, "from-axum-session");
page!(from_actix_session, "from-actix-session");
page!(architecture, "architecture");
