//! The management core's view of the neighbours: an ARP state machine with virtual time.
//!
//! ```text
//!   asked for ----> Incomplete --(no answer to 3 requests)----> gone, workers told
//!                       | answer
//!                       v
//!                   Reachable --(60 s)--> Probing --(no answer to 3 requests)--> gone, workers told
//!                       ^                    | answer
//!                       +--------------------+
//! ```
//!
//! Owned by the management core. It does not send: [`Neighbors::poll`] says what is to be sent and told, and the
//! caller passes that to a worker. An entry is made only for a neighbour that a worker asked for or that asked
//! for one of our addresses itself (RFC 826), so a host that shouts cannot fill the table; the table is bounded.

use crate::ids::{InterfaceId, MacAddr};
use crate::time::Time;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Pause between two requests for the same neighbour.
pub const RETRY: Duration = Duration::from_secs(1);
/// Requests without an answer after which a neighbour counts as gone.
pub const TRIES: u8 = 3;
/// Age at which a neighbour is asked whether it is still there (RFC 1122 2.3.2.1 asks for about a minute).
pub const REACHABLE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum State {
    Incomplete { tries: u8, asked: Time },
    Reachable { mac: MacAddr, since: Time },
    Probing { mac: MacAddr, tries: u8, asked: Time },
}

/// What the management core has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an ARP request, to everyone or to the address that was right so far.
    Request {
        /// Where.
        interface: InterfaceId,
        /// For whom.
        address: Ipv4Addr,
        /// Its last known address.
        mac: Option<MacAddr>,
    },
    /// Tell the workers that the neighbour has this Ethernet address.
    Resolved {
        /// Where.
        interface: InterfaceId,
        /// Who.
        address: Ipv4Addr,
        /// Its address.
        mac: MacAddr,
    },
    /// Tell the workers that the neighbour does not answer.
    Gone {
        /// Where.
        interface: InterfaceId,
        /// Who.
        address: Ipv4Addr,
    },
}

/// One neighbour, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Where.
    pub interface: InterfaceId,
    /// Who.
    pub address: Ipv4Addr,
    /// Its Ethernet address, once known.
    pub mac: Option<MacAddr>,
    /// `incomplete`, `reachable` or `probing`.
    pub state: &'static str,
    /// When it last was heard of, or last was asked.
    pub updated: Time,
}

/// Every neighbour of the gateway.
#[derive(Debug)]
pub struct Neighbors {
    entries: HashMap<(InterfaceId, Ipv4Addr), State, ahash::RandomState>,
    limit: usize,
    /// How many of the entries are `Incomplete`.
    incomplete: usize,
    /// Routers, which are resolved even when a scan of silent hosts has used up everything.
    routers: HashSet<(InterfaceId, Ipv4Addr), ahash::RandomState>,
}

impl Neighbors {
    /// A table for up to `limit` neighbours, of which at most a quarter may be unresolved, and the routers.
    pub fn new(limit: usize, routers: impl IntoIterator<Item = (InterfaceId, Ipv4Addr)>) -> Self {
        let routers = routers.into_iter().collect();
        Neighbors { entries: HashMap::default(), limit, incomplete: 0, routers }
    }

    /// Other routers from now on.
    pub fn set_routers(&mut self, routers: impl IntoIterator<Item = (InterfaceId, Ipv4Addr)>) {
        self.routers = routers.into_iter().collect();
    }

    /// Whether routes lead to it.
    pub fn is_router(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        self.routers.contains(&(interface, address))
    }

    /// A worker has a packet for a neighbour that it does not know.
    pub fn resolve(
        &mut self,
        now: Time,
        interface: InterfaceId,
        address: Ipv4Addr,
        act: &mut dyn FnMut(Action),
    ) {
        match self.entries.get(&(interface, address)) {
            Some(State::Reachable { mac, .. } | State::Probing { mac, .. }) => {
                act(Action::Resolved { interface, address, mac: *mac });
            }
            Some(State::Incomplete { .. }) => {}
            None if self.has_no_room_for((interface, address)) => act(Action::Gone { interface, address }),
            None => {
                let state = State::Incomplete { tries: 1, asked: now };
                self.entries.insert((interface, address), state);
                self.incomplete += 1;
                act(Action::Request { interface, address, mac: None });
            }
        }
    }

