//! Finds the first entry for a packet.
//!
//! Two steps. The `gate` says at once of most packets that no entry is for them. What is left is looked up in
//! *aggregated bit vectors* (Baboescu and Varghese, SIGCOMM 2001): each dimension of a packet - arrival interface, TCP flags,
//! source and destination address, source and destination port - maps it to a row with one bit for each entry that it
//! satisfies in this dimension, and the first bit that is set in all six rows is the first entry. Rows have a summary, a bit
//! for each 64 entries, so that one word is looked at and seldom more. The answer is exact, and the work bounded: at
//! most 64 words of each row, whatever the entries are.
//!
//! | file | what |
//! |---|---|
//! | `gate` | whether any entry can be for a packet |
//! | `rows` | rows of bits, one for each entry, that are stored once if they are equal |
//! | `atoms` | address to *atom*: addresses that are in the same sets are of one atom |
//! | `address_rows` | sets of prefixes to atoms and their rows |
//! | `port_rows` | protocol and port to row |
//! | `spans` | ranges of ports and of /16s |
//!
//! # Memory
//!
//! With E entries and P prefixes in the sets that entries name there are at most 2P + 1 atoms. A pair of classifiers takes
//! 0.25 MiB and at most 187 bytes a prefix for the way from address to atom, 64 bytes an atom, and E/8 bytes for each
//! *different* row. Sets that do not overlap have as many rows as there are sets: 100,000 prefixes in 1,000 such sets and
//! 4,000 entries take 8 MB. With lengths of 8 to 32 at random, every address in dozens of sets, it is 170 MB; and if no two
//! atoms of 4,096 entries are alike, 440 MB. Ports take 1 KiB for each 256 that are not alike, and rows likewise.
//!
//! Immutable once built; workers only read.

mod address_rows;
mod atoms;
mod gate;
mod port_rows;
mod rows;
mod spans;

use super::Match;
use crate::classify::PrefixSet;
use crate::ids::{InterfaceId, MAX_INTERFACES};
use crate::packet::Tuple;
use address_rows::Sides;
use atoms::Atoms;
use gate::Gate;
use port_rows::PortRows;
use rows::{Interner, Row, Rows};
use std::sync::Arc;

/// The most entries of a classifier: a summary has a bit for each 64 of them.
pub const MAX_ENTRIES: usize = 64 * 64;

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
    arrivals: Rows,
    /// By the flags of a TCP packet; the last is for packets without.
    flags: Rows,
    /// By atom.
    sides: Sides,
    sports: PortRows,
    dports: PortRows,
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

/// The number of the first bit that all rows have.
#[inline(always)]
fn first_in_all(rows: &[Row<'_>; 6]) -> Option<u16> {
    let mut left = rows.iter().fold(u64::MAX, |all, row| all & row.summary);
    while left != 0 {
        let at = left.trailing_zeros();
        let word = rows.iter().fold(u64::MAX, |all, row| all & row.word(at as usize));
        if word != 0 {
            return u16::try_from(at * u64::BITS + word.trailing_zeros()).ok();
        }
        left &= left - 1;
    }
    None
}

impl Table {
    fn new(entries: &[Match], atoms: Arc<Atoms>, sides: Sides) -> Table {
        let arrivals = (0u8..64).map(|id| rows::of(entries, |entry| entry.arrive.contains(InterfaceId(id))));
        let with_flags = (0..=u8::MAX)
            .map(|flags| rows::of(entries, |entry| entry.flags.is_none_or(|wanted| wanted.hold(flags))));
        let without = rows::of(entries, |entry| entry.flags.is_none());
        Table {
            atoms,
            arrivals: Interner::rows_of_all(arrivals),
            flags: Interner::rows_of_all(with_flags.chain([without])),
            sides,
            sports: PortRows::new(entries, |entry| &entry.sports),
            dports: PortRows::new(entries, |entry| &entry.dports),
        }
    }
}

const _: () = assert!(MAX_INTERFACES == 64);
