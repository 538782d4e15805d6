//! Edits of single objects in the text of a config file: add a forward, drain a backend, ban a source.
//!
//! The rest of the file stays as it was written, comments and all. Comments right above a table that is removed go with
//! it; those that a blank line parts from it stay. The text before an edit and the text after it are both valid
//! configs, or there is no edit.

mod bans;
mod document;
mod forwards;
pub mod values;

use super::error::{ConfigErrors, Problem};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::fmt;
use toml_edit::DocumentMut;
use values::{Backend, Endpoint, NewForward};

/// One edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// A new `[[dnat]]` rule, behind the others.
    AddForward(NewForward),
    /// No longer forwards the port, or the range that is exactly this one. A rule for both protocols stays for the other.
    RemoveForward(Endpoint),
    /// The rule that forwards the port makes no new session: all of the rule, its other ports and protocol too.
    Drain(Endpoint),
    /// The rule makes new sessions again: all of it.
    Undrain(Endpoint),
    /// Every rule that forwards to the backend makes no new session.
    DrainBackend {
        /// The backend; without a port, all of its ports.
        backend: Backend,
    },
    /// Every rule that forwards to the backend makes new sessions again.
    UndrainBackend {
        /// The backend; without a port, all of its ports.
        backend: Backend,
    },
    /// Sources may open no session from now on.
    Ban {
        /// At least one; an address alone stands for itself.
        #[serde(with = "values::prefixes")]
        from: Vec<Ipv4Net>,
        /// Zone that their packets come in from; `None`: any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<u16>,
        /// Why, for whoever reads the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// Sources that were banned may open sessions again.
    Unban {
        /// At least one, each as it was banned.
        #[serde(with = "values::prefixes")]
        from: Vec<Ipv4Net>,
        /// As it was banned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<u16>,
    },
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::AddForward(forward) => write!(f, "forward {forward}"),
            Edit::RemoveForward(endpoint) => write!(f, "remove the forward of {endpoint}"),
            Edit::Drain(endpoint) => write!(f, "drain the forward of {endpoint}"),
            Edit::Undrain(endpoint) => write!(f, "end draining the forward of {endpoint}"),
            Edit::DrainBackend { backend } => write!(f, "drain the backend {backend}"),
            Edit::UndrainBackend { backend } => write!(f, "end draining the backend {backend}"),
            Edit::Ban { from, zone, comment } => {
                write!(f, "ban {}", bans::words(from, *zone))?;
                comment.iter().try_for_each(|comment| write!(f, " ({comment})"))
            }
            Edit::Unban { from, zone } => write!(f, "unban {}", bans::words(from, *zone)),
        }
    }
}

/// Why there is no edit; the text is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file that is to be edited is no valid config.
    #[error("the config is wrong before the edit; correct it first:\n{0}")]
    Invalid(ConfigErrors),
    /// It would be none with the edit.
    #[error("{mistake}; {cure}")]
    Refused {
        /// The first mistake.
        mistake: String,
        /// What to write instead.
        cure: String,
    },
    /// Neither an interface nor an address was given, or both.
    #[error("give either `on`, the name of an interface, or `address`")]
    Target,
    /// A list that may not be empty is.
    #[error("`{0}` is empty; give at least one")]
    Empty(&'static str),
    /// Nothing is forwarded there.
    #[error("nothing forwards {0}; give the address or interface, protocol and port of a [[dnat]] rule")]
    NoForward(Endpoint),
    /// Several interfaces have the address, in different zones.
    #[error("{0} is forwarded on several interfaces; say which one is meant, with `on` instead of `address`")]
    Ambiguous(Endpoint),
    /// Some of it, or all of it, is forwarded.
    #[error("{protocol} port {ports} there is forwarded to {to} already; remove that forward first")]
    Forwarded {
        /// Such as `tcp`.
        protocol: values::Protocol,
        /// The ports of the forward that there is.
        ports: values::Ports,
        /// Its backend.
        to: Backend,
    },
    /// The port belongs to a rule for more ports.
    #[error(
        "{endpoint} is part of the forward of ports {ports}; remove it as a whole, with port \"{ports}\""
    )]
    PartOfRange {
        /// What was to be removed.
        endpoint: Endpoint,
        /// The ports of the rule.
        ports: values::Ports,
    },
    /// It is drained, or not, as it was to be.
    #[error("{what} is {} already; nothing is to do", if *drained { "drained" } else { "not drained" })]
    Already {
        /// The forward or backend.
        what: String,
        /// As which it was found.
        drained: bool,
    },
    /// Nothing is forwarded to it.
    #[error(
        "nothing is forwarded to {0}; give the address of a backend, and perhaps its port, as in `to` of a [[dnat]] rule"
    )]
    NoBackend(Backend),
    /// A ban has the prefix.
    #[error("{prefix} is banned already, by the ban of {by}; leave it out")]
    Banned {
        /// What was to be banned.
        prefix: Ipv4Net,
        /// What of it is in the file.
        by: Ipv4Net,
    },
    /// No ban has the prefix itself.
    #[error("{what} is not banned; {cure}")]
    NotBanned {
        /// The prefix and zone.
        what: String,
        /// What is near it.
        cure: String,
    },
}

/// The text with the edit.
///
/// # Errors
/// The text is no valid config, or would not be one, or what is to be edited is not there, or is there already.
pub fn apply(text: &str, edit: &Edit) -> Result<String, EditError> {
    let config = super::parse(text, "the config").map_err(EditError::Invalid)?.config;
    let refused = |mistake: String, cure: String| EditError::Refused { mistake, cure };
    let mut document: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| refused(e.to_string(), "correct it".into()))?;
    match edit {
        Edit::AddForward(forward) => forwards::add(&mut document, &config, forward)?,
        Edit::RemoveForward(endpoint) => forwards::remove(&mut document, &config, endpoint)?,
        Edit::Drain(endpoint) => forwards::drain(&mut document, &config, endpoint, true)?,
        Edit::Undrain(endpoint) => forwards::drain(&mut document, &config, endpoint, false)?,
        Edit::DrainBackend { backend } => forwards::drain_backend(&mut document, &config, *backend, true)?,
        Edit::UndrainBackend { backend } => forwards::drain_backend(&mut document, &config, *backend, false)?,
        Edit::Ban { from, zone, comment } => {
            bans::add(&mut document, &config, from, *zone, comment.as_deref())?;
        }
        Edit::Unban { from, zone } => bans::remove(&mut document, &config, from, *zone)?,
    }
    let edited = document.to_string();
    match super::parse(&edited, "the config") {
        Ok(_) => Ok(edited),
        Err(errors) => Err(errors.errors.first().map_or_else(
            || refused("the config would be wrong".into(), "see docs/config.md".into()),
            |error| refused(error.what.to_string(), Problem::cure(&error.what)),
        )),
    }
}
