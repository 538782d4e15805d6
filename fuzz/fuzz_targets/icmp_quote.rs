//! Any ICMP error that the parser accepts is translated and back without a panic, and stays one that it accepts.
#![no_main]

#[path = "support.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use natgate::device::membuf::MemPool;
use natgate::nat::rewrite_error;
use natgate::packet::{Kind, PacketBuf, Tuple};
use natgate::wire::checksum::checksum;

fuzz_target!(|input: &[u8]| {
    let Some(([a, b, c, d, e, f, kind], message)) = input.split_first_chunk() else { return };
    let (src, dst, port) = ([10, 0, *a, *b], [203, 0, 113, *c], u16::from_be_bytes([*e, *f ^ *d]));
    let mut message = message.to_vec();
    if message.len() < 36 || message.len() > 1400 {
        return;
    }
    message[0] = [3, 4, 11, 12][usize::from(kind & 3)];
    let quoted = usize::from(message[8] & 15) * 4;
    if let Some(header) = message.get_mut(8..8 + quoted).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    message[2..4].fill(0);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = [&support::MAC[..], &[2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0]].concat();
    frame.extend((20 + message.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 203, 0, 113, 9]);
    frame.extend(&message);
    support::repair(&mut frame);

    let pool = MemPool::new(2, support::FRAME_MAX);
    let Some(mut packet) = support::parse(&pool, &frame) else { return };
    assert_eq!(packet.state.kind, Kind::IcmpError);
    let original = packet.state.tuple.inverse();
    let mut to = Tuple { src: src.into(), dst: dst.into(), ..original };
    match (original.protocol, original.dport) {
        (1, 8 | 13) => to.sport = port,
        (1, _) => to.dport = port,
        (6 | 17, _) => to.sport = port,
        _ => {}
    }
    if rewrite_error(&mut packet, None, to).is_ok() {
        let again = support::parse(&pool, packet.buf.data()).expect("what was translated is valid");
        assert_eq!((again.state.kind, again.state.ttl), (Kind::IcmpError, 63));
        drop(again);
        rewrite_error(&mut packet, None, original).expect("the way back");
        assert_eq!(packet.state.tuple, original.inverse());
    }
});
