//! Classes of packets that every operator knows by name, and what each fills in where a `[[notrack]]` does not say.
//!
//! One list: what the config accepts, what output shows, and what `docs/config.md` says.

use crate::wire::protocol::{self, TCP, UDP};
use std::ops::RangeInclusive;

/// What is known of a service by its name. Whatever the class itself says wins.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// As the config writes it.
    pub name: &'static str,
    /// What it is, and where that is written down.
    pub help: &'static str,
    /// IANA protocol numbers.
    pub protocols: &'static [u8],
    /// The service's port.
    pub port: u16,
    /// Clients' ports; `None`: any.
    pub from_ports: Option<RangeInclusive<u16>>,
    /// Whether both sides send to the service's port.
    pub peers: bool,
}

/// What systems give clients: no client asks from a well-known port (RFC 6056 section 3.2).
const EPHEMERAL: Option<RangeInclusive<u16>> = Some(1024..=65535);

/// Every preset.
pub static PRESETS: &[Preset] = &[
    Preset {
        name: "vxlan",
        help: "Tunnels of Ethernet frames; each side sends to the port from any (RFC 7348).",
        protocols: &[UDP],
        port: 4789,
        from_ports: None,
        peers: true,
    },
    Preset {
        name: "geneve",
        help: "Tunnels of network virtualization; each side sends to the port from any (RFC 8926).",
        protocols: &[UDP],
        port: 6081,
        from_ports: None,
        peers: true,
    },
    Preset {
        name: "memcached",
        help: "A cache with many short connections; its port is the one that memcached(1) listens on.",
        protocols: &[TCP, UDP],
        port: 11211,
        from_ports: EPHEMERAL,
        peers: false,
    },
    Preset {
        name: "dns",
        help: "Questions of one packet and an answer of one (RFC 1035), and TCP for long ones (RFC 7766).",
        protocols: &[UDP, TCP],
        port: 53,
        from_ports: EPHEMERAL,
        peers: false,
    },
    Preset {
        name: "quic-lb",
        help: "QUIC to servers that tell connections by their ids, whatever the client's address (RFC 9000 section 5.1).",
        protocols: &[UDP],
        port: 443,
        from_ports: None,
        peers: false,
    },
];

/// The presets as a table in Markdown, as `docs/config.md` holds it.
pub fn markdown() -> String {
    let mut out = String::from(
        "| preset | `protocol` | `port` | `from_port` | `peers` | what |\n|---|---|---|---|---|---|\n",
    );
    for Preset { name, help, protocols, port, from_ports, peers } in PRESETS {
        let protocols: Vec<&str> = protocols.iter().filter_map(|number| protocol::name(*number)).collect();
        let from = from_ports.as_ref();
        let from = from.map_or_else(|| "any".into(), |ports| format!("{}-{}", ports.start(), ports.end()));
        out += &format!("| `{name}` | {} | {port} | {from} | {peers} | {help} |\n", protocols.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::has_ports;

    #[test]
    fn a_preset_can_stand_alone() {
        for preset in PRESETS {
            assert!(preset.protocols.iter().all(|protocol| has_ports(*protocol)), "{}", preset.name);
            assert!(PRESETS.iter().filter(|other| other.name == preset.name).count() == 1);
        }
    }
}