    fn has_no_room_for(&self, neighbor: (InterfaceId, Ipv4Addr)) -> bool {
        let full = self.entries.len() >= self.limit || self.incomplete >= self.limit.div_ceil(4);
        full && !self.routers.contains(&neighbor)
    }

    /// A neighbour told its Ethernet address, in an answer or (`asks_us`) in a request for one of ours.
    pub fn heard(
        &mut self,
        now: Time,
        (interface, address): (InterfaceId, Ipv4Addr),
        mac: MacAddr,
        asks_us: bool,
        act: &mut dyn FnMut(Action),
    ) {
        let key = (interface, address);
        let known = self.entries.get(&key);
        if known.is_none() && (!asks_us || self.entries.len() >= self.limit) {
            return;
        }
        if let Some(State::Incomplete { .. }) = known {
            self.incomplete -= 1;
        }
        let news = match known {
            Some(State::Reachable { mac: old, .. } | State::Probing { mac: old, .. }) => *old != mac,
            _ => true,
        };
        self.entries.insert(key, State::Reachable { mac, since: now });
        if news {
            act(Action::Resolved { interface, address, mac });
        }
    }

    /// Asks again, asks whether those of old are still there, and gives up on the silent ones.
    pub fn poll(&mut self, now: Time, act: &mut dyn FnMut(Action)) {
        self.entries.retain(|&(interface, address), state| {
            match *state {
                State::Reachable { since, .. } if now < since + REACHABLE => {}
                State::Reachable { mac, .. } => {
                    act(Action::Request { interface, address, mac: Some(mac) });
                    *state = State::Probing { mac, tries: 1, asked: now };
                }
                State::Incomplete { asked, .. } | State::Probing { asked, .. } if now < asked + RETRY => {}
                State::Incomplete { tries, .. } | State::Probing { tries, .. } if tries >= TRIES => {
                    if matches!(state, State::Incomplete { .. }) {
                        self.incomplete -= 1;
                    }
                    act(Action::Gone { interface, address });
                    return false;
                }
                State::Incomplete { tries, .. } => {
                    act(Action::Request { interface, address, mac: None });
                    *state = State::Incomplete { tries: tries + 1, asked: now };
                }
                State::Probing { mac, tries, .. } => {
                    // The last attempt asks everyone: the address may have moved to another host.
                    let to = (tries + 1 < TRIES).then_some(mac);
                    act(Action::Request { interface, address, mac: to });
                    *state = State::Probing { mac, tries: tries + 1, asked: now };
                }
            }
            true
        });
    }

