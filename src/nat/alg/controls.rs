//! The sessions that are watched, and what is known of each: where its lines begin, and what was replaced in them. Pure.
//!
//! Owner: the worker that owns the session, which forgets it here before it removes it there. At most [`MOST`] a worker, fewer
//! if the config says so.

use super::queue_map::QueueMap;
use super::stream::{Edit, Stream};
use super::{Helper, Meaning, Mention, Speaker};
use crate::conntrack::session::Direction;

/// The most that a config may ask for, all workers together.
pub const MOST: u32 = 65_536;

/// One direction of a session.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// What was replaced in it.
    pub stream: Stream,
    /// A number at which a line begins, the last one that is known.
    line: Option<u32>,
    /// Everything before this number was passed on: it stays as it went.
    passed: Option<u32>,
}

/// What a segment says that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its sender waits here. The place is in the payload.
    Waits(Mention),
    /// A line that can not be read.
    Unreadable,
    /// Another protocol.
    Foreign,
}

/// Whether a number is behind another one.
fn before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) > u32::MAX / 2
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Way {
    /// The connection begins: its first byte has this number.
    pub fn begin(&mut self, first: u32) {
        *self = Way { line: Some(first), passed: Some(first), ..Way::default() };
    }

    /// As [`Way::begin`], if nothing is known of it yet: a SYN may come again.
    pub fn begin_once(&mut self, first: u32) {
        if self.passed.is_none() {
            self.begin(first);
        }
    }

    /// The first line of a segment that matters and was not passed on before. A line counts only where it is known to begin: at
    /// the end of another one. What is sent again stays what it was.
    pub fn read(&self, (helper, speaker): (Helper, Speaker), from: u32, payload: &[u8]) -> Option<Found> {
        let mut known = self.line == Some(from);
        let mut at = 0;
        for line in payload.split_inclusive(|byte| *byte == b'\n') {
            let start = from.wrapping_add(number(at));
            let is_new = self.passed.is_none_or(|passed| !before(start, passed));
            let meaning = if known && is_new { helper.read(speaker, line) } else { Meaning::Nothing };
            let found = match meaning {
                Meaning::Nothing | Meaning::Asks => None,
                Meaning::Unreadable => Some(Found::Unreadable),
                Meaning::Foreign => Some(Found::Foreign),
                Meaning::Waits(Mention { place, form, address, port }) => {
                    let place = at + place.start..at + place.end;
                    Some(Found::Waits(Mention { place, form, address, port }))
                }
            };
            if found.is_some() {
                return found;
            }
            at += line.len();
            known = true;
        }
        None
    }

    /// A segment is passed on, with what is replaced in it for the first time.
    pub fn pass(&mut self, from: u32, payload: &[u8], edit: Option<Edit>) {
        if let Some(edit) = edit {
            self.stream.note(edit);
        }
        let later = |known: Option<u32>, new: u32| match known {
            Some(known) if before(new, known) => Some(known),
            _ => Some(new),
        };
        self.passed = later(self.passed, from.wrapping_add(number(payload.len())));
        if let Some(last) = payload.iter().rposition(|byte| *byte == b'\n') {
            self.line = later(self.line, from.wrapping_add(number(last + 1)));
        }
    }
}

/// What is known of a session that is watched.
#[derive(Clone, Debug)]
pub struct Control {
    /// What it speaks.
    pub helper: Helper,
    /// It does not speak that after all: nothing is replaced any more.
    pub foreign: bool,
    ways: [Way; 2],
}

impl Control {
    /// Of a session that begins.
    pub fn new(helper: Helper) -> Control {
        Control { helper, foreign: false, ways: Default::default() }
    }

    /// One of its directions.
    pub fn way(&self, direction: Direction) -> &Way {
        let [original, reply] = &self.ways;
        if direction == Direction::Original { original } else { reply }
    }

    /// One of its directions.
    pub fn way_mut(&mut self, direction: Direction) -> &mut Way {
        let [original, reply] = &mut self.ways;
        if direction == Direction::Original { original } else { reply }
    }
}

/// The watched sessions of one worker, by their index in the shard.
#[derive(Debug)]
pub struct Controls(QueueMap<u32, Control>);

impl Controls {
    /// None yet. `seed` must be random.
    pub fn new(seed: u64) -> Controls {
        Controls(QueueMap::new(MOST, seed))
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// What is known of a session; `None`: it is not watched.
    pub fn get(&self, session: u32) -> Option<&Control> {
        self.0.get(&session)
    }

    /// What is known of a session; `None`: it is not watched.
    pub fn get_mut(&mut self, session: u32) -> Option<&mut Control> {
        self.0.get_mut(&session)
    }

    /// Watches a session that is not watched yet. False if there is no room.
    pub fn watch(&mut self, session: u32, control: Control) -> bool {
        self.0.insert(session, control)
    }

    /// A session ends.
    pub fn forget(&mut self, session: u32) -> bool {
        self.0.remove(&session).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: (Helper, Speaker) = (Helper::Ftp, Speaker::Server);
    const LINE: &[u8] = b"227 =10,0,0,2,4,1\r\n";

    fn waits(found: Option<Found>) -> Option<usize> {
        match found? {
            Found::Waits(mention) => Some(mention.place.start),
            _ => None,
        }
    }

    #[test]
    fn a_line_counts_only_where_it_is_known_to_begin() {
        let mut way = Way::default();
        assert_eq!(way.read(SERVER, 100, LINE), None, "nobody knows what was before");
        way.begin(100);
        assert_eq!(waits(way.read(SERVER, 100, LINE)), Some(5));
        assert_eq!(way.read(SERVER, 110, LINE), None);
        // A reply that quotes what the client said, cut just there (the "MTU trick").
        way.pass(100, b"500 '", None);
        assert_eq!(way.read(SERVER, 105, LINE), None);
        way.pass(105, LINE, None);
        let next = 105 + u32::try_from(LINE.len()).unwrap();
        assert_eq!(waits(way.read(SERVER, next, LINE)), Some(5));
        let two = [b"200 ok\r\n", LINE].concat();
        assert_eq!(waits(way.read(SERVER, next, &two)), Some(13));
    }

    #[test]
    fn what_was_passed_on_stays_as_it_went() {
        let mut way = Way::default();
        way.begin(0xffff_fff0);
        way.pass(0xffff_fff0, LINE, None);
        assert_eq!(way.read(SERVER, 0xffff_fff0, LINE), None, "sent again");
        let both = [LINE, LINE].concat();
        assert_eq!(waits(way.read(SERVER, 0xffff_fff0, &both)), Some(LINE.len() + 5));
    }

    #[test]
    fn who_says_what_no_client_says_is_none() {
        let mut way = Way::default();
        way.begin(1);
        let client = (Helper::Ftp, Speaker::Client);
        let form = b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPORT 10,0,0,2,4,1\r\n";
        assert_eq!(way.read(client, 1, form), Some(Found::Foreign));
        assert_eq!(way.read(client, 1, b"NOOP\r\nPORT 1\r\n"), Some(Found::Unreadable));
    }
}
