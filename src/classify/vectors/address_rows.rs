//! Sets of prefixes to atoms, and to the rows of each atom.
//!
//! One sweep over the borders of all ranges, ascending. What changes at a border is which sets the address is in; an
//! rule's source is in one set at most, so a border of a set turns over the bits of the rules that name the set, and
//! entering and leaving are the same. After each border the rows as they are then are looked up among those that were
//! there before.

use super::Conditions;
use super::atoms::{Atoms, Start};
use super::rows::{self, Bits, Interner, Rows};
use crate::classify::PrefixSet;
use std::collections::HashMap;

/// The rows of one list of rules, by atom.
#[derive(Debug)]
pub(in crate::classify) struct Sides<const S: usize> {
    pub(in crate::classify) src: Rows<S>,
    pub(in crate::classify) dst: Rows<S>,
}

/// The set that a rule names on one side.
type Side<R> = fn(&R) -> Option<usize>;

/// Source and destination.
fn both_sides<R: Conditions>() -> [Side<R>; 2] {
    [R::src, R::dst]
}

/// The rows of one side of one list while the sweep goes on.
struct Facet<const S: usize> {
    /// At the present address.
    now: Bits,
    /// Since `number` was looked up.
    changed: bool,
    number: u32,
    interner: Interner<S>,
}

/// A word of a facet, and the bits of it that a border turns over.
struct Flip {
    facet: usize,
    word: usize,
    bits: u64,
}

/// Atoms for all of these lists, and the rows of each. `sets` are those that rules name by number.
pub(in crate::classify) fn compile<R: Conditions, const S: usize, const N: usize>(
    lists: [&[R]; N],
    sets: &[PrefixSet],
) -> (Atoms, Vec<Sides<S>>) {
    let mut facets: Vec<Facet<S>> =
        lists.iter().flat_map(|list| both_sides().map(|side| Facet::anywhere(list, side))).collect();
    let flips = flips_of(lists, sets.len());
    let mut borders = borders_of(sets, &flips);
    borders.sort_unstable();

    let mut atoms = Numbered::default();
    let mut starts: Vec<Start> = vec![(0, atoms.number(&facets))];
    for borders in borders.chunk_by(|one, other| one.0 == other.0) {
        let Some((first, _)) = borders.first().copied() else { continue };
        for flip in borders.iter().filter_map(|(_, set)| flips.get(*set)).flatten() {
            facets[flip.facet].flip(flip);
        }
        facets.iter_mut().for_each(Facet::settle);
        let atom = atoms.number(&facets);
        match starts.last_mut() {
            Some(last) if last.0 == first => last.1 = atom,
            Some(last) if last.1 == atom => {}
            _ => starts.push((first, atom)),
        }
    }
    let of_atom = |facet: usize| atoms.keys.iter().map(move |key| key[facet]);
    let mut rows = facets.into_iter().enumerate().map(|(at, facet)| facet.interner.rows_by(of_atom(at)));
    let mut sides = Vec::new();
    while let (Some(src), Some(dst)) = (rows.next(), rows.next()) {
        sides.push(Sides { src, dst });
    }
    (Atoms::new(&starts), sides)
}

impl<const S: usize> Facet<S> {
    /// Where the address is in no set.
    fn anywhere<R>(list: &[R], side: Side<R>) -> Facet<S> {
        let mut facet = Facet {
            now: rows::of(list, |rule| side(rule).is_none()),
            changed: true,
            number: 0,
            interner: Interner::default(),
        };
        facet.settle();
        facet
    }

    fn flip(&mut self, flip: &Flip) {
        self.now[flip.word] ^= flip.bits;
        self.changed = true;
    }

    fn settle(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.number = self.interner.number(&self.now);
        }
    }
}

/// By set: what its borders turn over.
fn flips_of<R: Conditions, const N: usize>(lists: [&[R]; N], sets: usize) -> Vec<Vec<Flip>> {
    let mut flips: Vec<Vec<Flip>> = (0..sets).map(|_| Vec::new()).collect();
    let facets = lists.into_iter().flat_map(|list| both_sides().map(|side| (list, side)));
    for (facet, (list, side)) in facets.enumerate() {
        for (number, rule) in list.iter().enumerate() {
            // A set that is not there has no addresses.
            let Some(flips) = side(rule).and_then(|set| flips.get_mut(set)) else { continue };
            let (word, bits) = rows::place(number);
            match flips.last_mut() {
                Some(last) if (last.facet, last.word) == (facet, word) => last.bits |= bits,
                _ => flips.push(Flip { facet, word, bits }),
            }
        }
    }
    flips
}

/// The first addresses in and behind each range of the sets that rules name, with the set.
fn borders_of(sets: &[PrefixSet], flips: &[Vec<Flip>]) -> Vec<(u32, usize)> {
    let named = sets.iter().zip(flips).enumerate().filter(|(_, (_, flips))| !flips.is_empty());
    let ranges = named.flat_map(|(number, (set, _))| set.ranges().map(move |range| (number, range)));
    ranges
        .flat_map(|(number, (first, last))| [Some(first), last.checked_add(1)].map(|at| Some((at?, number))))
        .flatten()
        .collect()
}

/// Atoms, by the numbers of their rows in each facet.
#[derive(Default)]
struct Numbered {
    numbers: HashMap<Box<[u32]>, u32, ahash::RandomState>,
    keys: Vec<Box<[u32]>>,
}

impl Numbered {
    /// The atom of the present address.
    fn number<const S: usize>(&mut self, facets: &[Facet<S>]) -> u32 {
        let key: Box<[u32]> = facets.iter().map(|facet| facet.number).collect();
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            next
        })
    }
}
