//! Addresses and whole networks that are translated one to one (`[[static]]`, RFC 3022 basic NAT): outside, each internal
//! address is its counterpart in the external prefix, with every port, identifier and protocol of it.
//!
//! What an address becomes is arithmetic, both ways, so prefixes of any size take no memory. No external address is in two
//! entries. An internal one may be in several, one for each interface that its packets leave by.

use super::notrack::PrefixMap;
use crate::ids::InterfaceId;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A network inside and what it is outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// What it is outside; as long as `internal`.
    pub external: Ipv4Net,
    /// What it is inside.
    pub internal: Ipv4Net,
    /// The zone that it is in.
    pub zone: u16,
    /// The external interface that its packets leave by; `None`: any.
    pub out: Option<InterfaceId>,
    /// Whether sessions may be opened to it.
    pub inbound: bool,
    /// The place of its rule in the configuration.
    pub rule: u32,
}

impl Static {
    /// The external counterpart of an internal address.
    #[inline]
    pub fn outside(&self, internal: Ipv4Addr) -> Ipv4Addr {
        PrefixMap::to(self.external).apply(internal)
    }

    /// The internal counterpart of an external address.
    #[inline]
    pub fn inside(&self, external: Ipv4Addr) -> Ipv4Addr {
        PrefixMap::to(self.internal).apply(external)
    }
}

/// The entries of one zone for one interface to leave by, by internal network. They do not overlap.
#[derive(Debug)]
struct Side {
    zone: u16,
    out: Option<InterfaceId>,
    entries: Vec<Static>,
}

/// Every network that is translated one to one.
#[derive(Debug, Default)]
pub struct Statics {
    /// By external network. They do not overlap.
    external: Box<[Static]>,
    sides: Box<[Side]>,
}

impl Statics {
    /// Compiles the list.
    pub fn new(entries: impl IntoIterator<Item = Static>) -> Statics {
        let mut external: Vec<Static> = entries.into_iter().collect();
        external.sort_by_key(|entry| entry.external.network());
        let mut sides: Vec<Side> = Vec::new();
        for entry in &external {
            match sides.iter_mut().find(|side| (side.zone, side.out) == (entry.zone, entry.out)) {
                Some(side) => side.entries.push(entry.clone()),
                None => sides.push(Side { zone: entry.zone, out: entry.out, entries: vec![entry.clone()] }),
            }
        }
        for side in &mut sides {
            side.entries.sort_by_key(|entry| entry.internal.network());
        }
        // What is for one interface counts before what is for any.
        sides.sort_by_key(|side| side.out.is_none());
        Statics { external: external.into(), sides: sides.into() }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.external.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Static> {
        self.external.iter()
    }

    /// The entry that an external address belongs to.
    #[inline]
    pub fn of_external(&self, address: Ipv4Addr) -> Option<&Static> {
        find(&self.external, |entry| entry.external, address)
    }

    /// The entry that translates an internal address of `zone` on its way out of the interface `out`.
    pub fn of_internal(&self, zone: u16, address: Ipv4Addr, out: InterfaceId) -> Option<&Static> {
        self.search(zone, address, |side| side.out.is_none_or(|only| only == out))
    }

    /// An entry that an internal address of `zone` belongs to, whichever interface it is for: the same one every time.
    pub fn any_of_internal(&self, zone: u16, address: Ipv4Addr) -> Option<&Static> {
        self.search(zone, address, |_| true)
    }

    fn search(&self, zone: u16, address: Ipv4Addr, fits: impl Fn(&Side) -> bool) -> Option<&Static> {
        let mut here = self.sides.iter().filter(|side| side.zone == zone && fits(side));
        here.find_map(|side| find(&side.entries, |entry| entry.internal, address))
    }
}

/// The entry whose network holds an address; they are sorted by it and do not overlap.
#[inline]
fn find(sorted: &[Static], net: impl Fn(&Static) -> Ipv4Net, address: Ipv4Addr) -> Option<&Static> {
    let after = sorted.partition_point(|entry| net(entry).network() <= address);
    sorted.get(after.checked_sub(1)?).filter(|entry| net(entry).contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(external: &str, internal: &str, zone: u16, out: Option<u8>) -> Static {
        let (external, internal) = (external.parse().unwrap(), internal.parse().unwrap());
        Static { external, internal, zone, out: out.map(InterfaceId), inbound: true, rule: 0 }
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_counterpart_in_the_prefix_of_its_zone_and_way_out() {
        let statics = Statics::new([
            entry("203.0.113.8/29", "10.0.0.8/29", 0, None),
            entry("198.51.100.0/24", "10.0.0.0/24", 0, Some(3)),
            entry("203.0.113.16/32", "10.0.0.8/32", 7, None),
        ]);
        let out = |zone, text, out| {
            let entry = statics.of_internal(zone, address(text), InterfaceId(out))?;
            Some(entry.outside(address(text)).to_string())
        };
        assert_eq!(out(0, "10.0.0.9", 1).as_deref(), Some("203.0.113.9"));
        assert_eq!(out(0, "10.0.0.9", 3).as_deref(), Some("198.51.100.9"));
        assert_eq!(out(0, "10.0.0.16", 1), None);
        assert_eq!(out(7, "10.0.0.8", 1).as_deref(), Some("203.0.113.16"));
        assert_eq!(out(7, "10.0.0.9", 1), None);
        let inside = |text| Some(statics.of_external(address(text))?.inside(address(text)).to_string());
        assert_eq!(inside("203.0.113.15").as_deref(), Some("10.0.0.15"));
        assert_eq!(inside("203.0.113.16").as_deref(), Some("10.0.0.8"));
        assert_eq!((inside("203.0.113.7"), inside("203.0.113.17")), (None, None));
        let any = statics.any_of_internal(0, address("10.0.0.9")).unwrap();
        assert_eq!(any.outside(address("10.0.0.9")), address("198.51.100.9"));
        assert!(Statics::default().is_empty() && !statics.is_empty());
    }
}