    /// Every neighbour, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Neighbor> {
        self.entries.iter().map(|(&(interface, address), state)| {
            let (mac, updated, state) = match *state {
                State::Incomplete { asked, .. } => (None, asked, "incomplete"),
                State::Reachable { mac, since } => (Some(mac), since, "reachable"),
                State::Probing { mac, asked, .. } => (Some(mac), asked, "probing"),
            };
            Neighbor { interface, address, mac, state, updated }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: InterfaceId = InterfaceId(0);
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn collect(run: impl FnOnce(&mut dyn FnMut(Action))) -> Vec<Action> {
        let mut actions = Vec::new();
        run(&mut |action| actions.push(action));
        actions
    }

    #[test]
    fn a_silent_neighbour_is_asked_three_times_and_then_given_up() {
        let mut neighbors = Neighbors::new(8, []);
        let request = Action::Request { interface: LAN, address: HOST, mac: None };
        assert_eq!(collect(|act| neighbors.resolve(Time::ZERO, LAN, HOST, act)), [request]);
        assert_eq!(collect(|act| neighbors.resolve(Time::ZERO, LAN, HOST, act)), []);
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(1), act)), [request]);
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(2), act)), [request]);
        let gone = Action::Gone { interface: LAN, address: HOST };
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(3), act)), [gone]);
        assert_eq!(neighbors.iter().count(), 0);
    }

    #[test]
    fn a_neighbour_that_answers_is_probed_after_a_minute_and_dropped_if_it_left() {
        let mut neighbors = Neighbors::new(8, []);
        collect(|act| neighbors.resolve(Time::ZERO, LAN, HOST, act));
        let resolved = Action::Resolved { interface: LAN, address: HOST, mac: MAC };
        assert_eq!(collect(|act| neighbors.heard(Time::ZERO, (LAN, HOST), MAC, false, act)), [resolved]);
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(59), act)), []);
        let probe = Action::Request { interface: LAN, address: HOST, mac: Some(MAC) };
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(60), act)), [probe]);
        assert_eq!(collect(|act| neighbors.heard(Time::from_secs(60), (LAN, HOST), MAC, false, act)), []);
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(120), act)), [probe]);
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(121), act)), [probe]);
        let broadcast = Action::Request { interface: LAN, address: HOST, mac: None };
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(122), act)), [broadcast]);
        let gone = Action::Gone { interface: LAN, address: HOST };
        assert_eq!(collect(|act| neighbors.poll(Time::from_secs(123), act)), [gone]);
    }

    #[test]
    fn an_answer_that_nobody_asked_for_makes_no_entry() {
        let mut neighbors = Neighbors::new(1, []);
        assert_eq!(collect(|act| neighbors.heard(Time::ZERO, (LAN, HOST), MAC, false, act)), []);
        assert_eq!(neighbors.iter().count(), 0);
        collect(|act| neighbors.heard(Time::ZERO, (LAN, HOST), MAC, true, act));
        assert_eq!(neighbors.iter().count(), 1);
        // Full: a newcomer is refused at once, so that its packets do not wait in vain.
        let other = Ipv4Addr::new(192, 168, 1, 11);
        let gone = Action::Gone { interface: LAN, address: other };
        assert_eq!(collect(|act| neighbors.resolve(Time::ZERO, LAN, other, act)), [gone]);
    }

    #[test]
    fn a_scan_of_silent_hosts_leaves_room_for_hosts_that_speak_and_for_routers() {
        let router = Ipv4Addr::new(192, 168, 1, 254);
        let mut neighbors = Neighbors::new(8, [(LAN, router)]);
        let host = |n| Ipv4Addr::new(192, 168, 1, n);
        let mut ask = |n| collect(|act| neighbors.resolve(Time::ZERO, LAN, host(n), act));
        for n in 1..=2 {
            assert_eq!(ask(n), [Action::Request { interface: LAN, address: host(n), mac: None }]);
        }
        assert_eq!(ask(3), [Action::Gone { interface: LAN, address: host(3) }]);
        assert_eq!(ask(254), [Action::Request { interface: LAN, address: router, mac: None }]);
        let resolved = Action::Resolved { interface: LAN, address: host(4), mac: MAC };
        assert_eq!(collect(|act| neighbors.heard(Time::ZERO, (LAN, host(4)), MAC, true, act)), [resolved]);
        // Once the silent ones are given up there is room again.
        for second in 1..=3 {
            collect(|act| neighbors.poll(Time::from_secs(second), act));
        }
        let request = Action::Request { interface: LAN, address: host(3), mac: None };
        assert_eq!(collect(|act| neighbors.resolve(Time::from_secs(4), LAN, host(3), act)), [request]);
    }

    #[test]
    fn a_neighbour_that_moves_to_another_card_is_told_to_the_workers() {
        let mut neighbors = Neighbors::new(8, []);
        collect(|act| neighbors.heard(Time::ZERO, (LAN, HOST), MAC, true, act));
        let moved = MacAddr([2, 0, 0, 0, 0, 9]);
        let told = Action::Resolved { interface: LAN, address: HOST, mac: moved };
        assert_eq!(collect(|act| neighbors.heard(Time::ZERO, (LAN, HOST), moved, false, act)), [told]);
    }
}
