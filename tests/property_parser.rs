//! Property: natgate's parser says of every frame what etherparse says of it, and panics on none.
//!
//! [`judge`] derives from etherparse's reading of a frame which verdict natgate has to come to, field by field and
//! reason by reason. Where natgate is stricter (checksums, source routes, fragments that serve to get past
//! filters, quotes), the rule is written out here a second time, from the RFC.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "property_support/mod.rs"]
mod support;

use etherparse::{
    Ethernet2Slice, Icmpv4Slice, IpNumber, Ipv4HeaderSlice, SingleVlanSlice, SlicedPacket, TcpSlice,
    TransportSlice, UdpHeaderSlice, UdpSlice,
};
use natgate::device::Device;
use natgate::device::membuf::MemPool;
use natgate::device::pcap::{CaptureError, PcapDevice};
use natgate::packet::{Fragment, Frame, Kind, PacketBuf, Tuple};
use natgate::telemetry::DropReason;
use support::{
    DCCP, GRE, Gen, ICMP, MAC, Part, SCTP, Spec, TCP, UDP, UDP_LITE, fix_ipv4_checksum, icmp_error,
    ones_equal, ones_sum, parse,
};

/// What the parser has to say of a frame.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// An IPv4 packet: tuple, kind, fragment, offset of the IPv4 header and of what follows it, total length, TTL,
    /// don't-fragment bit, identification.
    Ipv4(Tuple, Kind, Fragment, usize, usize, u16, (u8, bool, u16)),
    /// An ARP message.
    Arp,
    /// Dropped for this reason.
    Dropped(DropReason),
}

use Verdict::Dropped;

/// The verdict that etherparse's reading leads to.
fn judge(frame: &[u8]) -> Verdict {
    let Ok(link) = Ethernet2Slice::from_slice_without_fcs(frame) else {
        return Dropped(DropReason::Truncated);
    };
    let (vlan, ethertype, l3) = match link.ether_type().0 {
        0x8100 => match SingleVlanSlice::from_slice(link.payload_slice()) {
            Ok(tag) => (tag.vlan_identifier().value(), tag.ether_type().0, 18),
            Err(_) => return Dropped(DropReason::Truncated),
        },
        other => (0, other, 14),
    };
    let destination = link.destination();
    match ethertype {
        _ if support::interface_of(vlan).is_none() => Dropped(DropReason::UnknownVlan),
        0x0800 if destination != MAC => Dropped(DropReason::NotForUs),
        0x0800 => judge_ipv4(&frame[l3..], l3),
        0x0806 if destination != MAC && destination[0] & 1 == 0 => Dropped(DropReason::NotForUs),
        0x0806 => match frame.get(l3..l3 + 28) {
            Some([0, 1, 8, 0, 6, 4, ..]) => Verdict::Arp,
            Some(_) => Dropped(DropReason::ArpInvalid),
            None => Dropped(DropReason::Truncated),
        },
        _ => Dropped(DropReason::EthertypeUnsupported),
    }
}

