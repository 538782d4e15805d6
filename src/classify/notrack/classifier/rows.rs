//! Rows of bits, one bit for each entry. Equal rows are stored once.

use crate::classify::notrack::Match;
use std::collections::HashMap;

/// Bits a word.
const BITS: usize = 64;

/// A row while it is made: bit n of word w is entry 64 w + n.
pub(super) type Bits = Box<[u64]>;

/// The row of those entries that `holds` for.
pub(super) fn of(entries: &[Match], holds: impl Fn(&Match) -> bool) -> Bits {
    let word =
        |entries: &[Match]| entries.iter().rev().fold(0, |word, entry| word << 1 | u64::from(holds(entry)));
    entries.chunks(BITS).map(word).collect()
}

/// The word of an entry, and its bit in there.
pub(super) fn place(entry: usize) -> (usize, u64) {
    (entry / BITS, 1 << (entry % BITS))
}

/// Rows, by a number that a dimension gives to each.
#[derive(Debug)]
pub(super) struct Rows {
    heads: Box<[Head]>,
    words: Box<[u64]>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    /// Bit n: word n is not 0.
    summary: u64,
    /// Where its words begin.
    first: usize,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'r> {
    /// Bit n: word n is not 0.
    pub(super) summary: u64,
    /// Where its words begin.
    first: usize,
    /// Those of all rows.
    words: &'r [u64],
}

impl Rows {
    /// The row with this number; one without a bit if there is none.
    #[inline(always)]
    pub(super) fn row(&self, number: usize) -> Row<'_> {
        let head = self.heads.get(number).copied().unwrap_or(Head { summary: 0, first: 0 });
        Row { summary: head.summary, first: head.first, words: &self.words }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.heads) + size_of_val(&*self.words)
    }
}

impl Row<'_> {
    /// Entries 64 `at` to 64 `at` + 63.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u64 {
        self.words.get(self.first + at).copied().unwrap_or(0)
    }
}

/// Numbers rows, equal ones alike.
#[derive(Debug, Default)]
pub(super) struct Interner {
    numbers: HashMap<Bits, u32, ahash::RandomState>,
}

impl Interner {
    /// The number of a row: from 0, without gaps.
    pub(super) fn number(&mut self, row: &[u64]) -> u32 {
        if let Some(number) = self.numbers.get(row) {
            return *number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.numbers.insert(row.into(), number);
        number
    }

    /// The rows by their own numbers.
    pub(super) fn rows(self) -> Rows {
        let all = 0..u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.rows_by(all)
    }

    /// The rows with these numbers, in this order.
    pub(super) fn rows_by(self, numbers: impl IntoIterator<Item = u32>) -> Rows {
        let mut distinct: Vec<_> = self.numbers.into_iter().map(|(row, number)| (number, row)).collect();
        distinct.sort_unstable_by_key(|(number, _)| *number);
        let width = distinct.first().map_or(0, |(_, row)| row.len());
        let summary =
            |row: &Bits| row.iter().rev().fold(0, |summary, word| summary << 1 | u64::from(*word != 0));
        let summaries: Vec<u64> = distinct.iter().map(|(_, row)| summary(row)).collect();
        let head = |number: u32| Head {
            summary: summaries.get(number as usize).copied().unwrap_or(0),
            first: number as usize * width,
        };
        Rows {
            heads: numbers.into_iter().map(head).collect(),
            words: distinct.iter().flat_map(|(_, row)| row.iter().copied()).collect(),
        }
    }

    /// Just these rows, in this order.
    pub(super) fn rows_of_all(all: impl IntoIterator<Item = Bits>) -> Rows {
        let mut interner = Interner::default();
        let numbers: Vec<_> = all.into_iter().map(|row| interner.number(&row)).collect();
        interner.rows_by(numbers)
    }
}
