//! Reload.

pub mod survey;
