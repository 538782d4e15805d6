//! A class, as the config says it once defaults, presets and names are resolved.

use crate::ids::InterfaceId;
use crate::wire::tcp;
use ipnet::Ipv4Net;
use std::ops::RangeInclusive;

/// The most classes in one config.
pub const UNTRACKED_CLASSES: usize = 1024;

/// Some addresses: those of prefixes and of named sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// Prefixes.
    pub nets: Vec<Ipv4Net>,
    /// Sets, by their place in `Config::sets`.
    pub sets: Vec<usize>,
}

impl Addresses {
    /// Whether every address is meant: nothing was named. A named set without prefixes is not every address but none.
    pub fn is_any(&self) -> bool {
        self.nets.is_empty() && self.sets.is_empty()
    }
}

/// What becomes of the packets of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Forwarded, translated if the class says so.
    #[default]
    Forward,
    /// Dropped.
    Drop,
}

impl Verdict {
    /// Every one by its name in the config.
    pub const NAMES: &'static [(&'static str, Verdict)] =
        &[(Verdict::Forward.name(), Verdict::Forward), (Verdict::Drop.name(), Verdict::Drop)];

    /// Its name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Forward => "forward",
            Verdict::Drop => "drop",
        }
    }
}

/// How answers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Answers {
    /// They come from the service's port to the client's: `symmetric = true`.
    #[default]
    Mirrored,
    /// Both sides send to the service's port, each from any of `from_ports`, as tunnels do: `peers = true`.
    SamePort,
    /// They are no affair of the class: `symmetric = false`.
    Elsewhere,
}

/// What becomes of packets between the service and somebody who is not among `from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PeerPolicy {
    /// They are not of this class.
    #[default]
    Open,
    /// They are dropped, in both directions.
    AllowListed,
}

impl PeerPolicy {
    /// Every one by its name in the config.
    pub const NAMES: &'static [(&'static str, PeerPolicy)] = &[
        (PeerPolicy::Open.name(), PeerPolicy::Open),
        (PeerPolicy::AllowListed.name(), PeerPolicy::AllowListed),
    ];

    /// Its name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            PeerPolicy::Open => "open",
            PeerPolicy::AllowListed => "allow-listed",
        }
    }
}

/// Which side may open a TCP connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OpenedBy {
    /// A SYN without ACK from the service is dropped.
    #[default]
    Clients,
    /// Both.
    Either,
}

impl OpenedBy {
    /// Every one by its name in the config.
    pub const NAMES: &'static [(&'static str, OpenedBy)] =
        &[(OpenedBy::Clients.name(), OpenedBy::Clients), (OpenedBy::Either.name(), OpenedBy::Either)];

    /// Its name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            OpenedBy::Clients => "clients",
            OpenedBy::Either => "either",
        }
    }
}

/// What becomes of sessions that are in the table when the class appears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Existing {
    /// They go on until they end; what belongs to none of them passes by the class.
    #[default]
    Keep,
    /// They are deleted, their packets pass by the class at once.
    Release,
}

impl Existing {
    /// Every one by its name in the config.
    pub const NAMES: &'static [(&'static str, Existing)] =
        &[(Existing::Keep.name(), Existing::Keep), (Existing::Release.name(), Existing::Release)];

    /// Its name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Existing::Keep => "keep",
            Existing::Release => "release",
        }
    }
}

/// TCP flags that a packet must and must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlags {
    /// The flags that are looked at: see [`crate::wire::tcp`].
    pub mask: u8,
    /// Those of them that are set.
    pub set: u8,
}

impl TcpFlags {
    /// Whether a packet with these flags is one.
    #[inline]
    pub fn hold(self, flags: u8) -> bool {
        flags & self.mask == self.set
    }

    /// As the config writes them: those that have to be there, and with an exclamation mark those that must not.
    pub fn words(self) -> impl Iterator<Item = String> {
        let asked = tcp::FLAGS.into_iter().filter(move |(_, bit)| self.mask & bit != 0);
        asked.map(move |(name, bit)| format!("{}{name}", if self.set & bit == 0 { "!" } else { "" }))
    }
}

/// One `[[notrack]]` class. `from` are clients, `to` is the service, as clients address it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NotrackClass {
    /// Its name; unique.
    pub name: String,
    /// The preset that filled in what the config does not say.
    pub preset: Option<&'static str>,
    /// The interfaces that clients' packets come in by; empty: any.
    pub on: Vec<InterfaceId>,
    /// The zone that clients' packets come in from; `None`: any.
    pub zone: Option<u16>,
    /// Clients.
    pub from: Addresses,
    /// Their ports; empty: any. Ascending, without overlap.
    pub from_ports: Vec<RangeInclusive<u16>>,
    /// The service.
    pub to: Addresses,
    /// The zone that the service is in.
    pub to_zone: u16,
    /// The service's ports; empty: any. Ascending, without overlap.
    pub ports: Vec<RangeInclusive<u16>>,
    /// IANA protocol numbers; empty: any. With ports or flags only such as have them.
    pub protocols: Vec<u8>,
    /// Flags of clients' TCP packets; `protocols` is TCP alone then, and answers are not looked at.
    pub flags: Option<TcpFlags>,
    /// What becomes of its packets.
    pub verdict: Verdict,
    /// What `from`, then exactly one prefix, becomes; of the same length.
    pub translate_from: Option<Ipv4Net>,
    /// What `to`, then exactly one prefix, becomes; of the same length.
    pub translate_to: Option<Ipv4Net>,
    /// Internal sources may leave by external interfaces as they are: they are valid there.
    pub untranslated: bool,
    /// How answers are told.
    pub answers: Answers,
    /// What becomes of packets to and from others than `from`.
    pub policy: PeerPolicy,
    /// Who opens TCP connections.
    pub opened_by: OpenedBy,
    /// What becomes of sessions that are there already.
    pub existing: Existing,
}
