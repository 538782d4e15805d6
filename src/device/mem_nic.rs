//! The receive side of a NIC in memory: it spreads frames over queues as real ones do, or as real ones misbehave.
//!
//! [`MemNic`] is programmed through [`Nic`], as real NICs are, and [`MemNic::queue_of`] says on which queue it delivers a
//! frame. It reads the frame by itself and takes the Toeplitz hash by its definition, bit by bit: what the pipeline computes
//! is held against it, so the two share nothing but the definition.
//!
//! As on real NICs, rules come before the hash; the ports of whole TCP and UDP packets are hashed, of everything else in IPv4
//! the addresses alone; and what is not IPv4 goes to queue 0.

use crate::steering::plan::{Ability, Nic, PortRule, Program};
use crate::steering::toeplitz;

/// Bytes of its key. IPv4 needs 16 of them.
const KEY_LEN: usize = 40;

/// Which of them a NIC comes with, and keeps if it takes no other: the key that drivers mostly have as their default.
const OWN_KEY: [u8; KEY_LEN] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// What a NIC makes of what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// It does what it is told and tells what it does.
    Honest,
    /// It says that it took the key and goes on with its own.
    KeepsKey,
    /// It says that it took the table and goes on with its own, in which queues come four times in a row.
    KeepsTable,
    /// It refuses both key and table, and tells which it has.
    KeepsKeyAndTable,
    /// It says that it hashes ports and hashes nothing from then on, as it tells who asks.
    StopsHashing,
    /// The same, but it tells what it was told.
    StopsHashingInSecret,
    /// It has no rules for ports, and says so.
    RefusesRules,
    /// It says that rules are in place and delivers by the hash.
    IgnoresRules,
    /// It says that it hashes the ports of UDP and hashes the addresses alone.
    UdpByAddresses,
    /// It refuses everything and tells nothing. It hashes with a key that nobody knows.
    Refuses,
}

/// A NIC with several receive queues.
#[derive(Clone, Debug)]
pub struct MemNic {
    habit: Habit,
    queues: u16,
    key: [u8; KEY_LEN],
    table: Vec<u16>,
    hashes: bool,
    rules: Vec<PortRule>,
    /// What it was told last.
    told: Option<Program>,
}

impl MemNic {
    /// A NIC with so many receive queues and entries of its table (at least 1 each). Before it is told anything it spreads
    /// flows over all queues.
    pub fn new(habit: Habit, queues: u16, entries: u16) -> MemNic {
        let mut key = OWN_KEY;
        if habit == Habit::Refuses {
            key.reverse();
        }
        // Nobody else's table looks like that.
        let table = (0..entries).map(|entry| entry / 4 % queues).collect();
        MemNic { habit, queues, key, table, hashes: true, rules: Vec::new(), told: None }
    }

    /// The receive queue on which it delivers an Ethernet frame.
    pub fn queue_of(&self, frame: &[u8]) -> usize {
        let Some(packet) = Read::new(frame) else { return 0 };
        if let Some((_, dport)) = packet.ports
            && let Some(rule) = self.rules.iter().find(|rule| dport & rule.mask == rule.port)
        {
            return usize::from(rule.queue);
        }
        if !self.hashes {
            return 0;
        }
        let addresses_only = packet.is_udp && self.habit == Habit::UdpByAddresses;
        let mut input = packet.addresses.to_vec();
        if let Some((sport, dport)) = packet.ports.filter(|_| !addresses_only) {
            input.extend([sport.to_be_bytes(), dport.to_be_bytes()].concat());
        }
        let hash = toeplitz::hash(&self.key, &input) as usize;
        self.table.get(hash % self.table.len().max(1)).map_or(0, |queue| usize::from(*queue))
    }

    fn is(&self, habits: &[Habit]) -> bool {
        habits.contains(&self.habit)
    }
}

impl Nic for MemNic {
    fn ability(&self) -> Ability {
        let table = u16::try_from(self.table.len()).unwrap_or(0);
        Ability { queues: self.queues, table, hashes_ports: true }
    }

    fn program(&mut self, program: &Program) -> Result<(), String> {
        if self.habit == Habit::Refuses {
            return Err("it has no such function".into());
        }
        if self.habit == Habit::KeepsKeyAndTable {
            return Err("key and table are the host's".into());
        }
        if program.table.len() != self.table.len() || program.table.iter().any(|queue| *queue >= self.queues)
        {
            return Err(format!("it has {} entries for {} queues", self.table.len(), self.queues));
        }
        if self.habit != Habit::KeepsKey {
            let (first, rest) = self.key.split_at_mut(program.key.len());
            first.copy_from_slice(&program.key);
            rest.fill(0);
        }
        if self.habit != Habit::KeepsTable {
            self.table.clone_from(&program.table);
        }
        self.hashes = !self.is(&[Habit::StopsHashing, Habit::StopsHashingInSecret]);
        self.told = Some(program.clone());
        Ok(())
    }

