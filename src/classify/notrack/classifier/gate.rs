//! What every packet pays for: whether any entry can be for it.
//!
//! Each entry is filed under one condition that its packets have to meet, the narrowest of: its destination ports, its source
//! ports, the /16s that its destinations are in, those of its sources. A condition is a bitmap of the 65,536 values that
//! meet it, shared by the entries of one kind of protocol (TCP, UDP, any other); there are only those that entries were
//! filed under. Of a class of one service, packets there are filed by destination port and answers by source port, so that a
//! packet of no class takes two loads as a rule.

use crate::classify::PrefixSet;
use crate::classify::notrack::Match;
use crate::classify::vectors::spans::{self, Spans};
use crate::packet::Tuple;
use crate::wire::protocol;
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// By kind of protocol, the bitmap of each condition.
    kinds: [[Option<Bitmap>; 4]; 3],
}

/// One bit for each value of 16 bits.
#[derive(Debug)]
struct Bitmap(Box<[u64; 1024]>);

/// The kind of a protocol: TCP, UDP, any other.
#[inline(always)]
fn kind(protocol: u8) -> usize {
    let is_other = protocol != protocol::TCP && protocol != protocol::UDP;
    usize::from(protocol != protocol::TCP) + usize::from(is_other)
}

/// The number of the /16 of an address.
#[inline(always)]
fn high(address: Ipv4Addr) -> u16 {
    let [first, second, _, _] = address.octets();
    u16::from_be_bytes([first, second])
}

impl Gate {
    /// The gate before these entries.
    pub(super) fn new(entries: &[Match], sets: &[PrefixSet]) -> Gate {
        let sets: Vec<Spans> = sets.iter().map(spans::of_set).collect();
        // Many entries may name one large set.
        let mut filed = HashSet::new();
        let mut gate = Gate::default();
        for entry in entries {
            let (dports, sports) = (spans::of_ports(&entry.dports), spans::of_ports(&entry.sports));
            let high = |set: Option<usize>| match set {
                None => [(0, u16::MAX)].as_slice(),
                Some(set) => sets.get(set).map_or(&[][..], Vec::as_slice),
            };
            let conditions = [&dports, &sports, high(entry.dst), high(entry.src)];
            // Of two that are equally narrow the first.
            let narrowest = conditions.into_iter().enumerate().min_by_key(|(_, spans)| spans::width(spans));
            let Some((condition, spans)) = narrowest else { continue };
            let set = [None, None, entry.dst, entry.src][condition];
            for kind in kinds(entry) {
                if set.is_none() || filed.insert((kind, condition, set)) {
                    gate.kinds[kind][condition].get_or_insert_default().add(spans);
                }
            }
        }
        gate
    }

    /// Whether an entry can be for a packet: `false` if none is.
    #[inline(always)]
    pub(super) fn passes(&self, tuple: &Tuple) -> bool {
        let [dport, sport, dst, src] = &self.kinds[kind(tuple.protocol)];
        let has = |bitmap: &Option<Bitmap>, value| bitmap.as_ref().is_some_and(|bitmap| bitmap.has(value));
        has(dport, tuple.dport)
            || has(sport, tuple.sport)
            || has(dst, high(tuple.dst))
            || has(src, high(tuple.src))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.kinds.iter().flatten().flatten().map(|bitmap| size_of_val(&*bitmap.0)).sum()
    }
}

/// The kinds of protocol that an entry is for.
fn kinds(entry: &Match) -> impl Iterator<Item = usize> {
    let protocols = &entry.protocols;
    (0..3).filter(move |number| {
        protocols.is_empty() || protocols.iter().any(|protocol| kind(*protocol) == *number)
    })
}

impl Default for Bitmap {
    fn default() -> Bitmap {
        Bitmap(Box::new([0; 1024]))
    }
}

impl Bitmap {
    #[inline(always)]
    fn has(&self, value: u16) -> bool {
        self.0[usize::from(value >> 6)] >> (value & 63) & 1 == 1
    }

    fn add(&mut self, spans: &[(u16, u16)]) {
        for value in spans.iter().flat_map(|(first, last)| *first..=*last) {
            self.0[usize::from(value >> 6)] |= 1 << (value & 63);
        }
    }
}
