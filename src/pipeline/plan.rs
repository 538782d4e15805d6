//! What is to become of a packet without a session: which rule, which translation, or why it is refused.
//!
//! Pure: a function of the configuration and the packet's headers. Workers ask it for the first packet of a conversation;
//! the control thread asks the same for a tuple that somebody wants explained, and for sessions of which a new
//! configuration has to say whether it would still make them.

use super::Snapshot;
use super::snapshot::Interface;
use crate::classify::martian::{is_martian_destination, is_martian_source};
use crate::classify::{Forward, Source, Static};
use crate::ids::{InterfaceId, Realm};
use crate::nat::behavior::{Pooling, Sharing};
use crate::nat::deterministic::Share;
use crate::packet::{Fragment, Kind, Parsed, Tuple};
use crate::route::NextHop;
use crate::telemetry::DropReason;
use crate::wire::{icmp, protocol, tcp};
use std::net::Ipv4Addr;

/// An ICMP error for the sender of a refused packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// MTU of the next link, for fragmentation needed.
    pub mtu: u16,
    /// Said only after a while, if by then nobody has begun a connection the other way: see `pipeline::unsolicited`.
    pub delayed: bool,
}

impl Answer {
    /// Destination unreachable, with this code.
    pub const fn unreachable(code: u8) -> Answer {
        Answer { kind: icmp::UNREACHABLE, code, mtu: 0, delayed: false }
    }
}

/// Why a packet is refused, and what its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: DropReason,
    /// What its sender is told, within the rate limit.
    pub answer: Option<Answer>,
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Refusal {
        Refusal { reason, answer: None }
    }
}

/// No route: the sender is told by ICMP 3/0.
pub const NO_ROUTE: Refusal =
    Refusal { reason: DropReason::NoRoute, answer: Some(Answer::unreachable(icmp::CODE_NET_UNREACHABLE)) };

/// No rule translates the source: the sender is told by ICMP 3/13.
const NO_SNAT: Refusal =
    Refusal { reason: DropReason::NoRule, answer: Some(Answer::unreachable(icmp::CODE_ADMIN_PROHIBITED)) };

/// A forward takes no new sessions: the sender is told by ICMP 3/3.
const DRAINED: Refusal = Refusal {
    reason: DropReason::ForwardDrained,
    answer: Some(Answer::unreachable(icmp::CODE_PORT_UNREACHABLE)),
};
/// No backend of a forward is up: the sender is told by ICMP 3/1, as by a router in front of a host that is gone.
const ALL_DOWN: Refusal = out_of_resources(DropReason::BackendsDown);
/// Nobody waits for a connection: the one who opens it is told by ICMP 3/3, after a while.
pub const UNCLAIMED: Answer = Answer { delayed: true, ..Answer::unreachable(icmp::CODE_PORT_UNREACHABLE) };

/// No session possible: the sender is told by ICMP 3/1 (RFC 6888 REQ-11).
pub const fn out_of_resources(reason: DropReason) -> Refusal {
    Refusal { reason, answer: Some(Answer::unreachable(icmp::CODE_HOST_UNREACHABLE)) }
}

/// Where a packet is to go: an address means something only together with its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The address.
    pub address: Ipv4Addr,
    /// Realm of the interface to leave by.
    pub realm: Realm,
    /// Zone of the interface to leave by.
    pub zone: u16,
}

impl Goal {
    /// An address on the same side as this interface.
    pub fn beside(interface: &Interface, address: Ipv4Addr) -> Goal {
        Goal { address, realm: interface.realm, zone: interface.zone }
    }
}

/// The headers that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The interface that the packet comes in by.
    pub interface: InterfaceId,
    /// Its tuple as it arrives.
    pub tuple: Tuple,
    /// What it carries.
    pub kind: Kind,
    /// Whole or which part.
    pub fragment: Fragment,
    /// Whether it was turned around: see [`Parsed::turned`].
    pub turned: bool,
}

impl Header {
    /// Those of a whole packet as it comes by an interface.
    pub fn whole(interface: InterfaceId, tuple: Tuple, kind: Kind) -> Header {
        Header { interface, tuple, kind, fragment: Fragment::Whole, turned: false }
    }

    /// Those of a packet.
    #[inline]
    pub fn of(packet: &Parsed) -> Header {
        let Parsed { interface, tuple, kind, fragment, turned, .. } = *packet;
        Header { interface, tuple, kind, fragment, turned }
    }
}

