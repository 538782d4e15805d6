//! Finds the first of many ordered rules that a packet satisfies, whatever they are.
//!
//! *Aggregated bit vectors* (Baboescu and Varghese, SIGCOMM 2001): each dimension of a packet - an interface, an address, a
//! port - maps it to a row with one bit for each rule that it satisfies in this dimension, and the first bit that is set in
//! all rows is the first rule. Rows have a summary, a bit for each 64 rules, so that one word is looked at and seldom more.
//! The answer is exact, and the work bounded: at most 64 `S` words of each row, whatever the rules are, if a summary has `S`
//! words.
//!
//! | file | what |
//! |---|---|
//! | [`rows`] | rows of bits, one for each rule, that are stored once if they are equal |
//! | [`atoms`] | address to *atom*: addresses that are in the same sets are of one atom |
//! | [`address_rows`] | sets of prefixes to atoms and their rows |
//! | [`port_rows`] | protocol and port to row |
//! | [`spans`] | ranges of ports and of /16s |
//!
//! Who uses it adds dimensions of its own: [`Interner::rows_of_all`] makes a row for each value of a small one.
//!
//! # Memory
//!
//! With R rules and P prefixes in the sets that rules name there are at most 2P + 1 atoms. All take 0.25 MiB and at most 187
//! bytes a prefix for the way from address to atom, and each *different* row at most R/8 bytes; with more than one
//! word of summary only the words that are not 0 are stored. Ports take 1 KiB for each 256 that are not alike, and rows
//! likewise.
//!
//! Immutable once built; workers only read.

pub(super) mod address_rows;
mod atoms;
mod port_rows;
pub(super) mod rows;
pub(super) mod spans;

pub(super) use address_rows::Sides;
pub(super) use atoms::Atoms;
pub(super) use port_rows::PortRows;
pub(super) use rows::{Interner, Row, Rows};

use std::ops::RangeInclusive;

/// What a rule asks of a packet's tuple.
pub(super) trait Conditions {
    /// IANA protocol numbers; empty: any.
    fn protocols(&self) -> &[u8];
    /// Sources, by the number of their set; `None`: any.
    fn src(&self) -> Option<usize>;
    /// Destinations, by the number of their set; `None`: any.
    fn dst(&self) -> Option<usize>;
    /// Source ports; empty: any.
    fn sports(&self) -> &[RangeInclusive<u16>];
    /// Destination ports; empty: any.
    fn dports(&self) -> &[RangeInclusive<u16>];
}

/// The most rules that rows with this many words of summary have a bit for.
pub(super) const fn capacity(summary_words: usize) -> usize {
    summary_words * rows::BITS * rows::BITS
}

/// The number of the first bit that all rows have.
#[inline(always)]
pub(super) fn first_in_all<const N: usize, const S: usize>(rows: &[Row<'_, S>; N]) -> Option<u16> {
    for part in 0..S {
        let mut left = rows.iter().fold(u64::MAX, |all, row| all & row.summary(part));
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            let word = rows.iter().fold(u64::MAX, |all, row| all & row.word(part, at));
            if word != 0 {
                return u16::try_from((part * rows::BITS + at) * rows::BITS + word.trailing_zeros() as usize)
                    .ok();
            }
            left &= left - 1;
        }
    }
    None
}
