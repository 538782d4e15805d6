//! `natgate bench`: a traffic generator and checker, and the trials that are made with it.
//!
//! # What it is
//!
//! Two [`Device`](crate::device::Device)s are the two sides of a device under test (DUT): *inside*, where the clients are,
//! and *outside*, where the servers are. A [`generator::Generator`] plays all of them. Every frame that it sends says in
//! its payload which flow it belongs to, its number in the flow, and when it was sent; every frame that comes back is
//! checked in full: link, IPv4 header and checksum, TTL, addresses and ports, length, UDP checksum (computed anew), order in
//! its flow. A wrong frame ends the run with what was expected and what came. Lost frames are what is measured.
//!
//! The DUT is whatever is attached to the two devices; or a natgate in this process, over devices in memory
//! ([`gateway`], [`ring`]).
//!
//! # Files
//!
//! | file | concept |
//! |---|---|
//! | [`addresses`] | which hosts and ports a flow has, by arithmetic |
//! | [`order`] | flows in random order without a list of them |
//! | [`sizes`] | frame sizes and the IMIX |
//! | [`frame`] | a frame as it is written |
//! | [`check`] | a frame as it is read and checked |
//! | [`flows`] | what is remembered of each flow: 32 bytes |
//! | [`pace`] | when the next frames are due |
//! | [`histogram`] | latencies |
//! | [`search`] | the binary search for a rate |
//! | [`load`] | what a run sends, and what became of it |
//! | [`port`] | one side: its device, its neighbour, ARP |
//! | [`generator`] | the loop that sends and receives |
//! | [`trials`] | what is measured, by RFC 2544 and RFC 9693 |
//! | [`report`] | what was measured: its model, JSON and plots |
//! | [`gateway`], [`ring`] | the DUT in this process |
//!
//! # Ownership and order
//!
//! One thread owns the generator with both devices, all frames and all flows; nothing in it is shared, so nothing is
//! locked. In one turn of its loop it reads the clock once, takes a burst from each side and checks it, and sends the burst
//! that is due on each side. Frames that were checked are written anew and sent again: the pool is asked only for what
//! was lost. State of flows is asked for (prefetched) a burst before it is used. A DUT in this process runs on threads of its
//! own, as `natgate run` has them, and meets the generator in rings.
//!
//! Time is a parameter everywhere but in [`generator::Wall`], so that all of it can be tested with a clock that the test
//! turns.
//!
//! # Bounds
//!
//! After a trial's table of flows is made, the loop allocates no memory but frames. It holds at most [`generator::SPARE`]
//! frames and one burst for each side beside those in the devices.

pub mod addresses;
pub mod check;
pub mod flows;
pub mod frame;
pub mod gateway;
pub mod generator;
pub mod histogram;
pub mod load;
pub mod order;
pub mod pace;
pub mod port;
pub mod report;
pub mod ring;
pub mod search;
pub mod sizes;
#[cfg(test)]
pub(crate) mod testing;
pub mod trials;

/// Which way a frame goes through the device under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a client inside to a server outside.
    Out,
    /// From a server back to its client.
    Back,
}

impl Way {
    /// Both ways, in the order of [`Way::index`].
    pub const BOTH: [Way; 2] = [Way::Out, Way::Back];

    /// Index into a pair: also that of the side that frames of this way are sent from.
    #[inline]
    pub fn index(self) -> usize {
        match self {
            Way::Out => 0,
            Way::Back => 1,
        }
    }

    /// The other way.
    #[inline]
    #[must_use]
    pub fn reverse(self) -> Way {
        match self {
            Way::Out => Way::Back,
            Way::Back => Way::Out,
        }
    }

    /// In words, of a frame.
    pub fn name(self) -> &'static str {
        match self {
            Way::Out => "outward",
            Way::Back => "backward",
        }
    }

    /// The side that frames of this way are sent from.
    pub fn from_side(self) -> &'static str {
        match self {
            Way::Out => "inside",
            Way::Back => "outside",
        }
    }
}

/// What the device under test does to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It routes, and translates the sources of clients: natgate, the kernel's masquerading.
    Translated,
    /// It passes packets as they are, routed or not: `dpdk-testpmd`, a bridge.
    Forwarded,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A frame came that must not have come.
    #[error("a wrong packet came out of the device under test, {way}: {wrong}", way = .0.name(), wrong = .1)]
    Wrong(Way, Box<check::Wrong>),
    /// Frames came twice or in another order.
    #[error(
        "{duplicates} packets came twice and {reordered} in another order than they were sent within their flow; \
         the first one was {first}"
    )]
    Order {
        /// Frames that came more than once.
        duplicates: u64,
        /// Frames that came after a later one of their flow.
        reordered: u64,
        /// The first one, in words.
        first: String,
    },
    /// The device under test does not say where it is.
    #[error(
        "nobody answers ARP for {address} on the {side} side: is the device under test running, and is {address} its \
         address there? --{side}-gateway says which address to ask for, --gateway-mac sends without asking"
    )]
    NoGateway {
        /// "inside" or "outside".
        side: &'static str,
        /// Who was asked for.
        address: std::net::Ipv4Addr,
    },
    /// No frame to send.
    #[error("the pool of frames is empty: give more with --frames")]
    NoFrame,
    /// The frame does not fit.
    #[error("the device's frames have no room for {0} bytes")]
    Room(usize),
    /// What removes the sessions did not.
    #[error("removing all sessions failed: {0}")]
    Teardown(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}
