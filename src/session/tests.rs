//! Tests.

mod view;
mod waiting;
