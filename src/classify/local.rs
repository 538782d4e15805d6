//! The addresses that natgate answers to: its interfaces', its pools', and those that are forwarded (DNAT).
//!
//! An address of an internal interface is one in the interface's zone only, and another zone may have the same; the
//! others are visible from all zones.
//!
//! Two questions are asked of every packet, to find its owner (DESIGN section 4): is its destination one of ours,
//! and is its source a backend that answers for one of our addresses? Both are one probe in an [`AddressMap`].
//!
//! A port of a backend may stand behind several forwards, and an answer does not say by which one its request came. So the
//! first of them names the request for all, and a request to any other goes by that name too. A forward with several backends
//! must have the same name for all of them, since which one a client gets is no function of the packet alone: backends are
//! drained and change. The config check sees to that, forwards with several backends count before those with one, and a
//! backend that goes by another name, as sessions of an earlier configuration know it by that, is left out until they are
//! over. Whoever may be chosen then, request and answer have one owner, and no change of weights or drains moves a session.

use super::{AddressMap, Shares, Statics, Target, Targets, Untranslated};
use crate::ids::{InterfaceId, WorkerId};
use crate::nat::behavior::Behavior;
use crate::packet::Tuple;
use crate::telemetry::PortsUsed;
use crate::zone::ZoneMap;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// An address that natgate answers to.
#[derive(Clone, Debug)]
pub struct LocalAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The interface whose own address it is; `None` for a pool's or a forwarded one.
    pub interface: Option<InterfaceId>,
    /// Ports that may be allocated to sessions; `None`: nothing is translated to this address.
    pub ports: Option<RangeInclusive<u16>>,
    /// How what is translated to it is mapped and filtered.
    pub behavior: Behavior,
    /// Whose the ports are, where not their lowest bits say so.
    pub shares: Option<Arc<Shares>>,
    /// Of these, by protocol, those that notrack classes take.
    reserved: Box<[(u8, RangeInclusive<u16>)]>,
    /// It is in the configuration no more, and here only for the sessions that still use it.
    pub retired: bool,
    /// Ports of it that sessions hold.
    pub used: Arc<PortsUsed>,
    /// Its forwards, in [`LocalAddresses::forwards`].
    forwards: Range<usize>,
}

/// Where a translated source comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The primary address of the interface that the packet leaves by.
    Interface,
    /// The pool with this number in the snapshot.
    Pool(usize),
}

/// One forwarded range of ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// IANA protocol number: TCP or UDP.
    pub protocol: u8,
    /// Ports on our side.
    pub ports: RangeInclusive<u16>,
    /// The backends.
    pub targets: Targets,
    /// The zone that the backends are in.
    pub zone: u16,
    /// Full NAT: also translate the source.
    pub source: Option<Source>,
    /// Handshakes are answered with SYN cookies before the backend hears of them. TCP only.
    pub syn_proxy: bool,
    /// No new session: those that there are go on.
    pub drain: bool,
    /// The place of its rule in the configuration.
    pub rule: u32,
}

impl Forward {
    /// A backend's port for one of `ports`.
    #[inline]
    pub fn backend_port(&self, target: &Target, port: u16) -> u16 {
        target.port.wrapping_add(port.wrapping_sub(*self.ports.start()))
    }

    fn backend_ports(&self, target: &Target) -> RangeInclusive<u16> {
        target.port..=self.backend_port(target, *self.ports.end())
    }

    /// The backend that this endpoint is, for what is sent to `port`.
    pub fn target_at(&self, port: u16, address: Ipv4Addr, backend_port: u16) -> Option<&Target> {
        let is_there =
            |target: &&Target| (target.address, self.backend_port(target, port)) == (address, backend_port);
        self.targets.iter().find(is_there)
    }
}

/// Ports of a backend that answer for one of our addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// The zone that it is in.
    pub zone: u16,
    /// Its address.
    pub address: Ipv4Addr,
    /// IANA protocol number.
    pub protocol: u8,
    /// Its ports.
    pub ports: RangeInclusive<u16>,
    /// Our address, and our port for the first of `ports`.
    pub public: (Ipv4Addr, u16),
}

