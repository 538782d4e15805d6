//! What a worker keeps for its SYN proxy: of sessions, of handshakes that are under way, of backends. Pure.
//!
//! - **Sessions** ([`Records`]): how the server's numbers differ from those that the client knows. An array of
//!   12 bytes a session beside the session table, by index; it exists only where a forward has a SYN proxy.
//! - **Handshakes** ([`Handshakes`]): a client has shown by its cookie that it is there, its backend has not answered
//!   yet. What has to be said to the backend and, then, to the client, until both know each other. Bounded; in the
//!   order in which the backend is to be asked again.
//! - **Backends** ([`Backends`]): what was learned from the last answer of each, so that the next client is promised
//!   nothing that its backend does not keep. A cache: what is not in it is taken for a host with every common option.
//!
//! Owner: the worker that owns the session, which ends a handshake before it removes the session. Everything has its size
//! from the start.

use super::sequence::Offsets;
use crate::time::Tick;
use crate::wire::tcp_options::TcpOptions;
use std::net::Ipv4Addr;

/// Handshakes that a worker has under way at the most. With a backend that never answers, each lasts half a minute.
pub const HANDSHAKES: u32 = 16_384;
/// Ticks between two looks at a handshake: 1 s.
const STEP: u32 = 10;
/// Backends that are remembered; a power of two.
const BACKENDS: usize = 1024;
/// Stands for no slot.
const NONE: u32 = u32::MAX;

/// Where a proxied session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// The backend has not answered: the number of the handshake.
    Connecting(u32),
    /// The ends know each other; this is the difference.
    Open(Offsets),
}

/// One session's entry, packed.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// Offset, or the number of the handshake.
    sequence: u32,
    timestamp: u32,
    server_window: i8,
    client_window: i8,
    connecting: bool,
}

const _: () = assert!(size_of::<Record>() == 12);

/// Entries of sessions, by their index in the shard.
#[derive(Debug)]
pub struct Records(Box<[Record]>);

impl Records {
    /// Bytes for each session.
    pub const BYTES: usize = size_of::<Record>();

    /// For a shard of this capacity.
    pub fn new(sessions: u32) -> Records {
        Records(vec![Record::default(); usize::try_from(sessions).unwrap_or(0)].into())
    }

    /// Where a session stands. Meaningful only for one that was [`Records::set`] since it was made.
    #[inline]
    pub fn get(&self, index: u32) -> Proxied {
        let place = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        let record = place.copied().unwrap_or_default();
        let Record { sequence, timestamp, server_window, client_window, connecting } = record;
        if connecting {
            Proxied::Connecting(sequence)
        } else {
            Proxied::Open(Offsets { sequence, timestamp, server_window, client_window })
        }
    }

    /// Says where a session stands now.
    pub fn set(&mut self, index: u32, proxied: Proxied) {
        let Some(place) = usize::try_from(index).ok().and_then(|index| self.0.get_mut(index)) else { return };
        *place = match proxied {
            Proxied::Connecting(number) => Record { sequence: number, connecting: true, ..Record::default() },
            Proxied::Open(Offsets { sequence, timestamp, server_window, client_window }) => {
                Record { sequence, timestamp, server_window, client_window, connecting: false }
            }
        };
    }
}

/// A client that waits for its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Index of its session in the shard, and that session's generation.
    pub session: (u32, u32),
    /// The initial sequence number that the client got from us.
    pub cookie: u32,
    /// The timestamp that it got from us, if it speaks timestamps.
    pub timestamp: u32,
    /// The client's initial sequence number.
    pub client: u32,
    /// The window of its last segment, as it stands in the header.
    pub window: u16,
    /// What it offered, as far as cookies tell; the value of its last timestamp, the echo for its backend (0).
    pub offer: TcpOptions,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// `None`: free, and `next` is the next free one.
    handshake: Option<Handshake>,
    /// Looks at it so far.
    looks: u8,
    due: Tick,
    next: u32,
    previous: u32,
}

/// The handshakes that are under way: a queue in the order of the next look at them, from whose middle can be taken.
#[derive(Debug)]
pub struct Handshakes {
    slots: Box<[Slot]>,
    free: u32,
    first: u32,
    last: u32,
    len: u32,
}

