//! The end of sessions over a virtual year, with lost posts, full rings, a worker that declines, and under pressure.

use super::*;
use crate::conntrack::class::Class;
use crate::conntrack::policy::Policy;
use crate::conntrack::session::Direction;
use crate::conntrack::table::{NewSession, SessionId, Shape, Shard};
use crate::conntrack::tcp_segment::Segment;
use crate::conntrack::tracker::{self, Observed, Opening, State};
use crate::ids::Realm;
use crate::nat::Rng;
use crate::packet::Tuple;
use crate::wire::checksum::Delta;
use crate::wire::tcp::{ACK, FIN, SYN};
use rtrb::RingBuffer;

const START: Time = Time::from_secs(5000);
const TICK: Duration = crate::time::TICK;

/// A segment of a connection between two ends that begin with 0 and send nothing.
fn segment(flags: u8) -> Observed<'static> {
    let seq = u32::from(flags & SYN == 0);
    Observed::Tcp(Segment::bare(flags, seq, 1, 1000).unwrap())
}

/// A worker's table and the timers of its sessions.
struct Rig {
    now: Time,
    shard: Shard<V4Key>,
    posts: Producer<u32>,
    counters: Arc<WorkerCounters>,
    expiry: Expiry,
    to: Producer<ToWorker>,
    mail: Consumer<ToWorker>,
    opened: u32,
}

impl Rig {
    /// `posts` and `mail` are the capacities of the rings.
    fn new(capacity: u32, posts: usize, mail: usize, now: Time) -> Rig {
        let (shard, view) = Shard::new(capacity, 7);
        let (posts, timers) = RingBuffer::new(posts);
        let (to, mail) = RingBuffer::new(mail);
        let counters = Arc::new(WorkerCounters::default());
        let expiry = Expiry::new(view, timers, counters.clone(), now);
        Rig { now, shard, posts, counters, expiry, to, mail, opened: 0 }
    }

    /// Lets the wheel do without a sweep.
    fn without_sweep(mut self) -> Rig {
        self.expiry.sweep = Sweep::new(0, self.now);
        self
    }

    fn open(&mut self, first: Observed<'_>, timeout_ticks: u32) -> SessionId {
        self.opened += 1;
        let (src, dst) = (self.opened.into(), [192, 0, 2, 1].into());
        let tuple = Tuple { src, dst, sport: 1024, dport: 53, protocol: 17 };
        let id = self
            .shard
            .insert(NewSession {
                original: V4Key::new(tuple, Realm::Internal, 0),
                reply: V4Key::new(tuple.inverse(), Realm::External, 0),
                opening: Opening { timeout_ticks, ..tracker::open(&first, &Policy::default(), 0).unwrap() },
                now: self.now.tick(),
                length: 100,
                policy: 0,
                mark: 0,
                protected: false,
                lease: None,
                shape: Shape::default(),
                l3: Delta::ZERO,
                l4: Delta::ZERO,
            })
            .unwrap();
        self.post(id);
        id
    }

    /// A UDP session.
    fn udp(&mut self, timeout: Duration) -> SessionId {
        self.open(Observed::Udp, crate::time::ticks(timeout))
    }

    /// A TCP connection.
    fn connect(&mut self) -> SessionId {
        let id = self.open(segment(SYN), 2400);
        self.tcp(id, Direction::Reply, SYN | ACK);
        self.tcp(id, Direction::Original, ACK);
        assert_eq!(self.shard.session(id).state(), State::Established);
        id
    }

    fn tcp(&mut self, id: SessionId, direction: Direction, flags: u8) {
        let (session, observed) = (self.shard.session(id), segment(flags));
        let tracked = tracker::track(session, direction, &observed, 40, self.now.tick(), &Policy::default());
        self.shard.reclassify(id);
        // A packet that is refused changes nothing.
        if tracked.is_ok_and(|tracked| tracked.shortened || tracked.reopened) {
            self.post(id);
        }
    }

    fn touch(&self, id: SessionId) {
        tracker::touch(self.shard.session(id), Direction::Original, 100, self.now.tick());
    }

