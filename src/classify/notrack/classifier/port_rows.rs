//! Protocol and port to row.
//!
//! Protocols that entries name have a table of their own each, all others share one. A table is 256 pages, one for each
//! first byte of a port; pages that are alike are stored once, so that a few ports cost a few KiB and stay in the cache.

use super::rows::{self, Interner, Row, Rows};
use super::spans;
use crate::classify::notrack::Match;
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// The row of each port, by its second byte.
type Page = [u32; 256];

/// Which entries a packet satisfies by its protocol and one of its ports.
#[derive(Debug)]
pub(super) struct PortRows {
    /// By protocol.
    tables: [u8; 256],
    /// The page of each first byte.
    pages_of: Box<[[u16; 256]]>,
    pages: Box<[Page]>,
    rows: Rows,
}

/// The ports that an entry asks for.
type PortsOf = fn(&Match) -> &[RangeInclusive<u16>];

impl PortRows {
    /// For one of the two ports of these entries.
    pub(super) fn new(entries: &[Match], ports_of: PortsOf) -> PortRows {
        let mut builder = Builder::default();
        let mut tables = [0; 256];
        let mut shared = None;
        for (table, protocol) in tables.iter_mut().zip(0..=u8::MAX) {
            let is_named = entries.iter().any(|entry| entry.protocols.contains(&protocol));
            *table = match shared {
                Some(shared) if !is_named => shared,
                _ => builder.table(entries, ports_of, protocol),
            };
            if !is_named {
                shared = Some(*table);
            }
        }
        let Builder { pages_of, pages, interner, .. } = builder;
        PortRows { tables, pages_of: pages_of.into(), pages: pages.into(), rows: interner.rows() }
    }

    /// The row of a packet.
    #[inline(always)]
    pub(super) fn row(&self, protocol: u8, port: u16) -> Row<'_> {
        let [high, low] = port.to_be_bytes().map(usize::from);
        let pages = self.pages_of.get(usize::from(self.tables[usize::from(protocol)]));
        let page = pages.and_then(|pages| self.pages.get(usize::from(pages[high])));
        self.rows.row(page.map_or(0, |page| page[low] as usize))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.pages_of) + size_of_val(&*self.pages) + self.rows.bytes()
    }
}

#[derive(Default)]
struct Builder {
    pages_of: Vec<[u16; 256]>,
    pages: Vec<Page>,
    /// The number of each page.
    numbers: HashMap<Page, u16, ahash::RandomState>,
    interner: Interner,
}

impl Builder {
    /// Adds the table of a protocol; its number.
    fn table(&mut self, entries: &[Match], ports_of: PortsOf, protocol: u8) -> u8 {
        let admits = |entry: &Match| entry.protocols.is_empty() || entry.protocols.contains(&protocol);
        let mut now = rows::of(entries, |entry| admits(entry) && ports_of(entry).is_empty());
        let with_ports = |entry: &Match| admits(entry) && !ports_of(entry).is_empty();
        let mut borders: Vec<(u32, usize)> = Vec::new();
        for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| with_ports(entry)) {
            for (first, last) in spans::of_ports(ports_of(entry)) {
                borders.extend([(u32::from(first), number), (u32::from(last) + 1, number)]);
            }
        }
        borders.sort_unstable();
        let mut borders = borders.into_iter().peekable();
        let mut pages_of = [0; 256];
        let mut row = self.interner.number(&now);
        let mut port = 0;
        for page_of in &mut pages_of {
            let mut page = [0; 256];
            for to in &mut page {
                let mut changed = false;
                while let Some((_, entry)) = borders.next_if(|(border, _)| *border == port) {
                    let (word, bit) = rows::place(entry);
                    now[word] ^= bit;
                    changed = true;
                }
                if changed {
                    row = self.interner.number(&now);
                }
                *to = row;
                port += 1;
            }
            *page_of = self.page(page);
        }
        self.pages_of.push(pages_of);
        u8::try_from(self.pages_of.len() - 1).unwrap_or(u8::MAX)
    }

    /// The number of a page: there are 256 for each of 256 protocols at most.
    fn page(&mut self, page: Page) -> u16 {
        let next = u16::try_from(self.pages.len()).unwrap_or(u16::MAX);
        *self.numbers.entry(page).or_insert_with_key(|page| {
            self.pages.push(*page);
            next
        })
    }
}
