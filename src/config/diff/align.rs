//! Which rule of one list is which of another: those that are gone, new, changed, and in another place.
//!
//! Equal rules are paired first, then those that match the same packets and do something else with them. Of the pairs
//! as many as possible are taken to have stayed where they were (a longest increasing subsequence); the others moved.
//! Everything takes O(n log n) for n rules.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The differences between two lists; all numbers are indices.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Alignment {
    /// Of the first list, in its order.
    pub(super) removed: Vec<usize>,
    /// Of the second list, in its order.
    pub(super) added: Vec<usize>,
    /// Of the first and of the second, in the order of the second.
    pub(super) changed: Vec<(usize, usize)>,
    /// In the order of the second.
    pub(super) moved: Vec<Block>,
}

/// Neighbours that moved together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Index of the first one in the first list.
    pub(super) before: usize,
    /// And in the second.
    pub(super) after: usize,
    /// How many, at least 1.
    pub(super) count: usize,
}

/// Compares two lists of rules, each of which is what it matches and what it does.
pub(super) fn align<M: Hash + Eq + Clone, A: Hash + Eq + Clone>(
    before: &[(M, A)],
    after: &[(M, A)],
) -> Alignment {
    let mut partner: Vec<Option<usize>> = vec![None; after.len()];
    let mut paired = vec![false; before.len()];
    pair(before, after, &mut partner, &mut paired, Clone::clone);
    let equal = partner.clone();
    pair(before, after, &mut partner, &mut paired, |rule| rule.0.clone());
    let pairs = || partner.iter().enumerate().filter_map(|(new, old)| Some(((*old)?, new)));
    let is_changed = |(_, new): &(usize, usize)| equal.get(*new).copied().flatten().is_none();
    Alignment {
        removed: (0..).zip(&paired).filter(|(_, paired)| !**paired).map(|(old, _)| old).collect(),
        added: (0..).zip(&partner).filter(|(_, old)| old.is_none()).map(|(new, _)| new).collect(),
        changed: pairs().filter(is_changed).collect(),
        moved: moved(&pairs().collect::<Vec<_>>(), &paired),
    }
}

/// Pairs rules with the same key that have no partner yet, the first with the first.
fn pair<R, K: Hash + Eq>(
    before: &[R],
    after: &[R],
    partner: &mut [Option<usize>],
    paired: &mut [bool],
    key: impl Fn(&R) -> K,
) {
    let mut waiting: HashMap<K, VecDeque<usize>> = HashMap::new();
    for (old, (rule, _)) in before.iter().zip(paired.iter()).enumerate().filter(|(_, (_, paired))| !**paired)
    {
        waiting.entry(key(rule)).or_default().push_back(old);
    }
    for (rule, partner) in after.iter().zip(partner).filter(|(_, partner)| partner.is_none()) {
        *partner = waiting.get_mut(&key(rule)).and_then(VecDeque::pop_front);
        if let Some(paired) = partner.and_then(|old| paired.get_mut(old)) {
            *paired = true;
        }
    }
}

/// The blocks of pairs that are not where they were.
fn moved(pairs: &[(usize, usize)], paired: &[bool]) -> Vec<Block> {
    // The place of each old rule among those that are left, so that removed ones part no neighbours.
    let mut left = 0;
    let count = |paired: &bool| {
        let rank = left;
        left += usize::from(*paired);
        rank
    };
    let ranks: Vec<usize> = paired.iter().map(count).collect();
    let rank = |old: usize| ranks.get(old).copied().unwrap_or(old);
    let sequence: Vec<usize> = pairs.iter().map(|(old, _)| rank(*old)).collect();
    let stays = longest_increasing(&sequence);
    let mut blocks: Vec<Block> = Vec::new();
    // The rank that would continue the current block.
    let mut next = None;
    for ((old, new), stays) in pairs.iter().zip(stays) {
        match blocks.last_mut() {
            _ if stays => next = None,
            Some(block) if next == Some(rank(*old)) => {
                block.count += 1;
                next = Some(rank(*old) + 1);
            }
            _ => {
                blocks.push(Block { before: *old, after: *new, count: 1 });
                next = Some(rank(*old) + 1);
            }
        }
    }
    blocks
}