    /// As the worker posts.
    fn post(&mut self, id: SessionId) {
        if self.posts.push(id.index()).is_err() {
            self.counters.timer_posts_lost.increment();
        }
    }

    fn poll(&mut self) {
        while self.expiry.poll(self.now, &mut self.to) && !self.expiry.wheel.has_pending() {}
    }

    /// As the worker removes. Returns who is gone.
    fn read_mail(&mut self, budget: usize) -> Vec<SessionId> {
        let mut gone = Vec::new();
        for _ in 0..budget {
            let Ok(ToWorker::Expire { index, generation }) = self.mail.pop() else { break };
            if let Some(id) = self.shard.resolve(index, generation)
                && self.shard.session(id).is_expired(self.now.tick())
            {
                self.shard.remove(id);
                gone.push(id);
            }
        }
        gone
    }

    /// Lets time pass in steps, the worker taking so many messages in each. Returns how many sessions are gone.
    fn run(&mut self, length: Duration, step: Duration, budget: usize) -> usize {
        let end = self.now + length;
        let mut gone = 0;
        while self.now < end {
            self.now = self.now + step.min(end.since(self.now));
            self.poll();
            gone += self.read_mail(budget).len();
        }
        gone
    }
}

/// One flow of the virtual year.
struct Client {
    /// Of its sessions, if they are not TCP.
    usual: Duration,
    tcp: bool,
    session: Option<(SessionId, Time)>,
    timeout: Duration,
    /// When it does something next.
    next: Time,
    ended: u32,
}

impl Client {
    /// The moment from which on the session may go.
    fn over(&self) -> Option<Time> {
        self.session.map(|(_, last)| last + self.timeout)
    }
}

struct Year {
    rig: Rig,
    random: Rng,
    clients: Vec<Client>,
}

impl Year {
    fn one_in(&mut self, n: u64) -> bool {
        self.random.next().is_multiple_of(n)
    }

    fn below(&mut self, bound: Duration) -> Duration {
        Duration::from_nanos(self.random.next() % u64::try_from(bound.as_nanos()).unwrap().max(1))
    }

    /// Goes on to the next packet or the next end; once a session is over, 40 ms.
    fn go_on(&mut self) {
        let soon = self.rig.now + Duration::from_millis(40);
        let moments = |client: &Client| [Some(client.next), client.over().map(|over| over.max(soon))];
        self.rig.now = self.clients.iter().flat_map(moments).flatten().min().unwrap();
    }

    /// The packet of a client.
    fn send(&mut self, n: usize) {
        let now = self.rig.now;
        let tcp = if self.clients[n].session.is_none() { self.one_in(3) } else { self.clients[n].tcp };
        let closes = self.one_in(4);
        let client = &mut self.clients[n];
        client.tcp = tcp;
        let (id, last) = client
            .session
            .unwrap_or_else(|| (if tcp { self.rig.connect() } else { self.rig.udp(client.usual) }, now));
        if tcp {
            // An established connection for five days, or a closing one for four minutes.
            self.rig.tcp(id, Direction::Original, if closes { FIN | ACK } else { ACK });
        } else {
            self.rig.touch(id);
        }
        let session = self.rig.shard.session(id);
        client.session = Some((id, if session.last_seen() == now.tick() { now } else { last }));
        client.timeout = TICK * session.timeout_ticks();
        // Most packets come long before the timeout, one in eight after it.
        let timeout = client.timeout;
        let bound = if self.one_in(4) { timeout * 2 } else { timeout / 2 };
        self.clients[n].next = now + self.below(bound) + Duration::from_millis(1);
    }

    /// A packet at the last moment, between the management core's look and the worker's. Whether there was one.
    fn send_at_the_last_moment(&mut self) -> bool {
        let (unlikely, now) = (!self.one_in(8), self.rig.now);
        let over = |client: &&mut Client| client.over().is_some_and(|over| over <= now);
        match self.clients.iter_mut().find(over) {
            Some(Client { session: Some((id, last)), .. }) if !unlikely => {
                self.rig.touch(*id);
                *last = now;
                true
            }
            _ => false,
        }
    }

