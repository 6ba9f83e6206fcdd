//! Guides, from the first session to many nodes.
//!
//! The Rust code in them is compiled as documentation tests.
//!
//! Tasks:
//!
//! - [`getting_started`]: from `cargo new` to sign-in and sign-out
//! - [`recipes`]: sign-in pages, roles, uploads, jobs, several applications
//! - [`accounts`]: devices, limits, step-up, acting as a user, forms, token headers, keys
//! - [`oidc`]: sign-in with OpenID Connect, and logout from the provider
//! - [`sockets`]: WebSockets, event streams, uploads, server-side rendering in parts
//! - [`testing`]: testing an application that uses sessions
//!
//! Running it:
//!
//! - [`stores`]: choosing and running a store
//! - [`transactions`]: one transaction with the application's own tables
//! - [`proxies`]: running behind a proxy or load balancer
//! - [`scaling`]: from one node to many
//! - [`security`]: requirements of the standards, attacks, the application's part
//!
//! Moving from other crates: [`from_tower_sessions`], [`from_axum_session`], [`from_actix_session`],
//! [`from_async_session`], [`from_cookies`]; from their authentication crates: [`from_axum_login`], [`from_axum_session_auth`].
//!
//! The mechanisms:
//!
//! - [`lifecycle`]: timeouts, rotation, cookies, commits
//! - [`concurrency`]: how parallel requests merge
//! - [`writing_a_store`]: the contract, and a store in 60 lines
//! - [`design`]: layout, commit algorithm, rotation, decisions
//! - [`guarantees`]: the guarantees and their mechanisms
//!
//! # In the repository
//!
//! - `docs/measurements.md`: all measurements, with their commands
//! - `docs/tested-guarantees.md`: the tests of each guarantee
//! - `examples`: complete programs, and a demo shop

/// Defines the module of a page in `docs`.
///
/// The link definitions stand before the page, so they win over the file names at its end. Documentation tests leave out a
/// page whose code needs features that are off.
macro_rules! page {
    ($name:ident, $file:literal $(, features = [$($feature:literal),+])?) => {
        #[doc = "[getting-started]: crate::guide::getting_started"]
        #[doc = "[recipes]: crate::guide::recipes"]
        #[doc = "[oidc]: crate::guide::oidc#what-to-keep"]
        #[doc = "[sockets]: crate::guide::sockets"]
        #[doc = "[lifecycle]: crate::guide::lifecycle"]
        #[doc = "[concurrency]: crate::guide::concurrency"]
        #[doc = "[accounts]: crate::guide::accounts"]
        #[doc = "[stores]: crate::guide::stores"]
        #[doc = "[transactions]: crate::guide::transactions"]
        #[doc = "[writing-a-store]: crate::guide::writing_a_store"]
        #[doc = "[testing]: crate::guide::testing"]
        #[doc = "[proxies]: crate::guide::proxies"]
        #[doc = "[scaling]: crate::guide::scaling"]
        #[doc = "[security]: crate::guide::security"]
        #[doc = "[guarantees]: crate::guide::guarantees"]
        #[doc = "[design]: crate::guide::design"]
        #[doc = "[from-tower-sessions]: crate::guide::from_tower_sessions"]
        #[doc = "[from-axum-session]: crate::guide::from_axum_session"]
        #[doc = "[from-actix-session]: crate::guide::from_actix_session"]
        #[doc = "[from-axum-login]: crate::guide::from_axum_login"]
        #[doc = "[from-axum-session-auth]: crate::guide::from_axum_session_auth"]
        #[doc = "[measurements]: crate::guide#in-the-repository"]
        #[doc = "[memory-store]: crate::guide#in-the-repository"]
        #[doc = "[parallel-writers]: crate::guide#in-the-repository"]
        #[doc = "[schedules]: crate::guide#in-the-repository"]
        #[doc = "[tests]: crate::guide#in-the-repository"]
        #[doc = ""]
        #[doc = include_str!(concat!("../docs/", $file, ".md"))]
        $(#[cfg(any(not(doctest), all($(feature = $feature),+)))])?
        pub mod $name {}
    };
}

page!(getting_started, "getting-started");
page!(recipes, "recipes", features = ["testing"]);
page!(oidc, "oidc");
page!(sockets, "sockets");
page!(lifecycle, "lifecycle");
page!(concurrency, "concurrency");
page!(accounts, "accounts", features = ["private", "sealed"]);
page!(stores, "stores");
page!(transactions, "transactions", features = ["sqlite"]);
page!(writing_a_store, "writing-a-store", features = ["testing"]);
page!(testing, "testing", features = ["testing"]);
page!(proxies, "proxies");
page!(scaling, "scaling");
page!(security, "security");
page!(guarantees, "guarantees");
page!(design, "design");
page!(from_tower_sessions, "from-tower-sessions");
page!(from_axum_session, "from-axum-session");
page!(from_actix_session, "from-actix-session");
page!(from_axum_login, "from-axum-login", features = ["migrate"]);
page!(from_axum_session_auth, "from-axum-session-auth");
page!(from_async_session, "from-async-session");
page!(from_cookies, "from-cookies");