/// What of a packet can stop it on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Time to live on arrival.
    pub ttl: u8,
    /// Length of the IPv4 packet in bytes.
    pub total_len: u16,
    /// Whether the don't-fragment bit is set.
    pub dont_fragment: bool,
}

impl Envelope {
    /// That of a packet.
    #[inline]
    pub fn of(packet: &Parsed) -> Envelope {
        let Parsed { ttl, total_len, dont_fragment, .. } = *packet;
        Envelope { ttl, total_len, dont_fragment }
    }
}

/// A rule of the configuration, by its place among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Of `Config::snat`.
    Snat(u32),
    /// Of `Config::dnat`.
    Dnat(u32),
    /// Of `Config::statics`.
    Static(u32),
    /// Of `Config::notrack`.
    Notrack(u32),
}

/// What is to become of a packet without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Forwarded as it is, without a session: between internal networks.
    Route,
    /// Gets a session.
    Session(SessionPlan),
    /// Goes from inside to an external endpoint of somebody inside: gets a session as if it went outside, and comes in again
    /// then.
    Turn(SessionPlan),
    /// Goes from outside to a port of the local address with this number, whose mapping says what becomes of it.
    Inbound(u16),
}

/// The address that a source becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translated {
    /// Its number among the local addresses.
    pub number: u16,
    /// The pool, if any other of its addresses does as well.
    pub pool: Option<usize>,
    /// The ports, if they are the host's own by arithmetic.
    pub share: Option<Share>,
    /// The external endpoint is the session's alone, and lets nobody else in: so that the answers come back, and not to show
    /// somebody outside.
    pub closed: bool,
}

/// A session to be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlan {
    /// The rule that says so.
    pub rule: Rule,
    /// Destination after translation.
    pub dst: Ipv4Addr,
    /// Its port.
    pub dport: u16,
    /// What the source becomes; `None`: it stays, or becomes `fixed`.
    pub source: Option<Translated>,
    /// The address that the source becomes with its port as it is, where that is arithmetic.
    pub fixed: Option<Ipv4Addr>,
    /// Realm and zone of the interface that answers will come in by.
    pub answers_from: (Realm, u16),
    /// Its handshake is made by the gateway first.
    pub syn_proxy: bool,
}

impl SessionPlan {
    /// What the tuple of its packets becomes, but for the address and port that `source` stands for.
    #[inline]
    pub fn towards(&self, tuple: Tuple) -> Tuple {
        Tuple { src: self.fixed.unwrap_or(tuple.src), dst: self.dst, dport: self.dport, ..tuple }
    }

    /// Where the packets go.
    pub fn goal(&self) -> Goal {
        let (realm, zone) = self.answers_from;
        Goal { address: self.dst, realm, zone }
    }
}

impl Plan {
    /// Where the packet goes.
    pub fn goal(&self, snap: &Snapshot, header: &Header) -> Goal {
        match self {
            Plan::Route => Goal::beside(snap.interface(header.interface), header.tuple.dst),
            Plan::Session(session) | Plan::Turn(session) => session.goal(),
            // Where the mapping says.
            Plan::Inbound(_) => Goal::beside(snap.interface(header.interface), header.tuple.dst),
        }
    }
}

/// Decides what becomes of a packet without a session.
///
/// # Errors
/// It is refused.
pub fn plan(snap: &Snapshot, header: &Header) -> Result<Plan, Refusal> {
    let Tuple { src, dst, dport, protocol, .. } = header.tuple;
    let arrival = snap.interface(header.interface);
    check_addresses(snap, arrival, header)?;
    if snap.is_banned(arrival.zone, src) {
        return Err(DropReason::SourceBanned.into());
    }
    if stays_inside(snap, arrival, dst) {
        return Ok(Plan::Route);
    }
    match header.kind {
        Kind::Tcp { .. } | Kind::Udp | Kind::Dccp | Kind::Gre | Kind::IcmpRequest => {}
        // Its port may have to change, which is known too late. No sender fragments what opens an association.
        Kind::Sctp if header.fragment != Fragment::Whole => return Err(DropReason::SctpFragmented.into()),
        Kind::Sctp => {}
        Kind::IcmpReply => return Err(DropReason::IcmpUnsolicited.into()),
        Kind::IcmpOther(_) | Kind::IcmpError => return Err(DropReason::IcmpTypeUnsupported.into()),
        Kind::Other if matches!(protocol, protocol::IGMP | protocol::AH) => {
            return Err(DropReason::ProtocolUnsupported.into());
        }
        Kind::Other => {}
    }
    let local = snap.local_on(arrival, dst);
    if let Some(number) = local {
        // The inner face of the gateway is not there for the outside.
        if !is_visible(snap, arrival, number) {
            return Err(DropReason::NoRule.into());
        }
        if let Some(forward) = snap.local.forward(number, protocol, dport) {
            return plan_forward(snap, arrival, &header.tuple, number, forward);
        }
    }
    match (snap.local.statics().of_external(dst), local) {
        (Some(fixed), _) => plan_inbound(snap, header, fixed),
        (None, Some(number)) if opens_by_mapping(header.kind) && is_mapped(snap, number, protocol) => {
            match arrival.realm {
                Realm::External => Ok(Plan::Inbound(number)),
                // What comes in again to somebody inside must not have an internal source.
                Realm::Internal => match plan_outbound(snap, header)? {
                    plan if plan.source.is_none() && plan.fixed.is_none() => Err(NO_SNAT),
                    plan => Ok(Plan::Turn(plan)),
                },
            }
        }
        (None, Some(number)) => Err(unclaimed(snap, arrival, header.kind, number)),
        (None, None) => plan_outbound(snap, header).map(Plan::Session),
    }
}

