//! The TCP tracker between two honest ends, and against nonsense.
//!
//! The ends are models of RFC 9293 that do, in random order, whatever it allows: send what the window permits, send any of
//! it again, cut as they like, acknowledge late or twice, open and close and shrink their windows, probe, keep alive, close
//! and abort. The wires on both sides of the tracker lose, double and reorder. No segment may be refused, but a RST that its
//! receiver would ignore.
//!
//! The tracker does not verify checksums, which would cost it the whole payload, so it may learn from a segment that is
//! damaged and that its receiver will throw away. One such must not stop a connection either.

use super::policy::{Policy, TcpOptions};
use super::session::Direction;
use super::tcp_segment::Segment;
use super::tcp_window::Windows;
use super::testing::Fixture;
use super::tracker::{Observed, State};
use crate::telemetry::DropReason;
use crate::wire::tcp::{ACK, FIN, RST, SYN};
use proptest::prelude::*;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(n)).unwrap()
    }

    fn index(&mut self, n: usize) -> usize {
        self.below(n.try_into().unwrap()) as usize
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

fn after(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Listen,
    SynSent,
    SynReceived,
    /// Established, and everything after it.
    Open,
    /// Reset, or never there: answers with RSTs.
    Dead,
}

/// One end.
#[derive(Debug)]
struct End {
    phase: Phase,
    isn: u32,
    una: u32,
    nxt: u32,
    wnd: u32,
    wl: (u32, u32),
    rcv_nxt: u32,
    /// What came out of order: from, to.
    early: Vec<(u32, u32)>,
    scale: Option<u8>,
    peer_scale: Option<u8>,
    /// Whether the FIN is sent; it is the last number below `nxt` then.
    fin_sent: bool,
    budget: u32,
    largest_window: u32,
}

impl End {
    fn new(phase: Phase, dice: &mut Dice) -> End {
        // Often close to the end of the number space.
        let isn = if dice.one_in(2) { u32::MAX - dice.below(100_000) } else { dice.below(u32::MAX) };
        End {
            phase,
            isn,
            una: isn,
            nxt: isn.wrapping_add(1),
            wnd: 0,
            wl: (0, 0),
            rcv_nxt: 0,
            early: Vec::new(),
            scale: (!dice.one_in(3)).then(|| dice.below(15).try_into().unwrap()),
            peer_scale: None,
            fin_sent: false,
            budget: [0, 1000, 1_000_000][dice.below(3) as usize],
            largest_window: [1, 3000, 65_535, 4_000_000][dice.below(4) as usize],
        }
    }

    fn scales(&self) -> Option<(u8, u8)> {
        Some((self.scale?, self.peer_scale?))
    }

    /// A segment with a window as the end just likes.
    fn segment(&self, dice: &mut Dice, flags: u8, seq: u32, len: u32) -> Segment {
        let window = match dice.below(6) {
            0 => 0,
            1 => dice.below(self.largest_window) + 1,
            _ => self.largest_window,
        };
        let shift = if flags & SYN == 0 { self.scales().map_or(0, |(own, _)| own) } else { 0 };
        let mut segment =
            Segment::bare(flags, seq, self.rcv_nxt, u16::try_from(window >> shift).unwrap_or(u16::MAX))
                .unwrap();
        segment.len = len.try_into().unwrap();
        if flags & SYN != 0 {
            // A SYN/ACK offers scaling if the SYN did.
            segment.scale = self.scale.filter(|_| flags & ACK == 0 || self.peer_scale.is_some());
        }
        segment
    }

    fn pure_ack(&self, dice: &mut Dice) -> Segment {
        self.segment(dice, ACK, self.nxt, 0)
    }

    fn syn(&self, dice: &mut Dice) -> Segment {
        let flags = if self.phase == Phase::SynSent { SYN } else { SYN | ACK };
        self.segment(dice, flags, self.isn, 0)
    }

    /// Something that the end may send on its own now.
    fn act(&mut self, dice: &mut Dice) -> Option<Segment> {
        match self.phase {
            Phase::SynSent | Phase::SynReceived => return Some(self.syn(dice)),
            Phase::Listen | Phase::Dead => return None,
            Phase::Open => {}
        }
        let edge = self.una.wrapping_add(self.wnd);
        let room = if after(edge, self.nxt) { edge.wrapping_sub(self.nxt) } else { 0 };
        let idle = self.una == self.nxt;
        match dice.below(12) {
            0..=4 if !self.fin_sent && room > 0 && self.budget > 0 => {
                let len = (dice.below(1460) + 1).min(room).min(self.budget);
                Some(self.send_new(dice, len))
            }
            // A probe of a closed window: one byte beyond it.
            5 if !self.fin_sent && self.wnd == 0 && idle && self.budget > 0 => Some(self.send_new(dice, 1)),
            // Keepalives: without and with a byte of garbage.
            6 if idle => {
                let len = dice.below(2);
                Some(self.segment(dice, ACK, self.una.wrapping_sub(1), len))
            }
            7 if !self.fin_sent && (self.budget == 0 || dice.one_in(30)) && room > 0 => {
                let fin = self.segment(dice, FIN | ACK, self.nxt, 0);
                self.fin_sent = true;
                self.nxt = self.nxt.wrapping_add(1);
                Some(fin)
            }
            8 => Some(self.pure_ack(dice)),
            9 if dice.one_in(200) => {
                self.phase = Phase::Dead;
                let flags = if dice.one_in(2) { RST } else { RST | ACK };
                Some(self.segment(dice, flags, self.nxt, 0))
            }
            _ if !idle => Some(self.send_again(dice)),
            _ => None,
        }
    }

    fn send_new(&mut self, dice: &mut Dice, len: u32) -> Segment {
        let segment = self.segment(dice, ACK, self.nxt, len);
        self.nxt = self.nxt.wrapping_add(len);
        self.budget -= len;
        segment
    }

    /// Some of what was sent, from the first byte on that is not acknowledged or from another.
    fn send_again(&mut self, dice: &mut Dice) -> Segment {
        let data = self.nxt.wrapping_sub(self.una) - u32::from(self.fin_sent);
        if data == 0 {
            return self.segment(dice, FIN | ACK, self.una, 0);
        }
        let from = if dice.one_in(2) { 0 } else { dice.below(data) };
        let len = (dice.below(1460) + 1).min(data - from);
        let flags = if self.fin_sent && from + len == data { FIN | ACK } else { ACK };
        self.segment(dice, flags, self.una.wrapping_add(from), len)
    }

    fn open(&mut self, segment: &Segment) {
        self.phase = Phase::Open;
        self.una = self.isn.wrapping_add(1);
        self.take_window(segment);
    }

    fn take_window(&mut self, segment: &Segment) {
        let shift = if segment.flags & SYN == 0 { self.scales().map_or(0, |(_, peer)| peer) } else { 0 };
        self.wnd = u32::from(segment.window) << shift;
        self.wl = (segment.seq, segment.ack);
    }

    /// What the end answers to a segment, and what it makes of it.
    fn receive(&mut self, dice: &mut Dice, segment: &Segment) -> Option<Segment> {
        let (has_syn, has_ack) = (segment.flags & SYN != 0, segment.has_ack());
        let is_rst = segment.flags & RST != 0;
        let acks_syn = has_ack && segment.ack == self.isn.wrapping_add(1);
        match self.phase {
            _ if is_rst => {
                let believed = match self.phase {
                    Phase::SynSent => acks_syn,
                    Phase::SynReceived | Phase::Open => segment.seq == self.rcv_nxt,
                    Phase::Listen | Phase::Dead => false,
                };
                if believed {
                    self.phase = Phase::Dead;
                    return None;
                }
                let challenged = self.phase == Phase::Open && !self.ignores(segment);
                return challenged.then(|| self.pure_ack(dice));
            }
            Phase::Dead => {
                let refusal = if has_ack {
                    Segment::bare(RST, segment.ack, 0, 0)
                } else {
                    Segment::bare(RST | ACK, 0, segment.end(), 0)
                };
                return refusal;
            }
            Phase::Listen | Phase::SynSent if has_syn && (acks_syn || !has_ack) => {
                self.rcv_nxt = segment.seq.wrapping_add(1);
                self.peer_scale = segment.scale;
                if has_ack {
                    self.open(segment);
                    return Some(self.pure_ack(dice));
                }
                self.phase = Phase::SynReceived;
                return Some(self.syn(dice));
            }
            Phase::Listen | Phase::SynSent => return None,
            Phase::SynReceived if has_syn && !has_ack => return Some(self.syn(dice)),
            Phase::SynReceived if acks_syn => self.open(segment),
            Phase::SynReceived => return None,
            Phase::Open if has_syn => return Some(self.pure_ack(dice)),
            Phase::Open => {}
        }
        if has_syn {
            return None;
        }
        let old = after(self.rcv_nxt, segment.end())
            || (after(self.rcv_nxt, segment.seq) && segment.end() == self.rcv_nxt);
        if old {
            return Some(self.pure_ack(dice));
        }
        assert!(!after(segment.ack, self.nxt), "the ends are honest: {segment:?} to {self:?}");
        if !after(self.una, segment.ack) {
            self.una = segment.ack;
            let (seq, ack) = self.wl;
            if after(segment.seq, seq) || (segment.seq == seq && !after(ack, segment.ack)) {
                self.take_window(segment);
            }
        }
        self.early.push((segment.seq, segment.end()));
        while let Some(at) =
            self.early.iter().position(|(from, to)| !after(*from, self.rcv_nxt) && after(*to, self.rcv_nxt))
        {
            self.rcv_nxt = self.early[at].1;
        }
        let rcv_nxt = self.rcv_nxt;
        self.early.retain(|(_, to)| after(*to, rcv_nxt));
        (segment.end() != segment.seq && !dice.one_in(3)).then(|| self.pure_ack(dice))
    }

    /// Whether it would not care for a RST, now and later.
    fn ignores(&self, rst: &Segment) -> bool {
        match self.phase {
            Phase::Listen | Phase::Dead => true,
            Phase::SynSent => !(rst.has_ack() && rst.ack == self.isn.wrapping_add(1)),
            Phase::SynReceived | Phase::Open => {
                // Before the window, or beyond the largest that it ever had.
                let edge = self.rcv_nxt.wrapping_add(self.largest_window);
                after(self.rcv_nxt, rst.seq) || after(rst.seq, edge)
            }
        }
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Open && self.fin_sent && self.una == self.nxt
    }
}

/// A wire that holds what is on its way.
#[derive(Default)]
struct Wire(Vec<Segment>);

impl Wire {
    /// Something that arrives, if the wire feels like it.
    fn deliver(&mut self, dice: &mut Dice, faults: bool) -> Option<Segment> {
        if self.0.is_empty() {
            return None;
        }
        let overtakes = faults && dice.one_in(4);
        let at = if overtakes { dice.index(self.0.len()) } else { 0 };
        let segment = if faults && dice.one_in(20) { self.0[at] } else { self.0.remove(at) };
        (!(faults && dice.one_in(20))).then_some(segment)
    }
}

struct World {
    dice: Dice,
    ends: [End; 2],
    /// From each end to the tracker, and on to the other.
    wires: [[Wire; 2]; 2],
    fixture: Option<Fixture>,
    /// A segment is still to be damaged on its way to the tracker; and whether one was.
    damage: bool,
    damaged: bool,
    log: Vec<String>,
}

const DIRECTIONS: [Direction; 2] = [Direction::Original, Direction::Reply];

impl World {
    fn new(seed: u64, damage: bool) -> World {
        let mut dice = Dice(seed);
        let second = if dice.one_in(4) { Phase::SynSent } else { Phase::Listen };
        let ends = [End::new(Phase::SynSent, &mut dice), End::new(second, &mut dice)];
        World {
            dice,
            ends,
            wires: Default::default(),
            fixture: None,
            damage,
            damaged: false,
            log: Vec::new(),
        }
    }

    fn emit(&mut self, from: usize, segment: Option<Segment>) {
        if let Some(segment) = segment
            && self.wires[from][0].0.len() < 40
        {
            self.wires[from][0].0.push(segment);
        }
    }

    /// A segment meets the tracker. Returns whether it goes on.
    fn track(&mut self, from: usize, segment: &Segment) -> bool {
        let observed = Observed::Tcp(*segment);
        let Some(fixture) = &mut self.fixture else {
            // Until the first SYN of the original side there is no session.
            if from == 0 && segment.flags & (SYN | ACK) == SYN {
                self.fixture = Some(Fixture::opened_by(&observed, Policy::default()));
                return true;
            }
            return false;
        };
        fixture.now.0 += 1;
        let result = fixture.track(DIRECTIONS[from], &observed);
        self.log.push(format!("{from} {segment:?} {:?} {result:?}", fixture.session().state()));
        match result {
            Ok(_) => true,
            // A duplicate of the SYN of the other side, long after a simultaneous open.
            Err(DropReason::TcpInvalid) if from == 1 && segment.flags & (SYN | ACK) == SYN => false,
            Err(DropReason::TcpRstInvalid) if self.damaged || self.ends[1 - from].ignores(segment) => false,
            Err(reason) => {
                let tail = &self.log[self.log.len().saturating_sub(60)..];
                let windows = Windows::load(&fixture.session().track_words());
                panic!("{}: {windows:#?}\n{:#?}\n{}", reason.name(), self.ends, tail.join("\n"));
            }
        }
    }

    fn step(&mut self, faults: bool) {
        let from = self.dice.below(2) as usize;
        match self.dice.below(3) {
            0 => {
                let segment = self.ends[from].act(&mut self.dice);
                self.emit(from, segment);
            }
            1 => {
                if let Some(segment) = self.wires[from][0].deliver(&mut self.dice, faults)
                    && !self.damage(from, &segment)
                    && self.track(from, &segment)
                {
                    self.wires[from][1].0.push(segment);
                }
            }
            _ => {
                if let Some(segment) = self.wires[from][1].deliver(&mut self.dice, faults) {
                    let answer = self.ends[1 - from].receive(&mut self.dice, &segment);
                    self.emit(1 - from, answer);
                }
            }
        }
    }

    /// Perhaps damages a segment of an open connection before the tracker sees it, so that it ends there.
    fn damage(&mut self, from: usize, segment: &Segment) -> bool {
        let Some(fixture) = &self.fixture else { return false };
        if !self.damage || segment.flags & SYN != 0 || !self.dice.one_in(300) {
            return false;
        }
        let mut damaged = *segment;
        match self.dice.below(4) {
            0 => damaged.seq ^= 1 << self.dice.below(32),
            1 => damaged.ack ^= 1 << self.dice.below(32),
            2 => damaged.window ^= 1 << self.dice.below(16),
            // FIN, RST, ACK.
            _ => {
                let flags = segment.flags ^ [FIN, RST, ACK][self.dice.below(3) as usize];
                let Some(other) = Segment::bare(flags, segment.seq, segment.ack, segment.window) else {
                    return true;
                };
                damaged = Segment { len: segment.len, ..other };
            }
        }
        let result = fixture.track(DIRECTIONS[from], &Observed::Tcp(damaged));
        self.log.push(format!("{from} damaged {damaged:?} {:?} {result:?}", fixture.session().state()));
        (self.damage, self.damaged) = (false, true);
        true
    }

    fn is_quiet(&self) -> bool {
        self.wires.iter().flatten().all(|wire| wire.0.is_empty())
    }
}

/// Lets the ends do what they like, and then, over good wires, come to an end.
fn live(mut world: World) -> World {
    for _ in 0..3000 {
        world.step(true);
    }
    for _ in 0..3000 {
        if world.is_quiet() && world.ends.iter().all(End::is_done) {
            break;
        }
        world.step(false);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn honest_ends_are_never_refused(seed in any::<u64>()) {
        let world = live(World::new(seed, false));
        if let Some(fixture) = &world.fixture
            && world.is_quiet()
            && world.ends.iter().all(End::is_done)
        {
            let session = fixture.session();
            prop_assert!(!Windows::load(&session.track_words()).is_unacknowledged());
            prop_assert!(matches!(session.state(), State::TimeWait | State::Close));
        }
    }

    #[test]
    fn a_damaged_segment_does_not_stop_honest_ends(seed in any::<u64>()) {
        live(World::new(seed, true));
    }

    #[test]
    fn nonsense_never_panics_and_what_is_refused_changes_nothing(
        segments in proptest::collection::vec(any_segment(), 1..60),
        be_liberal in any::<bool>(),
        loose in any::<bool>(),
    ) {
        let policy = Policy { tcp: TcpOptions { be_liberal, loose }, ..Policy::default() };
        let mut open: Option<Fixture> = None;
        for (direction, segment) in segments {
            let observed = Observed::Tcp(segment);
            let Some(fixture) = &mut open else {
                if super::tracker::open(&observed, &policy, 0).is_ok() {
                    open = Some(Fixture::opened_by(&observed, policy.clone()));
                }
                continue;
            };
            fixture.now.0 += 1;
            let before = fixture.picture();
            if let Err(reason) = fixture.track(direction, &observed) {
                prop_assert_eq!(fixture.picture(), before);
                prop_assert!(!be_liberal || reason != DropReason::TcpOutOfWindow);
            } else {
                let session = fixture.session();
                prop_assert!(session.state().is_tcp() && session.state() != State::None);
                prop_assert!(session.timeout_ticks() > 0);
            }
        }
    }
}

/// Few numbers, so that they often fit, and a few that never do.
fn any_segment() -> impl Strategy<Value = (Direction, Segment)> {
    let number = prop_oneof![
        8 => 995u32..1010,
        2 => prop_oneof![Just(0), Just(u32::MAX), Just(70_000), Just(1 << 31), any::<u32>()],
    ];
    let flags = prop_oneof![
        Just(SYN),
        Just(SYN | ACK),
        Just(ACK),
        Just(ACK),
        Just(ACK),
        Just(FIN | ACK),
        Just(RST),
        Just(RST | ACK)
    ];
    let rest = (prop_oneof![0u16..20, any::<u16>()], prop_oneof![0u16..8, Just(1460u16)], any::<bool>());
    (any::<bool>(), flags, number.clone(), number, rest, proptest::option::of(0u8..=14)).prop_map(
        |(original, flags, seq, ack, (window, len, whole), scale)| {
            let mut segment = Segment::bare(flags, seq, ack, window).unwrap();
            (segment.len, segment.whole) = (len, whole || len > 4);
            segment.scale = scale.filter(|_| flags & SYN != 0);
            (if original { Direction::Original } else { Direction::Reply }, segment)
        },
    )
}
