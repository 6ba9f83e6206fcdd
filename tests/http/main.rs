//! Tests of requests and responses: cookies, headers, extractors, layers, CSRF tokens and flash messages.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/accounts/mod.rs"]
mod accounts;
#[path = "../support/mod.rs"]
mod support;

mod acting;
mod acting_users;
mod application_cookies;
mod caching;
mod clear_site_data;
mod cookie_attributes;
mod cookie_selection;
mod cookies;
mod csrf;
mod error_pages;
mod extractors;
mod flash;
mod raw_socket;
mod same_origin;
mod several_layers;
mod signed_and_private_cookies;
mod token_header;
mod tower_services;
mod users;