    /// The worker removes who is to go.
    fn remove(&mut self) {
        let now = self.rig.now;
        for gone in self.rig.read_mail(1024) {
            let pause = self.below(Duration::from_secs(2 * 86_400));
            let is_it = |client: &&mut Client| client.session.is_some_and(|(id, _)| id == gone);
            let client = self.clients.iter_mut().find(is_it).unwrap();
            assert!(client.over().unwrap() <= now, "early: {now:?}, {:?}", client.session);
            client.session = None;
            client.ended += 1;
            client.next = now + pause;
        }
    }

    fn assert_nobody_is_late(&self) {
        let now = self.rig.now;
        for client in &self.clients {
            let bound = client.over().map(|over| over + client.timeout / 100 + Duration::from_secs(1));
            let in_time = bound.is_none_or(|bound| now <= bound);
            assert!(in_time, "late: {now:?}, {:?} under {:?}", client.session, client.timeout);
        }
    }
}

#[test]
fn in_a_year_no_session_ends_early_and_none_outlives_its_timeout_by_a_second_and_one_percent() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let timeouts = [1, 2, 13, 60, 300, 3600, 86_400, 30 * 86_400].map(Duration::from_secs).repeat(8);
    // The tick wraps in the middle of the year.
    let start = Time::ZERO + (TICK * u32::MAX - YEAR / 2);
    let rig = Rig::new(64, 1024, 1024, start).without_sweep();
    let mut year = Year { rig, random: Rng::seeded(11), clients: Vec::new() };
    for usual in timeouts {
        let next = start + year.below(Duration::from_secs(86_400));
        let client = Client { usual, tcp: false, session: None, timeout: usual, next, ended: 0 };
        year.clients.push(client);
    }
    let (mut polls, mut declined) = (0u32, 0u32);
    while year.rig.now < start + YEAR {
        year.go_on();
        for n in 0..year.clients.len() {
            if year.clients[n].next <= year.rig.now {
                year.send(n);
            }
        }
        year.rig.poll();
        polls += 1;
        declined += u32::from(year.send_at_the_last_moment());
        year.remove();
        year.assert_nobody_is_late();
    }
    assert!(polls > 100_000 && declined > 1000, "{polls} polls, {declined} declined");
    assert!(year.clients.iter().all(|client| client.ended > 0));
    assert_eq!(year.rig.counters.timer_posts_lost.get(), 0);
}

#[test]
fn posts_that_were_lost_leave_nobody_behind() {
    // Ten thousand sessions, four places in the ring, and sessions under the shortest timeout that there is.
    let mut rig = Rig::new(10_000, 4, 16_384, START);
    rig.udp(Duration::from_secs(1));
    rig.poll();
    for n in 0..9_999 {
        rig.udp(Duration::from_secs(if n % 2 == 0 { 1 } else { 100 }));
    }
    assert_eq!(rig.counters.timer_posts_lost.get(), 9_995);
    assert_eq!(rig.run(Duration::from_millis(1000), Duration::from_millis(2), 1000), 0, "not early");
    assert_eq!(rig.expiry.wheel.armed(), 10_000, "all are armed before one ends");
    assert_eq!(rig.run(Duration::from_millis(110), Duration::from_millis(2), 1000), 5001);
    assert_eq!(rig.run(Duration::from_millis(98_800), Duration::from_millis(50), 1000), 0, "not early");
    assert_eq!(rig.run(Duration::from_millis(200), Duration::from_millis(2), 1000), 4999);
    assert!(rig.shard.is_empty());
}

#[test]
fn a_shortening_that_was_lost_takes_the_session_from_days_to_minutes_all_the_same() {
    let mut rig = Rig::new(1000, 1024, 1024, START);
    let ids: Vec<SessionId> = (0..1000).map(|_| rig.connect()).collect();
    assert_eq!(rig.run(Duration::from_secs(3600), Duration::from_secs(1), 1000), 0);
    // Nobody reads while a thousand connections close, and again the ring is too small.
    for _ in 0..2 {
        for id in &ids {
            rig.post(*id);
        }
    }
    for id in &ids {
        rig.tcp(*id, Direction::Original, FIN | ACK);
    }
    assert_eq!(rig.counters.timer_posts_lost.get(), 3000 - 1024);
    assert_eq!(rig.run(Duration::from_secs(240), Duration::from_millis(100), 1000), 0, "not early");
    assert_eq!(rig.run(Duration::from_millis(200), Duration::from_millis(2), 1000), 1000);
}