/// A local address before it is compiled.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose own it is; `None`: a pool's or a forwarded one.
    pub interface: Option<InterfaceId>,
    /// The ports that may be allocated.
    pub ports: Option<RangeInclusive<u16>>,
    /// How what is translated to it is mapped and filtered.
    pub behavior: Behavior,
    /// Ports of a protocol that may not, although they are among them.
    pub reserved: Box<[(u8, RangeInclusive<u16>)]>,
    /// Whether it is here only for the sessions that still use it.
    pub retired: bool,
    /// Ports of it that sessions hold.
    pub used: Arc<PortsUsed>,
}

/// As [`Declared`], for a gateway with one worker: address, interface, ports.
pub type Plain = (Ipv4Addr, Option<InterfaceId>, Option<RangeInclusive<u16>>);

/// Every local address and every forward.
#[derive(Debug)]
pub struct LocalAddresses {
    addresses: Box<[LocalAddress]>,
    /// What each zone sees of them.
    index: ZoneMap<AddressMap>,
    forwards: Box<[Forward]>,
    backends: Box<[Backend]>,
    /// Those of them that are in the configuration.
    declared: HashSet<Backend, ahash::RandomState>,
    /// The others, by the address of ours that they stand behind.
    former: Box<[Backend]>,
    /// Backend address to its first entry in `backends`, which is sorted by address.
    backend_index: AddressMap,
    statics: Statics,
    untranslated: Untranslated,
}

/// Whether a port of ours leads to one of the backend's ports.
fn is_behind(backend: &Backend, port: u16) -> bool {
    port.checked_sub(backend.public.1).is_some_and(|at| at <= backend.ports.end() - backend.ports.start())
}

/// The backends that are not declared any more, by the address of ours.
fn formers(backends: &[Backend], declared: &[Backend]) -> Box<[Backend]> {
    let declared: HashSet<&Backend, ahash::RandomState> = declared.iter().collect();
    let mut former: Vec<Backend> =
        backends.iter().filter(|backend| !declared.contains(backend)).cloned().collect();
    former.sort_by_key(|backend| backend.public.0);
    former.into()
}

