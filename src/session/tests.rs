//! Tests.

mod view;