#[test]
fn a_loss_while_a_sweep_is_on_its_way_begins_a_whole_one() {
    let mut rig = Rig::new(1000, 1, 1024, START);
    for _ in 0..500 {
        rig.udp(Duration::from_secs(50));
    }
    rig.run(Duration::from_millis(250), Duration::from_millis(2), 10);
    // These lie behind the sweep.
    for n in 0..100 {
        rig.shard.remove(rig.shard.resolve(n, 2).unwrap());
        rig.udp(Duration::from_secs(50));
    }
    rig.run(Duration::from_millis(510), Duration::from_millis(2), 10);
    assert!((0..500).all(|index| rig.expiry.wheel.is_armed(index)));
    let status = rig.expiry.status(WorkerId(3));
    let length = status.last_sweep.unwrap();
    assert!(Duration::from_millis(400) < length && length <= Duration::from_millis(510), "{length:?}");
    assert_eq!((status.worker, status.armed, status.posts_lost), (WorkerId(3), 500, 598));
}

#[test]
fn a_session_that_nobody_posted_is_found_within_a_minute() {
    let mut rig = Rig::new(1000, 1, 1024, START);
    rig.udp(Duration::from_secs(100));
    let forgotten = rig.udp(Duration::from_secs(100));
    rig.counters = Arc::default();
    assert!(!rig.expiry.wheel.is_armed(forgotten.index()));
    rig.expiry.counters = rig.counters.clone();
    rig.run(Duration::from_secs(60), Duration::from_millis(100), 10);
    assert!(rig.expiry.wheel.is_armed(forgotten.index()));
}

#[test]
fn when_the_ring_to_the_worker_is_full_what_is_due_waits_its_turn_and_the_delay_shows() {
    let mut rig = Rig::new(1000, 1024, 8, START).without_sweep();
    for _ in 0..1000 {
        rig.udp(Duration::from_secs(1));
    }
    assert_eq!(rig.run(Duration::from_secs(1), TICK, 100), 0);
    // A worker that does not read for two seconds.
    rig.run(Duration::from_secs(2), TICK, 0);
    let status = rig.expiry.status(WorkerId(0));
    assert_eq!((status.armed, status.pending, status.lag_ticks), (1000, 1000, 19));
    // Then it reads four messages in a turn, and the first to be due are the first to go.
    let mut gone = Vec::new();
    while !rig.shard.is_empty() {
        rig.poll();
        let ended = rig.read_mail(4);
        assert_eq!(ended.len(), 4);
        gone.extend(ended.iter().map(|id| id.index()));
    }
    assert!(gone.is_sorted(), "{gone:?}");
    rig.run(TICK * (RETRY + 1), TICK, 8);
    let status = rig.expiry.status(WorkerId(0));
    assert_eq!((status.armed, status.pending, status.lag_ticks), (0, 0, 0));
}

#[test]
fn a_worker_that_declines_is_asked_again_half_a_second_later() {
    let mut rig = Rig::new(1, 8, 8, START).without_sweep();
    rig.udp(Duration::from_secs(10));
    rig.run(Duration::from_millis(10_100), TICK, 0);
    assert!(rig.mail.pop().is_ok(), "asked, and no answer");
    rig.run(TICK * (RETRY - 1), TICK, 0);
    assert!(rig.mail.pop().is_err());
    assert_eq!(rig.run(TICK, TICK, 1), 1);
    assert_eq!(rig.run(Duration::from_secs(60), TICK, 1), 0);
    assert_eq!(rig.expiry.wheel.armed(), 0, "nobody is there, nobody is armed");
}