fn judge_ipv4(bytes: &[u8], l3: usize) -> Verdict {
    let header = match Ipv4HeaderSlice::from_slice(bytes) {
        Ok(header) => header,
        Err(etherparse::err::ipv4::HeaderSliceError::Content(_)) if bytes.len() >= 20 => {
            return Dropped(DropReason::Ipv4HeaderInvalid);
        }
        // Options that the frame is too short for: invalid or truncated, by what the total length says.
        Err(_) if bytes.len() >= 20 => {
            let total = u16::from_be_bytes([bytes[2], bytes[3]]);
            let short = usize::from(total) < usize::from(bytes[0] & 15) * 4;
            return Dropped(if short { DropReason::Ipv4HeaderInvalid } else { DropReason::Truncated });
        }
        Err(_) => return Dropped(DropReason::Truncated),
    };
    let head = header.slice().len();
    let total = usize::from(header.total_len());
    if total < head {
        return Dropped(DropReason::Ipv4HeaderInvalid);
    }
    if total > bytes.len() {
        return Dropped(DropReason::Truncated);
    }
    // Summed up here: etherparse would leave the reserved flag out.
    if !ones_equal(ones_sum(&[header.slice()]), 0) {
        return Dropped(DropReason::Ipv4ChecksumWrong);
    }
    if source_routed(header.options()) {
        return Dropped(DropReason::SourceRouted);
    }
    let payload = &bytes[head..total];
    let offset = usize::from(header.fragments_offset().value()) * 8;
    let fragment = match (offset, header.is_fragmenting_payload()) {
        (_, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    };
    let IpNumber(protocol) = header.protocol();
    if fragment != Fragment::Whole {
        let ragged = header.more_fragments() && !payload.len().is_multiple_of(8);
        // RFC 1858, RFC 3128: TCP flags in a second fragment, or the like of others with a longer header. RFC 791: no datagram is longer than 65,535 bytes.
        let evasive = [TCP, SCTP, DCCP].contains(&protocol) && offset == 8;
        if payload.is_empty() || ragged || evasive || head + offset + payload.len() > 65_535 {
            return Dropped(DropReason::FragmentInvalid);
        }
    }
    let (src, dst) = (header.source_addr(), header.destination_addr());
    let (tuple, kind) = match judge_l4(protocol, payload, fragment) {
        Ok(Transport::Flow(kind, sport, dport)) => (Tuple { src, dst, sport, dport, protocol }, kind),
        Ok(Transport::About(quoted)) => (quoted.inverse(), Kind::IcmpError),
        Err(reason) => return Dropped(reason),
    };
    let rest = (header.ttl(), header.dont_fragment(), header.identification());
    Verdict::Ipv4(tuple, kind, fragment, l3, l3 + head, header.total_len(), rest)
}

enum Transport {
    Flow(Kind, u16, u16),
    About(Tuple),
}

fn judge_l4(protocol: u8, payload: &[u8], fragment: Fragment) -> Result<Transport, DropReason> {
    let wrong = match fragment {
        Fragment::First => DropReason::FragmentInvalid,
        _ => DropReason::L4HeaderInvalid,
    };
    Ok(match (protocol, fragment) {
        (TCP, Fragment::Later) => Transport::Flow(Kind::Tcp { flags: 0 }, 0, 0),
        (UDP | UDP_LITE, Fragment::Later) => Transport::Flow(Kind::Udp, 0, 0),
        (SCTP, Fragment::Later) => Transport::Flow(Kind::Sctp, 0, 0),
        (DCCP, Fragment::Later) => Transport::Flow(Kind::Dccp, 0, 0),
        (ICMP, Fragment::Later) => Transport::Flow(Kind::IcmpOther(255), 0, 0),
        (TCP, _) => {
            let tcp = TcpSlice::from_slice(payload).map_err(|_| wrong)?;
            let bits =
                [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
            let flags = bits.iter().rev().fold(0, |flags, bit| flags << 1 | u8::from(*bit));
            Transport::Flow(Kind::Tcp { flags }, tcp.source_port(), tcp.destination_port())
        }
        (UDP, _) => {
            let udp = UdpHeaderSlice::from_slice(payload).map_err(|_| wrong)?;
            // etherparse takes a length of zero for "all of it", which exists in IPv6 only (RFC 2675).
            let whole = fragment == Fragment::Whole;
            if udp.length() < 8 || (whole && UdpSlice::from_slice(payload).is_err()) {
                return Err(wrong);
            }
            Transport::Flow(Kind::Udp, udp.source_port(), udp.destination_port())
        }
        (ICMP, _) => judge_icmp(payload, fragment, wrong)?,
        (UDP_LITE | SCTP | DCCP, _) => judge_others(protocol, payload, fragment).ok_or(wrong)?,
        (GRE, Fragment::Later) => Transport::Flow(Kind::Gre, 0, 0),
        (GRE, _) if payload.len() < 4 => return Err(wrong),
        (GRE, _) => Transport::Flow(Kind::Gre, 0, 0),
        _ => Transport::Flow(Kind::Other, 0, 0),
    })
}

/// What etherparse does not know; `None` if it can not be.
fn judge_others(protocol: u8, payload: &[u8], fragment: Fragment) -> Option<Transport> {
    let word = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));
    let whole = fragment == Fragment::Whole;
    let kind = match protocol {
        UDP_LITE => {
            // RFC 3828 3.1.
            let coverage = usize::from(word(4)?);
            let good = coverage == 0 || coverage >= 8 && (!whole || coverage <= payload.len());
            (good && payload.len() >= 8).then_some(Kind::Udp)?
        }
        SCTP => (payload.len() >= 12).then_some(Kind::Sctp)?,
        _ => {
            // RFC 4340 5.1 and 9.2: where the data begin, and how much of it is covered.
            let (data, nibble, extended) = (
                usize::from(*payload.get(4)?) * 4,
                usize::from(*payload.get(5)? & 15),
                payload.get(8)? & 1 == 1,
            );
            let covered = if nibble == 0 { 0 } else { (nibble - 1) * 4 };
            let least = if extended { 16 } else { 12 };
            let fits = data >= least && data <= payload.len();
            (payload.len() >= 12 && fits && (!whole || data + covered <= payload.len()))
                .then_some(Kind::Dccp)?
        }
    };
    Some(Transport::Flow(kind, word(0)?, word(2)?))
}

