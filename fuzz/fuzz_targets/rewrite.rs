//! Any packet that the parser accepts is translated without a panic into one that it accepts, with the tuple that
//! was asked for.
#![no_main]

#[path = "support.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use natgate::device::membuf::MemPool;
use natgate::nat::{Translation, rewrite};
use natgate::packet::{Fragment, Kind, PacketBuf, Tuple};

fuzz_target!(|input: &[u8]| {
    let Some(([a, b, c, d, e, f, g, h], frame)) = input.split_first_chunk() else { return };
    let (src, dst) = ([10, 0, *a, *b], [203, 0, *c, *d]);
    let (sport, dport) = (u16::from_be_bytes([*e, *f]), u16::from_be_bytes([*g, *h]));
    let mut frame = frame.to_vec();
    support::repair(&mut frame);
    let pool = MemPool::new(2, support::FRAME_MAX);
    let Some(mut packet) = support::parse(&pool, &frame) else { return };
    let from = packet.state.tuple;
    let mut to = Tuple { src: src.into(), dst: dst.into(), ..from };
    match packet.state.kind {
        Kind::Tcp { .. } | Kind::Udp | Kind::Sctp | Kind::Dccp => (to.sport, to.dport) = (sport, dport),
        Kind::IcmpRequest => to.sport = sport,
        Kind::IcmpReply => to.dport = dport,
        _ => {}
    }
    let before = packet.state;
    if rewrite(&mut packet, &Translation::new(from, to)).is_ok() {
        let after = support::parse(&pool, packet.buf.data()).expect("what was translated is valid");
        assert_eq!(after.state.kind, before.kind);
        assert_eq!(after.state.ttl, before.ttl - 1);
        if after.state.fragment != Fragment::Later {
            assert_eq!(after.state.tuple, packet.state.tuple);
        }
    }
});
