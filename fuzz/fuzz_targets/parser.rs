//! No frame makes the parser panic, and what it says of an accepted one holds.
#![no_main]

#[path = "support.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use natgate::device::membuf::MemPool;
use natgate::packet::{Kind, PacketBuf};

fuzz_target!(|input: &[u8]| {
    let Some((how, frame)) = input.split_first() else { return };
    let mut frame = frame.to_vec();
    let pool = MemPool::new(1, support::FRAME_MAX);
    if how & 3 != 0 {
        support::repair(&mut frame);
    }
    if let Some(packet) = support::parse(&pool, &frame) {
        let state = packet.state;
        assert_eq!(packet.buf.data().len(), usize::from(state.l3) + usize::from(state.total_len));
        assert_eq!(packet.l3_bytes().len(), usize::from(state.total_len));
        let header = packet.ipv4().expect("the header is there");
        if state.kind != Kind::IcmpError {
            assert_eq!((header.source(), header.destination()), (state.tuple.src, state.tuple.dst));
        }
    }
    assert_eq!(pool.in_use(), 0);
});
