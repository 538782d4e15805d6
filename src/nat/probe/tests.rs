use super::super::testing::{assert_checksums, packet};
use super::*;
use crate::device::membuf::MemPool;

const NOW: Time = Time::from_secs(1000);
const OURS: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 168, 1, 1), 1000);
const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);

fn key() -> ProbeKey {
    ProbeKey::new(7)
}

fn question(port: Option<u16>) -> Question {
    Question::to(&key(), OURS, BACKEND, port, NOW)
}

fn segment(flags: u8, sequence: u32, acknowledgement: u32) -> BareSegment {
    let tuple = question(Some(80)).tuple.inverse();
    BareSegment { tuple, sequence, acknowledgement, flags, window: 9, options: TcpOptions::default() }
}

/// What is heard of a segment of the backend that carries these bytes.
fn hear(segment: &BareSegment, data: &[u8], now: Time) -> Option<Heard> {
    let mut buf = MemPool::new(1, 2048).alloc().unwrap();
    build_segment(&mut buf, segment).unwrap();
    let mut l4 = [&buf.data()[20..], data].concat();
    l4[16..18].copy_from_slice(&[0, 0]);
    let length = u16::try_from(l4.len()).unwrap();
    let sum = Sum::default().pseudo_header(segment.tuple.src, segment.tuple.dst, protocol::TCP, length);
    let sum = sum.bytes(&l4).checksum();
    l4[16..18].copy_from_slice(&sum.to_be_bytes());
    key().read(&segment.tuple, Kind::Tcp { flags: segment.flags }, &l4, now)
}

/// Flags, sequence and acknowledgement of what is answered.
fn says(heard: &Heard) -> Vec<(u8, u32, u32)> {
    heard.say.iter().map(|say| (say.flags, say.sequence, say.acknowledgement)).collect()
}

#[test]
fn a_server_that_accepts_sees_a_client_that_comes_and_leaves() {
    let question = question(Some(80));
    let n = question.number;
    let heard = hear(&segment(SYN | ACK, 500, n.wrapping_add(1)), &[], NOW).unwrap();
    assert_eq!((heard.question, heard.said), (question, Said::Yes));
    assert_eq!(says(&heard), [(ACK, n.wrapping_add(1), 501), (ACK | FIN, n.wrapping_add(1), 501)]);
    assert!(heard.say.iter().all(|say| say.tuple == question.tuple));
    // A greeting that crosses our FIN, the acknowledgement of that, and its own FIN.
    let heard = hear(&segment(ACK, 501, n.wrapping_add(1)), b"220 hello", NOW).unwrap();
    assert_eq!((heard.said, says(&heard)), (Said::More, vec![(ACK, n.wrapping_add(1), 510)]));
    let heard = hear(&segment(ACK, 510, n.wrapping_add(2)), &[], NOW).unwrap();
    assert_eq!((heard.said, says(&heard)), (Said::More, vec![]));
    let heard =
        hear(&segment(ACK | FIN, 510, n.wrapping_add(2)), &[], NOW + Duration::from_secs(30)).unwrap();
    assert_eq!((heard.said, says(&heard)), (Said::More, vec![(ACK, n.wrapping_add(2), 511)]));
}

#[test]
fn a_refusal_is_one_only_of_the_question_and_is_not_answered() {
    let n = question(Some(80)).number;
    let heard = hear(&segment(RST | ACK, 0, n.wrapping_add(1)), &[], NOW).unwrap();
    assert_eq!((heard.said, says(&heard)), (Said::Refused, vec![]));
    let late = hear(&segment(RST | ACK, 501, n.wrapping_add(2)), &[], NOW).unwrap();
    assert_ne!(late.question.number, n, "of the connection, and not of the question");
    assert_eq!(says(&late), []);
}

#[test]
fn what_no_question_of_ours_can_have_asked_for_is_no_answer() {
    let n = question(Some(80)).number;
    let good = segment(SYN | ACK, 500, n.wrapping_add(1));
    let longer = NOW + LIFETIME + Duration::from_millis(1);
    assert_eq!(hear(&good, &[], longer), None, "too late");
    assert_eq!(hear(&BareSegment { flags: SYN, ..good }, &[], NOW), None, "acknowledges nothing");
    assert_eq!(hear(&BareSegment { flags: SYN | RST | ACK, ..good }, &[], NOW), None);
    let to = |sport, dport| BareSegment { tuple: Tuple { sport, dport, ..good.tuple }, ..good };
    assert_eq!(hear(&to(80, 1024), &[], NOW), None, "another port of ours");
    assert_eq!(hear(&to(81, 1000), &[], NOW), None, "another port of its");
    let other = ProbeKey::new(8);
    let damaged = [0; 20];
    assert_eq!(key().read(&good.tuple, Kind::Tcp { flags: SYN | ACK }, &damaged, NOW), None);
    let mut buf = MemPool::new(1, 2048).alloc().unwrap();
    build_segment(&mut buf, &good).unwrap();
    let read = |key: &ProbeKey| key.read(&good.tuple, Kind::Tcp { flags: SYN | ACK }, &buf.data()[20..], NOW);
    assert!(read(&key()).is_some() && read(&other).is_none(), "another gateway's");
    // Of numbers that are tried one in 256 gets past the worker.
    let passed = (0..65_536u32)
        .filter(|guess| hear(&segment(SYN | ACK, 500, guess.wrapping_mul(65_537)), &[], NOW).is_some())
        .count();
    assert!((200..330).contains(&passed), "{passed}");
}

#[test]
fn questions_are_sound_packets_and_an_echo_reply_tells_the_number() {
    for port in [Some(80), None] {
        let question = question(port);
        let mut buf = MemPool::new(1, 2048).alloc().unwrap();
        build_question(&mut buf, &question).unwrap();
        let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0], buf.data()].concat();
        assert_checksums(&frame);
        let packet = packet(&frame);
        assert_eq!(packet.state.tuple, question.tuple);
    }
    let question = question(None);
    let mut buf = MemPool::new(1, 2048).alloc().unwrap();
    build_question(&mut buf, &question).unwrap();
    let mut l4 = buf.data()[20..].to_vec();
    // Type 0 instead of 8.
    l4[0] = 0;
    l4[2..4].copy_from_slice(&[0, 0]);
    let sum = checksum::checksum(&l4);
    l4[2..4].copy_from_slice(&sum.to_be_bytes());
    let tuple = question.tuple.inverse();
    let heard = key().read(&tuple, Kind::IcmpReply, &l4, NOW).unwrap();
    assert_eq!((heard.question, heard.said, heard.say.len()), (question, Said::Yes, 0));
    l4[9] ^= 1;
    assert_eq!(key().read(&tuple, Kind::IcmpReply, &l4, NOW), None, "damaged");
    assert_eq!(key().read(&tuple, Kind::IcmpRequest, &l4, NOW), None);
}
