//! Deterministic NAT (RFC 7422): which external ports a subscriber has is arithmetic, both ways, and needs no log.
//!
//! The hosts of the inside prefixes are numbered in the order in which the config lists these. Every external address serves
//! as many hosts as any other, one after the other; the host with number `n` has place `n mod per_address` of address
//! `n / per_address`, and each place is as many ports in a row, from the first one of the pool's range on.
//!
//! ```text
//! inside = ["100.64.0.0/30", "100.64.8.0/31"], two addresses, ports 1024-65535 (64,512 of them), 6 hosts:
//! 3 hosts an address, 21,504 ports each
//!   100.64.0.0  first address  1024-22527        100.64.0.3  second address  1024-22527
//!   100.64.0.1  first address  22528-44031       100.64.8.0  second address  22528-44031
//!   100.64.0.2  first address  44032-65535       100.64.8.1  second address  44032-65535
//! ```
//!
//! Pure: made of the config alone. Workers ask [`Deterministic::outside`] for the first packet of a mapping; who owns a port
//! is a table that is made of it ([`crate::classify::Shares`]).
//!
//! # Bounds
//!
//! One binary search among the prefixes for a host; a walk over them for a port, which no worker does.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// The ports of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// The first one.
    pub first: u16,
    /// The last one.
    pub last: u16,
}

impl Share {
    /// All of them.
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

/// The hosts do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// How many there are.
    pub hosts: u64,
    /// How many external addresses they need.
    pub needed: u64,
}

/// Hosts of a prefix, with the number of the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u32,
    last: u32,
    number: u32,
}

/// Who has which ports of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deterministic {
    zone: u16,
    nets: Box<[Ipv4Net]>,
    /// By address.
    spans: Box<[Span]>,
    hosts: u32,
    first: u16,
    size: u16,
    per_address: u32,
}

impl Deterministic {
    /// The hosts of `inside` in `zone`, which do not overlap, behind so many addresses with these ports each. `size`: ports of
    /// each host; `None`: as many as there are for all.
    ///
    /// # Errors
    /// There are too few addresses. Without any address or port nothing fits.
    pub fn new(
        zone: u16,
        inside: &[Ipv4Net],
        (addresses, ports): (u32, &RangeInclusive<u16>),
        size: Option<u16>,
    ) -> Result<Deterministic, Misfit> {
        let mut hosts: u64 = 0;
        let mut spans = Vec::with_capacity(inside.len());
        for net in inside {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            spans.push((first, last, hosts));
            hosts += u64::from(last - first) + 1;
        }
        let width = u64::from(ports.end().saturating_sub(*ports.start())) + u64::from(!ports.is_empty());
        let (addresses, least) = (u64::from(addresses), u64::from(size.unwrap_or(1).max(1)));
        // As many to each address as fit, or only as many as need be, so that each has more ports.
        let most = width / least;
        let needed = if most == 0 { u64::MAX } else { hosts.div_ceil(most) };
        if needed > addresses {
            return Err(Misfit { hosts, needed });
        }
        let per_address = if size.is_some() { most } else { hosts.div_ceil(addresses.max(1)).max(1) };
        let each = size.map_or(width / per_address, u64::from);
        spans.sort_unstable();
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let span = |(first, last, number)| Span { first, last, number: small(number) };
        Ok(Deterministic {
            zone,
            nets: inside.into(),
            spans: spans.into_iter().map(span).collect(),
            hosts: small(hosts),
            first: *ports.start(),
            size: u16::try_from(each).unwrap_or(u16::MAX),
            per_address: small(per_address),
        })
    }

    /// The zone that the hosts are in.
    pub fn zone(&self) -> u16 {
        self.zone
    }

