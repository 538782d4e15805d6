//! Who fills the table: sessions counted by source, by state, by whatever they have in common.
//!
//! A tally reads the tables of all workers once ([`Walk`]) and keeps one entry for each different key, so its memory is
//! bounded by the sessions that there are: about 50 bytes for each source when it is asked for sources. Keys are
//! spread over `SHARDS` maps: one big map would hold everybody up each time that it grows. Only one tally is
//! made at a time; a second one waits.

use super::api;
use super::filter::Filter;
use super::state::ControlState;
use super::walk::Walk;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::conntrack::tracker::State;
use crate::ids::Realm;
use crate::time::Tick;
use crate::wire::protocol;
use ahash::RandomState;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use tokio::task::yield_now;

/// Over how many seconds new sessions are counted for a rate.
pub const RATE_SECONDS: u32 = 10;
/// The same in ticks.
const RATE_TICKS: u32 = RATE_SECONDS * 10;
/// Maps that the keys are spread over.
const SHARDS: usize = 256;
/// Rows if the request does not say how many, of what there can be many of.
pub const DEFAULT_ROWS: usize = 20;
/// The most rows of an answer.
pub const MAX_ROWS: usize = 10_000;

/// What sessions are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// State of the tracker.
    State,
    /// Protocol.
    Protocol,
    /// Source address of the first packet, with its zone.
    Source,
    /// Destination address of the first packet, before translation.
    Destination,
    /// Protocol and destination port of the first packet.
    Dport,
    /// The worker that owns them.
    Worker,
    /// Zone of the interface that they were opened by.
    Zone,
    /// Internal endpoint and external endpoint (RFC 4787).
    Mapping,
}

impl By {
    /// All of them.
    pub const ALL: [By; 8] =
        [By::State, By::Protocol, By::Source, By::Destination, By::Dport, By::Worker, By::Zone, By::Mapping];

    /// The name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            By::State => "state",
            By::Protocol => "protocol",
            By::Source => "source",
            By::Destination => "destination",
            By::Dport => "dport",
            By::Worker => "worker",
            By::Zone => "zone",
            By::Mapping => "mapping",
        }
    }

    /// What has that name.
    ///
    /// # Errors
    /// Nothing has.
    pub fn parse(text: &str) -> Result<By, String> {
        By::ALL.into_iter().find(|by| by.name() == text).ok_or_else(|| {
            let names: Vec<_> = By::ALL.into_iter().map(By::name).collect();
            format!("{text:?} is nothing to count by: use {}", names.join(", "))
        })
    }

    /// How many rows are shown if nobody says how many.
    pub fn default_rows(self) -> usize {
        match self {
            By::State | By::Protocol | By::Worker | By::Zone => MAX_ROWS,
            By::Source | By::Destination | By::Dport | By::Mapping => DEFAULT_ROWS,
        }
    }

    fn key(self, session: &SessionSnapshot<V4Key>, worker: usize) -> Key {
        let (original, reply) = (session.original.tuple(), session.reply.tuple());
        let zone = session.original.zone();
        match self {
            By::State => Key::State(first_of_its_name(session.state)),
            By::Protocol => Key::Protocol(session.protocol),
            By::Source => Key::Address(original.src, zone),
            By::Destination => Key::Address(original.dst, zone),
            By::Dport if protocol::has_ports(session.protocol) => Key::Port(session.protocol, original.dport),
            By::Dport => Key::Protocol(session.protocol),
            By::Worker => Key::Worker(u16::try_from(worker).unwrap_or(u16::MAX)),
            By::Zone => Key::Zone(zone),
            // From inside, the answers go to the external endpoint; from outside, the first packet does.
            By::Mapping => match session.original.realm() {
                Realm::Internal => Key::Mapping {
                    protocol: session.protocol,
                    internal: (original.src, original.sport),
                    external: (reply.dst, reply.dport),
                },
                Realm::External => Key::Mapping {
                    protocol: session.protocol,
                    internal: (reply.src, reply.sport),
                    external: (original.dst, original.dport),
                },
            },
        }
    }
}

/// What the rows of an answer are sorted by, the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Sessions in the table.
    #[default]
    Entries,
    /// New sessions a second.
    Rate,
    /// Bytes.
    Bytes,
}