/// Whether mappings of one of our addresses can be sent to: it is one of the outside.
pub(super) fn is_mapped(snap: &Snapshot, number: u16, protocol: u8) -> bool {
    let is_outer = |own: InterfaceId| snap.interface(own).realm == Realm::External;
    snap.local.keeps_mappings(number, protocol)
        && snap
            .local
            .get(number)
            .is_some_and(|local| local.ports.is_some() && local.interface.is_none_or(is_outer))
}

/// Whether a packet may be the first one that comes in by a mapping.
pub fn may_come_in(kind: Kind) -> bool {
    match kind {
        Kind::Tcp { flags } => flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN,
        _ => true,
    }
}

/// Whether a packet can open a session by a mapping: an identifier of queries is nobody's to be asked by.
fn opens_by_mapping(kind: Kind) -> bool {
    matches!(kind, Kind::Tcp { .. } | Kind::Udp | Kind::Sctp | Kind::Dccp)
}

/// Whether a packet is a query to an address of an interface of ours, which the gateway itself answers.
#[inline]
pub fn is_for_gateway(snap: &Snapshot, header: &Header) -> bool {
    if header.kind != Kind::IcmpRequest || header.fragment != Fragment::Whole {
        return false;
    }
    let arrival = snap.interface(header.interface);
    snap.local_on(arrival, header.tuple.dst).is_some_and(|number| {
        snap.local.get(number).is_some_and(|local| local.interface.is_some())
            && is_visible(snap, arrival, number)
    })
}

/// Which way a packet to `goal` leaves.
///
/// # Errors
/// Time to live, route or size stop it.
#[inline(always)]
pub fn way_out(snap: &Snapshot, envelope: Envelope, goal: Goal) -> Result<NextHop, Refusal> {
    check_ttl(envelope)?;
    let hop = snap.route_to(goal.realm, goal.zone, goal.address).ok_or(NO_ROUTE)?;
    check_size(snap, envelope, hop)?;
    Ok(hop)
}

/// Refuses a packet at the end of its life.
///
/// # Errors
/// Its time to live runs out here.
#[inline(always)]
pub fn check_ttl(envelope: Envelope) -> Result<(), Refusal> {
    if envelope.ttl <= 1 {
        let answer = Answer { kind: icmp::TIME_EXCEEDED, code: 0, mtu: 0, delayed: false };
        let answer = (envelope.ttl == 1).then_some(answer);
        return Err(Refusal { reason: DropReason::TtlExpired, answer });
    }
    Ok(())
}

/// Refuses a packet that is too large for the next link and may not be cut.
#[inline(always)]
pub(super) fn check_size(snap: &Snapshot, envelope: Envelope, hop: NextHop) -> Result<(), Refusal> {
    let mtu = snap.interface(hop.interface).mtu;
    if envelope.total_len > mtu && envelope.dont_fragment {
        let answer = Some(Answer { mtu, ..Answer::unreachable(icmp::CODE_FRAGMENTATION_NEEDED) });
        return Err(Refusal { reason: DropReason::FragmentationNeeded, answer });
    }
    Ok(())
}

