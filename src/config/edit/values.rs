//! What edits are made of, as the config file writes it: `"8000-8010"`, `"192.168.1.10:80"`, `"tcp"`.

use crate::config::units::{self, ValueError};
use crate::wire::protocol;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// A transport protocol that can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// As the config file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// Its IANA number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => protocol::TCP,
            Protocol::Udp => protocol::UDP,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A port, or a range with both ends; a number or a text such as `"8000-8010"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PortText", into = "PortText")]
pub struct Ports(pub RangeInclusive<u16>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PortText {
    Number(i64),
    Text(String),
}

impl TryFrom<PortText> for Ports {
    type Error = String;

    fn try_from(text: PortText) -> Result<Self, String> {
        let text = match text {
            PortText::Number(number) => number.to_string(),
            PortText::Text(text) => text,
        };
        units::ports(&text).map(Ports).map_err(|error| with_cure(&error))
    }
}

impl From<Ports> for PortText {
    fn from(ports: Ports) -> Self {
        match ports.single() {
            Some(port) => PortText::Number(port.into()),
            None => PortText::Text(ports.to_string()),
        }
    }
}

impl Ports {
    /// The port, if it is one.
    pub fn single(&self) -> Option<u16> {
        (self.0.start() == self.0.end()).then_some(*self.0.start())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(port) => write!(f, "{port}"),
            None => write!(f, "{}-{}", self.0.start(), self.0.end()),
        }
    }
}

/// A backend: an address, and perhaps a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Backend {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port, or the first of them.
    pub port: Option<u16>,
}

impl TryFrom<String> for Backend {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let backend = units::backend(&text).map_err(|error| with_cure(&error))?;
        Ok(Backend { address: backend.0, port: backend.1 })
    }
}

impl From<Backend> for String {
    fn from(backend: Backend) -> Self {
        backend.to_string()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

/// What clients use. Exactly one of `on` and `address` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The interface whose primary address it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port or the ports.
    pub port: Ports,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.protocol, target(self.on.as_deref(), self.address), self.port)
    }
}

fn target(on: Option<&str>, address: Option<Ipv4Addr>) -> String {
    on.map(str::to_owned).or_else(|| address.map(|address| address.to_string())).unwrap_or_default()
}

/// A new `[[dnat]]` rule; its keys are those of the config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewForward {
    /// The interface whose primary address clients use. Exactly one of `on` and `address` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The address that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// At least one.
    pub protocol: Vec<Protocol>,
    /// The port or ports that clients use.
    pub port: Ports,
    /// Where they get to.
    pub to: Backend,
    /// `interface` or `pool.NAME`, for full NAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Answer handshakes with SYN cookies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub syn_proxy: bool,
    /// Zone that the backend is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<u16>,
    /// Why, for whoever reads the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl fmt::Display for NewForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols: Vec<&str> = self.protocol.iter().map(|protocol| protocol.name()).collect();
        let (target, port, to) = (target(self.on.as_deref(), self.address), &self.port, self.to);
        write!(f, "{} {target}:{port} to {to}", protocols.join(" and "))?;
        self.comment.iter().try_for_each(|comment| write!(f, " ({comment})"))
    }
}

fn with_cure(error: &ValueError) -> String {
    format!("{error}; {}", error.cure())
}

/// Prefixes as texts, of which an address alone stands for itself.
pub(super) mod prefixes {
    use super::{units, with_cure};
    use ipnet::Ipv4Net;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::config::edit) fn serialize<S: Serializer>(
        prefixes: &[Ipv4Net],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(prefixes.iter().map(ToString::to_string))
    }

    pub(in crate::config::edit) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Ipv4Net>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let prefix = |text: &String| units::prefix(text).map_err(|error| D::Error::custom(with_cure(&error)));
        texts.iter().map(prefix).collect()
    }
}