impl Handshakes {
    /// Room for so many.
    pub fn new(capacity: u32) -> Handshakes {
        let vacant = |next| Slot { handshake: None, looks: 0, due: Tick(0), next, previous: NONE };
        let slots: Box<[Slot]> =
            (1..=capacity).map(|next| vacant(if next == capacity { NONE } else { next })).collect();
        let free = if slots.is_empty() { NONE } else { 0 };
        Handshakes { slots, free, first: NONE, last: NONE, len: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// Takes one in; its number, or `None` if there is no room.
    pub fn begin(&mut self, handshake: Handshake, now: Tick) -> Option<u32> {
        let number = self.free;
        let slot = self.slot(number)?;
        slot.handshake = Some(handshake);
        slot.looks = 0;
        let next = slot.next;
        self.free = next;
        self.append(number, now);
        self.len += 1;
        Some(number)
    }

    /// The handshake with this number, if it still is that session's.
    pub fn get(&mut self, number: u32, session: (u32, u32)) -> Option<&mut Handshake> {
        let slot = usize::try_from(number).ok().and_then(|number| self.slots.get_mut(number))?;
        slot.handshake.as_mut().filter(|handshake| handshake.session == session)
    }

    /// Ends one, for better or for worse.
    pub fn end(&mut self, number: u32) {
        if self.slot(number).is_some_and(|slot| slot.handshake.take().is_some()) {
            self.unlink(number);
            let free = self.free;
            if let Some(slot) = self.slot(number) {
                slot.next = free;
            }
            self.free = number;
            self.len -= 1;
        }
    }

    /// The next one that has waited for another second: how many seconds it has been waiting in all, and what it is. It is
    /// due again in a second.
    pub fn due(&mut self, now: Tick) -> Option<(u8, Handshake)> {
        let number = self.first;
        let slot = self.slot(number)?;
        if !is_reached(slot.due, now) {
            return None;
        }
        slot.looks = slot.looks.saturating_add(1);
        let (looks, handshake) = (slot.looks, slot.handshake?);
        self.unlink(number);
        self.append(number, now);
        Some((looks, handshake))
    }

    fn slot(&mut self, number: u32) -> Option<&mut Slot> {
        usize::try_from(number).ok().and_then(|number| self.slots.get_mut(number))
    }

    /// Puts one at the end of the queue: all wait for equally long, so the order is that of being due.
    fn append(&mut self, number: u32, now: Tick) {
        let last = self.last;
        if let Some(slot) = self.slot(number) {
            slot.due = Tick(now.0.wrapping_add(STEP));
            slot.previous = last;
            slot.next = NONE;
        }
        match self.slot(last) {
            Some(before) => before.next = number,
            None => self.first = number,
        }
        self.last = number;
    }

    fn unlink(&mut self, number: u32) {
        let Some(&mut Slot { next, previous, .. }) = self.slot(number) else { return };
        match self.slot(previous) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match self.slot(next) {
            Some(after) => after.previous = previous,
            None => self.last = previous,
        }
    }
}

/// Whether a moment is now or past.
fn is_reached(due: Tick, now: Tick) -> bool {
    now == due || now.since(due) > 0
}

/// What a backend's last answer to a SYN said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The largest segment that it takes, in bytes.
    pub mss: u16,
    /// Whether it speaks timestamps.
    pub timestamps: bool,
}

impl Backend {
    /// One that was never heard of.
    pub const UNKNOWN: Backend = Backend { mss: u16::MAX, timestamps: true };
}

/// The backends that answered lately.
#[derive(Debug)]
pub struct Backends(Box<[Option<(Ipv4Addr, u16, Backend)>]>);

impl Default for Backends {
    fn default() -> Self {
        Backends(vec![None; BACKENDS].into())
    }
}

impl Backends {
    /// What is known of the backend at this address and port.
    pub fn get(&self, address: Ipv4Addr, port: u16) -> Backend {
        match self.0.get(place(address, port)) {
            Some(Some((known, its_port, backend))) if (*known, *its_port) == (address, port) => *backend,
            _ => Backend::UNKNOWN,
        }
    }

