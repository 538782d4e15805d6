//! Routers that do not answer: said once when one is lost, and once when it is back.
//!
//! A router is a next hop of a route. Whether it is there is only known while packets go to it: one that is lost while
//! nothing is sent is noticed within a minute, when its entry is checked (`route::neighbors`).

use super::Management;
use super::events::{Event, EventKind};
use crate::ids::InterfaceId;
use crate::route::neighbors::Action;
use crate::time::Time;
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// The routers that do not answer.
#[derive(Debug, Default)]
pub(super) struct SilentRouters(HashSet<(InterfaceId, Ipv4Addr)>);

impl SilentRouters {
    /// Reads what became known of a router. Returns what there is to say of it.
    fn read(&mut self, action: &Action) -> Option<EventKind> {
        match *action {
            Action::Gone { interface, address } if self.0.insert((interface, address)) => {
                Some(EventKind::NeighborLost)
            }
            Action::Resolved { interface, address, .. } if self.0.remove(&(interface, address)) => {
                Some(EventKind::NeighborFound)
            }
            _ => None,
        }
    }

    /// Forgets those that are routers no more.
    fn keep(&mut self, is_router: impl Fn(InterfaceId, Ipv4Addr) -> bool) {
        self.0.retain(|(interface, address)| is_router(*interface, *address));
    }
}

impl Management {
    /// Says what there is to say of routers after something became known of neighbours.
    pub(super) fn watch_routers(&mut self, now: Time, actions: &[Action]) {
        for action in actions {
            let (Action::Gone { interface, address } | Action::Resolved { interface, address, .. }) = *action
            else {
                continue;
            };
            if !self.neighbors.is_router(interface, address) {
                continue;
            }
            let neighbors = &self.neighbors;
            self.silent_routers.keep(|interface, address| neighbors.is_router(interface, address));
            let Some(kind) = self.silent_routers.read(action) else { continue };
            let name = &self.snapshot.interface(interface).name;
            let text = if kind == EventKind::NeighborLost {
                format!(
                    "router {address} on {name} does not answer ARP: packets to it are dropped (neighbor_unresolved). Is it up, and is the cable or the VLAN right? `natgate show neighbors` shows who answers."
                )
            } else {
                format!("router {address} on {name} answers ARP again")
            };
            self.events.say(Event { at: now, kind, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MacAddr;

    #[test]
    fn a_router_is_lost_once_and_found_once() {
        let (interface, address) = (InterfaceId(1), Ipv4Addr::new(203, 0, 113, 1));
        let gone = Action::Gone { interface, address };
        let resolved = Action::Resolved { interface, address, mac: MacAddr([2; 6]) };
        let mut routers = SilentRouters::default();
        assert_eq!(routers.read(&resolved), None, "it was not lost");
        assert_eq!(routers.read(&gone), Some(EventKind::NeighborLost));
        assert_eq!(routers.read(&gone), None);
        assert_eq!(routers.read(&resolved), Some(EventKind::NeighborFound));
        assert_eq!(routers.read(&resolved), None);
        routers.read(&gone);
        routers.keep(|_, _| false);
        assert_eq!(routers.read(&resolved), None, "it was forgotten");
    }
}