fn judge_icmp(payload: &[u8], fragment: Fragment, wrong: DropReason) -> Result<Transport, DropReason> {
    if payload.len() < 8 {
        return Err(wrong);
    }
    // Cut to the header, because etherparse wants timestamp messages to be of one length.
    let mut header = payload[..8].to_vec();
    let kind = std::mem::replace(&mut header[0], 40);
    let icmp = Icmpv4Slice::from_slice(&header).unwrap();
    let id = u16::from_be_bytes([icmp.bytes5to8()[0], icmp.bytes5to8()[1]]);
    Ok(match kind {
        0 => Transport::Flow(Kind::IcmpReply, 8, id),
        8 => Transport::Flow(Kind::IcmpRequest, id, 8),
        13 => Transport::Flow(Kind::IcmpRequest, id, 13),
        14 => Transport::Flow(Kind::IcmpReply, 13, id),
        3 | 4 | 5 | 11 | 12 if fragment != Fragment::Whole => return Err(DropReason::IcmpInvalid),
        3 | 4 | 5 | 11 | 12 => Transport::About(judge_quote(&payload[8..])?),
        other => Transport::Flow(Kind::IcmpOther(other), 0, 0),
    })
}

fn judge_quote(quote: &[u8]) -> Result<Tuple, DropReason> {
    let header = Ipv4HeaderSlice::from_slice(quote).map_err(|_| DropReason::IcmpInvalid)?;
    let transport = &quote[header.slice().len()..];
    let right = ones_equal(ones_sum(&[header.slice()]), 0);
    let IpNumber(protocol) = header.protocol();
    // Eight bytes of the transport header, of whatever has ports in them (RFC 792).
    let short = [TCP, UDP, ICMP, UDP_LITE, SCTP, DCCP].contains(&protocol) && transport.len() < 8;
    if header.fragments_offset().value() != 0 || !right || short {
        return Err(DropReason::IcmpInvalid);
    }
    if source_routed(header.options()) {
        return Err(DropReason::SourceRouted);
    }
    let word = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
    let (sport, dport) = match (protocol, transport.first().copied().unwrap_or(0)) {
        (TCP | UDP | UDP_LITE | SCTP | DCCP, _) => (word(0), word(2)),
        (ICMP, 8 | 13) => (word(4), u16::from(transport[0])),
        (ICMP, 0) => (8, word(4)),
        (ICMP, 14) => (13, word(4)),
        (ICMP, _) => return Err(DropReason::IcmpInvalid),
        _ => (0, 0),
    };
    Ok(Tuple { src: header.source_addr(), dst: header.destination_addr(), sport, dport, protocol })
}

fn source_routed(options: &[u8]) -> bool {
    let mut at = 0;
    while at < options.len() {
        match (options[at], options.get(at + 1)) {
            (131 | 137, _) => return true,
            (0, _) => return false,
            (1, _) => at += 1,
            (_, Some(len)) if *len >= 2 => at += usize::from(*len),
            _ => return false,
        }
    }
    false
}

/// natgate's verdict.
fn verdict(pool: &MemPool, frame: &[u8]) -> Verdict {
    match parse(pool, frame) {
        Err(reason) => Dropped(reason),
        Ok(Frame::Arp(..)) => Verdict::Arp,
        Ok(Frame::Ipv4(packet)) => {
            let s = packet.state;
            let (l3, l4) = (usize::from(s.l3), usize::from(s.l4));
            assert_eq!(packet.buf.data().len(), l3 + usize::from(s.total_len), "link padding is cut off");
            assert_eq!(packet.buf.data(), &frame[..packet.buf.data().len()], "and nothing else changes");
            let rest = (s.ttl, s.dont_fragment, s.id);
            Verdict::Ipv4(s.tuple, s.kind, s.fragment, l3, l4, s.total_len, rest)
        }
    }
}

/// A random valid frame.
fn frame(random: &mut Gen) -> Vec<u8> {
    let protocol = random.pick(&[TCP, TCP, UDP, UDP, ICMP, ICMP, UDP_LITE, SCTP, DCCP, GRE, 50]);
    let mut spec = Spec::random(random, protocol);
    let mut frame = match random.range(0, 9) {
        0..=5 => spec.frame(),
        6 | 7 => {
            spec.fragment(random);
            spec.frame()
        }
        _ => {
            let outer = Spec::random(random, ICMP);
            icmp_error(random, &outer, &spec).0
        }
    };
    if random.one_in(3) {
        let padding = random.range(1, 20);
        frame.extend(random.bytes(padding));
    }
    frame
}