    /// The prefixes of the hosts, in the order in which they are numbered.
    pub fn nets(&self) -> &[Ipv4Net] {
        &self.nets
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> u32 {
        self.hosts
    }

    /// How many of them each address serves at the most.
    pub fn per_address(&self) -> u32 {
        self.per_address
    }

    /// Ports of each host, of each protocol.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// The first port of all.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The external address, by its place in the pool, and the ports of a host.
    #[inline]
    pub fn outside(&self, zone: u16, host: Ipv4Addr) -> Option<(usize, Share)> {
        let bits = host.to_bits();
        let after = self.spans.partition_point(|span| span.first <= bits);
        let span = self.spans.get(after.checked_sub(1)?)?;
        if bits > span.last || zone != self.zone {
            return None;
        }
        let number = span.number + (bits - span.first);
        let (address, place) = (number.checked_div(self.per_address)?, number % self.per_address);
        let start = u32::from(self.first) + place * u32::from(self.size);
        let first = u16::try_from(start).ok()?;
        Some((usize::try_from(address).ok()?, Share { first, last: first + (self.size - 1) }))
    }

    /// The host that has this port of the address with this place in the pool.
    pub fn inside(&self, address: usize, port: u16) -> Option<Ipv4Addr> {
        let place = u32::from(port.checked_sub(self.first)?.checked_div(self.size)?);
        if place >= self.per_address {
            return None;
        }
        let number = u32::try_from(address).ok()?.checked_mul(self.per_address)?.checked_add(place)?;
        let holds = |span: &&Span| number >= span.number && number - span.number <= span.last - span.first;
        let span = self.spans.iter().find(holds)?;
        Some(Ipv4Addr::from_bits(span.first + (number - span.number)))
    }

    /// Every host with where it is outside: see [`Deterministic::outside`].
    pub fn all(&self) -> impl Iterator<Item = (Ipv4Addr, (usize, Share))> {
        let hosts = self.spans.iter().flat_map(|span| span.first..=span.last).map(Ipv4Addr::from_bits);
        hosts.filter_map(|host| Some((host, self.outside(self.zone, host)?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const PORTS: RangeInclusive<u16> = 1024..=65_535;

    fn nets(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_example_of_the_head_holds() {
        let inside = nets(&["100.64.0.0/30", "100.64.8.0/31"]);
        let all = Deterministic::new(0, &inside, (2, &PORTS), None).unwrap();
        assert_eq!((all.hosts(), all.per_address(), all.size()), (6, 3, 21_504));
        let of = |host: [u8; 4]| all.outside(0, host.into()).map(|(at, share)| (at, share.ports()));
        assert_eq!(of([100, 64, 0, 2]), Some((0, 44_032..=65_535)));
        assert_eq!(of([100, 64, 8, 0]), Some((1, 22_528..=44_031)));
        assert_eq!((of([100, 64, 0, 4]), of([100, 64, 8, 2]), of([100, 63, 9, 9])), (None, None, None));
        assert_eq!(all.outside(1, [100, 64, 0, 2].into()), None, "another zone's host");
        assert_eq!(all.inside(1, 44_031), Some([100, 64, 8, 0].into()));
        assert_eq!((all.inside(2, 44_031), all.inside(0, 1023)), (None, None));
    }

    #[test]
    fn hosts_that_do_not_fit_are_told_how_many_addresses_they_need() {
        let inside = nets(&["100.64.0.0/22"]);
        let fits = |addresses, size| Deterministic::new(0, &inside, (addresses, &PORTS), size);
        // 63 hosts an address.
        assert_eq!(fits(16, Some(1024)), Err(Misfit { hosts: 1024, needed: 17 }));
        assert_eq!(fits(17, Some(1024)).unwrap().per_address(), 63);
        assert_eq!(fits(1, None).unwrap().size(), 63);
        assert_eq!(fits(0, None), Err(Misfit { hosts: 1024, needed: 1 }));
        let all = nets(&["0.0.0.0/0"]);
        assert!(Deterministic::new(0, &all, (4096, &PORTS), None).is_err());
        let narrow = Deterministic::new(0, &inside, (9, &(2000..=2009)), Some(11));
        assert_eq!(narrow, Err(Misfit { hosts: 1024, needed: u64::MAX }));
    }

    proptest! {
        #[test]
        fn both_ways_are_exact_inverses_and_no_port_is_two_hosts(
            lengths in proptest::collection::vec(22u8..=32, 1..6),
            mut order in Just([0u32, 1, 2, 3, 4, 5]).prop_shuffle(),
            spare in 0u32..3,
            first in 1024u16..30_000,
            width in 20_000u16..35_000,
            size in proptest::option::of(1u16..2000),
            zone: u16,
        ) {
            // Prefixes that do not overlap, in any order.
            let inside: Vec<Ipv4Net> = lengths
                .iter()
                .zip(&mut order)
                .map(|(length, place)| {
                    Ipv4Net::new(Ipv4Addr::from_bits(0x6440_0000 + (*place << 10)), *length).unwrap()
                })
                .collect();
            let ports = first..=first + width;
            let needed = match Deterministic::new(zone, &inside, (0, &ports), size) {
                Err(Misfit { needed, .. }) => u32::try_from(needed).unwrap(),
                Ok(_) => unreachable!("no address"),
            };
            let addresses = needed + spare;
            prop_assert!(Deterministic::new(zone, &inside, (needed - 1, &ports), size).is_err());
            let all = Deterministic::new(zone, &inside, (addresses, &ports), size).unwrap();
            prop_assert!(size.is_none_or(|size| size == all.size()));
            let mut taken = HashSet::new();
            let mut hosts = 0;
            for (host, (address, share)) in all.all() {
                hosts += 1;
                prop_assert!(inside.iter().any(|net| net.contains(&host)));
                prop_assert!(address < addresses as usize);
                prop_assert!(ports.contains(&share.first) && ports.contains(&share.last));
                prop_assert_eq!(usize::from(all.size()), share.ports().count());
                prop_assert!(taken.insert((address, share.first)), "disjoint, as all are of one size");
                for port in [share.first, share.last, share.first + all.size() / 2] {
                    prop_assert_eq!(all.inside(address, port), Some(host));
                }
            }
            prop_assert_eq!(u64::from(all.hosts()), hosts);
            // The other way round: whoever is behind a port has it.
            for address in 0..addresses as usize {
                for port in (0..=u16::MAX).step_by(97) {
                    if let Some(host) = all.inside(address, port) {
                        let (at, share) = all.outside(zone, host).unwrap();
                        prop_assert!(at == address && share.ports().contains(&port));
                    }
                }
            }
        }
    }
}
