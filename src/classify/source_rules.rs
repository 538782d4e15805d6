//! Finds the first source translation rule for a new session, of up to 16,384.
//!
//! The rows of `classify::vectors`: by the interface that the packet comes in by, the one that it leaves by, source and
//! destination address, source and destination port. Each word of a summary stands for 4,096 rules, so that at most 64 words of
//! each row are looked at for each 4,096 rules, and with few exceptions one.
//!
//! # Memory
//!
//! As `classify::vectors` says. 10,000 rules, each for a source and a destination prefix of its own, take less than 4 MB.
//!
//! Immutable once built; workers only read.

use super::vectors::{
    self, Atoms, Conditions, Interner, PortRows, Rows, Sides, address_rows, first_in_all, rows,
};
use super::{InterfaceMask, PrefixSet};
use crate::ids::{InterfaceId, MAX_INTERFACES};
use crate::packet::Tuple;
use std::ops::RangeInclusive;

/// Words of a row's summary.
const SUMMARY: usize = 4;

/// The most rules.
pub const MAX_RULES: usize = vectors::capacity(SUMMARY);

/// Which packets a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The interfaces that they come in by.
    pub arrive: InterfaceMask,
    /// The interfaces that they leave by.
    pub leave: InterfaceMask,
    /// IANA protocol numbers; empty: any.
    pub protocols: Vec<u8>,
    /// Sources, by the number of their set; `None`: any.
    pub src: Option<usize>,
    /// Destinations, by the number of their set; `None`: any.
    pub dst: Option<usize>,
    /// Source ports; empty: any.
    pub sports: Vec<RangeInclusive<u16>>,
    /// Destination ports; empty: any.
    pub dports: Vec<RangeInclusive<u16>>,
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

/// Rules, compiled for a quick answer.
#[derive(Debug, Default)]
pub struct SourceRules {
    /// `None`: there are no rules.
    table: Option<Box<Table>>,
}

#[derive(Debug)]
struct Table {
    atoms: Atoms,
    /// By interface.
    arrivals: Rows<SUMMARY>,
    exits: Rows<SUMMARY>,
    /// By atom.
    sides: Sides<SUMMARY>,
    sports: PortRows<SUMMARY>,
    dports: PortRows<SUMMARY>,
}

impl SourceRules {
    /// Compiles rules in their order; `sets` are those that they name by number. Rules beyond [`MAX_RULES`] are not there: the
    /// config has no more.
    pub fn new(rules: &[Match], sets: &[PrefixSet]) -> SourceRules {
        let rules = rules.get(..MAX_RULES).unwrap_or(rules);
        if rules.is_empty() {
            return SourceRules::default();
        }
        let (atoms, mut sides) = address_rows::compile([rules], sets);
        let table = sides.pop().map(|sides| Box::new(Table::new(rules, atoms, sides)));
        SourceRules { table }
    }

    /// The number of the first rule for a packet that comes in by `arrival` and leaves by `exit`.
    pub fn find(&self, arrival: InterfaceId, exit: InterfaceId, tuple: &Tuple) -> Option<u32> {
        let table = self.table.as_deref()?;
        let rows = [
            table.arrivals.row(arrival.index() % MAX_INTERFACES),
            table.exits.row(exit.index() % MAX_INTERFACES),
            table.dports.row(tuple.protocol, tuple.dport),
            table.sports.row(tuple.protocol, tuple.sport),
            table.sides.dst.row(table.atoms.find(tuple.dst)),
            table.sides.src.row(table.atoms.find(tuple.src)),
        ];
        first_in_all(&rows).map(u32::from)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.table.as_deref().map_or(0, |table| {
            let Table { atoms, arrivals, exits, sides, sports, dports } = table;
            let rows = [arrivals, exits, &sides.src, &sides.dst].map(Rows::bytes).iter().sum::<usize>();
            atoms.bytes() + rows + sports.bytes() + dports.bytes()
        })
    }
}

impl Table {
    fn new(rules: &[Match], atoms: Atoms, sides: Sides<SUMMARY>) -> Table {
        let by_interface = |mask: fn(&Match) -> InterfaceMask| {
            let all = (0u8..64).map(InterfaceId);
            Interner::rows_of_all(all.map(|id| rows::of(rules, |rule| mask(rule).contains(id))))
        };
        Table {
            atoms,
            arrivals: by_interface(|rule| rule.arrive),
            exits: by_interface(|rule| rule.leave),
            sides,
            sports: PortRows::new(rules, Match::sports),
            dports: PortRows::new(rules, Match::dports),
        }
    }
}

const _: () = assert!(MAX_INTERFACES == 64 && MAX_RULES >= 10_000);