impl Sort {
    /// All of them.
    pub const ALL: [Sort; 3] = [Sort::Entries, Sort::Rate, Sort::Bytes];

    /// The name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Entries => "entries",
            Sort::Rate => "rate",
            Sort::Bytes => "bytes",
        }
    }

    /// What has that name.
    ///
    /// # Errors
    /// Nothing has.
    pub fn parse(text: &str) -> Result<Sort, String> {
        Sort::ALL
            .into_iter()
            .find(|sort| sort.name() == text)
            .ok_or_else(|| format!("{text:?} is nothing to sort by: use entries, rate or bytes"))
    }

    fn of(self, tally: &Tally) -> u64 {
        match self {
            Sort::Entries => tally.sessions,
            Sort::Rate => tally.fresh.into(),
            Sort::Bytes => tally.bytes,
        }
    }
}

/// What the sessions of a row have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    State(u8),
    Protocol(u8),
    Address(Ipv4Addr, u16),
    Port(u8, u16),
    Worker(u16),
    Zone(u16),
    Mapping { protocol: u8, internal: (Ipv4Addr, u16), external: (Ipv4Addr, u16) },
}

const _: () = assert!(size_of::<Key>() <= 16);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Key::State(number) => f.write_str(State::ALL.get(usize::from(number)).map_or("?", |s| s.name())),
            Key::Protocol(number) => f.write_str(&protocol_name(number)),
            Key::Address(address, 0) => write!(f, "{address}"),
            Key::Address(address, zone) => write!(f, "{address} zone={zone}"),
            Key::Port(number, port) => write!(f, "{}/{port}", protocol_name(number)),
            Key::Worker(number) | Key::Zone(number) => write!(f, "{number}"),
            Key::Mapping { protocol, internal: (inner, inner_port), external: (outer, outer_port) } => {
                let name = protocol_name(protocol);
                write!(f, "{name} {inner}:{inner_port} {outer}:{outer_port}")
            }
        }
    }
}

/// A protocol's name, or its number if it has none here.
pub(super) fn protocol_name(number: u8) -> String {
    protocol::name(number).map_or_else(|| number.to_string(), ToOwned::to_owned)
}

/// The number of the first state with the same name: states of different protocols may share one, and are counted
/// together as they are when somebody counts the lines of a list.
fn first_of_its_name(state: State) -> u8 {
    static FIRST: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let first = |state: &State| State::ALL.iter().find(|other| other.name() == state.name());
        State::ALL.iter().map(|state| *first(state).unwrap_or(state) as u8).collect()
    });
    FIRST.get(usize::from(state as u8)).copied().unwrap_or(state as u8)
}

/// What was counted for a key.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    sessions: u64,
    /// Those that were opened during the last [`RATE_SECONDS`].
    fresh: u32,
    packets: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, session: &SessionSnapshot<V4Key>, now: Tick) {
        self.sessions += 1;
        if now.since(session.created) < RATE_TICKS {
            self.fresh = self.fresh.saturating_add(1);
        }
        self.packets = self.packets.wrapping_add(session.packets.iter().sum());
        self.bytes = self.bytes.wrapping_add(session.bytes.iter().sum());
    }

    fn row(&self, key: String) -> api::SessionGroup {
        api::SessionGroup {
            key,
            sessions: self.sessions,
            new_per_second: f64::from(self.fresh) / f64::from(RATE_SECONDS),
            packets: self.packets,
            bytes: self.bytes,
        }
    }
}

/// How many sessions the filter means, on each worker. Reads the tables.
pub async fn count(state: &ControlState, filter: &Filter) -> Vec<u64> {
    let mut counts = vec![0; state.sessions.len()];
    let mut walk = Walk::new(state, filter);
    while !walk.is_over() {
        walk.step(state, filter, |worker, _| {
            if let Some(count) = counts.get_mut(worker) {
                *count += 1;
            }
            ControlFlow::Continue(())
        });
        yield_now().await;
    }
    counts
}

