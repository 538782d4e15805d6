//! RFC 3022: the arithmetic of translation, and what never leaves.

use crate::dialogue::{CLIENT, Dialogue, Piece, SERVER, commas, end, pass};
use crate::harness::Net;
use crate::lab::{cast, each, home, home_and, ipv4, mend, play};
use crate::packet::sums_are_right;
use etherparse::Ipv4Header;
use std::net::Ipv4Addr;

/// Random numbers that are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The packet of C1:1000 to S1a:53 with another header: identification, TOS, TTL, DF and options by dice.
fn vary(dice: &mut Dice, packet: &[u8]) -> Vec<u8> {
    let words = dice.roll(11) as usize;
    let mut options = Vec::new();
    while options.len() < words * 4 {
        // No operation, router alert, an unknown one, or the end.
        match dice.roll(4) {
            0 if options.len() + 4 <= words * 4 => options.extend([0x94, 4, 0, 0]),
            1 if options.len() + 4 <= words * 4 => options.extend([0x9e, 4, dice.roll(256) as u8, 7]),
            2 => {
                options.push(0);
                options.resize(words * 4, 0);
            }
            _ => options.push(1),
        }
    }
    let mut varied = packet[..20].to_vec();
    varied.extend(&options);
    varied.extend(&packet[20..]);
    varied[0] = 0x45 + words as u8;
    varied[1] = dice.roll(256) as u8;
    let length = (varied.len() as u16).to_be_bytes();
    varied[2..4].copy_from_slice(&length);
    let identification = [0, 0xffff, dice.roll(65_536) as u16][dice.roll(3) as usize];
    varied[4..6].copy_from_slice(&identification.to_be_bytes());
    varied[6] = if dice.roll(2) == 0 { 0x40 } else { 0 };
    varied[8] = 2 + dice.roll(254) as u8;
    mend(&mut varied);
    varied
}

#[test]
fn r3022_1_the_header_checksum_is_right_after_translation() {
    each(&home(), |net| {
        let mut dice = Dice(0x5eed);
        let out = net.packet("udp C1:1000 > S1a:53");
        let port = net.pass("lan", "udp C1:1000 > S1a:53").word(0);
        let back = net.packet(&format!("udp S1a:53 > X:{port}"));
        for n in 0..2500 {
            for (side, packet) in [("lan", &out), ("wan", &back)] {
                let sent = vary(&mut dice, packet);
                let outs = net.send_bytes(side, &sent);
                assert_eq!(outs.len(), 1, "{n}: {sent:02x?}");
                let (header, _) = Ipv4Header::from_slice(&outs[0].packet).unwrap();
                assert_eq!(header.header_checksum, header.calc_header_checksum(), "{n}: {sent:02x?}");
                assert!(sums_are_right(&outs[0].packet), "{n}: {sent:02x?}");
                assert_eq!(
                    outs[0].packet[20..outs[0].packet.len() - outs[0].body().len()],
                    sent[20..sent.len() - outs[0].body().len()]
                );
            }
        }
        edges_of_the_header_sum(net, &out);
    });
}

/// Every checksum that the incremental update could get wrong: those around zero.
fn edges_of_the_header_sum(net: &mut Net, packet: &[u8]) {
    let mut seen = [false; 2];
    for identification in 0..=u16::MAX {
        let mut sent = packet.to_vec();
        sent[4..6].copy_from_slice(&identification.to_be_bytes());
        mend(&mut sent);
        // What it will be: the source and the time to live change.
        let mut wanted = sent.clone();
        wanted[12..16].copy_from_slice(&cast("X").parse::<Ipv4Addr>().unwrap().octets());
        wanted[8] -= 1;
        mend(&mut wanted);
        let edge =
            |packet: &[u8]| matches!(u16::from_be_bytes([packet[10], packet[11]]), 0 | 1 | 0xfffe | 0xffff);
        if edge(&sent) || edge(&wanted) {
            seen[usize::from(edge(&wanted))] = true;
            let outs = net.send_bytes("lan", &sent);
            assert_eq!(outs[0].packet[..12], wanted[..12], "identification {identification}");
        }
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn r3022_2_the_checksums_of_udp_and_tcp_are_adjusted() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:53
        wan< udp X:$p > S1a:53
        wan> udp S1a:53 > X:$p
        lan< udp S1a:53 > C1:1000
        lan> udp C1:1000 > S1a:53 csum=0              # none stays none
        wan< udp X:$p > S1a:53 csum=0
        wan> udp S1a:53 > X:$p csum=0
        lan< udp S1a:53 > C1:1000 csum=0
        lan> udp C1:1000 > S1a:53 csum=bad            # and a wrong one is not mended
        wan< udp X:$p > S1a:53 csum=bad
        lan> tcp C1:1000 > S1a:80 S seq=1
        wan< tcp X:$q > S1a:80 S seq=1
        wan> tcp S1a:80 > X:$q SA seq=5 ack=2
        lan< tcp S1a:80 > C1:1000 SA seq=5 ack=2
        lan> tcp C1:1000 > S1a:80 A seq=2 ack=6 csum=bad
        wan< tcp X:$q > S1a:80 A seq=2 ack=6 csum=bad
        ",
    );
    each(&home(), |net| {
        let port = net.pass("lan", "udp C1:1000 > S1a:53").word(0);
        // Payloads of which one makes the sum outside zero, which is written as 0xffff.
        let mut template = net.packet("udp C1:1000 > S1a:53");
        let mut outside = net.packet(&format!("udp X:{port} > S1a:53"));
        outside[26..28].fill(0);
        outside[28..30].fill(0);
        let (src, dst) = (cast("X").parse().unwrap(), cast("S1a").parse().unwrap());
        let word = crate::lab::transport_sum(17, src, dst, &outside[20..]);
        template[28..30].copy_from_slice(&word.to_be_bytes());
        template[26..28].fill(0);
        let sum = crate::lab::transport_sum(17, cast("C1").parse().unwrap(), dst, &template[20..]);
        template[26..28].copy_from_slice(&sum.to_be_bytes());
        let outs = net.send_bytes("lan", &template);
        assert_eq!(outs[0].word(6), 0xffff, "a sum of zero");
        assert!(sums_are_right(&outs[0].packet));
    });
}