/// The address of a pool that a source is translated to: that of its host, or where any address does, of its endpoint. An
/// empty pool has none: never untranslated. Where ports are hosts' by arithmetic, a host that has none is of no rule.
pub(super) fn from_pool(
    snap: &Snapshot,
    pool: usize,
    (zone, source, port): (u16, Ipv4Addr, u16),
) -> Result<Translated, Refusal> {
    let exhausted = out_of_resources(DropReason::PortsExhausted);
    if let Some(fixed) = snap.fixed.get(pool).and_then(Option::as_ref) {
        let (place, share) = fixed.outside(zone, source).ok_or(NO_SNAT)?;
        let number = snap.pools.get(pool).and_then(|numbers| numbers.get(place).copied()).ok_or(exhausted)?;
        return Ok(Translated { number, pool: None, share: Some(share), closed: false });
    }
    let number = snap.pool_address(pool, source).ok_or(exhausted)?;
    let behavior = snap.local.get(number).map(|local| local.behavior);
    if behavior.is_some_and(|behavior| matches!(behavior.sharing, Sharing::Blocks(_))) {
        // Which address it is, is known when he has a block.
        return Ok(Translated { number, pool: Some(pool), share: None, closed: false });
    }
    if behavior.is_none_or(|behavior| behavior.pooling == Pooling::Paired) {
        return Ok(Translated { number, pool: None, share: None, closed: false });
    }
    let endpoint = Ipv4Addr::from_bits(source.to_bits() ^ u32::from(port).wrapping_mul(0x85eb_ca6b));
    let number = snap.pool_address(pool, endpoint).ok_or(exhausted)?;
    Ok(Translated { number, pool: Some(pool), share: None, closed: false })
}

/// Whether a packet goes from one internal network to another: forwarded without translation.
pub fn stays_inside(snap: &Snapshot, arrival: &Interface, dst: Ipv4Addr) -> bool {
    arrival.realm == Realm::Internal
        && snap.local_on(arrival, dst).is_none()
        && snap.local.statics().of_external(dst).is_none()
        && snap
            .route_in(arrival.zone, dst)
            .is_some_and(|hop| snap.interface(hop.interface).realm == Realm::Internal)
}

/// Refuses sources that can not be, and those that belong on the other side (RFC 1812 5.3.7, RFC 2827).
pub fn check_source(snap: &Snapshot, arrival: &Interface, src: Ipv4Addr) -> Result<(), DropReason> {
    let is_ours = snap.local_on(arrival, src).is_some() || snap.speaks_for(src);
    if is_martian_source(src) || is_ours || arrival.is_directed_broadcast(src) {
        return Err(DropReason::MartianSource);
    }
    let back = snap.route_in(arrival.zone, src).map(|hop| snap.interface(hop.interface));
    let honest = back.is_some_and(|back| match arrival.realm {
        // Inside, a source belongs to one interface: guests can not pose as the office.
        Realm::Internal => back.local == arrival.local,
        // Outside, answers may come by another uplink than the one that the route prefers.
        Realm::External => back.realm == Realm::External,
    });
    if honest { Ok(()) } else { Err(DropReason::SpoofedSource) }
}

/// Refuses addresses between which nothing may be forwarded.
fn check_addresses(snap: &Snapshot, arrival: &Interface, header: &Header) -> Result<(), Refusal> {
    let Tuple { src, dst, .. } = header.tuple;
    // What was turned around has a source of ours, and may go to the same address.
    if !header.turned {
        if src == dst {
            return Err(DropReason::MartianSource.into());
        }
        check_source(snap, arrival, src)?;
    }
    check_destination(snap, arrival, dst)?;
    Ok(())
}

/// Refuses destinations to which nothing is forwarded (RFC 1812 5.3.7, 5.3.5.2).
pub fn check_destination(snap: &Snapshot, arrival: &Interface, dst: Ipv4Addr) -> Result<(), DropReason> {
    let broadcast = || {
        snap.route_in(arrival.zone, dst)
            .is_some_and(|hop| snap.interface(hop.interface).is_directed_broadcast(dst))
    };
    if is_martian_destination(dst) || broadcast() { Err(DropReason::MartianDestination) } else { Ok(()) }
}

/// Whether a local address may be spoken to from the interface: from outside not if it is an inner interface's.
pub fn is_visible(snap: &Snapshot, arrival: &Interface, number: u16) -> bool {
    let own = snap.local.get(number).and_then(|local| local.interface);
    arrival.realm == Realm::Internal || own.is_none_or(|own| snap.interface(own).realm == Realm::External)
}