/// The sessions that the filter means, counted by what they have in common: the `rows` largest.
pub async fn groups(
    state: &ControlState,
    filter: &Filter,
    by: By,
    sort: Sort,
    rows: usize,
) -> api::SessionGroups {
    let hasher = RandomState::new();
    let mut shards: Vec<HashMap<Key, Tally, RandomState>> = Vec::new();
    shards.resize_with(SHARDS, || HashMap::with_hasher(hasher.clone()));
    let mut sessions = 0;
    let mut walk = Walk::new(state, filter);
    while !walk.is_over() {
        let now = (state.now)();
        walk.step(state, filter, |worker, session| {
            sessions += 1;
            let key = by.key(session, worker);
            // The maps use the lower bits themselves.
            let shard = usize::try_from(hasher.hash_one(key) >> 48).unwrap_or(0) % SHARDS;
            if let Some(map) = shards.get_mut(shard) {
                map.entry(key).or_default().add(session, now);
            }
            ControlFlow::Continue(())
        });
        yield_now().await;
    }
    let mut different = 0;
    let mut largest = Largest::new(rows);
    for shard in shards {
        different += shard.len() as u64;
        for (key, tally) in shard {
            largest.offer(sort.of(&tally), key, tally);
        }
        yield_now().await;
    }
    let rows = largest.into_sorted().into_iter().map(|(key, tally)| tally.row(key.to_string())).collect();
    api::SessionGroups { by: by.name().to_owned(), sessions, groups: different, rows }
}

/// The largest of many, in as much memory as are wanted. Of equals the smaller key.
struct Largest {
    wanted: usize,
    /// The smallest on top.
    heap: BinaryHeap<Reverse<(u64, Reverse<Key>)>>,
    tallies: HashMap<Key, Tally, RandomState>,
}

impl Largest {
    fn new(wanted: usize) -> Self {
        Largest { wanted, heap: BinaryHeap::new(), tallies: HashMap::default() }
    }

    fn offer(&mut self, size: u64, key: Key, tally: Tally) {
        let candidate = (size, Reverse(key));
        if self.heap.len() >= self.wanted {
            match self.heap.peek() {
                Some(Reverse(smallest)) if *smallest < candidate => {}
                _ => return,
            }
            if let Some(Reverse((_, Reverse(gone)))) = self.heap.pop() {
                self.tallies.remove(&gone);
            }
        }
        self.heap.push(Reverse(candidate));
        self.tallies.insert(key, tally);
    }

    fn into_sorted(self) -> Vec<(Key, Tally)> {
        let Largest { heap, tallies, .. } = self;
        let sorted = heap.into_sorted_vec();
        sorted
            .into_iter()
            .filter_map(|Reverse((_, Reverse(key)))| tallies.get(&key).map(|tally| (key, *tally)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_largest_are_those_that_sorting_all_would_give(
            sizes in proptest::collection::vec(0u64..50, 0..60),
            wanted in 0usize..20,
        ) {
            let mut largest = Largest::new(wanted);
            let all = (0u16..).map(Key::Zone).zip(sizes);
            let mut expected: Vec<_> = all.collect();
            for (key, size) in &expected {
                largest.offer(*size, *key, Tally { sessions: *size, ..Tally::default() });
            }
            expected.sort_by_key(|(key, size)| (Reverse(*size), *key));
            expected.truncate(wanted);
            let found = largest.into_sorted().into_iter().map(|(key, tally)| (key, tally.sessions));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_key_reads_as_its_sessions_are_asked_for() {
        let address = Ipv4Addr::new(10, 0, 0, 5);
        assert_eq!(Key::Address(address, 0).to_string(), "10.0.0.5");
        assert_eq!(Key::Address(address, 7).to_string(), "10.0.0.5 zone=7");
        assert_eq!(Key::Port(protocol::TCP, 443).to_string(), "tcp/443");
        assert_eq!(Key::Protocol(200).to_string(), "200");
        for state in State::ALL {
            assert_eq!(Key::State(first_of_its_name(*state)).to_string(), state.name());
        }
        assert_eq!(Key::State(State::SynSent as u8).to_string(), "SYN_SENT");
        let external = (Ipv4Addr::new(203, 0, 113, 2), 4242);
        let mapping = Key::Mapping { protocol: protocol::UDP, internal: (address, 5353), external };
        assert_eq!(mapping.to_string(), "udp 10.0.0.5:5353 203.0.113.2:4242");
    }
}
