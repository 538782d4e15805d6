//! Sessions as text: the classic line of `conntrack -L -o extended` and `/proc/net/nf_conntrack`.

use super::key::V4Key;
use super::session::SessionSnapshot;
use crate::packet::Tuple;
use crate::time::{TICK, Tick};
use crate::wire::{icmp, protocol};
use std::fmt::{self, Write};

/// The session in one line without its end, with accounting as if `nf_conntrack_acct` were on.
///
/// Mark and zone are always there, also when they are 0, and use is always 1: references are not counted here.
pub fn classic_line(session: &SessionSnapshot<V4Key>, now: Tick) -> String {
    let mut line = String::with_capacity(256);
    // Writing to a string can not fail.
    let _ = write_line(&mut line, session, now);
    line
}

fn write_line(out: &mut String, session: &SessionSnapshot<V4Key>, now: Tick) -> fmt::Result {
    let name = protocol::name(session.protocol).unwrap_or("unknown");
    let left = session.timeout_ticks.saturating_sub(now.since(session.last_seen));
    let seconds = (TICK * left).as_secs();
    write!(out, "ipv4     2 {name:<8} {} {seconds} ", session.protocol)?;
    if matches!(session.protocol, protocol::TCP | protocol::SCTP | protocol::DCCP) {
        write!(out, "{} ", session.state.name())?;
    }
    write_direction(out, session.original.tuple(), false, session.packets[0], session.bytes[0])?;
    if !session.seen_reply {
        out.write_str("[UNREPLIED] ")?;
    }
    write_direction(out, session.reply.tuple(), true, session.packets[1], session.bytes[1])?;
    if session.assured {
        out.write_str("[ASSURED] ")?;
    }
    write!(out, "mark={} zone={} use=1", session.mark, session.original.zone())
}

fn write_direction(out: &mut String, tuple: Tuple, reply: bool, packets: u64, bytes: u64) -> fmt::Result {
    let Tuple { src, dst, sport, dport, protocol } = tuple;
    write!(out, "src={src} dst={dst} ")?;
    match (protocol, reply) {
        // The tuple of an answer carries the type of the request: see `Tuple`.
        (protocol::ICMP, false) => write!(out, "type={dport} code=0 id={sport} ")?,
        (protocol::ICMP, true) => write!(out, "type={} code=0 id={dport} ", answer_to(sport))?,
        // Of GRE version 1, Linux prints the call ids here, which are not tracked: see `wire::gre`.
        (protocol::GRE, _) => out.write_str("srckey=0x0 dstkey=0x0 ")?,
        (other, _) if protocol::is_portless(other) => {}
        _ => write!(out, "sport={sport} dport={dport} ")?,
    }
    write!(out, "packets={packets} bytes={bytes} ")
}