/// Why a packet to one of our addresses, without session and forward, is dropped.
fn unclaimed(snap: &Snapshot, arrival: &Interface, kind: Kind, number: u16) -> Refusal {
    match (snap.local.get(number), kind) {
        (Some(local), Kind::IcmpRequest) if local.interface.is_some() => DropReason::FragmentToGateway.into(),
        (Some(local), Kind::IcmpRequest) if local.ports.is_some() => DropReason::GatewayUnsupported.into(),
        (Some(local), _) if local.ports.is_some() || local.retired => {
            kept_out(arrival, kind, DropReason::NoSession)
        }
        _ => DropReason::GatewayUnsupported.into(),
    }
}

/// Refuses what comes to an external endpoint and has no session. Who opens a connection from outside is told that nobody
/// waits for it, but not at once (RFC 5382 REQ-4, RFC 5597 REQ-4).
pub fn kept_out(arrival: &Interface, kind: Kind, reason: DropReason) -> Refusal {
    let opens = matches!(kind, Kind::Tcp { .. } | Kind::Dccp) && may_come_in(kind);
    let answered = opens && arrival.realm == Realm::External && arrival.answers_syns;
    Refusal { reason, answer: answered.then_some(UNCLAIMED) }
}

/// Destination translation, and with `source` full NAT. The backend is in the forward's zone, whatever the client's.
fn plan_forward(
    snap: &Snapshot,
    arrival: &Interface,
    &Tuple { src, sport, dport, .. }: &Tuple,
    number: u16,
    forward: &Forward,
) -> Result<Plan, Refusal> {
    let none = || if forward.targets.is_drained() { DRAINED } else { ALL_DOWN };
    let target = forward.targets.choose(src, sport).ok_or_else(none)?;
    let hop = snap.route_in(forward.zone, target.address).ok_or(NO_ROUTE)?;
    let out = snap.interface(hop.interface);
    let closed = |number| Translated { number, pool: None, share: None, closed: true };
    let source = match forward.source {
        Some(Source::Interface) => Some(closed(out.local)),
        Some(Source::Pool(pool)) => {
            Some(Translated { closed: true, ..from_pool(snap, pool, (arrival.zone, src, sport))? })
        }
        // Hairpin: client and backend are both inside. The backend must see the client's outside form, or it
        // would answer directly (RFC 4787 REQ-9): the address that the client itself used.
        None if arrival.realm == Realm::Internal => {
            let has_ports = snap.local.get(number).is_some_and(|local| local.ports.is_some());
            Some(closed(if has_ports { number } else { out.local }))
        }
        None if out.realm == Realm::External => return Err(DropReason::NoRule.into()),
        // To the backend the client's address means what its own zone says: it must not seem to be a neighbour.
        None => {
            let seen = snap.route_in(forward.zone, src).map(|hop| snap.interface(hop.interface).realm);
            if seen != Some(Realm::External) {
                return Err(DropReason::SpoofedSource.into());
            }
            None
        }
    };
    let answers_from = (out.realm, out.zone);
    if forward.drain {
        return Err(DRAINED);
    }
    Ok(Plan::Session(SessionPlan {
        rule: Rule::Dnat(forward.rule),
        dst: target.address,
        dport: forward.backend_port(target, dport),
        source,
        fixed: None,
        answers_from,
        syn_proxy: forward.syn_proxy,
    }))
}

/// A packet from inside to outside: source translation.
fn plan_outbound(snap: &Snapshot, header: &Header) -> Result<SessionPlan, Refusal> {
    let (arrival, tuple) = (snap.interface(header.interface), &header.tuple);
    if arrival.realm == Realm::External {
        return Err(DropReason::NoRule.into());
    }
    let hop = snap.route_in(arrival.zone, tuple.dst).ok_or(NO_ROUTE)?;
    if let Some(fixed) = snap.local.statics().of_internal(arrival.zone, tuple.src, hop.interface) {
        let (out, address) = (snap.interface(hop.interface), fixed.outside(tuple.src));
        check_free(snap, out, tuple, address)?;
        return Ok(SessionPlan {
            rule: Rule::Static(fixed.rule),
            dst: tuple.dst,
            dport: tuple.dport,
            source: None,
            fixed: Some(address),
            answers_from: (out.realm, out.zone),
            syn_proxy: false,
        });
    }
    let plan = plan_ruled(snap, header, hop)?;
    if plan.source.is_none() {
        check_untranslated(snap, arrival, snap.interface(hop.interface), tuple.src)?;
    }
    Ok(plan)
}

