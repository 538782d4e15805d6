//! Whose address a packet from outside means that goes to none of ours: that of a host inside whose source may leave as it is.
//!
//! Outside, an internal address is told apart from its like in another zone by nothing. So each has one zone there: that of
//! the external interface if the zone has such hosts at that address, else the first that has. Sources of other zones are
//! refused (`pipeline::plan`), and who owns a packet is known from it alone (`steering`).

use super::PrefixSet;
use std::net::Ipv4Addr;

/// The hosts of a zone whose sources may leave as they are: those that are in both.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// The zone.
    pub zone: u16,
    /// What rules say of their sources.
    pub from: PrefixSet,
    /// What internal interfaces lead to.
    pub inside: PrefixSet,
}

/// Those of all zones that have some.
#[derive(Clone, Debug, Default)]
pub struct Untranslated(Box<[Hosts]>);

impl Untranslated {
    /// Zones in the order in which they count.
    pub fn new(zones: impl IntoIterator<Item = Hosts>) -> Untranslated {
        Untranslated(zones.into_iter().collect())
    }

    /// The zone of the host that has this address outside, by external interfaces of `outside`.
    pub fn zone_of(&self, outside: u16, address: Ipv4Addr) -> Option<u16> {
        let has = |hosts: &&Hosts| hosts.from.contains(address) && hosts.inside.contains(address);
        let mut own = self.0.iter().filter(|hosts| hosts.zone == outside);
        own.find(has).or_else(|| self.0.iter().find(has)).map(|hosts| hosts.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_zone_outside_first_that_of_the_way_out() {
        let set = |net: &str| PrefixSet::new([net.parse().unwrap()]);
        let hosts = |zone, from, inside| Hosts { zone, from: set(from), inside: set(inside) };
        let known = Untranslated::new([
            hosts(1, "0.0.0.0/0", "10.0.0.0/8"),
            hosts(2, "10.1.0.0/16", "10.0.0.0/8"),
            hosts(3, "172.16.0.0/12", "172.16.5.0/24"),
        ]);
        let zone = |outside, address: &str| known.zone_of(outside, address.parse().unwrap());
        assert_eq!(
            (zone(0, "10.1.0.1"), zone(1, "10.1.0.1"), zone(2, "10.1.0.1")),
            (Some(1), Some(1), Some(2))
        );
        assert_eq!(zone(2, "10.2.0.1"), Some(1));
        assert_eq!((zone(0, "172.16.5.1"), zone(0, "172.16.6.1")), (Some(3), None));
    }
}