#[test]
fn the_next_user_of_a_slot_has_a_timer_of_its_own() {
    let mut rig = Rig::new(1, 8, 8, START).without_sweep();
    let first = rig.udp(Duration::from_secs(10));
    rig.run(Duration::from_millis(10_100), TICK, 0);
    // Gone otherwise, before the worker reads that it is to go.
    rig.shard.remove(first);
    let second = rig.udp(Duration::from_secs(20));
    assert_eq!(second, first);
    assert_eq!(rig.run(Duration::from_secs(20), TICK, 8), 0, "not early");
    assert_eq!(rig.run(TICK, TICK, 8), 1);
}

#[test]
fn a_poll_does_no_more_than_its_budgets_however_much_is_due() {
    const SESSIONS: u32 = 30_000;
    let mut rig = Rig::new(SESSIONS, SESSIONS as usize, SESSIONS as usize, START).without_sweep();
    for _ in 0..SESSIONS {
        rig.udp(Duration::from_secs(10));
    }
    for read in (1..=SESSIONS.div_ceil(POST_BUDGET)).map(|polls| polls * POST_BUDGET) {
        assert!(rig.expiry.poll(rig.now, &mut rig.to));
        assert_eq!(rig.expiry.wheel.armed(), read.min(SESSIONS));
    }
    assert!(!rig.expiry.poll(rig.now, &mut rig.to));
    rig.now = rig.now + Duration::from_millis(10_100);
    for fired in (1..=SESSIONS.div_ceil(FIRE_BUDGET)).map(|polls| polls * FIRE_BUDGET) {
        assert!(rig.expiry.poll(rig.now, &mut rig.to));
        assert_eq!(rig.mail.slots(), fired.min(SESSIONS) as usize);
    }
    assert!(!rig.expiry.poll(rig.now, &mut rig.to));
    assert_eq!(rig.read_mail(SESSIONS as usize).len(), SESSIONS as usize);
}

#[test]
fn a_sweep_of_a_poll_is_bounded_too() {
    let mut rig = Rig::new(3 * SWEEP_BUDGET, 1, 8, START);
    rig.counters.timer_posts_lost.increment();
    rig.expiry.poll(rig.now, &mut rig.to);
    rig.now = rig.now + Duration::from_millis(499);
    for expected in [true, true, false, false] {
        assert_eq!(rig.expiry.poll(rig.now, &mut rig.to), expected);
    }
}

/// Unreplied sessions have a tenth of their time, while the switch is on.
#[derive(Debug)]
struct Tenth(Arc<std::sync::atomic::AtomicBool>);

impl TimeoutPolicy for Tenth {
    fn effective_timeout(&self, session: &Idle) -> u32 {
        let shrinks = self.shrinks() && session.class == Class::Unreplied;
        if shrinks { session.timeout_ticks / 10 } else { session.timeout_ticks }
    }

    fn shrinks(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn under_pressure_sessions_go_earlier_than_they_were_armed_for_and_after_it_no_longer() {
    let pressure = Arc::<std::sync::atomic::AtomicBool>::default();
    let mut rig = Rig::new(1000, 1024, 1024, START);
    rig.expiry.policy = Box::new(Tenth(pressure.clone()));
    let ids: Vec<SessionId> = (0..500).map(|_| rig.udp(Duration::from_secs(300))).collect();
    let connected = rig.connect();
    rig.run(Duration::from_secs(29), TICK, 0);
    assert!(rig.mail.is_empty());
    // It lasts for a moment only: whoever is not over a tenth by then was not asked for.
    pressure.store(true, Ordering::Relaxed);
    rig.run(Duration::from_millis(900), TICK, 0);
    pressure.store(false, Ordering::Relaxed);
    rig.run(Duration::from_secs(30), TICK, 0);
    assert!(rig.mail.is_empty());
    // It comes back: within a second all are asked for, but for the connection.
    pressure.store(true, Ordering::Relaxed);
    rig.run(Duration::from_millis(1100), TICK, 0);
    let mut asked: Vec<u32> = std::iter::from_fn(|| rig.mail.pop().ok())
        .map(|message| match message {
            ToWorker::Expire { index, .. } => index,
            other => panic!("{other:?}"),
        })
        .collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, ids.iter().map(|id| id.index()).collect::<Vec<_>>());
    assert!(!asked.contains(&connected.index()));
}