/// A packet from inside that leaves by `hop`, with what a rule makes of its source.
fn plan_ruled(snap: &Snapshot, header: &Header, hop: NextHop) -> Result<SessionPlan, Refusal> {
    let (out, tuple) = (snap.interface(hop.interface), &header.tuple);
    let arrival = snap.interface(header.interface);
    let (number, rule) = snap.snat_for(header.interface, tuple, hop.interface).ok_or(NO_SNAT)?;
    let source = match rule.source {
        Some(Source::Interface) => {
            Some(Translated { number: out.local, pool: None, share: None, closed: false })
        }
        Some(Source::Pool(pool)) => Some(from_pool(snap, pool, (arrival.zone, tuple.src, tuple.sport))?),
        None => None,
    };
    Ok(SessionPlan {
        rule: Rule::Snat(number),
        dst: tuple.dst,
        dport: tuple.dport,
        source,
        fixed: None,
        answers_from: (out.realm, out.zone),
        syn_proxy: false,
    })
}

/// Refuses a source that is to leave as it is, but that outside means somebody else.
fn check_untranslated(
    snap: &Snapshot,
    arrival: &Interface,
    out: &Interface,
    src: Ipv4Addr,
) -> Result<(), DropReason> {
    if snap.local_on(out, src).is_some() || snap.local.statics().of_external(src).is_some() {
        return Err(DropReason::MartianSource);
    }
    let is_here = snap.local.untranslated().zone_of(out.zone, src) == Some(arrival.zone);
    if is_here { Ok(()) } else { Err(DropReason::TupleCollision) }
}

/// Refuses a packet whose translated source is an endpoint that a forward has for another host: its answers would go there.
fn check_free(snap: &Snapshot, out: &Interface, tuple: &Tuple, address: Ipv4Addr) -> Result<(), Refusal> {
    let forward = snap
        .local_on(out, address)
        .and_then(|number| snap.local.forward(number, tuple.protocol, tuple.sport))
        .filter(|forward| forward.target_at(tuple.sport, tuple.src, tuple.sport).is_none());
    match forward {
        Some(_) => Err(out_of_resources(DropReason::StaticPortForwarded)),
        None => Ok(()),
    }
}

/// A packet to the external address of a host that is translated one to one. From inside, the host must see what the other
/// one is outside, or it would answer directly (hairpin: RFC 4787 REQ-9, RFC 5508 REQ-7).
///
/// Of two such hosts one session knows both ends. A host that has a mapping goes outside by it and is turned; another
/// one, and what no mapping is for, gets an endpoint outside for this session alone.
fn plan_inbound(snap: &Snapshot, header: &Header, fixed: &Static) -> Result<Plan, Refusal> {
    let (arrival, tuple) = (snap.interface(header.interface), &header.tuple);
    let statics = snap.local.statics();
    let mut leased = None;
    if arrival.realm == Realm::Internal && statics.any_of_internal(arrival.zone, tuple.src).is_none() {
        let outside = snap.route_to(Realm::External, arrival.zone, tuple.dst).ok_or(NO_ROUTE)?;
        let plan = plan_ruled(snap, header, outside)?;
        let source = plan.source.ok_or(NO_SNAT)?;
        if is_mapped(snap, source.number, tuple.protocol) && opens_by_mapping(header.kind) {
            return Ok(Plan::Turn(plan));
        }
        leased = Some(Translated { closed: true, ..source });
    }
    if !fixed.inbound {
        return Err(DropReason::NoSession.into());
    }
    let host = fixed.inside(tuple.dst);
    let hop = snap.route_in(fixed.zone, host).ok_or(NO_ROUTE)?;
    let out = snap.interface(hop.interface);
    if out.realm == Realm::External {
        return Err(DropReason::NoRule.into());
    }
    let mut plan = SessionPlan {
        rule: Rule::Static(fixed.rule),
        dst: host,
        dport: tuple.dport,
        source: leased,
        fixed: None,
        answers_from: (out.realm, out.zone),
        syn_proxy: false,
    };
    if arrival.realm == Realm::External {
        // To the host the client's address means what its own zone says: it must not seem to be a neighbour.
        let seen = snap.route_in(fixed.zone, tuple.src).map(|hop| snap.interface(hop.interface).realm);
        if seen != Some(Realm::External) {
            return Err(DropReason::SpoofedSource.into());
        }
    } else if let Some(own) = statics.any_of_internal(arrival.zone, tuple.src) {
        let address = own.outside(tuple.src);
        check_free(snap, out, tuple, address)?;
        plan.fixed = Some(address);
    }
    Ok(Plan::Session(plan))
}