/// Damages a frame: bytes of the headers above all, its length, and the checksum repaired now and then so that
/// the damage is not found out at once.
fn mutate(random: &mut Gen, frame: &mut Vec<u8>) {
    for _ in 0..random.range(1, 4) {
        let end = if random.one_in(3) { frame.len() } else { frame.len().min(70) };
        if end == 0 {
            return;
        }
        let at = random.range(0, end - 1);
        match random.range(0, 3) {
            0 => frame[at] = random.u8(),
            1 => frame[at] ^= 1 << random.range(0, 7),
            2 => frame[at] = random.pick(&[0, 1, 0x45, 0x4f, 0x40, 0x81, 131, 137, 0xff]),
            _ if random.one_in(4) => frame.truncate(at),
            _ => {}
        }
    }
    if random.one_in(2) {
        let l3 = if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 };
        if let Some(bytes) = frame.get_mut(l3..) {
            fix_ipv4_checksum(bytes);
        }
    }
}

#[test]
fn a_valid_frame_is_accepted_and_read_as_etherparse_reads_it() {
    let pool = MemPool::new(1, 4096);
    for case in 0..300_000 {
        let frame = frame(&mut Gen::case(case));
        let verdict = verdict(&pool, &frame);
        assert!(matches!(verdict, Verdict::Ipv4(..)), "case {case}: {verdict:?} for {frame:02x?}");
        assert_eq!(verdict, judge(&frame), "case {case}: {frame:02x?}");
        // The whole-packet reader of etherparse agrees on what is inside (timestamps: see `judge_icmp`).
        let Verdict::Ipv4(tuple, kind, Fragment::Whole, ..) = verdict else { continue };
        match (SlicedPacket::from_ethernet(&frame).ok().and_then(|sliced| sliced.transport), kind) {
            (Some(TransportSlice::Tcp(tcp)), Kind::Tcp { .. }) => {
                assert_eq!((tcp.source_port(), tcp.destination_port()), (tuple.sport, tuple.dport));
            }
            (Some(TransportSlice::Udp(udp)), Kind::Udp) => {
                assert_eq!((udp.source_port(), udp.destination_port()), (tuple.sport, tuple.dport));
            }
            (Some(TransportSlice::Icmpv4(_)) | None, Kind::IcmpRequest | Kind::IcmpReply) => {}
            (Some(TransportSlice::Icmpv4(_)), Kind::IcmpError) => {}
            (None, Kind::Other | Kind::Gre | Kind::Sctp | Kind::Dccp | Kind::Udp) => {}
            (other, kind) => panic!("case {case}: {kind:?} against {other:?}"),
        }
    }
}

#[test]
fn a_damaged_frame_gets_the_verdict_that_etherparse_leads_to() {
    let pool = MemPool::new(1, 4096);
    let mut seen = std::collections::HashMap::new();
    for case in 0..600_000 {
        let random = &mut Gen::case(case);
        let mut frame = frame(random);
        mutate(random, &mut frame);
        let verdict = verdict(&pool, &frame);
        assert_eq!(verdict, judge(&frame), "case {case}: {frame:02x?}");
        let class = match verdict {
            Dropped(reason) => reason.name(),
            Verdict::Arp => "arp",
            Verdict::Ipv4(..) => "ipv4",
        };
        *seen.entry(class).or_insert(0) += 1;
    }
    for reason in [
        DropReason::Truncated,
        DropReason::NotForUs,
        DropReason::UnknownVlan,
        DropReason::EthertypeUnsupported,
        DropReason::Ipv4HeaderInvalid,
        DropReason::Ipv4ChecksumWrong,
        DropReason::SourceRouted,
        DropReason::L4HeaderInvalid,
        DropReason::FragmentInvalid,
        DropReason::IcmpInvalid,
    ] {
        assert!(
            seen.get(reason.name()).is_some_and(|n| *n > 20),
            "{} was hardly tried: {seen:?}",
            reason.name()
        );
    }
}

#[test]
fn every_truncation_of_a_frame_has_a_verdict() {
    let pool = MemPool::new(1, 4096);
    for case in 0..2000 {
        let frame = frame(&mut Gen::case(case));
        for len in 0..frame.len() {
            assert_eq!(verdict(&pool, &frame[..len]), judge(&frame[..len]), "case {case}, {len} bytes");
        }
    }
}

