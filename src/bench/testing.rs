//! A device under test for tests: a NAT that can be made to do wrong, turned by the clock that it is measured with.

use super::Expect;
use super::addresses::{Addresses, Endpoint};
use super::frame::{L3, L4};
use super::generator::{Generator, Pulse};
use super::port::{Gateway, Identity, Port};
use super::ring::{RingBuf, RingDevice};
use crate::device::{Burst, Device};
use crate::ids::MacAddr;
use crate::packet::PacketBuf;
use crate::wire::arp::ArpMessage;
use crate::wire::checksum::{Sum, checksum};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use zerocopy::FromBytes;

/// What it does wrong, to every packet from the given one on or as said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mischief {
    None,
    /// Changes a byte of packet [`STRUCK`].
    Flip(usize),
    /// Sends packet [`STRUCK`] twice.
    Duplicate,
    /// Sends packet [`STRUCK`] after all others that wait.
    Delay,
    /// Gives a flow another external port in the middle, with right checksums.
    OtherPort,
    /// Sends an answer to another client, with right checksums.
    OtherClient,
    /// Leaves the TTL as it is.
    KeepTtl,
    /// Loses packet [`STRUCK`].
    Lose,
    /// Passes so many packets a second, in both directions together, and drops the rest.
    Slow(u64),
    /// Has room for so many sessions.
    Full(usize),
    /// Forgets sessions for new ones.
    Evict(usize),
    /// Does not translate.
    Forward,
}

/// The NAT and the clock.
pub(crate) struct FakeNat {
    ends: [RingDevice; 2],
    mischief: Mischief,
    now: u64,
    seen: u64,
    budget: u64,
    outward: HashMap<Endpoint, Endpoint>,
    inward: HashMap<Endpoint, Endpoint>,
    next: u32,
}

const MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];
/// The packet that something happens to: none at the end of a burst.
pub(crate) const STRUCK: u64 = 110;
/// Nanoseconds between two looks at the clock.
const STEP: u64 = 2_000;

impl Pulse for FakeNat {
    fn now(&mut self) -> u64 {
        self.now += STEP;
        if let Mischief::Slow(rate) = self.mischief {
            // What it may pass, in nanoseconds times packets; a ring's worth at most.
            self.budget = (self.budget + STEP * rate).min(256 * 1_000_000_000);
        }
        for side in [0, 1] {
            let mut came = Burst::new();
            self.ends[side].rx_burst(&mut came);
            let mut leaves = [Burst::new(), Burst::new()];
            let mut last = Vec::new();
            for mut buf in came {
                if buf.data()[12..14] == [8, 6] {
                    answer_arp(&mut buf);
                    leaves[side].push(buf);
                    continue;
                }
                self.seen += 1;
                let struck = self.seen == STRUCK;
                if struck && self.mischief == Mischief::Lose || !self.pass(side, buf.data_mut()) {
                    continue;
                }
                if struck && self.mischief == Mischief::Delay {
                    last.push(buf);
                    continue;
                }
                if struck && self.mischief == Mischief::Duplicate {
                    let mut copy = self.ends[0].alloc().unwrap();
                    copy.grow_back(buf.data().len()).unwrap();
                    copy.data_mut().copy_from_slice(buf.data());
                    last.push(copy);
                }
                leaves[1 - side].push(buf);
            }
            for (at, burst) in leaves.iter_mut().enumerate() {
                self.ends[at].tx_burst(burst);
            }
            let mut last: Burst<RingBuf> = last.into_iter().collect();
            self.ends[1 - side].tx_burst(&mut last);
        }
        self.now
    }
}

impl FakeNat {
    /// Translates in place; false if the packet is dropped.
    fn pass(&mut self, side: usize, frame: &mut [u8]) -> bool {
        if let Mischief::Slow(_) = self.mischief {
            let Some(rest) = self.budget.checked_sub(1_000_000_000) else { return false };
            self.budget = rest;
        }
        let at = if side == 0 { (L3 + 12, L4) } else { (L3 + 16, L4 + 2) };
        let endpoint = read(frame, at);
        if self.mischief != Mischief::Forward {
            let Some(other) =
                (if side == 0 { self.external(endpoint) } else { self.inward.get(&endpoint).copied() })
            else {
                return false;
            };
            write(frame, at, other);
        }
        let (late, odd) = (self.seen > 500, self.seen == 501);
        match self.mischief {
            Mischief::OtherPort if side == 0 && late => {
                let (address, port) = read(frame, at);
                write(frame, at, (address, port ^ 1));
            }
            Mischief::OtherClient if side == 1 && late => {
                let (address, port) = read(frame, at);
                write(frame, at, (address, port ^ 1));
            }
            _ => {}
        }
        if self.mischief != Mischief::KeepTtl {
            frame[L3 + 8] -= 1;
        }
        mend(frame);
        if let Mischief::Flip(at) = self.mischief
            && odd
        {
            frame[at] ^= 0x04;
        }
        true
    }

