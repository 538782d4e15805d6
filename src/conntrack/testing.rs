//! For tests: a session, and a language of TCP segments that meet it.
//!
//! ```text
//! > S seq=1000 ws=7          : SYN_SENT
//! < SA seq=5000 ack=1001     : SYN_RECV
//! > A seq=1001 ack=5001      : ESTABLISHED assured
//! > A seq=9999999 ack=5001   : drop tcp_out_of_window
//! < A seq=5001 ack=1         : passes
//! ```
//!
//! `>` is the original direction, `<` the reply. Fields: `seq` `ack` `len` (0), `win` (1000), `ws` (no window scale), and
//! `first` for the first fragment of a segment. Behind the colon: the state that the segment, as activity, leads to,
//! with `assured` if the session is so then, `reopened` if another connection began, `timeout=` in seconds; or `passes`,
//! without effect on state and timer; or `drop` and the reason, and nothing at all has changed. The first line opens the
//! session.

use super::key::V4Key;
use super::policy::{Policy, TcpOptions};
use super::session::{Direction, NewSession, Session, Shape};
use super::table::{SessionId, Shard};
use super::tcp_segment::Segment;
use super::tracker::{self, Observed, Opening, Tracked};
use crate::ids::Realm;
use crate::packet::Tuple;
use crate::telemetry::DropReason;
use crate::time::Tick;
use crate::wire::checksum::Delta;
use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN};

/// When the session was opened.
pub(super) const OPENED: Tick = Tick(1000);

/// A table with one session.
pub(super) struct Fixture {
    pub(super) shard: Shard<V4Key>,
    id: SessionId,
    pub(super) policy: Policy,
    pub(super) now: Tick,
}

impl Fixture {
    /// A session that began so.
    pub(super) fn new(opening: Opening, policy: Policy) -> Fixture {
        let tuple =
            Tuple { src: [10, 0, 0, 1].into(), dst: [192, 0, 2, 1].into(), sport: 1, dport: 2, protocol: 6 };
        let (mut shard, _) = Shard::new(1, 0);
        let id = shard
            .insert(NewSession {
                original: V4Key::new(tuple, Realm::Internal, 0),
                reply: V4Key::new(tuple.inverse(), Realm::External, 0),
                opening,
                now: OPENED,
                length: 60,
                policy: 0,
                mark: 0,
                protected: false,
                lease: None,
                shape: Shape::default(),
                l3: Delta::ZERO,
                l4: Delta::ZERO,
            })
            .unwrap();
        Fixture { shard, id, policy, now: OPENED }
    }

    /// A session that this packet opens.
    pub(super) fn opened_by(observed: &Observed<'_>, policy: Policy) -> Fixture {
        Fixture::new(tracker::open(observed, &policy, 0).unwrap(), policy)
    }

    pub(super) fn session(&self) -> &Session<V4Key> {
        self.shard.session(self.id)
    }

    /// Tracks a packet at the time.
    pub(super) fn track(&self, direction: Direction, observed: &Observed<'_>) -> Result<Tracked, DropReason> {
        tracker::track(self.session(), direction, observed, 40, self.now, &self.policy)
    }

    /// Everything that can be seen of the session.
    pub(super) fn picture(&self) -> String {
        format!("{:?}", self.session())
    }

