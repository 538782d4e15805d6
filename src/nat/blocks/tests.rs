#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;

fn block(subscriber: u8, first: u16, size: u16) -> Block {
    let (subscriber, address) = (Ipv4Addr::new(100, 64, 0, subscriber), Ipv4Addr::new(203, 0, 113, 9));
    Block { zone: 1, subscriber, address, number: 0, first, size }
}

#[test]
fn only_blocks_that_lie_wholly_among_the_ports_count() {
    assert_eq!(count(&(1024..=65_535), 512), 126);
    assert_eq!(count(&(1024..=65_535), 1024), 63);
    assert_eq!(count(&(1025..=65_534), 1024), 61);
    assert_eq!((count(&(2000..=2047), 64), count(&(2000..=2111), 64), count(&(1..=9), 0)), (0, 1, 0));
}

#[test]
fn a_subscriber_has_his_blocks_and_those_of_another_zone_are_anothers() {
    let mut blocks = Blocks::new(8, 7);
    let mut empty = Empty::default();
    let mut give = |blocks: &mut Blocks, block: Block| blocks.give(block, Tick(0), &mut empty).unwrap();
    let first = give(&mut blocks, block(1, 1024, 512));
    give(&mut blocks, block(2, 2048, 512));
    let second = give(&mut blocks, block(1, 4096, 512));
    give(&mut blocks, Block { zone: 2, ..block(1, 8192, 512) });
    let of =
        |blocks: &Blocks, n| blocks.of(1, Ipv4Addr::new(100, 64, 0, n)).map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(of(&blocks, 1), [second, first], "the newest first");
    assert_eq!(blocks.take_back(first, &mut empty), Some(block(1, 1024, 512)));
    assert_eq!((of(&blocks, 1), of(&blocks, 2).len(), of(&blocks, 3).len()), (vec![second], 1, 0));
}

#[test]
fn the_block_that_was_emptied_first_is_the_first_to_go_and_one_in_use_is_none() {
    let mut blocks = Blocks::new(3, 7);
    let mut empty = Empty::default();
    let ids: Vec<BlockId> = (1..=3)
        .map(|n| blocks.give(block(n, 1024 * u16::from(n), 1024), Tick(0), &mut empty).unwrap())
        .collect();
    assert_eq!(blocks.give(block(4, 8192, 64), Tick(0), &mut empty), None, "there is room for three");
    for id in &ids {
        blocks.took(*id, &mut empty);
        blocks.took(*id, &mut empty);
    }
    assert_eq!(blocks.longest_empty(&empty), None);
    for (now, at) in [(5, 1), (6, 0), (7, 1), (8, 0)] {
        blocks.released(ids[at], Tick(now), &mut empty);
    }
    assert_eq!(blocks.longest_empty(&empty), Some((ids[1], Tick(7))));
    blocks.took(ids[1], &mut empty);
    assert_eq!(blocks.longest_empty(&empty), Some((ids[0], Tick(8))));
    blocks.take_back(ids[0], &mut empty);
    assert_eq!(blocks.longest_empty(&empty), None);
    assert_eq!(blocks.give(block(5, 512, 64), Tick(9), &mut empty), Some(ids[0]), "its place is free again");
}

#[test]
fn what_is_given_in_another_size_is_in_nobodys_way_and_its_block_stays_whole() {
    let ports = 1024..=4095;
    let mut blocks = Blocks::new(8, 7);
    let mut map = BlockMap::new(&ports, |_| true);
    let all = |map: &BlockMap, size| {
        let mut map = map.clone();
        let mut blocks = Blocks::new(99, 1);
        let mut found = Vec::new();
        while let Some(ports) = map.find(size, 0, |_| true) {
            let block = block(9, *ports.start(), size);
            let id = blocks.give(block, Tick(0), &mut map.empty).unwrap();
            map.give(&block, id);
            found.push(*ports.start());
        }
        found.sort_unstable();
        found
    };
    assert_eq!(all(&map, 1024), [1024, 2048, 3072]);
    let small = block(1, 2048 + 128, 64);
    let id = blocks.give(small, Tick(0), &mut map.empty).unwrap();
    map.give(&small, id);
    assert_eq!(all(&map, 1024), [1024, 3072]);
    assert_eq!(all(&map, 512), [1024, 1536, 2560, 3072, 3584]);
    assert_eq!((map.at(2176), map.at(2239), map.at(2240)), (Some(id), Some(id), None));
    let mut next = BlockMap::new(&ports, |port| port >= 2048);
    next.inherit(&map);
    assert_eq!(all(&next, 512), [2560, 3072, 3584], "what is this worker's, and free");
    assert_eq!(next.all().collect::<Vec<_>>(), [id]);
    next.take_back(&small, id);
    assert_eq!(all(&next, 1024), [2048, 3072]);
    next.close();
    assert_eq!(all(&next, 64), [0; 0]);
}

proptest! {
    #[test]
    fn every_free_block_is_found_whatever_the_random_number(
        size in prop::sample::select(vec![64u16, 128, 256, 512, 1024]),
        first in 1024u16..60_000,
        more in 0u16..5_000,
        mut random: u64,
    ) {
        let ports = first..=first.saturating_add(more);
        let mut map = BlockMap::new(&ports, |_| true);
        let mut blocks = Blocks::new(2000, random);
        let mut given = 0;
        while let Some(found) = map.find(size, random, |_| true) {
            prop_assert!(found.start() % size == 0 && ports.contains(found.start()) && ports.contains(found.end()));
            prop_assert!(map.at(*found.start()).is_none(), "nobody has it");
            let block = block(1, *found.start(), size);
            let id = blocks.give(block, Tick(0), &mut map.empty).unwrap();
            map.give(&block, id);
            random = random.rotate_left(9) ^ 0x9e37_79b9_7f4a_7c15;
            given += 1;
        }
        prop_assert_eq!(given, count(&ports, size));
    }
}
