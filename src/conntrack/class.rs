//! What a session is worth when room is needed, and for each class the sessions in it, oldest first.
//!
//! The lists are private to the worker, and a change of class moves a session in constant time, so a full table finds
//! the session to give up in constant time too, however large it is (the kernel looks at a few buckets and gives up).
//! Sessions that are never evicted are in no list. The places of the free sessions are chained by the same links.
//!
//! A list is in order of the *entry* into the class, not of the last packet: keeping that order would cost every
//! packet a write to a line that it otherwise has no business with.
//!
//! Memory: 8 bytes a session.

use super::tracker::State;
use crate::memory::Slab;

/// What a session is worth; the classes are in the order of [`Class::ALL`] in all output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// TCP: a SYN, and nothing yet from the other side.
    SynSent,
    /// Any other protocol without an answer.
    Unreplied,
    /// On its way to its end: from the first FIN, RST or SHUTDOWN on.
    Closing,
    /// TCP: both sides spoke, and the handshake is not complete.
    SynRecv,
    /// Answered, but not a proved conversation (a DNS query, a ping).
    Unassured,
    /// A proved conversation. Never evicted, in no list.
    Assured,
    /// Of a management source. Never evicted, in no list.
    Protected,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 7] = [
        Class::SynSent,
        Class::Unreplied,
        Class::Closing,
        Class::SynRecv,
        Class::Unassured,
        Class::Assured,
        Class::Protected,
    ];

    /// The class of a session that is not protected.
    #[inline]
    pub fn of(state: State, seen_reply: bool, assured: bool) -> Class {
        match state {
            State::SynSent | State::SynSent2 if !seen_reply => Class::SynSent,
            State::SynSent | State::SynSent2 | State::SynRecv => Class::SynRecv,
            _ if state.is_closing() => Class::Closing,
            // The first answer ends this state, so it is that of the end.
            State::SctpClosed if seen_reply => Class::Closing,
            _ if !seen_reply => Class::Unreplied,
            _ if assured => Class::Assured,
            _ => Class::Unassured,
        }
    }

    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Class::SynSent => "syn_sent",
            Class::Unreplied => "unreplied",
            Class::Closing => "closing",
            Class::SynRecv => "syn_recv",
            Class::Unassured => "unassured",
            Class::Assured => "assured",
            Class::Protected => "protected",
        }
    }

    #[inline]
    fn from_number(number: u32) -> Class {
        Class::ALL.get(number as usize).copied().unwrap_or(Class::Protected)
    }
}

/// A node: the number of the one before with the class in the upper bits, and the number of the one behind.
#[derive(Clone, Copy, Debug)]
struct Link {
    class_and_before: u32,
    behind: u32,
}

const _: () = assert!(size_of::<Link>() == ClassLists::BYTES_PER_SESSION);

/// Where the class begins in [`Link::class_and_before`].
const CLASS_SHIFT: u32 = 29;
const NUMBER: u32 = (1 << CLASS_SHIFT) - 1;

/// Which session is in which class; see the module's head. Sessions are named by their index.
#[derive(Debug)]
pub(super) struct ClassLists {
    /// A node for each session, then one for each class: head and tail of its circular list.
    links: Slab<Link>,
    capacity: u32,
    counts: [u32; Class::ALL.len()],
    /// The first free session, or `capacity`.
    free: u32,
}

impl ClassLists {
    /// Memory for each session.
    pub(super) const BYTES_PER_SESSION: usize = 8;

    /// All sessions are free, the lower indices first.
    pub(super) fn new(capacity: u32) -> ClassLists {
        let nodes = capacity as usize + Class::ALL.len();
        let links = Slab::from_fn(nodes, |node| {
            let node = u32::try_from(node).unwrap_or(NUMBER);
            if node < capacity {
                Link { class_and_before: node, behind: node + 1 }
            } else {
                Link { class_and_before: node, behind: node }
            }
        });
        ClassLists { links, capacity, counts: [0; Class::ALL.len()], free: 0 }
    }

    /// Takes a free session into a class, as its youngest. `None`: none is free.
    #[inline]
    pub(super) fn take(&mut self, class: Class) -> Option<u32> {
        let index = self.free;
        if index >= self.capacity {
            return None;
        }
        self.free = self.link(index).behind;
        self.enter(class, index);
        Some(index)
    }

    /// The session that [`ClassLists::take`] will hand out next.
    #[inline]
    pub(super) fn next_free(&self) -> Option<u32> {
        (self.free < self.capacity).then_some(self.free)
    }

    /// Frees a session that is in a class.
    #[inline]
    pub(super) fn release(&mut self, index: u32) {
        self.leave(index);
        let behind = self.free;
        self.put(index, Link { class_and_before: index, behind });
        self.free = index;
    }

    /// Moves a session to another class, as its youngest. Nothing happens if it is there already.
    #[inline]
    pub(super) fn set(&mut self, index: u32, class: Class) {
        if self.class(index) != class {
            self.leave(index);
            self.enter(class, index);
        }
    }

    /// The class that a session was last put into.
    #[inline]
    pub(super) fn class(&self, index: u32) -> Class {
        Class::from_number(self.link(index).class_and_before >> CLASS_SHIFT)
    }

    /// The session that has been in the class for longest. None for those without a list.
    #[inline]
    pub(super) fn oldest(&self, class: Class) -> Option<u32> {
        let first = self.link(self.head(class)).behind;
        (first < self.capacity).then_some(first)
    }

    /// How many sessions are in a class.
    #[inline]
    pub(super) fn count(&self, class: Class) -> u32 {
        self.counts.get(class as usize).copied().unwrap_or_default()
    }