#[test]
fn r3022_3_the_checksums_of_icmp_are_adjusted() {
    each(&home(), |net| {
        for n in 0..200 {
            let id = n * 300 + 5;
            let out = net.pass("lan", &format!("icmp echo C1 > S1a id={id} seq={n} len=33"));
            let outside = out.source().1;
            net.pass("wan", &format!("icmp reply S1a > X id={outside} seq={n} len=33"));
            // Whole in the quote too, or the quote of an error would not be what was sent.
            let error = format!("icmp 11/0 R1 > X [icmp echo X > S1a id={outside} seq={n} len=33]");
            let out = net.pass("wan", &error);
            let inside = net.packet(&format!("icmp echo C1 > S1a id={id} seq={n} len=33"));
            assert_eq!(out.body()[8..], inside[..]);
        }
    });
}

/// Everything that C1 can think of.
fn barrage(dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for protocol in 0..=255 {
        packets.push(ipv4(protocol, "C1", "S1a", &[], &[7; 40]));
    }
    for kind in 0..=255 {
        for quote in ["C1", "S1a"] {
            let (src, dst) = if quote == "C1" { ("C1", "S1a") } else { ("S1a", "C1") };
            let inner = ipv4(17, src, dst, &[], &[3, 232, 0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
            packets.push(ipv4(1, "C1", "S1a", &[], &[&[kind, 0, 0, 0, 0, 9, 0, 9][..], &inner].concat()));
        }
    }
    for flags in 0..=255 {
        let mut body = vec![0x10, 0, 0, 80, 0, 0, 0, 9, 0, 0, 0, 9, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
        body[1] = dice.roll(4) as u8;
        packets.push(ipv4(6, "C1", "S1a", &[], &body));
    }
    for _ in 0..3000 {
        let body: Vec<u8> = (0..dice.roll(80)).map(|_| dice.roll(256) as u8).collect();
        let protocol = [1, 6, 17, 33, 132, 136, 47, 50, 51, dice.roll(256) as u8][dice.roll(10) as usize];
        let options: &[u8] = [&[][..], &[7, 7, 4, 192, 168, 1, 10, 0]][dice.roll(2) as usize];
        let mut packet = ipv4(protocol, "C1", "S1a", options, &body);
        packet[6..8]
            .copy_from_slice(&([0, 0x2000, 0x4000, 3, 0x2003][dice.roll(5) as usize] as u16).to_be_bytes());
        packet[8] = dice.roll(256) as u8;
        mend(&mut packet);
        packets.push(packet);
    }
    packets
}

/// Sends the barrage; every packet that left by the outside.
fn what_leaves(net: &mut Net) -> Vec<Vec<u8>> {
    let mut dice = Dice(7);
    net.act(
        "
        lan> udp C1:1000 > S1a:53
        wan< udp X:$p > S1a:53
        wan> udp S1a:53 > X:$p
        lan< udp S1a:53 > C1:1000
        lan> tcp C1:4096 > S1a:80 S seq=1
        wan< tcp X:$q > S1a:80 S seq=1
        ",
    );
    let mut left = Vec::new();
    for packet in barrage(&mut dice) {
        let outs = net.send_bytes("lan", &packet);
        left.extend(outs.into_iter().filter(|out| out.interface == "wan").map(|out| out.packet));
    }
    assert!(left.len() > 300, "much of it passes: {}", left.len());
    left
}

#[test]
fn r3022_5_no_internal_address_leaves_untranslated() {
    each(&home(), |net| {
        let inside = |address: &[u8]| address[..3] == [192, 168, 1];
        for packet in what_leaves(net) {
            assert!(!inside(&packet[12..16]) && !inside(&packet[16..20]), "{packet:02x?}");
            let head = usize::from(packet[0] & 15) * 4;
            let is_error = packet[9] == 1 && matches!(packet[head], 3 | 4 | 5 | 11 | 12);
            if is_error && packet.len() >= head + 28 {
                let quoted = &packet[head + 8..];
                assert!(!inside(&quoted[12..16]) && !inside(&quoted[16..20]), "{packet:02x?}");
            }
        }
    });
}

#[test]
fn r3022_6_other_protocols_are_translated_or_dropped() {
    each(&home(), |net| {
        // GRE, ESP, IPIP and an experimental one: translated, also back.
        for protocol in [47, 50, 4, 253] {
            let line = |src: &str, dst: &str| format!("proto {protocol} {src} > {dst} len=40");
            let line =
                |src, dst| if protocol == 47 { format!("gre {src} > {dst} len=36") } else { line(src, dst) };
            let out = net.pass("lan", &line("C1", "S1a"));
            assert_eq!((out.interface.as_str(), out.src().to_string()), ("wan", cast("X")));
            let back = net.pass("wan", &line("S1a", "X"));
            assert_eq!((back.interface.as_str(), back.dst().to_string()), ("lan", cast("C1")));
        }
        // AH signs the addresses, and IGMP is for the link.
        for protocol in [51, 2] {
            net.nothing("lan", &format!("proto {protocol} C1 > S1a len=40"));
        }
        // OSPF is what its packets are sent to.
        net.nothing("lan", "proto 89 C1 > 224.0.0.5 len=40");
        net.nothing("lan", "proto 89 C1 > G len=40");
    });
}

/// The endpoint that a `PORT` command names.
fn named(command: &str) -> (Ipv4Addr, u16) {
    let parts: Vec<u16> =
        command["PORT ".len()..].trim_end().split(',').map(|part| part.parse().unwrap()).collect();
    let [a, b, c, d, high, low] = parts[..] else { panic!("{command}") };
    ([a, b, c, d].map(|part| part as u8).into(), high << 8 | low)
}

#[test]
fn r3022_7_ftp_commands_are_rewritten_and_all_numbers_follow_if_that_is_asked_for() {
    each(&home_and("[alg.ftp]"), |net| {
        let mut control = Dialogue::open(net, ("lan", "192.168.1.10:40000"), "198.51.100.1:21", "wan");
        control.say(net, SERVER, "220 ready\r\n");
        for port in [50_000, 1024, 50_002] {
            let own = (end("192.168.1.10:0").0, port);
            let outside = named(&control.say(net, CLIENT, &format!("PORT {}\r\n", commas(own))));
            control.say(net, SERVER, "200 ok\r\n");
            let syn = Piece {
                from: end("198.51.100.1:20"),
                to: outside,
                flags: "S",
                seq: 1,
                ack: 0,
                text: String::new(),
                sack: None,
            };
            let [got] = &pass(net, "wan", &syn.encode(), "lan")[..] else { panic!("no data connection") };
            assert_eq!(Piece::decode(got).to, own);
        }
        // A line is lost behind the gateway, the next one is not.
        let first = control.piece(CLIENT, "NOOP\r\n");
        let lost = control.deliver(net, CLIENT, &first);
        let second = Piece { seq: first.seq.wrapping_add(6), text: "QUIT\r\n".into(), ..first };
        let got = control.deliver(net, CLIENT, &second);
        assert_eq!(got.seq, lost.seq.wrapping_add(6));
        let mut hole = control.piece(SERVER, "");
        hole.sack = Some((got.seq, got.seq.wrapping_add(6)));
        let told = control.deliver(net, SERVER, &hole);
        assert_eq!(told.ack, first.seq);
        assert_eq!(told.sack, Some((second.seq, second.seq.wrapping_add(6))));
    });
}

/// C1 and C2 have an address outside each.
pub(crate) const ONE_TO_ONE: &str = "
    [[static]]
    external = \"203.0.113.20\"
    internal = \"192.168.1.10\"
    [[static]]
    external = \"203.0.113.21\"
    internal = \"192.168.1.11\"
    ";

#[test]
fn r3022_4_between_addresses_translated_one_to_one_ports_stay() {
    play(
        &home_and(ONE_TO_ONE),
        "
        lan> udp C1:80 > S1a:53
        wan< udp 203.0.113.20:80 > S1a:53
        wan> udp S1a:53 > 203.0.113.20:80
        lan< udp S1a:53 > C1:80
        lan> tcp C1:4000 > S1a:443 S
        wan< tcp 203.0.113.20:4000 > S1a:443 S
        wan> tcp S2:5000 > 203.0.113.20:22 S
        lan< tcp S2:5000 > C1:22 S
        lan> icmp echo C1 > S1a id=7
        wan< icmp echo 203.0.113.20 > S1a id=7
        lan> ip47 C1 > S1a
        wan< ip47 203.0.113.20 > S1a
        lan> ip50 C1 > S1a
        wan< ip50 203.0.113.20 > S1a
        wan> ip50 S2 > 203.0.113.20
        lan< ip50 S2 > C1
        lan> ip4 C1 > S1a
        wan< ip4 203.0.113.20 > S1a
        lan> sctp C1:2905 > S1a:2905 INIT itag=11
        wan< sctp 203.0.113.20:2905 > S1a:2905 INIT itag=11
        ",
    );
}
