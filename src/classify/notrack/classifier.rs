//! Finds the first entry for a packet.
//!
//! Two steps. The `gate` says at once of most packets that no entry is for them. What is left is looked up in the rows of
//! `classify::vectors`: by arrival interface, TCP flags, source and destination address, source and destination port. At most
//! 64 words of each row are looked at, whatever the entries are.
//!
//! # Memory
//!
//! A pair of classifiers has one way from address to atom, and 64 bytes an atom. Sets that do not overlap have as many rows as
//! there are sets: 100,000 prefixes in 1,000 such sets and 4,000 entries take 8 MB. With lengths of 8 to 32 at random, every
//! address in dozens of sets, it is 170 MB; and if no two atoms of 4,096 entries are alike, 440 MB.
//!
//! Immutable once built; workers only read.

mod gate;

use super::Match;
use crate::classify::PrefixSet;
use crate::classify::vectors::{
    self, Atoms, Conditions, Interner, PortRows, Rows, Sides, address_rows, first_in_all, rows,
};
use crate::ids::{InterfaceId, MAX_INTERFACES};
use crate::packet::Tuple;
use gate::Gate;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Words of a row's summary: one, which every packet that an entry may be for pays for.
const SUMMARY: usize = 1;

/// The most entries of a classifier.
pub const MAX_ENTRIES: usize = vectors::capacity(SUMMARY);

/// Entries, compiled for a quick answer.
#[derive(Debug, Default)]
pub struct Classifier {
    gate: Gate,
    /// `None`: there are no entries.
    table: Option<Box<Table>>,
}

#[derive(Debug)]
struct Table {
    atoms: Arc<Atoms>,
    /// By interface.
    arrivals: Rows<SUMMARY>,
    /// By the flags of a TCP packet; the last is for packets without.
    flags: Rows<SUMMARY>,
    /// By atom.
    sides: Sides<SUMMARY>,
    sports: PortRows<SUMMARY>,
    dports: PortRows<SUMMARY>,
}

/// The row of packets that can not be asked for flags.
const NO_FLAGS: usize = 256;

impl Classifier {
    /// Compiles entries in their order; `sets` are those that they name by number. Entries beyond [`MAX_ENTRIES`] are
    /// not there: the config has no more.
    pub fn new(matches: &[Match], sets: &[PrefixSet]) -> Classifier {
        let [classifier] = Classifier::build([matches], sets);
        classifier
    }

    /// The classifiers of packets and of ICMP errors. They share what they know of addresses, which is most of it.
    pub fn pair(packets: &[Match], errors: &[Match], sets: &[PrefixSet]) -> (Classifier, Classifier) {
        let [packets, errors] = Classifier::build([packets, errors], sets);
        (packets, errors)
    }

    fn build<const N: usize>(lists: [&[Match]; N], sets: &[PrefixSet]) -> [Classifier; N] {
        let lists = lists.map(|list| list.get(..MAX_ENTRIES).unwrap_or(list));
        let (atoms, sides) = address_rows::compile(lists, sets);
        let atoms = Arc::new(atoms);
        let mut sides = sides.into_iter();
        lists.map(|list| {
            let sides = sides.next().filter(|_| !list.is_empty());
            let table = sides.map(|sides| Box::new(Table::new(list, atoms.clone(), sides)));
            Classifier { gate: Gate::new(list, sets), table }
        })
    }

    /// The number of the first entry for a packet. `flags` are those of a TCP packet with its header
    /// ([`super::entry::flags_of`]).
    #[inline(always)]
    pub fn find(&self, interface: InterfaceId, tuple: &Tuple, flags: Option<u8>) -> Option<u16> {
        if self.gate.passes(tuple) { self.search(interface, tuple, flags) } else { None }
    }

    /// Apart from [`Classifier::find`], so that the code that every packet runs through stays small.
    #[inline(never)]
    fn search(&self, interface: InterfaceId, tuple: &Tuple, flags: Option<u8>) -> Option<u16> {
        let table = self.table.as_deref()?;
        let rows = [
            table.arrivals.row(interface.index() % MAX_INTERFACES),
            table.flags.row(flags.map_or(NO_FLAGS, usize::from)),
            table.dports.row(tuple.protocol, tuple.dport),
            table.sports.row(tuple.protocol, tuple.sport),
            table.sides.dst.row(table.atoms.find(tuple.dst)),
            table.sides.src.row(table.atoms.find(tuple.src)),
        ];
        first_in_all(&rows)
    }

    /// Bytes of memory that it takes, and those of what it shares with the other one of a [`Classifier::pair`].
    pub fn bytes(&self) -> (usize, usize) {
        self.table.as_deref().map_or((0, 0), |table| {
            let Table { atoms, arrivals, flags, sides, sports, dports } = table;
            let rows = [arrivals, flags, &sides.src, &sides.dst].map(Rows::bytes).iter().sum::<usize>();
            (self.gate.bytes() + rows + sports.bytes() + dports.bytes(), atoms.bytes())
        })
    }
}

impl Table {
    fn new(entries: &[Match], atoms: Arc<Atoms>, sides: Sides<SUMMARY>) -> Table {
        let arrivals = (0u8..64).map(|id| rows::of(entries, |entry| entry.arrive.contains(InterfaceId(id))));
        let with_flags = (0..=u8::MAX)
            .map(|flags| rows::of(entries, |entry| entry.flags.is_none_or(|wanted| wanted.hold(flags))));
        let without = rows::of(entries, |entry| entry.flags.is_none());
        Table {
            atoms,
            arrivals: Interner::rows_of_all(arrivals),
            flags: Interner::rows_of_all(with_flags.chain([without])),
            sides,
            sports: PortRows::new(entries, Match::sports),
            dports: PortRows::new(entries, Match::dports),
        }
    }
}

impl Conditions for Match {
    fn protocols(&self) -> &[u8] {
        &self.protocols
    }

    fn src(&self) -> Option<usize> {
        self.src
    }

    fn dst(&self) -> Option<usize> {
        self.dst
    }

    fn sports(&self) -> &[RangeInclusive<u16>] {
        &self.sports
    }

    fn dports(&self) -> &[RangeInclusive<u16>] {
        &self.dports
    }
}

const _: () = assert!(MAX_INTERFACES == 64);
