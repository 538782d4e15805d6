//! Protocol and port to row.
//!
//! Protocols that rules name have a table of their own each, all others share one. A table is 256 pages, one for each
//! first byte of a port; pages that are alike are stored once, so that a few ports cost a few KiB and stay in the cache.

use super::rows::{self, Interner, Row, Rows};
use super::{Conditions, spans};
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// The row of each port, by its second byte.
type Page = [u32; 256];

/// Which rules a packet satisfies by its protocol and one of its ports.
#[derive(Debug)]
pub(in crate::classify) struct PortRows<const S: usize> {
    /// By protocol.
    tables: [u8; 256],
    /// The page of each first byte.
    pages_of: Box<[[u16; 256]]>,
    pages: Box<[Page]>,
    rows: Rows<S>,
}

/// The ports that a rule asks for.
type PortsOf<R> = fn(&R) -> &[RangeInclusive<u16>];

impl<const S: usize> PortRows<S> {
    /// For one of the two ports of these rules.
    pub(in crate::classify) fn new<R: Conditions>(rules: &[R], ports_of: PortsOf<R>) -> PortRows<S> {
        let mut builder = Builder::default();
        let mut tables = [0; 256];
        let mut shared = None;
        for (table, protocol) in tables.iter_mut().zip(0..=u8::MAX) {
            let is_named = rules.iter().any(|rule| rule.protocols().contains(&protocol));
            *table = match shared {
                Some(shared) if !is_named => shared,
                _ => builder.table(rules, ports_of, protocol),
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
    pub(in crate::classify) fn row(&self, protocol: u8, port: u16) -> Row<'_, S> {
        let [high, low] = port.to_be_bytes().map(usize::from);
        let pages = self.pages_of.get(usize::from(self.tables[usize::from(protocol)]));
        let page = pages.and_then(|pages| self.pages.get(usize::from(pages[high])));
        self.rows.row(page.map_or(0, |page| page[low] as usize))
    }

    /// Bytes of memory.
    pub(in crate::classify) fn bytes(&self) -> usize {
        size_of_val(&*self.pages_of) + size_of_val(&*self.pages) + self.rows.bytes()
    }
}

#[derive(Default)]
struct Builder<const S: usize> {
    pages_of: Vec<[u16; 256]>,
    pages: Vec<Page>,
    /// The number of each page.
    numbers: HashMap<Page, u16, ahash::RandomState>,
    interner: Interner<S>,
}

impl<const S: usize> Builder<S> {
    /// Adds the table of a protocol; its number.
    fn table<R: Conditions>(&mut self, rules: &[R], ports_of: PortsOf<R>, protocol: u8) -> u8 {
        let admits = |rule: &R| rule.protocols().is_empty() || rule.protocols().contains(&protocol);
        let mut now = rows::of(rules, |rule| admits(rule) && ports_of(rule).is_empty());
        let with_ports = |rule: &R| admits(rule) && !ports_of(rule).is_empty();
        let mut borders: Vec<(u32, usize)> = Vec::new();
        for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| with_ports(rule)) {
            for (first, last) in spans::of_ports(ports_of(rule)) {
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
                while let Some((_, rule)) = borders.next_if(|(border, _)| *border == port) {
                    let (word, bit) = rows::place(rule);
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