/// For each number, whether it is in one longest increasing subsequence (patience sorting).
fn longest_increasing(numbers: &[usize]) -> Vec<bool> {
    let value = |index: usize| numbers.get(index).copied().unwrap_or_default();
    // The index of the smallest last number of the subsequences of each length.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| value(*end) < *number);
        previous.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut chosen = vec![false; numbers.len()];
    let mut at = ends.last().copied();
    while let Some(index) = at {
        if let Some(chosen) = chosen.get_mut(index) {
            *chosen = true;
        }
        at = previous.get(index).copied().flatten();
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rules that are matched by a letter and do what a digit says.
    fn rules(text: &str) -> Vec<(char, char)> {
        let letters: Vec<char> = text.chars().collect();
        letters.chunks(2).map(|rule| (rule[0], rule[1])).collect()
    }

    fn compare(before: &str, after: &str) -> Alignment {
        align(&rules(before), &rules(after))
    }

    #[test]
    fn removed_and_added_rules_move_nobody() {
        let found = compare("a1b1c1d1", "x1a1c1y1d1");
        assert_eq!(found, Alignment { removed: vec![1], added: vec![0, 3], ..Alignment::default() });
    }

    #[test]
    fn a_rule_that_matches_the_same_is_changed_not_replaced() {
        let found = compare("a1b1c1", "a1b2c1");
        assert_eq!(found, Alignment { changed: vec![(1, 1)], ..Alignment::default() });
    }

    #[test]
    fn neighbours_that_move_together_are_one_move() {
        // `x` and `d` are gone: they part no neighbours.
        let found = compare("a1b1x1c1d1e1f1g1h1", "e1f1a1b1c1g1h1");
        let block = Block { before: 5, after: 0, count: 2 };
        assert_eq!(found, Alignment { removed: vec![2, 4], moved: vec![block], ..Alignment::default() });
    }

    #[test]
    fn of_equal_rules_the_last_ones_are_new() {
        let found = compare("a1a1", "a1a1a1");
        assert_eq!(found, Alignment { added: vec![2], ..Alignment::default() });
    }

    proptest! {
        #[test]
        fn what_stayed_and_what_moved_make_up_the_new_list(
            before in prop::collection::vec((0u8..6, 0u8..3), 0..30),
            after in prop::collection::vec((0u8..6, 0u8..3), 0..30),
        ) {
            let found = align(&before, &after);
            let moved: usize = found.moved.iter().map(|block| block.count).sum();
            let pairs = after.len() - found.added.len();
            prop_assert_eq!(before.len() - found.removed.len(), pairs);
            prop_assert!(moved < pairs.max(1));
            for block in &found.moved {
                // A block is made of neighbours in the new list, but for new rules between them.
                prop_assert!(block.after + block.count <= after.len());
                prop_assert_eq!(before[block.before].0, after[block.after].0);
            }
            for (old, new) in &found.changed {
                prop_assert_eq!(before[*old].0, after[*new].0);
                prop_assert_ne!(before[*old].1, after[*new].1);
            }
            prop_assert_eq!(align(&before, &before), Alignment::default());
        }

        #[test]
        fn the_longest_subsequence_is_found(numbers in Just((0..8).collect::<Vec<usize>>()).prop_shuffle()) {
            let chosen = longest_increasing(&numbers);
            let kept: Vec<usize> =
                numbers.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(number, _)| *number).collect();
            prop_assert!(kept.is_sorted());
            let increasing = |mask: u32| {
                let part: Vec<usize> = (0..8).filter(|n| mask >> n & 1 == 1).map(|n| numbers[n]).collect();
                part.is_sorted().then_some(part.len())
            };
            prop_assert_eq!(Some(kept.len()), (0u32..256).filter_map(increasing).max());
        }
    }
}