    /// How many sessions are in any class.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// The node at which a class begins and ends.
    #[inline]
    fn head(&self, class: Class) -> u32 {
        self.capacity + class as u32
    }

    #[inline]
    fn enter(&mut self, class: Class, index: u32) {
        self.count_by(class, 1);
        if matches!(class, Class::Assured | Class::Protected) {
            self.put(index, Link { class_and_before: with_class(class, index), behind: index });
            return;
        }
        let head = self.head(class);
        let last = self.before(head);
        self.put(index, Link { class_and_before: with_class(class, last), behind: head });
        self.set_behind(last, index);
        self.set_before(head, index);
    }

    #[inline]
    fn leave(&mut self, index: u32) {
        self.count_by(self.class(index), u32::MAX);
        let Link { behind, .. } = self.link(index);
        let before = self.before(index);
        // One that is in no list is its own neighbour.
        self.set_behind(before, behind);
        self.set_before(behind, before);
    }

    #[inline]
    fn count_by(&mut self, class: Class, n: u32) {
        if let Some(count) = self.counts.get_mut(class as usize) {
            *count = count.wrapping_add(n);
        }
    }

    #[inline]
    fn before(&self, node: u32) -> u32 {
        self.link(node).class_and_before & NUMBER
    }

    #[inline]
    fn set_before(&mut self, node: u32, before: u32) {
        if let Some(link) = self.links.get_mut(node as usize) {
            link.class_and_before = link.class_and_before & !NUMBER | before;
        }
    }

    #[inline]
    fn set_behind(&mut self, node: u32, behind: u32) {
        if let Some(link) = self.links.get_mut(node as usize) {
            link.behind = behind;
        }
    }

    /// A node; numbers are in range by construction.
    #[inline]
    fn link(&self, node: u32) -> Link {
        self.links.get(node as usize).copied().unwrap_or(Link { class_and_before: node, behind: node })
    }

    #[inline]
    fn put(&mut self, node: u32, link: Link) {
        if let Some(place) = self.links.get_mut(node as usize) {
            *place = link;
        }
    }
}

#[inline]
fn with_class(class: Class, before: u32) -> u32 {
    (class as u32) << CLASS_SHIFT | before
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn classes_follow_state_and_flags() {
        for (state, seen_reply, assured, class) in [
            (State::SynSent, false, false, Class::SynSent),
            (State::SynSent2, true, false, Class::SynRecv),
            (State::SynRecv, true, false, Class::SynRecv),
            (State::Established, true, true, Class::Assured),
            (State::Established, false, false, Class::Unreplied),
            (State::FinWait, true, true, Class::Closing),
            (State::CloseWait, true, true, Class::Closing),
            (State::LastAck, true, true, Class::Closing),
            (State::TimeWait, true, true, Class::Closing),
            (State::Close, true, false, Class::Closing),
            (State::Udp, false, false, Class::Unreplied),
            (State::UdpStream, true, false, Class::Unassured),
            (State::UdpStream, true, true, Class::Assured),
            (State::Icmp, true, false, Class::Unassured),
            (State::SctpClosed, false, false, Class::Unreplied),
            (State::SctpCookieEchoed, true, false, Class::Unassured),
            (State::SctpEstablished, true, true, Class::Assured),
            (State::SctpShutdownSent, true, true, Class::Closing),
            (State::SctpClosed, true, true, Class::Closing),
            (State::DccpRequest, false, false, Class::Unreplied),
            (State::DccpOpen, true, true, Class::Assured),
            (State::DccpTimewait, true, true, Class::Closing),
            (State::Generic, true, true, Class::Assured),
        ] {
            assert_eq!(Class::of(state, seen_reply, assured), class, "{state:?} {seen_reply} {assured}");
        }
        for (number, class) in Class::ALL.iter().enumerate() {
            assert_eq!(*class as usize, number);
        }
    }

    const CAPACITY: u32 = 8;

    proptest! {
        #[test]
        fn the_lists_agree_with_queues(steps in proptest::collection::vec((0..3u8, 0..7usize, 0..CAPACITY), 1..200)) {
            let mut lists = ClassLists::new(CAPACITY);
            let mut model: [VecDeque<u32>; 7] = Default::default();
            for (what, class, index) in steps {
                let class = Class::ALL[class];
                let held = model.iter().position(|queue| queue.contains(&index));
                match (what, held) {
                    (0, _) => match lists.take(class) {
                        Some(taken) => {
                            prop_assert!(!model.iter().any(|queue| queue.contains(&taken)));
                            model[class as usize].push_back(taken);
                        }
                        None => prop_assert_eq!(model.iter().map(VecDeque::len).sum::<usize>(), CAPACITY as usize),
                    },
                    (1, Some(at)) => {
                        lists.release(index);
                        model[at].retain(|other| *other != index);
                    }
                    (_, Some(at)) => {
                        lists.set(index, class);
                        if at != class as usize {
                            model[at].retain(|other| *other != index);
                            model[class as usize].push_back(index);
                        }
                    }
                    _ => {}
                }
                for (class, queue) in Class::ALL.iter().zip(&model) {
                    let listed = !matches!(class, Class::Assured | Class::Protected);
                    prop_assert_eq!(lists.oldest(*class), queue.front().copied().filter(|_| listed));
                    prop_assert_eq!(lists.count(*class) as usize, queue.len());
                    for index in queue {
                        prop_assert_eq!(lists.class(*index), *class);
                    }
                }
                prop_assert_eq!(lists.len() as usize, model.iter().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}