    /// Plays the lines of a script, a tick apart.
    pub(super) fn play(&mut self, script: &str) {
        for line in lines(script) {
            let (what, outcome) = line.split_once(':').unwrap_or_else(|| panic!("no outcome: {line}"));
            let (direction, segment) = parse(what);
            self.now.0 += 1;
            let before = (self.picture(), self.session().state(), self.session().last_seen());
            let tracked = self.track(direction, &Observed::Tcp(segment));
            let mut words = outcome.split_whitespace();
            let first = words.next().unwrap_or_default();
            let session = self.session();
            match (first, tracked) {
                ("drop", Err(reason)) => {
                    assert_eq!(words.next(), Some(reason.name()), "{line}");
                    assert_eq!(self.picture(), before.0, "{line}");
                }
                ("passes", Ok(_)) => {
                    assert_eq!((session.state(), session.last_seen()), (before.1, before.2), "{line}");
                }
                (state, Ok(tracked)) => {
                    assert_eq!((session.state().name(), session.last_seen()), (state, self.now), "{line}");
                    let (mut assured, mut reopened) = (false, false);
                    for word in words {
                        match word.split_once('=') {
                            Some(("timeout", seconds)) => {
                                let ticks = seconds.parse::<u32>().unwrap() * 10;
                                assert_eq!(session.timeout_ticks(), ticks, "{line}");
                            }
                            _ => match word {
                                "assured" => assured = true,
                                "reopened" => reopened = true,
                                other => panic!("{other}? in: {line}"),
                            },
                        }
                    }
                    assert_eq!((session.assured(), tracked.reopened), (assured, reopened), "{line}");
                }
                (_, Err(reason)) => panic!("{} for: {line}", reason.name()),
            }
        }
    }
}

/// Plays a script under this policy. The first line opens the session.
pub(super) fn play_under(policy: Policy, script: &str) -> Fixture {
    let (first, rest) = script.trim_start().split_once('\n').unwrap();
    let (what, outcome) = first.split_once(':').unwrap();
    let (direction, segment) = parse(what);
    assert_eq!(direction, Direction::Original);
    let mut fixture = Fixture::opened_by(&Observed::Tcp(segment), policy);
    assert_eq!(fixture.session().state().name(), outcome.trim());
    fixture.play(rest);
    fixture
}

/// Plays a script under the default policy.
pub(super) fn play(script: &str) -> Fixture {
    play_under(Policy::default(), script)
}

/// A connection between windows of 1000, from 1000 to 5000.
pub(super) const OPEN: &str = "> S seq=1000 : SYN_SENT
    < SA seq=5000 ack=1001 : SYN_RECV
    > A seq=1001 ack=5001 : ESTABLISHED assured\n";

/// Plays a script on that.
pub(super) fn play_open(script: &str) -> Fixture {
    play(&format!("{OPEN}{script}"))
}

/// A policy with `be_liberal`.
pub(super) fn be_liberal() -> Policy {
    Policy { tcp: TcpOptions { be_liberal: true, ..TcpOptions::default() }, ..Policy::default() }
}

/// A policy with `loose`.
pub(super) fn loose() -> Policy {
    Policy { tcp: TcpOptions { loose: true, ..TcpOptions::default() }, ..Policy::default() }
}

fn lines(script: &str) -> impl Iterator<Item = &str> {
    script
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
}

/// A segment in words.
pub(super) fn parse(text: &str) -> (Direction, Segment) {
    let mut words = text.split_whitespace();
    let direction = match words.next() {
        Some(">") => Direction::Original,
        Some("<") => Direction::Reply,
        other => panic!("{other:?} is no direction: {text}"),
    };
    let bit = |letter| match letter {
        'S' => SYN,
        'A' => ACK,
        'F' => FIN,
        'R' => RST,
        'P' => PSH,
        other => panic!("no flag {other}: {text}"),
    };
    let flags = words.next().unwrap_or_default().chars().fold(0, |flags, letter| flags | bit(letter));
    let mut segment = Segment::bare(flags, 0, 0, 1000).unwrap_or_else(|| panic!("impossible: {text}"));
    for word in words {
        let Some((field, value)) = word.split_once('=') else {
            assert_eq!(word, "first", "{text}");
            segment.whole = false;
            continue;
        };
        let value: u32 = value.parse().unwrap_or_else(|_| panic!("{word}? in: {text}"));
        match field {
            "seq" => segment.seq = value,
            "ack" => segment.ack = value,
            "len" => segment.len = value.try_into().unwrap(),
            "win" => segment.window = value.try_into().unwrap(),
            "ws" => segment.scale = Some(value.try_into().unwrap()),
            other => panic!("no field {other}: {text}"),
        }
    }
    (direction, segment)
}