fn number(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

impl LocalAddresses {
    /// Compiles the list for a gateway with zone 0 alone, whose addresses are translated to by flow. A forward on an address that is not in the list adds it.
    pub fn new(mut addresses: Vec<Plain>, forwards: &[(Ipv4Addr, Forward)]) -> LocalAddresses {
        let mut numbered = Vec::new();
        for (on, forward) in forwards {
            let known = addresses.iter().position(|(known, _, _)| known == on);
            numbered.push((number(known.unwrap_or(addresses.len())), forward.clone()));
            if known.is_none() {
                addresses.push((*on, None, None));
            }
        }
        let all = 0..number(addresses.len());
        let declared = addresses.into_iter().map(|(address, interface, ports)| Declared {
            address,
            interface,
            ports,
            behavior: Behavior::BY_FLOW,
            reserved: Box::default(),
            retired: false,
            used: Arc::new(PortsUsed::new(u8::MAX)),
        });
        LocalAddresses::in_zones(declared.collect(), &numbered, &[], [0], |_| all.clone().collect())
    }

    /// The same, all of whose addresses behave like this.
    #[must_use]
    pub fn behaving(mut self, behavior: Behavior) -> Self {
        self.addresses.iter_mut().for_each(|local| local.behavior = behavior);
        self
    }

    /// Compiles the list. Addresses are numbered in its order, forwards name the address that they are on by its
    /// number. `seen` says which addresses are visible from a zone; of two numbers with one address the first counts.
    ///
    /// `former` are backends of the configuration before that have to stay known, and stay in front: the owner of a session
    /// must not change while it lives.
    pub fn in_zones(
        addresses: Vec<Declared>,
        forwards: &[(u16, Forward)],
        former: &[Backend],
        zones: impl IntoIterator<Item = u16>,
        mut seen: impl FnMut(u16) -> Vec<u16>,
    ) -> LocalAddresses {
        let mut of_address = vec![Vec::new(); addresses.len()];
        for (on, forward) in forwards {
            if let Some(list) = of_address.get_mut(usize::from(*on)) {
                list.push(forward.clone());
            }
        }
        let mut sorted = Vec::with_capacity(forwards.len());
        let addresses: Box<[LocalAddress]> = addresses
            .into_iter()
            .zip(of_address)
            .map(|(Declared { address, interface, ports, behavior, reserved, retired, used }, mut list)| {
                let start = sorted.len();
                list.sort_by_key(|f| (f.protocol, *f.ports.start()));
                sorted.append(&mut list);
                LocalAddress {
                    address,
                    interface,
                    ports,
                    behavior,
                    shares: None,
                    reserved,
                    retired,
                    used,
                    forwards: start..sorted.len(),
                }
            })
            .collect();
        let of_forward = |(on, forward): &(u16, Forward)| {
            let public = addresses.get(usize::from(*on)).map(|on| (on.address, *forward.ports.start()));
            let backend = |target: &Target| {
                Some(Backend {
                    zone: forward.zone,
                    address: target.address,
                    protocol: forward.protocol,
                    ports: forward.backend_ports(target),
                    public: public?,
                })
            };
            forward.targets.iter().filter_map(backend).collect::<Vec<_>>()
        };
        // With full NAT the backend answers to one of our addresses: the destination tells the owner.
        let kept = || forwards.iter().filter(|(_, forward)| forward.source.is_none());
        let (services, single): (Vec<_>, Vec<_>) =
            kept().partition(|(_, forward)| forward.targets.iter().len() > 1);
        let declared: Vec<Backend> = services.into_iter().chain(single).flat_map(of_forward).collect();
        let known: HashSet<&Backend, ahash::RandomState> = former.iter().collect();
        let new = declared.iter().filter(|backend| !known.contains(backend));
        let mut backends: Vec<Backend> = former.iter().chain(new).cloned().collect();
        backends.sort_by_key(|backend| backend.address);
        let named = |number: u16| Some((addresses.get(usize::from(number))?.address, number));
        let mut local = LocalAddresses {
            index: ZoneMap::new(zones, |zone| AddressMap::new(seen(zone).into_iter().filter_map(named))),
            backend_index: AddressMap::new(
                backends.iter().enumerate().map(|(at, backend)| (backend.address, number(at))),
            ),
            addresses,
            forwards: sorted.into(),
            former: formers(&backends, &declared),
            backends: backends.into(),
            declared: declared.into_iter().collect(),
            statics: Statics::default(),
            untranslated: Untranslated::default(),
        };
        local.settle();
        local
    }

    /// Leaves out the backends of each forward that do not go by the name that its requests have: its own, if any of them goes
    /// by that.
    fn settle(&mut self) {
        let mut forwards = std::mem::take(&mut self.forwards);
        for local in &self.addresses {
            let here = forwards.get_mut(local.forwards.clone()).unwrap_or_default().iter_mut();
            let several =
                |forward: &&mut Forward| forward.source.is_none() && forward.targets.iter().len() > 1;
            for forward in here.filter(several) {
                let own = |port: u16| Some((local.address, port));
                let is_own = |target: &Target| {
                    forward.ports.clone().all(|port| self.name(forward, target, port) == own(port))
                };
                let lead = forward.targets.iter().position(is_own).unwrap_or(0);
                forward.targets = forward.targets.clone().led_by(lead);
                let strays = |target: &Target| {
                    let name = |port| self.name(forward, target, port) == self.public_of(forward, port);
                    !forward.ports.clone().all(name)
                };
                forward.targets = forward.targets.clone().without(strays);
            }
        }
        self.forwards = forwards;
    }

    /// The same with networks that are translated one to one.
    #[must_use]
    pub fn with_statics(self, statics: Statics) -> Self {
        LocalAddresses { statics, ..self }
    }

    /// The networks that are translated one to one. Their external addresses have no numbers, but for those that ports are
    /// forwarded of.
    #[inline]
    pub fn statics(&self) -> &Statics {
        &self.statics
    }

    /// The same with hosts whose sources may leave as they are.
    #[must_use]
    pub fn with_untranslated(self, untranslated: Untranslated) -> Self {
        LocalAddresses { untranslated, ..self }
    }

    /// The same with what `shares` says of the address with each number.
    #[must_use]
    pub fn with_shares(mut self, shares: impl Fn(u16, &LocalAddress) -> Option<Arc<Shares>>) -> Self {
        for (number, local) in (0..).zip(&mut self.addresses) {
            local.shares = shares(number, local);
        }
        self
    }

    /// The hosts whose sources may leave as they are.
    pub fn untranslated(&self) -> &Untranslated {
        &self.untranslated
    }

    /// The number of the local address that a packet from `zone` means by `address`.
    #[inline]
    pub fn find(&self, zone: u16, address: Ipv4Addr) -> Option<u16> {
        self.index.get(zone)?.get(address)
    }

    /// The address with this number.
    #[inline]
    pub fn get(&self, number: u16) -> Option<&LocalAddress> {
        self.addresses.get(usize::from(number))
    }

    /// Every local address, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &LocalAddress> {
        self.addresses.iter()
    }

    /// The forward of a packet to the local address `number`.
    #[inline]
    pub fn forward(&self, number: u16, protocol: u8, port: u16) -> Option<&Forward> {
        let here = self.forwards_of(number);
        // Sorted, and no two overlap: only the last one that begins at or before the port can hold it.
        let after = here.partition_point(|f| (f.protocol, *f.ports.start()) <= (protocol, port));
        here.get(after.checked_sub(1)?).filter(|f| f.protocol == protocol && f.ports.contains(&port))
    }

    /// Every backend, those that are here for the sessions of an earlier configuration too: (backend, whether it is in this
    /// one).
    pub fn backends(&self) -> impl Iterator<Item = (&Backend, bool)> {
        self.backends.iter().map(|backend| (backend, self.declared.contains(backend)))
    }

    /// The forwards of an address, by protocol and port.
    pub fn forwards_of(&self, number: u16) -> &[Forward] {
        let range = self.get(number).map(|address| address.forwards.clone());
        range.and_then(|range| self.forwards.get(range)).unwrap_or_default()
    }

    /// Every forward, by address, protocol and port.
    pub fn forwards(&self) -> &[Forward] {
        &self.forwards
    }

    /// Whether any forward has a SYN proxy in front of it.
    pub fn has_syn_proxy(&self) -> bool {
        self.forwards.iter().any(|forward| forward.syn_proxy)
    }

    /// Whether what is translated to the local address `number` gets mappings of which each port has one: then the port alone
    /// says who its owner is.
    #[inline]
    pub fn keeps_mappings(&self, number: u16, protocol: u8) -> bool {
        self.get(number).is_some_and(|local| local.behavior.keeps_mappings(protocol))
    }

    /// The owner of a port of the local address `number`, where ports are shared out in blocks or by arithmetic.
    #[inline]
    pub fn owner_of_share(&self, number: u16, port: u16) -> Option<WorkerId> {
        self.get(number)?.shares.as_ref()?.owner(port)
    }

    /// Whether a session may be given this port of the local address `number`.
    pub fn is_allocatable(&self, number: u16, protocol: u8, port: u16) -> bool {
        let is_reserved = |local: &LocalAddress| {
            local.reserved.iter().any(|(number, ports)| *number == protocol && ports.contains(&port))
        };
        self.get(number).is_some_and(|local| {
            local.ports.as_ref().is_some_and(|ports| ports.contains(&port)) && !is_reserved(local)
        }) && self.forward(number, protocol, port).is_none()
            && !self
                .formers_of(number)
                .iter()
                .any(|former| former.protocol == protocol && is_behind(former, port))
    }

    /// The backends that stood behind an address in an earlier configuration and still have sessions.
    pub fn formers_of(&self, number: u16) -> &[Backend] {
        if self.former.is_empty() {
            return &[];
        }
        let Some(address) = self.get(number).map(|local| local.address) else { return &[] };
        let start = self.former.partition_point(|former| former.public.0 < address);
        let end = self.former.partition_point(|former| former.public.0 <= address);
        self.former.get(start..end).unwrap_or_default()
    }

    /// What [`LocalAddresses::first_request`] says of a request to a port that was forwarded in an earlier configuration, to which
    /// there still are sessions.
    #[inline]
    pub fn former_request(&self, number: u16, request: &Tuple) -> Option<Tuple> {
        let mut formers = self.formers_of(number).iter();
        let former =
            formers.find(|former| former.protocol == request.protocol && is_behind(former, request.dport))?;
        let port = former.ports.start().wrapping_add(request.dport.wrapping_sub(former.public.1));
        let (dst, dport) = self.first_public(former.zone, former.address, former.protocol, port)?;
        Some(Tuple { dst, dport, ..*request })
    }

    /// The request that a packet with this tuple, which came in from `zone`, answers, if its source is a backend. Of several
    /// forwards to one port of a backend it is the request to the first one: both directions of a session must come to the
    /// same worker, and an answer does not tell to which of our addresses the request went.
    #[inline]
    pub fn request_of(&self, zone: u16, tuple: &Tuple) -> Option<Tuple> {
        let (dst, dport) = self.first_public(zone, tuple.src, tuple.protocol, tuple.sport)?;
        Some(Tuple { src: tuple.dst, dst, sport: tuple.dport, dport, protocol: tuple.protocol })
    }

    /// What [`LocalAddresses::request_of`] says of the answers to a request that `forward` takes.
    #[inline]
    pub fn first_request(&self, forward: &Forward, request: &Tuple) -> Tuple {
        let public = match forward.source {
            None => self.public_of(forward, request.dport),
            Some(_) => None,
        };
        public.map_or(*request, |(dst, dport)| Tuple { dst, dport, ..*request })
    }

    /// The address and port of ours that name the requests which `forward` takes on `port`.
    #[inline]
    fn public_of(&self, forward: &Forward, port: u16) -> Option<(Ipv4Addr, u16)> {
        self.name(forward, forward.targets.lead()?, port)
    }

    #[inline]
    fn name(&self, forward: &Forward, target: &Target, port: u16) -> Option<(Ipv4Addr, u16)> {
        let port = forward.backend_port(target, port);
        self.first_public(forward.zone, target.address, forward.protocol, port)
    }

    /// The address and port of ours behind which a backend's port stands, of several the first.
    #[inline]
    fn first_public(&self, zone: u16, address: Ipv4Addr, protocol: u8, port: u16) -> Option<(Ipv4Addr, u16)> {
        let first = usize::from(self.backend_index.get(address)?);
        let of_address = self.backends.get(first..)?.iter().take_while(|backend| backend.address == address);
        let mut of_address =
            of_address.filter(|backend| backend.zone == zone && backend.protocol == protocol);
        let backend = of_address.find(|backend| backend.ports.contains(&port))?;
        let (ours, start) = backend.public;
        Some((ours, start.wrapping_add(port.wrapping_sub(*backend.ports.start()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::{TCP, UDP};

    const OURS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
    const SERVICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
    const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

    fn forward(ports: RangeInclusive<u16>, to_port: u16, source: Option<Source>) -> Forward {
        Forward {
            protocol: TCP,
            ports,
            targets: Targets::one(BACKEND, to_port),
            zone: 0,
            source,
            syn_proxy: false,
            drain: false,
            rule: 0,
        }
    }

    fn tuple(src: Ipv4Addr, sport: u16, protocol: u8) -> Tuple {
        Tuple { src, dst: Ipv4Addr::new(198, 51, 100, 1), sport, dport: 9, protocol }
    }

    #[test]
    fn a_forwarded_port_is_found_and_never_allocated() {
        let forwards = [
            (OURS, forward(8000..=8010, 80, None)),
            (SERVICE, forward(443..=443, 8443, Some(Source::Interface))),
        ];
        let local = LocalAddresses::new(vec![(OURS, Some(InterfaceId(1)), Some(1024..=65535))], &forwards);
        let ours = local.find(0, OURS).unwrap();
        let found = local.forward(ours, TCP, 8003).unwrap();
        assert_eq!(found.backend_port(found.targets.iter().next().unwrap(), 8003), 83);
        assert_eq!(local.forward(ours, UDP, 8003), None);
        assert!(!local.is_allocatable(ours, TCP, 8003));
        assert!(local.is_allocatable(ours, UDP, 8003));
        assert!(!local.is_allocatable(ours, TCP, 1023));

        let service = local.find(0, SERVICE).unwrap();
        assert!(local.forward(service, TCP, 443).is_some());
        assert!(!local.is_allocatable(service, TCP, 5000), "an address that is only forwarded has no ports");
        assert_eq!(local.find(0, BACKEND), None);
    }

    #[test]
    fn a_backend_is_known_by_address_protocol_and_port_unless_it_answers_to_us() {
        let forwards = [
            (OURS, forward(8000..=8010, 80, None)),
            (SERVICE, forward(443..=443, 8443, Some(Source::Interface))),
        ];
        let local = LocalAddresses::new(vec![], &forwards);
        let request = local.request_of(0, &tuple(BACKEND, 90, TCP)).unwrap();
        assert_eq!((request.src, request.sport), (Ipv4Addr::new(198, 51, 100, 1), 9));
        assert_eq!((request.dst, request.dport), (OURS, 8010));
        assert_eq!(local.request_of(0, &tuple(BACKEND, 91, TCP)), None);
        assert_eq!(local.request_of(0, &tuple(BACKEND, 90, UDP)), None);
        assert_eq!(local.request_of(0, &tuple(BACKEND, 8443, TCP)), None, "full NAT");
        assert_eq!(local.request_of(0, &tuple(OURS, 90, TCP)), None);
    }

    #[test]
    fn of_two_forwards_to_one_port_of_a_backend_the_first_names_the_request() {
        let forwards = [(OURS, forward(8000..=8010, 80, None)), (SERVICE, forward(443..=443, 85, None))];
        let local = LocalAddresses::new(vec![], &forwards);
        let client = Ipv4Addr::new(198, 51, 100, 1);
        let request = |dst, dport| Tuple { src: client, dst, sport: 9, dport, protocol: TCP };
        let service = local.find(0, SERVICE).unwrap();
        let taken = local.forward(service, TCP, 443).unwrap();
        assert_eq!(local.first_request(taken, &request(SERVICE, 443)), request(OURS, 8005));
        assert_eq!(local.request_of(0, &tuple(BACKEND, 85, TCP)), Some(request(OURS, 8005)));
    }

    #[test]
    fn an_address_means_in_each_zone_what_that_zone_sees() {
        let (one, two) = (Some(InterfaceId(0)), Some(InterfaceId(1)));
        let inner = Ipv4Addr::new(192, 168, 1, 1);
        let forwards =
            [(1, forward(80..=80, 80, None)), (2, Forward { zone: 2, ..forward(81..=81, 80, None) })];
        let declared = |(address, interface)| Declared {
            address,
            interface,
            ports: None,
            behavior: Behavior::DEFAULT,
            reserved: Box::default(),
            retired: false,
            used: Arc::new(PortsUsed::new(1)),
        };
        let addresses = [(inner, one), (inner, two), (SERVICE, None)].map(declared);
        let local =
            LocalAddresses::in_zones(addresses.to_vec(), &forwards, &[], [1, 2], |zone| vec![zone - 1, 2]);
        assert_eq!(
            (local.find(1, inner), local.find(2, inner), local.find(0, inner)),
            (Some(0), Some(1), None)
        );
        assert_eq!((local.find(1, SERVICE), local.find(2, SERVICE)), (Some(2), Some(2)));
        assert_eq!(local.forward(0, TCP, 80), None);
        assert!(local.forward(1, TCP, 80).is_some());
        // The same backend address in two zones; the first forward names zone 0, where nobody is.
        assert_eq!(local.request_of(2, &tuple(BACKEND, 80, TCP)).unwrap().dport, 81);
        assert_eq!(local.request_of(1, &tuple(BACKEND, 80, TCP)), None);
    }
}