    fn read_back(&mut self) -> Result<Program, String> {
        if self.habit == Habit::Refuses {
            return Err("it has no such function".into());
        }
        match &self.told {
            Some(told) if self.habit == Habit::StopsHashingInSecret => Ok(told.clone()),
            _ => {
                let mut key = toeplitz::Key::default();
                key.iter_mut().zip(self.key).for_each(|(to, from)| *to = from);
                Ok(Program { key, table: self.table.clone(), hashes_ports: self.hashes })
            }
        }
    }

    fn set_port_rules(&mut self, rules: &[PortRule]) -> Result<(), String> {
        match self.habit {
            Habit::Refuses | Habit::RefusesRules => return Err("it has no such function".into()),
            Habit::IgnoresRules => {}
            _ if rules.iter().any(|rule| rule.queue >= self.queues) => {
                return Err(format!("it has {} queues", self.queues));
            }
            _ => self.rules = rules.to_vec(),
        }
        Ok(())
    }
}

/// What a NIC reads of an IPv4 packet.
struct Read {
    /// Source, destination.
    addresses: [u8; 8],
    /// Source and destination port of a whole TCP or UDP packet.
    ports: Option<(u16, u16)>,
    is_udp: bool,
}

impl Read {
    /// `None`: not IPv4, or not as long as it says.
    fn new(frame: &[u8]) -> Option<Read> {
        let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        let (ethertype, l3) = if word(12)? == 0x8100 { (word(16)?, 18) } else { (word(12)?, 14) };
        let first = *frame.get(l3)?;
        if ethertype != 0x0800 || first >> 4 != 4 {
            return None;
        }
        let l4 = l3 + usize::from(first & 15) * 4;
        let addresses = frame.get(l3 + 12..l3 + 20)?.try_into().ok()?;
        let protocol = *frame.get(l3 + 9)?;
        // More fragments, or not the first.
        let whole = word(l3 + 6)? & 0x3fff == 0;
        let ports = (whole && matches!(protocol, 6 | 17)).then(|| Some((word(l4)?, word(l4 + 2)?)));
        Some(Read { addresses, ports: ports.flatten(), is_udp: protocol == 17 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame to Ethernet address 0 with this payload behind its type.
    fn frame(vlan: bool, ethertype: u16, body: &[u8]) -> Vec<u8> {
        let tag: &[u8] = if vlan { &[0x81, 0, 0, 9] } else { &[] };
        [&[0; 12], tag, &ethertype.to_be_bytes(), body].concat()
    }

    /// An IPv4 packet of a flow; `options` words of options, `fragment` as the header has it.
    fn packet(protocol: u8, options: u8, fragment: u16, (src, sport): ([u8; 4], u16), port: u16) -> Vec<u8> {
        let mut packet = vec![0x45 + options, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend(src);
        packet.extend([161, 142, 100, 80]);
        packet.extend(vec![1; usize::from(options) * 4]);
        packet.extend(sport.to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend([0; 16]);
        packet
    }

    const CLIENT: ([u8; 4], u16) = ([66, 9, 149, 187], 2794);

    /// A NIC whose 128 queues are the entries of its table.
    fn transparent() -> MemNic {
        let mut nic = MemNic::new(Habit::Honest, 128, 128);
        let key = OWN_KEY[..16].try_into().unwrap();
        nic.program(&Program { key, table: (0..128).collect(), hashes_ports: true }).unwrap();
        nic
    }

    #[test]
    fn the_published_vectors_select_their_entries() {
        let nic = transparent();
        let (all, addresses) = (0x51cc_c178 % 128, 0x323e_8fc2 % 128);
        for (vlan, options) in [(false, 0), (true, 0), (false, 2), (true, 3)] {
            let queue = |protocol, fragment| {
                nic.queue_of(&frame(vlan, 0x0800, &packet(protocol, options, fragment, CLIENT, 1766)))
            };
            assert_eq!((queue(6, 0), queue(17, 0), queue(17, 0x4000)), (all, all, all));
            assert_eq!((queue(1, 0), queue(132, 0), queue(47, 0)), (addresses, addresses, addresses));
            assert_eq!(
                (queue(6, 0x2000), queue(17, 0x2000), queue(17, 7)),
                (addresses, addresses, addresses)
            );
        }
    }

    #[test]
    fn what_it_can_not_read_goes_to_the_first_queue() {
        let nic = transparent();
        let whole = frame(false, 0x0800, &packet(17, 0, 0, CLIENT, 1766));
        assert_ne!(nic.queue_of(&whole), 0);
        assert_eq!(nic.queue_of(&frame(false, 0x0806, &whole[14..])), 0, "ARP");
        for len in 0..34 {
            assert_eq!(nic.queue_of(&whole[..len]), 0, "{len} bytes");
        }
        assert_eq!(nic.queue_of(&whole[..37]), 0x323e_8fc2 % 128, "no ports: addresses");
    }

    /// Another key, and queues in turn.
    fn program(entries: u16, queues: u16) -> Program {
        let table = (0..queues).cycle().take(usize::from(entries)).collect();
        Program { key: [0x42; 16], table, hashes_ports: true }
    }

    /// How many of a hundred clients' UDP and TCP packets it delivers as the program says.
    fn obeyed(nic: &MemNic, program: &Program) -> [usize; 2] {
        [17, 6].map(|protocol| {
            let right = |client: u16| {
                let packet = packet(protocol, 0, 0, ([10, 0, 0, 1], client), 53);
                let hash = toeplitz::hash(&program.key, &packet[12..24]) as usize;
                nic.queue_of(&frame(false, 0x0800, &packet))
                    == usize::from(program.table[hash % program.table.len()])
            };
            (1000..1100).filter(|client| right(*client)).count()
        })
    }

    #[test]
    fn each_habit_is_what_it_is_called() {
        let wanted = program(128, 4);
        let is = |read: &Program, key: bool, table: bool, hashes: bool| {
            (read.key == wanted.key, read.table == wanted.table, read.hashes_ports) == (key, table, hashes)
        };
        for (habit, takes, reads, udp, tcp) in [
            (Habit::Honest, true, Some((true, true, true)), true, true),
            (Habit::KeepsKey, true, Some((false, true, true)), false, false),
            (Habit::KeepsTable, true, Some((true, false, true)), false, false),
            (Habit::KeepsKeyAndTable, false, Some((false, false, true)), false, false),
            (Habit::StopsHashing, true, Some((true, true, false)), false, false),
            (Habit::StopsHashingInSecret, true, Some((true, true, true)), false, false),
            (Habit::RefusesRules, true, Some((true, true, true)), true, true),
            (Habit::IgnoresRules, true, Some((true, true, true)), true, true),
            (Habit::UdpByAddresses, true, Some((true, true, true)), false, true),
            (Habit::Refuses, false, None, false, false),
        ] {
            let mut nic = MemNic::new(habit, 4, 128);
            assert_eq!(nic.program(&wanted).is_ok(), takes, "{habit:?}");
            let read = nic.read_back().ok();
            assert_eq!(read.is_some(), reads.is_some(), "{habit:?}");
            if let (Some(read), Some((key, table, hashes))) = (read, reads) {
                assert!(is(&read, key, table, hashes), "{habit:?}: {read:?}");
            }
            assert_eq!(obeyed(&nic, &wanted).map(|right| right == 100), [udp, tcp], "{habit:?}");
        }
    }

    #[test]
    fn rules_come_before_the_hash_unless_it_ignores_them() {
        let rules = [PortRule { port: 1, mask: 1, queue: 3 }, PortRule { port: 0, mask: 1, queue: 2 }];
        for (habit, obeys) in [(Habit::Honest, true), (Habit::IgnoresRules, false)] {
            let mut nic = MemNic::new(habit, 4, 128);
            nic.program(&program(128, 4)).unwrap();
            nic.set_port_rules(&rules).unwrap();
            let right = |port: u16| {
                let queue = nic.queue_of(&frame(false, 0x0800, &packet(17, 0, 0, CLIENT, port)));
                queue == if port % 2 == 1 { 3 } else { 2 }
            };
            assert_eq!((0..100).all(right), obeys);
            // Fragments have no ports.
            let queue = |port| nic.queue_of(&frame(false, 0x0800, &packet(17, 0, 0x2000, CLIENT, port)));
            assert_eq!(queue(1), queue(2));
        }
        for habit in [Habit::Refuses, Habit::RefusesRules] {
            assert!(MemNic::new(habit, 4, 128).set_port_rules(&rules).is_err());
        }
        assert!(MemNic::new(Habit::Honest, 3, 128).set_port_rules(&rules).is_err(), "no such queue");
    }
}
