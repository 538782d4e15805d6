//! Streams edited at random, sent in any pieces, in any order and any number of times, against the text that the receiver is
//! meant to see.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the streams of a test are short"
)]

use super::*;
use crate::device::membuf::{MemBuf, MemPool};
use proptest::prelude::*;

/// Bytes before the payload of each frame.
const HEAD: usize = 7;

fn edit(at: u32, old: u32, text: &str) -> Edit {
    Edit { at, old, text: text.bytes().collect() }
}

/// What the receiver gets of a piece of the sender's stream, and at which number.
fn send(stream: &Stream, pool: &MemPool, from: u32, piece: &[u8]) -> (u32, Vec<u8>) {
    let mut buf = MemBuf::from_bytes(pool, &[&[9; HEAD][..], piece].concat()).unwrap();
    stream.rewrite(&mut buf, HEAD, from).unwrap();
    assert_eq!(buf.data()[..HEAD], [9; HEAD]);
    let payload = buf.data()[HEAD..].to_vec();
    let growth = stream.growth(from, piece.len() as u32);
    assert_eq!(payload.len() as i64, piece.len() as i64 + i64::from(growth));
    let touched = payload != piece;
    assert!(!touched || stream.touches(from, piece.len() as u32));
    (stream.to_receiver(from), payload)
}

#[test]
fn what_is_before_an_edit_keeps_its_number_and_what_is_behind_moves() {
    let mut stream = Stream::default();
    assert!(stream.is_plain());
    stream.note(edit(100, 4, "123456"));
    assert_eq!([99, 100, 103, 104, 110].map(|n| stream.to_receiver(n)), [99, 100, 103, 106, 112]);
    assert_eq!([99, 103, 104, 105, 106, 112].map(|n| stream.to_sender(n)), [99, 103, 103, 103, 104, 110]);
    stream.note(edit(110, 5, "x"));
    assert_eq!([109, 110, 111, 114, 115].map(|n| stream.to_receiver(n)), [111, 112, 113, 113, 113]);
    assert_eq!([112, 113, 114].map(|n| stream.to_sender(n)), [110, 115, 116]);
}

#[test]
fn an_edit_is_forgotten_only_when_it_was_acknowledged_and_another_needs_its_place() {
    let mut stream = Stream::default();
    let at = |n: u32| n * 100;
    (1..=EDITS as u32).for_each(|n| stream.note(edit(at(n), 2, "abc")));
    assert!(!stream.has_room());
    stream.note(edit(at(9), 2, "abc"));
    assert_eq!(stream.to_receiver(at(10)), at(10) + EDITS as u32, "there was no room");
    stream.acknowledge(101);
    assert!(!stream.has_room(), "half of it");
    stream.acknowledge(102);
    assert!(stream.has_room());
    assert_eq!(stream.to_receiver(at(1)), at(1), "it is there as long as nobody needs its place");
    stream.note(edit(at(9), 2, "abc"));
    assert_eq!(stream.to_receiver(at(1)), at(1) + 1);
    assert_eq!(stream.to_receiver(at(10)), at(10) + 5);
    stream.acknowledge(at(9));
    stream.acknowledge(at(9) + FAR + 10);
    assert_eq!(stream.to_receiver(at(9)), at(9) + 5, "so far back is nothing but a shift");
}

/// Pieces of a stream: places where it is edited, with what, and how it is sent.
#[derive(Clone, Debug)]
struct Story {
    isn: u32,
    len: usize,
    /// Gap before each edit, bytes that it replaces, and its text.
    edits: Vec<(usize, usize, Vec<u8>)>,
    /// Segments that are sent, again or for the first time: from, length.
    sent: Vec<(usize, usize)>,
}

fn story() -> impl Strategy<Value = Story> {
    let text = proptest::collection::vec(b'a'..=b'z', 0..=TEXT);
    let edits = proptest::collection::vec((0usize..30, 1usize..30, text), 0..=EDITS);
    let isn = prop_oneof![any::<u32>(), (0u32..400).prop_map(|n| 0u32.wrapping_sub(n))];
    (isn, edits, proptest::collection::vec((0usize..300, 0usize..60), 1..60))
        .prop_map(|(isn, edits, sent)| Story { isn, len: 300, edits, sent })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn however_a_stream_is_cut_and_sent_again_the_receiver_puts_the_same_bytes_together(story in story()) {
        let pool = MemPool::new(1, 1024);
        let original: Vec<u8> = (0..story.len).map(|n| (n % 251) as u8).collect();
        let (mut stream, mut at, mut expected, mut copied) = (Stream::default(), 0, Vec::new(), 0);
        for (gap, old, text) in &story.edits {
            at += gap;
            expected.extend_from_slice(&original[copied..at]);
            expected.extend_from_slice(text);
            let number = story.isn.wrapping_add(at as u32);
            stream.note(Edit { at: number, old: *old as u32, text: text.iter().copied().collect() });
            at += old;
            copied = at;
        }
        expected.extend_from_slice(&original[copied..]);
        // As a receiver that keeps whatever comes, at its place.
        let mut received: Vec<Option<u8>> = vec![None; expected.len()];
        for (from, len) in &story.sent {
            let to = (from + len).min(original.len());
            let (number, payload) =
                send(&stream, &pool, story.isn.wrapping_add(*from as u32), &original[*from..to]);
            let place = number.wrapping_sub(story.isn) as usize;
            for (n, byte) in payload.iter().enumerate() {
                prop_assert_eq!(expected.get(place + n), Some(byte), "at {}", place + n);
                received[place + n] = Some(*byte);
            }
        }
        // What it acknowledges: what is there without a gap. The sender never hears of a byte that did not arrive as a whole.
        let whole = received.iter().position(Option::is_none).unwrap_or(received.len());
        let acknowledged = stream.to_sender(story.isn.wrapping_add(whole as u32)).wrapping_sub(story.isn);
        let again = stream.to_receiver(story.isn.wrapping_add(acknowledged)).wrapping_sub(story.isn);
        prop_assert!(again as usize <= whole, "{acknowledged} is more than came: {whole}");
        // And what it may still send covers all the rest.
        let (number, payload) = send(
            &stream, &pool, story.isn.wrapping_add(acknowledged), &original[acknowledged as usize..],
        );
        prop_assert_eq!(number.wrapping_sub(story.isn) as usize + payload.len(), expected.len());
    }

    #[test]
    fn numbers_go_over_and_back_in_order(story in story(), offsets in proptest::collection::vec(0u32..600, 2)) {
        let mut stream = Stream::default();
        let mut at = story.isn;
        for (gap, old, text) in &story.edits {
            at = at.wrapping_add(*gap as u32);
            stream.note(Edit { at, old: *old as u32, text: text.iter().copied().collect() });
            at = at.wrapping_add(*old as u32);
        }
        let [a, b] = [offsets[0].min(offsets[1]), offsets[0].max(offsets[1])];
        let (a, b) = (story.isn.wrapping_add(a), story.isn.wrapping_add(b));
        prop_assert!(!before(stream.to_receiver(b), stream.to_receiver(a)));
        prop_assert!(!before(stream.to_sender(b), stream.to_sender(a)));
        let back = stream.to_sender(stream.to_receiver(b));
        prop_assert_eq!(stream.to_receiver(back), stream.to_receiver(b), "the same place, or one that lies there too");
    }
}