    /// Remembers one in place of another that happens to have the same place.
    pub fn learn(&mut self, address: Ipv4Addr, port: u16, backend: Backend) {
        if let Some(entry) = self.0.get_mut(place(address, port)) {
            *entry = Some((address, port, backend));
        }
    }
}

fn place(address: Ipv4Addr, port: u16) -> usize {
    let mixed = (address.to_bits() ^ u32::from(port) << 16).wrapping_mul(0x9e37_79b1);
    usize::try_from(mixed >> 16).unwrap_or(0) % BACKENDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn handshake(n: u32) -> Handshake {
        Handshake {
            session: (n, 2 * n),
            cookie: n,
            timestamp: 0,
            client: 0,
            window: 0,
            offer: TcpOptions::default(),
        }
    }

    #[test]
    fn a_session_is_found_as_it_was_left() {
        let mut records = Records::new(3);
        let open = Proxied::Open(Offsets { sequence: 1, timestamp: 2, server_window: -7, client_window: 3 });
        records.set(2, open);
        records.set(1, Proxied::Connecting(9));
        assert_eq!(records.get(2), open);
        assert_eq!(records.get(1), Proxied::Connecting(9));
        // There is none; nothing happens.
        records.set(3, open);
        assert_eq!(records.get(3), Proxied::Open(Offsets::default()));
    }

    #[test]
    fn a_handshake_is_due_every_second_and_counts_them() {
        let mut all = Handshakes::new(2);
        let first = all.begin(handshake(1), Tick(100)).unwrap();
        assert_eq!(all.due(Tick(109)), None);
        assert_eq!(all.due(Tick(110)), Some((1, handshake(1))));
        assert_eq!(all.due(Tick(110)), None);
        let second = all.begin(handshake(2), Tick(115)).unwrap();
        assert!(all.is_full());
        assert_eq!(all.begin(handshake(3), Tick(115)), None);
        assert_eq!(all.due(Tick(130)), Some((2, handshake(1))));
        assert_eq!(all.due(Tick(130)), Some((1, handshake(2))));
        assert_eq!(all.due(Tick(130)), None);
        all.end(first);
        all.end(first);
        assert_eq!(all.len(), 1);
        assert!(all.get(second, (2, 4)).is_some());
        assert!(all.get(second, (2, 6)).is_none(), "another session has its place now");
        assert!(all.get(first, (1, 2)).is_none());
    }

    #[test]
    fn the_wrap_of_the_tick_does_no_harm() {
        let mut all = Handshakes::new(1);
        all.begin(handshake(1), Tick(u32::MAX - 4)).unwrap();
        assert_eq!(all.due(Tick(4)), None);
        assert_eq!(all.due(Tick(5)), Some((1, handshake(1))));
    }

    #[test]
    fn what_a_backend_said_last_counts_and_a_stranger_can_everything() {
        let mut backends = Backends::default();
        let (one, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let old = Backend { mss: 1300, timestamps: false };
        backends.learn(one, 80, old);
        assert_eq!(backends.get(one, 80), old);
        assert_eq!(backends.get(one, 81), Backend::UNKNOWN);
        assert_eq!(backends.get(other, 80), Backend::UNKNOWN);
    }

    proptest! {
        #[test]
        fn the_queue_agrees_with_a_plain_one(steps in proptest::collection::vec((0u8..4, any::<u8>()), 0..300)) {
            let mut all = Handshakes::new(8);
            // Number, when it is due, looks, name.
            let mut plain: VecDeque<(u32, u32, u8, u32)> = VecDeque::new();
            let (mut now, mut name) = (Tick(0), 0);
            for (what, pick) in steps {
                match what {
                    0 => {
                        name += 1;
                        let number = all.begin(handshake(name), now);
                        prop_assert_eq!(number.is_some(), plain.len() < 8);
                        if let Some(number) = number {
                            prop_assert!(plain.iter().all(|(other, ..)| *other != number));
                            plain.push_back((number, now.0 + STEP, 0, name));
                        }
                    }
                    1 if !plain.is_empty() => {
                        let (number, ..) = plain.remove(usize::from(pick) % plain.len()).unwrap();
                        all.end(number);
                    }
                    2 => now = Tick(now.0 + u32::from(pick % 16)),
                    _ => {
                        let expected = plain.front().copied().filter(|(_, due, ..)| *due <= now.0);
                        let seen = all.due(now);
                        prop_assert_eq!(
                            seen,
                            expected.map(|(_, _, looks, name)| (looks + 1, handshake(name)))
                        );
                        if let Some((number, _, looks, name)) = expected {
                            plain.pop_front();
                            plain.push_back((number, now.0 + STEP, looks + 1, name));
                        }
                    }
                }
                prop_assert_eq!(usize::try_from(all.len()).unwrap(), plain.len());
            }
        }
    }
}
