//! The configuration: TOML as written to a checked [`Config`].
//!
//! [`model`] is what is left when everything has been checked: names resolved to indices, units to numbers, no
//! illegal value representable where a type can prevent it.

pub mod model;

pub use model::Config;
