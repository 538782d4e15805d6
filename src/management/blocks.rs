//! Blocks of ports: one record for each that is given and for each that goes back, and who has which now.
//!
//! A record is a message of the log, of the target [`TARGET`], so that it can go where records of carriers go: it names the
//! subscriber and no destination (RFC 6888 REQ-12). The [`Ledger`] is what the control thread lists; the management core writes
//! it, and neither waits for the other for longer than it takes to copy it.

use super::Management;
use crate::nat::blocks::{Block, BlockEvent};
use crate::time::Tick;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// What the records' messages are of, for filters of the log.
pub const TARGET: &str = "natgate::blocks";

/// The blocks that subscribers have. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// By external address and first port, with the tick in which it was given.
    held: BTreeMap<(Ipv4Addr, u16), (Block, Tick)>,
    given: u64,
    released: u64,
}

impl Ledger {
    fn note(&self, event: &BlockEvent) {
        let BlockEvent { at, given, block } = event;
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *given {
            book.held.insert((block.address, block.first), (*block, *at));
            book.given += 1;
        } else {
            book.held.remove(&(block.address, block.first));
            book.released += 1;
        }
    }

    /// The blocks that `wanted` accepts, at most so many, by address and port: each with the tick in which it was given.
    pub fn list(&self, most: usize, wanted: impl Fn(&Block) -> bool) -> Vec<(Block, Tick)> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.held.values().filter(|(block, _)| wanted(block)).take(most).copied().collect()
    }

    /// Blocks that subscribers have; that were given since the start; that have gone back.
    pub fn counts(&self) -> [u64; 3] {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [book.held.len() as u64, book.given, book.released]
    }
}

impl Management {
    /// Who has which blocks, for others to read.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    pub(super) fn tell_of_block(&mut self, event: &BlockEvent) {
        self.ledger.note(event);
        let Block { zone, subscriber, address, first, .. } = event.block;
        let (last, name) = (*event.block.ports().end(), if event.given { "given" } else { "released" });
        tracing::info!(
            target: TARGET,
            event = if event.given { "port_block_given" } else { "port_block_released" },
            %subscriber,
            zone,
            %address,
            first_port = first,
            last_port = last,
            "ports {address}:{first}-{last} {name}: subscriber {subscriber}, zone {zone}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_holds_what_was_given_and_has_not_gone_back() {
        let ledger = Ledger::default();
        let block = |last, first| Block {
            zone: 0,
            subscriber: Ipv4Addr::new(100, 64, 0, last),
            address: Ipv4Addr::new(203, 0, 113, 9),
            number: 3,
            first,
            size: 512,
        };
        let note = |at, given, block| ledger.note(&BlockEvent { at: Tick(at), given, block });
        note(1, true, block(1, 2048));
        note(2, true, block(2, 1024));
        note(3, true, block(1, 4096));
        note(4, false, block(1, 2048));
        let of = |last| ledger.list(9, |block| block.subscriber.octets()[3] == last);
        assert_eq!(of(1), [(block(1, 4096), Tick(3))]);
        assert_eq!(of(2), [(block(2, 1024), Tick(2))]);
        assert_eq!((ledger.counts(), ledger.list(1, |_| true).len()), ([2, 3, 1], 1));
    }
}
