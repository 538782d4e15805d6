//! How an external address behaves towards those behind it and those outside: mapping and filtering, in the terms of
//! RFC 4787 sections 4.1 and 5, for each of TCP, UDP and the others (RFC 7857 sections 5 and 6).
//!
//! Where both depend on the address and port of the remote end, a flow's external endpoint is nobody's but to that remote
//! end, and the same port serves others elsewhere: one address carries far more flows than it has ports, and a session
//! is all that there is to know. Everything else needs a *mapping* that is more than one session: see
//! [`super::mapping`].

use super::space::set_of;

/// On what of the remote end something depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependence {
    /// Endpoint-independent: on nothing.
    Nothing,
    /// Address-dependent.
    Address,
    /// Address and port-dependent.
    AddressAndPort,
}

impl Dependence {
    /// Their names in the config.
    pub const NAMES: [(&str, Dependence); 3] = [
        ("endpoint-independent", Dependence::Nothing),
        ("address-dependent", Dependence::Address),
        ("address-and-port-dependent", Dependence::AddressAndPort),
    ];

    /// The name in the config.
    pub fn name(self) -> &'static str {
        let [(nothing, _), (address, _), (both, _)] = Dependence::NAMES;
        match self {
            Dependence::Nothing => nothing,
            Dependence::Address => address,
            Dependence::AddressAndPort => both,
        }
    }
}

/// A setting for TCP, for UDP, and for ICMP queries and the other protocols with ports, in the order of
/// [`super::space`]'s sets.
pub type PerProtocol<T> = [T; 3];

/// How the sessions of a host spread over the addresses of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// All are translated to one address; when its ports are used up the host gets no others (RFC 4787 REQ-2, RFC 7857
    /// section 4).
    #[default]
    Paired,
    /// Any address that has a port.
    Arbitrary,
}

/// How the ports of an address are shared out among the subscribers behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// One at a time, to whoever needs one.
    #[default]
    Ports,
    /// In blocks, each of which is one subscriber's while he needs it: [`super::blocks`].
    Blocks(BlockRules),
    /// By arithmetic: each subscriber has ports of his own for good: [`super::deterministic`].
    Fixed,
}

/// The blocks of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRules {
    /// Ports of a block, of each protocol: a power of two, from [`super::blocks::UNIT`] to [`super::blocks::REGION`].
    pub size: u16,
    /// Blocks that one subscriber may have at once: 1 to [`super::blocks::MOST`].
    pub per_subscriber: u8,
    /// After so many ticks without any port in use a block goes back.
    pub idle: u32,
}

/// How an external address behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Behavior {
    /// On what of the remote end the external endpoint depends.
    pub mapping: PerProtocol<Dependence>,
    /// On what of the remote end it depends who may send to the external endpoint.
    pub filtering: PerProtocol<Dependence>,
    /// Which address.
    pub pooling: Pooling,
    /// For so many ticks a port that was freed is given to nobody, where anybody may send to it.
    pub hold_down: u32,
    /// Ports, and identifiers, that one subscriber (an internal address) may hold where each is one mapping's; `u32::MAX`: any
    /// number.
    pub ports_per_subscriber: PerProtocol<u32>,
    /// Who gets which ports.
    pub sharing: Sharing,
}

/// Ticks that a port rests unless the config says something else: 2 minutes (RFC 6888 REQ-8).
pub const HOLD_DOWN: u32 = 1200;

impl Behavior {
    /// What a pool does if the config says nothing: the least that stands in an application's way without anybody outside
    /// being let in (RFC 4787 REQ-1, REQ-8).
    pub const DEFAULT: Behavior = Behavior {
        mapping: [Dependence::Nothing; 3],
        filtering: [Dependence::Address; 3],
        pooling: Pooling::Paired,
        hold_down: HOLD_DOWN,
        ports_per_subscriber: [u32::MAX; 3],
        sharing: Sharing::Ports,
    };

    /// Everything depends on everything: what is left where the flows of a host are spread over workers.
    pub const BY_FLOW: Behavior = Behavior {
        mapping: [Dependence::AddressAndPort; 3],
        filtering: [Dependence::AddressAndPort; 3],
        ..Behavior::DEFAULT
    };

    /// Whether a port is one mapping's for this protocol, as it is where an external endpoint is more than one session's, and
    /// where a subscriber has ports that are nobody else's.
    #[inline]
    pub fn keeps_mappings(&self, protocol: u8) -> bool {
        set_of(protocol).is_some_and(|set| {
            self.sharing != Sharing::Ports
                || self.mapping[set] != Dependence::AddressAndPort
                || self.filtering[set] != Dependence::AddressAndPort
        })
    }

    /// On what the external endpoint depends, for this protocol.
    #[inline]
    pub fn mapping(&self, protocol: u8) -> Dependence {
        set_of(protocol).map_or(Dependence::AddressAndPort, |set| self.mapping[set])
    }

    /// On what it depends who may send to it, for this protocol.
    #[inline]
    pub fn filtering(&self, protocol: u8) -> Dependence {
        set_of(protocol).map_or(Dependence::AddressAndPort, |set| self.filtering[set])
    }

    /// Ports, and identifiers, that one subscriber may hold for this protocol.
    #[inline]
    pub fn ports_of_subscriber(&self, protocol: u8) -> u32 {
        set_of(protocol).map_or(u32::MAX, |set| self.ports_per_subscriber[set])
    }

    /// For so many ticks a port that is freed is given to nobody. Where strangers are kept out, nobody takes the new owner for the
    /// old one, and it does not have to rest (RFC 6888 REQ-8 c); nor where both are the same subscriber (REQ-8 b).
    pub fn rest(&self, protocol: u8) -> u32 {
        let open = self.filtering(protocol) == Dependence::Nothing && self.sharing != Sharing::Fixed;
        if open { self.hold_down } else { 0 }
    }
}