#[test]
fn no_bytes_make_the_parser_panic() {
    let pool = MemPool::new(1, 4096);
    for case in 0..300_000 {
        let random = &mut Gen::case(case);
        let len = random.range(0, 120);
        let mut bytes = random.bytes(len);
        // Most noise is not for us at all; let some of it get further.
        let valid = support::link(None, &[]);
        let kept = random.range(0, valid.len()).min(len);
        bytes[..kept].copy_from_slice(&valid[..kept]);
        if kept == 14 && len > 34 && random.one_in(2) {
            bytes[14] = random.pick(&[0x45, 0x46, 0x4f]);
            bytes[16..18].copy_from_slice(&u16::try_from(len - 14).unwrap().to_be_bytes());
            bytes[23] = random.pick(&[ICMP, TCP, UDP, UDP_LITE, SCTP, DCCP, GRE]);
            fix_ipv4_checksum(&mut bytes[14..]);
        }
        assert_eq!(verdict(&pool, &bytes), judge(&bytes), "case {case}: {bytes:02x?}");
    }
}

#[test]
fn an_arp_message_is_recognised() {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, 1];
    message.extend([0; 20]);
    let mut frame = support::link(Some(100), &message);
    frame[16..18].copy_from_slice(&[8, 6]);
    let pool = MemPool::new(1, 4096);
    assert_eq!(verdict(&pool, &frame), Verdict::Arp);
    for case in 0..20_000 {
        let random = &mut Gen::case(case);
        let mut bytes = frame.clone();
        mutate(random, &mut bytes);
        assert_eq!(verdict(&pool, &bytes), judge(&bytes), "case {case}: {bytes:02x?}");
    }
}

/// Real traffic that nobody here wrote. The captures are not part of this repository.
#[test]
fn captured_traffic_gets_the_verdict_that_etherparse_leads_to() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: there are no captures in {}", folder.display());
        return;
    };
    let pool = MemPool::new(64, 70_000);
    let (mut captures, mut frames, mut accepted, mut other_links, mut unreadable) = (0, 0, 0, 0, 0);
    for file in files {
        let path = file.unwrap().path();
        if !path.extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
            continue;
        }
        let mut device = match PcapDevice::open(Some(&path), None, pool.clone()) {
            Ok(device) => device,
            Err(CaptureError::LinkType { .. }) => {
                other_links += 1;
                continue;
            }
            Err(error) => {
                println!("{error}");
                unreadable += 1;
                continue;
            }
        };
        captures += 1;
        while !device.is_exhausted() {
            let mut burst = natgate::device::Burst::new();
            device.rx_burst(&mut burst);
            for captured in burst {
                let mut bytes = captured.data().to_vec();
                drop(captured);
                // As sent, and as if it had been sent to the gateway on a VLAN of ours.
                assert_eq!(verdict(&pool, &bytes), judge(&bytes), "{}: {bytes:02x?}", path.display());
                if let Some(destination) = bytes.get_mut(..6) {
                    destination.copy_from_slice(&MAC);
                }
                if bytes.get(12..14) == Some(&[0x81, 0]) && bytes.len() > 16 {
                    bytes[14..16].copy_from_slice(&[0, 100]);
                }
                let verdict = verdict(&pool, &bytes);
                assert_eq!(verdict, judge(&bytes), "{}: {bytes:02x?}", path.display());
                frames += 1;
                accepted += u32::from(matches!(verdict, Verdict::Ipv4(..)));
            }
        }
        if let Err(error) = device.finish() {
            println!("{}: {error}", path.display());
        }
        assert_eq!(pool.in_use(), 0);
    }
    println!(
        "{frames} frames of {captures} captures, {accepted} accepted; {other_links} captures of other link types, \
         {unreadable} unreadable"
    );
    assert!(captures == 0 || accepted > 0);
}

/// A fragment of a datagram that is cut behind its transport header is never mistaken for a whole one.
#[test]
fn parts_of_a_datagram_are_told_apart() {
    let pool = MemPool::new(1, 4096);
    for case in 0..50_000 {
        let random = &mut Gen::case(case);
        let protocol = random.pick(&[TCP, UDP, ICMP, UDP_LITE, SCTP, DCCP]);
        let mut spec = Spec::random(random, protocol);
        spec.fragment(random);
        let expected = match spec.part {
            Part::Whole => (Fragment::Whole, spec.tuple),
            Part::First(_) => (Fragment::First, spec.tuple),
            Part::Later(_) => (Fragment::Later, Tuple { sport: 0, dport: 0, ..spec.tuple }),
        };
        let state = support::packet(&pool, &spec.frame()).state;
        assert_eq!((state.fragment, state.tuple), expected, "case {case}: {spec:?}");
    }
}