    fn external(&mut self, client: Endpoint) -> Option<Endpoint> {
        if let Some(known) = self.outward.get(&client) {
            return Some(*known);
        }
        match self.mischief {
            Mischief::Full(most) if self.outward.len() >= most => return None,
            Mischief::Evict(most) if self.outward.len() >= most => {
                let (old, external) =
                    self.outward.iter().next().map(|(client, external)| (*client, *external))?;
                self.outward.remove(&old);
                self.inward.remove(&external);
            }
            _ => {}
        }
        let port = u16::try_from(1024 + self.next % 60_000).unwrap();
        let external = (0x6440_0001 + self.next / 60_000, port);
        self.next += 1;
        self.outward.insert(client, external);
        self.inward.insert(external, client);
        Some(external)
    }

    /// Forgets all sessions.
    pub(crate) fn clear(&mut self) {
        self.outward.clear();
        self.inward.clear();
    }
}

fn read(frame: &[u8], (address, port): (usize, usize)) -> Endpoint {
    let address = u32::from_be_bytes(frame[address..address + 4].try_into().unwrap());
    (address, u16::from_be_bytes(frame[port..port + 2].try_into().unwrap()))
}

fn write(frame: &mut [u8], (address, port): (usize, usize), endpoint: Endpoint) {
    frame[address..address + 4].copy_from_slice(&endpoint.0.to_be_bytes());
    frame[port..port + 2].copy_from_slice(&endpoint.1.to_be_bytes());
}

/// Computes both checksums anew, and writes the link's addresses.
pub(crate) fn mend(frame: &mut [u8]) {
    frame[L3 + 10..L3 + 12].fill(0);
    let sum = checksum(&frame[L3..L4]);
    frame[L3 + 10..L3 + 12].copy_from_slice(&sum.to_be_bytes());
    frame[L4 + 6..L4 + 8].fill(0);
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    let length = u16::try_from(frame.len() - L4).unwrap();
    let pseudo = Sum::default().pseudo_header(address(L3 + 12), address(L3 + 16), 17, length);
    let sum = pseudo.bytes(&frame[L4..]).checksum();
    frame[L4 + 6..L4 + 8].copy_from_slice(&(if sum == 0 { 0xffff } else { sum }).to_be_bytes());
    // Inside has 2:…:1, outside 2:…:2; a frame that came from one leaves to the other.
    let other = if frame[11] == 1 { 2 } else { 1 };
    frame[..6].copy_from_slice(&mac(other).0);
    frame[6..12].copy_from_slice(&MAC);
}

fn answer_arp(buf: &mut RingBuf) {
    let (message, _) = ArpMessage::read_from_prefix(&buf.data()[14..]).unwrap();
    let asked = message.target_ip();
    let answer = ArpMessage::new(2, (MAC, asked), (message.sender_mac, message.sender_ip()));
    let frame = buf.data_mut();
    frame[..6].copy_from_slice(&message.sender_mac);
    frame[6..12].copy_from_slice(&MAC);
    frame[14..42].copy_from_slice(zerocopy::IntoBytes::as_bytes(&answer));
}

fn mac(side: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, side])
}

/// A generator with that NAT between its sides; they have met.
pub(crate) fn generator(mischief: Mischief) -> Generator<RingDevice, FakeNat> {
    let (inside, nat_inside) = RingDevice::pair(256);
    let (outside, nat_outside) = RingDevice::pair(256);
    let nat = FakeNat {
        ends: [nat_inside, nat_outside],
        mischief,
        now: 0,
        seen: 0,
        budget: 0,
        outward: HashMap::new(),
        inward: HashMap::new(),
        next: 0,
    };
    let (clients, servers) = ("10.1.0.0/16".parse().unwrap(), "198.18.0.0/15".parse().unwrap());
    let who = |side, address, hosts| Identity { mac: mac(side), address, hosts };
    let ports = [
        Port::new(
            inside,
            who(1, Ipv4Addr::new(10, 0, 0, 2), clients),
            Gateway::Ask(Ipv4Addr::new(10, 0, 0, 1)),
        ),
        Port::new(
            outside,
            who(2, Ipv4Addr::new(203, 0, 113, 1), servers),
            Gateway::Ask(Ipv4Addr::new(203, 0, 113, 2)),
        ),
    ];
    let expect = if mischief == Mischief::Forward { Expect::Forwarded } else { Expect::Translated };
    let mut generator = Generator::new(ports, nat, (Addresses::new(clients, servers), expect));
    generator.meet().unwrap();
    generator
}
