//! Rows of bits, one bit for each rule. Equal rows are stored once.
//!
//! A row's summary has `S` words. With one of them rows are short, at most 512 bytes, and stored whole: they are for packets
//! of which each has to be quick. With more, only words that are not 0 are stored: of 10,000 rules for one source each, a
//! source's row then takes some words in place of 1,250 bytes, and the rows of all of them stay in the cache.

use std::collections::HashMap;

/// Bits a word.
pub(in crate::classify) const BITS: usize = u64::BITS as usize;

/// A row while it is made: bit n of word w is rule 64 w + n.
pub(in crate::classify) type Bits = Box<[u64]>;

/// The row of those rules that `holds` for.
pub(in crate::classify) fn of<R>(rules: &[R], holds: impl Fn(&R) -> bool) -> Bits {
    let word = |rules: &[R]| rules.iter().rev().fold(0, |word, rule| word << 1 | u64::from(holds(rule)));
    rules.chunks(BITS).map(word).collect()
}

/// The word of a rule, and its bit in there.
pub(super) fn place(rule: usize) -> (usize, u64) {
    (rule / BITS, 1 << (rule % BITS))
}

/// Rows, by a number that a dimension gives to each.
#[derive(Debug)]
pub(in crate::classify) struct Rows<const S: usize> {
    heads: Box<[Head<S>]>,
    words: Box<[u64]>,
}

#[derive(Clone, Copy, Debug)]
struct Head<const S: usize> {
    /// Bit n of word p: word 64 p + n is not 0.
    summary: [u64; S],
    /// Where the words of each word of the summary begin.
    firsts: [u32; S],
}

impl<const S: usize> Head<S> {
    /// Whether only words that are not 0 are there.
    const PACKED: bool = S > 1;
    /// That of a row without a bit.
    const NONE: &'static Head<S> = &Head { summary: [0; S], firsts: [0; S] };
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(in crate::classify) struct Row<'r, const S: usize> {
    head: &'r Head<S>,
    /// Those of all rows.
    words: &'r [u64],
}

impl<const S: usize> Rows<S> {
    /// The row with this number; one without a bit if there is none.
    #[inline(always)]
    pub(in crate::classify) fn row(&self, number: usize) -> Row<'_, S> {
        Row { head: self.heads.get(number).unwrap_or(Head::NONE), words: &self.words }
    }

    /// Bytes of memory.
    pub(in crate::classify) fn bytes(&self) -> usize {
        size_of_val(&*self.heads) + size_of_val(&*self.words)
    }
}

impl<const S: usize> Row<'_, S> {
    /// Bit n: rules 4096 `part` + 64 n to 63 behind are not all 0.
    #[inline(always)]
    pub(super) fn summary(&self, part: usize) -> u64 {
        self.head.summary[part]
    }

    /// Rules 4096 `part` + 64 `at` to 63 behind, of which the summary says that there are some.
    #[inline(always)]
    pub(super) fn word(&self, part: usize, at: usize) -> u64 {
        let before = if Head::<S>::PACKED {
            (self.head.summary[part] & ((1 << at) - 1)).count_ones() as usize
        } else {
            at
        };
        self.words.get(self.head.firsts[part] as usize + before).copied().unwrap_or(0)
    }
}

/// Numbers rows, equal ones alike.
#[derive(Debug, Default)]
pub(in crate::classify) struct Interner<const S: usize> {
    /// By the words of the summary, and behind them those that are stored.
    numbers: HashMap<Bits, u32, ahash::RandomState>,
    /// For one row at a time.
    scratch: Vec<u64>,
}

impl<const S: usize> Interner<S> {
    /// The number of a row: from 0, without gaps.
    pub(in crate::classify) fn number(&mut self, row: &[u64]) -> u32 {
        let mut summary = [0; S];
        for (part, words) in summary.iter_mut().zip(row.chunks(BITS)) {
            *part = words.iter().rev().fold(0, |part, word| part << 1 | u64::from(*word != 0));
        }
        self.scratch.clear();
        self.scratch.extend(summary);
        self.scratch.extend(row.iter().filter(|word| !Head::<S>::PACKED || **word != 0));
        if let Some(number) = self.numbers.get(&*self.scratch) {
            return *number;
        }
        let number = count(self.numbers.len());
        self.numbers.insert(self.scratch.as_slice().into(), number);
        number
    }

    /// The rows by their own numbers.
    pub(super) fn rows(self) -> Rows<S> {
        let all = 0..count(self.numbers.len());
        self.rows_by(all)
    }

    /// The rows with these numbers, in this order.
    pub(super) fn rows_by(self, numbers: impl IntoIterator<Item = u32>) -> Rows<S> {
        let mut distinct: Vec<_> = self.numbers.into_iter().map(|(row, number)| (number, row)).collect();
        distinct.sort_unstable_by_key(|(number, _)| *number);
        let mut words: Vec<u64> = Vec::new();
        let mut stored = Vec::with_capacity(distinct.len());
        for (_, row) in &distinct {
            let mut head = *Head::<S>::NONE;
            let (summary, row) = row.split_at(S);
            head.summary.copy_from_slice(summary);
            let mut next = words.len();
            for (first, part) in head.firsts.iter_mut().zip(summary) {
                *first = count(next);
                next += if Head::<S>::PACKED { part.count_ones() as usize } else { BITS };
            }
            words.extend(row);
            stored.push(head);
        }
        let head = |number: u32| stored.get(number as usize).copied().unwrap_or(*Head::NONE);
        Rows { heads: numbers.into_iter().map(head).collect(), words: words.into() }
    }

    /// Just these rows, in this order.
    pub(in crate::classify) fn rows_of_all(all: impl IntoIterator<Item = Bits>) -> Rows<S> {
        let mut interner = Interner::default();
        let numbers: Vec<_> = all.into_iter().map(|row| interner.number(&row)).collect();
        interner.rows_by(numbers)
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