fn answer_to(request: u16) -> u16 {
    if request == u16::from(icmp::TIMESTAMP_REQUEST) {
        u16::from(icmp::TIMESTAMP_REPLY)
    } else {
        u16::from(icmp::ECHO_REPLY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::tracker::State;
    use crate::ids::Realm;

    fn key(from: ([u8; 4], u16), to: ([u8; 4], u16), protocol: u8, realm: Realm) -> V4Key {
        let tuple = Tuple { src: from.0.into(), dst: to.0.into(), sport: from.1, dport: to.1, protocol };
        V4Key::new(tuple, realm, 0)
    }

    /// A client that appears outside under `mapped`. Last seen at tick 100, one packet of 60 bytes so far.
    fn session(
        client: ([u8; 4], u16),
        server: ([u8; 4], u16),
        mapped: ([u8; 4], u16),
        protocol: u8,
        state: State,
        seconds: u32,
    ) -> SessionSnapshot<V4Key> {
        SessionSnapshot {
            index: 0,
            generation: 2,
            original: key(client, server, protocol, Realm::Internal),
            reply: key(server, mapped, protocol, Realm::External),
            protocol,
            state,
            seen_reply: false,
            assured: false,
            last_seen: Tick(100),
            created: Tick(0),
            timeout_ticks: seconds * 10,
            packets: [1, 0],
            bytes: [60, 0],
            lease: None,
            policy: 0,
            mark: 0,
        }
    }

    const CLIENT: [u8; 4] = [192, 168, 95, 5];
    const SERVER: [u8; 4] = [8, 8, 8, 8];
    const MAPPED: [u8; 4] = [203, 0, 113, 10];

    #[test]
    fn an_established_tcp_connection_reads_as_conntrack_prints_it() {
        let ports = ((CLIENT, 49832), (SERVER, 443), (MAPPED, 49832));
        let mut tcp = session(ports.0, ports.1, ports.2, 6, State::Established, 432_000);
        (tcp.seen_reply, tcp.assured) = (true, true);
        (tcp.packets, tcp.bytes) = ([5, 3], [1234, 5_000_000_000]);
        assert_eq!(
            classic_line(&tcp, Tick(101)),
            "ipv4     2 tcp      6 431999 ESTABLISHED \
             src=192.168.95.5 dst=8.8.8.8 sport=49832 dport=443 packets=5 bytes=1234 \
             src=8.8.8.8 dst=203.0.113.10 sport=443 dport=49832 packets=3 bytes=5000000000 \
             [ASSURED] mark=0 zone=0 use=1"
        );
    }

    #[test]
    fn an_unanswered_syn_is_unreplied() {
        let ports = ((CLIENT, 49832), (SERVER, 443), (MAPPED, 1024));
        let syn = session(ports.0, ports.1, ports.2, 6, State::SynSent, 120);
        assert_eq!(
            classic_line(&syn, Tick(100)),
            "ipv4     2 tcp      6 120 SYN_SENT \
             src=192.168.95.5 dst=8.8.8.8 sport=49832 dport=443 packets=1 bytes=60 [UNREPLIED] \
             src=8.8.8.8 dst=203.0.113.10 sport=443 dport=1024 packets=0 bytes=0 \
             mark=0 zone=0 use=1"
        );
    }

    #[test]
    fn udp_has_no_state_but_the_flags() {
        let ports = ((CLIENT, 54321), (SERVER, 53), (MAPPED, 54321));
        let mut udp = session(ports.0, ports.1, ports.2, 17, State::Udp, 30);
        assert_eq!(
            classic_line(&udp, Tick(150)),
            "ipv4     2 udp      17 25 \
             src=192.168.95.5 dst=8.8.8.8 sport=54321 dport=53 packets=1 bytes=60 [UNREPLIED] \
             src=8.8.8.8 dst=203.0.113.10 sport=53 dport=54321 packets=0 bytes=0 \
             mark=0 zone=0 use=1"
        );
        (udp.state, udp.seen_reply, udp.assured) = (State::UdpStream, true, true);
        (udp.packets, udp.bytes) = ([2, 1], [120, 90]);
        assert_eq!(
            classic_line(&udp, Tick(100)),
            "ipv4     2 udp      17 30 \
             src=192.168.95.5 dst=8.8.8.8 sport=54321 dport=53 packets=2 bytes=120 \
             src=8.8.8.8 dst=203.0.113.10 sport=53 dport=54321 packets=1 bytes=90 \
             [ASSURED] mark=0 zone=0 use=1"
        );
    }

    #[test]
    fn icmp_shows_type_code_and_identifier_as_they_are_on_the_wire() {
        let icmp = |request| {
            let mut icmp = session((CLIENT, 1234), (SERVER, request), (MAPPED, 4321), 1, State::Icmp, 30);
            icmp.reply = key((SERVER, request), (MAPPED, 4321), 1, Realm::External);
            icmp
        };
        let mut echo = icmp(8);
        echo.seen_reply = true;
        (echo.packets, echo.bytes) = ([1, 1], [84, 84]);
        assert_eq!(
            classic_line(&echo, Tick(101)),
            "ipv4     2 icmp     1 29 \
             src=192.168.95.5 dst=8.8.8.8 type=8 code=0 id=1234 packets=1 bytes=84 \
             src=8.8.8.8 dst=203.0.113.10 type=0 code=0 id=4321 packets=1 bytes=84 \
             mark=0 zone=0 use=1"
        );
        let timestamp = classic_line(&icmp(13), Tick(101));
        assert!(timestamp.contains("type=13 code=0 id=1234"), "{timestamp}");
        assert!(timestamp.contains("type=14 code=0 id=4321"), "{timestamp}");
    }

    #[test]
    fn sctp_and_dccp_show_their_state_as_tcp_does() {
        let ports = ((CLIENT, 2905), (SERVER, 2906), (MAPPED, 1024));
        let mut sctp = session(ports.0, ports.1, ports.2, 132, State::SctpEstablished, 210);
        (sctp.seen_reply, sctp.assured) = (true, true);
        assert_eq!(
            classic_line(&sctp, Tick(101)),
            "ipv4     2 sctp     132 209 ESTABLISHED \
             src=192.168.95.5 dst=8.8.8.8 sport=2905 dport=2906 packets=1 bytes=60 \
             src=8.8.8.8 dst=203.0.113.10 sport=2906 dport=1024 packets=0 bytes=0 \
             [ASSURED] mark=0 zone=0 use=1"
        );
        let sctp = session(ports.0, ports.1, ports.2, 132, State::SctpShutdownAckSent, 3);
        assert!(
            classic_line(&sctp, Tick(100)).starts_with("ipv4     2 sctp     132 3 SHUTDOWN_ACK_SENT src=")
        );
        let dccp = session(ports.0, ports.1, ports.2, 33, State::DccpPartopen, 480);
        assert!(classic_line(&dccp, Tick(100)).starts_with(
            "ipv4     2 dccp     33 480 PARTOPEN src=192.168.95.5 dst=8.8.8.8 sport=2905 dport=2906 "
        ));
        let lite = session(ports.0, ports.1, ports.2, 136, State::Udp, 30);
        assert!(
            classic_line(&lite, Tick(100)).starts_with(
                "ipv4     2 udplite  136 30 src=192.168.95.5 dst=8.8.8.8 sport=2905 dport=2906 "
            )
        );
    }

    #[test]
    fn gre_has_keys_and_others_nothing_in_place_of_ports() {
        let ends = ((CLIENT, 0), (SERVER, 0), (MAPPED, 0));
        assert_eq!(
            classic_line(&session(ends.0, ends.1, ends.2, 47, State::Gre, 30), Tick(100)),
            "ipv4     2 gre      47 30 \
             src=192.168.95.5 dst=8.8.8.8 srckey=0x0 dstkey=0x0 packets=1 bytes=60 [UNREPLIED] \
             src=8.8.8.8 dst=203.0.113.10 srckey=0x0 dstkey=0x0 packets=0 bytes=0 \
             mark=0 zone=0 use=1"
        );
        assert_eq!(
            classic_line(&session(ends.0, ends.1, ends.2, 50, State::Generic, 600), Tick(100)),
            "ipv4     2 unknown  50 600 \
             src=192.168.95.5 dst=8.8.8.8 packets=1 bytes=60 [UNREPLIED] \
             src=8.8.8.8 dst=203.0.113.10 packets=0 bytes=0 \
             mark=0 zone=0 use=1"
        );
    }

    #[test]
    fn the_mark_is_shown() {
        let ends = ((CLIENT, 1), (SERVER, 2), (MAPPED, 3));
        let marked = SessionSnapshot { mark: 7, ..session(ends.0, ends.1, ends.2, 17, State::Udp, 30) };
        assert!(classic_line(&marked, Tick(100)).ends_with(" mark=7 zone=0 use=1"));
    }

    #[test]
    fn what_should_be_gone_already_has_zero_seconds_left() {
        let ports = ((CLIENT, 1), (SERVER, 2), (MAPPED, 3));
        let udp = session(ports.0, ports.1, ports.2, 17, State::Udp, 30);
        assert!(classic_line(&udp, Tick(10_000)).starts_with("ipv4     2 udp      17 0 src="));
    }
}
