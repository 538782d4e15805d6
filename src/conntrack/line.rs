//! Sessions as text: the lines of `conntrack -L -o extended` and of `/proc/net/nf_conntrack`, which are nearly the same.
//!
//! Both are written with accounting as if `nf_conntrack_acct` were on, and a mark also if it is 0. The fields and their
//! order are those of Linux 6.18 and conntrack-tools 1.4.7; the tests below have lines that they printed.

use super::key::V4Key;
use super::session::SessionSnapshot;
use super::timeouts::{Timeout, Timeouts};
use crate::packet::Tuple;
use crate::time::{TICK, Tick};
use crate::wire::{icmp, protocol};
use std::fmt::{self, Write};

/// The session as `conntrack -L -o extended` prints it, without the line's end.
///
/// A zone is there only if it is not 0, and use is always 1: references are not counted here.
pub fn classic_line(session: &SessionSnapshot<V4Key>, now: Tick) -> String {
    let zone = match session.original.zone() {
        0 => String::new(),
        zone => format!(" zone={zone}"),
    };
    line(session, now, "", &format!("{zone} use=1"))
}

/// The session as `/proc/net/nf_conntrack` prints it, without the line's end. `timeouts`: those that it is under.
///
/// The zone is always there, and use is 2: the reader of that file counts.
pub fn procfs_line(session: &SessionSnapshot<V4Key>, now: Tick, timeouts: &Timeouts) -> String {
    let private = match session.protocol {
        protocol::GRE => {
            let [first, stream] =
                [Timeout::Gre, Timeout::GreStream].map(|timeout| timeouts.get(timeout).as_secs());
            format!("timeout={first}, stream_timeout={stream} ")
        }
        _ => String::new(),
    };
    line(session, now, &private, &format!(" zone={} use=2", session.original.zone()))
}

/// `private`: what the protocol has to say before the tuples.
fn line(session: &SessionSnapshot<V4Key>, now: Tick, private: &str, end: &str) -> String {
    let mut line = String::with_capacity(256);
    // Writing to a string can not fail.
    let _ = write_line(&mut line, session, now, private);
    line.push_str(end);
    line
}

/// The session as `conntrack -E` prints it, without the event's name and the line's end: without the network protocol, and
/// without `now` (the session is gone) without the seconds that are left.
pub fn event_line(session: &SessionSnapshot<V4Key>, now: Option<Tick>) -> String {
    let mut line = String::with_capacity(256);
    // Writing to a string can not fail.
    let _ = write_session(&mut line, session, now, "");
    if session.original.zone() != 0 {
        let _ = write!(line, " zone={}", session.original.zone());
    }
    line
}

fn write_line(out: &mut String, session: &SessionSnapshot<V4Key>, now: Tick, private: &str) -> fmt::Result {
    out.write_str("ipv4     2 ")?;
    write_session(out, session, Some(now), private)
}

fn write_session(
    out: &mut String,
    session: &SessionSnapshot<V4Key>,
    now: Option<Tick>,
    private: &str,
) -> fmt::Result {
    let name = protocol::name(session.protocol).unwrap_or("unknown");
    write!(out, "{name:<8} {} ", session.protocol)?;
    if let Some(now) = now {
        let left = session.timeout_ticks.saturating_sub(now.since(session.last_seen));
        write!(out, "{} ", (TICK * left).as_secs())?;
    }
    out.write_str(private)?;
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
    write!(out, "mark={}", session.mark)
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
            inbound: false,
            unanswered: false,
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
             [ASSURED] mark=0 use=1"
        );
    }

    #[test]
    fn an_event_has_the_line_that_conntrack_prints_of_events() {
        let ports = ((CLIENT, 49832), (SERVER, 443), (MAPPED, 1024));
        let syn = session(ports.0, ports.1, ports.2, 6, State::SynSent, 120);
        let line = event_line(&syn, Some(Tick(100)));
        assert!(line.starts_with("tcp      6 120 SYN_SENT src=192.168.95.5 "), "{line}");
        let line = event_line(&syn, None);
        assert!(line.starts_with("tcp      6 SYN_SENT src=192.168.95.5 "), "{line}");
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
             mark=0 use=1"
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
             mark=0 use=1"
        );
        (udp.state, udp.seen_reply, udp.assured) = (State::UdpStream, true, true);
        (udp.packets, udp.bytes) = ([2, 1], [120, 90]);
        assert_eq!(
            classic_line(&udp, Tick(100)),
            "ipv4     2 udp      17 30 \
             src=192.168.95.5 dst=8.8.8.8 sport=54321 dport=53 packets=2 bytes=120 \
             src=8.8.8.8 dst=203.0.113.10 sport=53 dport=54321 packets=1 bytes=90 \
             [ASSURED] mark=0 use=1"
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
             mark=0 use=1"
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
             [ASSURED] mark=0 use=1"
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
             mark=0 use=1"
        );
        assert_eq!(
            classic_line(&session(ends.0, ends.1, ends.2, 50, State::Generic, 600), Tick(100)),
            "ipv4     2 unknown  50 600 \
             src=192.168.95.5 dst=8.8.8.8 packets=1 bytes=60 [UNREPLIED] \
             src=8.8.8.8 dst=203.0.113.10 packets=0 bytes=0 \
             mark=0 use=1"
        );
    }

    #[test]
    fn the_mark_is_shown() {
        let ends = ((CLIENT, 1), (SERVER, 2), (MAPPED, 3));
        let marked = SessionSnapshot { mark: 7, ..session(ends.0, ends.1, ends.2, 17, State::Udp, 30) };
        assert!(classic_line(&marked, Tick(100)).ends_with(" mark=7 use=1"));
    }

    #[test]
    fn a_zone_is_shown_if_there_is_one_and_in_procfs_always() {
        let ends = ((CLIENT, 1), (SERVER, 2), (MAPPED, 3));
        let mut udp = session(ends.0, ends.1, ends.2, 17, State::Udp, 30);
        let timeouts = Timeouts::default();
        assert!(procfs_line(&udp, Tick(100), &timeouts).ends_with(" bytes=0 mark=0 zone=0 use=2"));
        udp.original = V4Key::new(udp.original.tuple(), Realm::Internal, 9);
        assert!(classic_line(&udp, Tick(100)).ends_with(" bytes=0 mark=0 zone=9 use=1"));
        assert!(procfs_line(&udp, Tick(100), &timeouts).ends_with(" bytes=0 mark=0 zone=9 use=2"));
    }

    #[test]
    fn what_should_be_gone_already_has_zero_seconds_left() {
        let ports = ((CLIENT, 1), (SERVER, 2), (MAPPED, 3));
        let udp = session(ports.0, ports.1, ports.2, 17, State::Udp, 30);
        assert!(classic_line(&udp, Tick(10_000)).starts_with("ipv4     2 udp      17 0 src="));
    }

    /// What `/proc/net/nf_conntrack` of Linux 6.18 and `conntrack -L -o extended` 1.4.7 printed of the same connections,
    /// and here the same as sessions.
    #[test]
    fn lines_are_those_that_the_kernel_and_conntrack_print() {
        let (client, server, mapped) = ([192, 168, 95, 5], [203, 0, 113, 8], [203, 0, 113, 10]);
        let captured = |from, to, protocol, state, seconds, packets, bytes| {
            let ends = ((client, from), (server, to), (mapped, from));
            let mut session = session(ends.0, ends.1, ends.2, protocol, state, seconds);
            (session.packets, session.bytes) = (packets, bytes);
            session.seen_reply = packets[1] > 0;
            session
        };
        let assured = |session| SessionSnapshot { assured: true, ..session };
        let tcp = captured(60_436, 9_001, 6, State::Established, 431_995, [4, 3], [221, 264]);
        let closing = captured(41_374, 443, 6, State::CloseWait, 55, [5, 4], [269, 316]);
        let unreplied = captured(39_576, 9_002, 17, State::Udp, 28, [1, 0], [29, 0]);
        let zoned = V4Key::new(unreplied.original.tuple(), Realm::Internal, 9);
        let stream = captured(52_394, 53, 17, State::UdpStream, 117, [3, 3], [234, 234]);
        let ping = captured(28_377, 8, 1, State::Icmp, 24, [1, 1], [84, 84]);
        let gre = captured(0, 0, 47, State::Gre, 28, [1, 0], [44, 0]);
        let other = captured(0, 0, 99, State::Generic, 598, [1, 0], [60, 0]);
        for (session, procfs, extended) in [
            (
                SessionSnapshot { mark: 7, ..assured(tcp) },
                "ipv4     2 tcp      6 431995 ESTABLISHED \
                 src=192.168.95.5 dst=203.0.113.8 sport=60436 dport=9001 packets=4 bytes=221 \
                 src=203.0.113.8 dst=203.0.113.10 sport=9001 dport=60436 packets=3 bytes=264 \
                 [ASSURED] mark=7 zone=0 use=2",
                "ipv4     2 tcp      6 431995 ESTABLISHED \
                 src=192.168.95.5 dst=203.0.113.8 sport=60436 dport=9001 packets=4 bytes=221 \
                 src=203.0.113.8 dst=203.0.113.10 sport=9001 dport=60436 packets=3 bytes=264 \
                 [ASSURED] mark=7 use=1",
            ),
            (
                assured(closing),
                "ipv4     2 tcp      6 55 CLOSE_WAIT \
                 src=192.168.95.5 dst=203.0.113.8 sport=41374 dport=443 packets=5 bytes=269 \
                 src=203.0.113.8 dst=203.0.113.10 sport=443 dport=41374 packets=4 bytes=316 \
                 [ASSURED] mark=0 zone=0 use=2",
                "ipv4     2 tcp      6 55 CLOSE_WAIT \
                 src=192.168.95.5 dst=203.0.113.8 sport=41374 dport=443 packets=5 bytes=269 \
                 src=203.0.113.8 dst=203.0.113.10 sport=443 dport=41374 packets=4 bytes=316 \
                 [ASSURED] mark=0 use=1",
            ),
            (
                SessionSnapshot { original: zoned, ..unreplied },
                "ipv4     2 udp      17 28 \
                 src=192.168.95.5 dst=203.0.113.8 sport=39576 dport=9002 packets=1 bytes=29 [UNREPLIED] \
                 src=203.0.113.8 dst=203.0.113.10 sport=9002 dport=39576 packets=0 bytes=0 \
                 mark=0 zone=9 use=2",
                "ipv4     2 udp      17 28 \
                 src=192.168.95.5 dst=203.0.113.8 sport=39576 dport=9002 packets=1 bytes=29 [UNREPLIED] \
                 src=203.0.113.8 dst=203.0.113.10 sport=9002 dport=39576 packets=0 bytes=0 \
                 mark=0 zone=9 use=1",
            ),
            (
                assured(stream),
                "ipv4     2 udp      17 117 \
                 src=192.168.95.5 dst=203.0.113.8 sport=52394 dport=53 packets=3 bytes=234 \
                 src=203.0.113.8 dst=203.0.113.10 sport=53 dport=52394 packets=3 bytes=234 \
                 [ASSURED] mark=0 zone=0 use=2",
                "ipv4     2 udp      17 117 \
                 src=192.168.95.5 dst=203.0.113.8 sport=52394 dport=53 packets=3 bytes=234 \
                 src=203.0.113.8 dst=203.0.113.10 sport=53 dport=52394 packets=3 bytes=234 \
                 [ASSURED] mark=0 use=1",
            ),
            (
                // The tuple of an answer carries the type of the request.
                SessionSnapshot { reply: key((server, 8), (mapped, 28_377), 1, Realm::External), ..ping },
                "ipv4     2 icmp     1 24 \
                 src=192.168.95.5 dst=203.0.113.8 type=8 code=0 id=28377 packets=1 bytes=84 \
                 src=203.0.113.8 dst=203.0.113.10 type=0 code=0 id=28377 packets=1 bytes=84 \
                 mark=0 zone=0 use=2",
                "ipv4     2 icmp     1 24 \
                 src=192.168.95.5 dst=203.0.113.8 type=8 code=0 id=28377 packets=1 bytes=84 \
                 src=203.0.113.8 dst=203.0.113.10 type=0 code=0 id=28377 packets=1 bytes=84 \
                 mark=0 use=1",
            ),
            (
                gre,
                "ipv4     2 gre      47 28 timeout=30, stream_timeout=180 \
                 src=192.168.95.5 dst=203.0.113.8 srckey=0x0 dstkey=0x0 packets=1 bytes=44 [UNREPLIED] \
                 src=203.0.113.8 dst=203.0.113.10 srckey=0x0 dstkey=0x0 packets=0 bytes=0 \
                 mark=0 zone=0 use=2",
                "ipv4     2 gre      47 28 \
                 src=192.168.95.5 dst=203.0.113.8 srckey=0x0 dstkey=0x0 packets=1 bytes=44 [UNREPLIED] \
                 src=203.0.113.8 dst=203.0.113.10 srckey=0x0 dstkey=0x0 packets=0 bytes=0 \
                 mark=0 use=1",
            ),
            (
                other,
                "ipv4     2 unknown  99 598 \
                 src=192.168.95.5 dst=203.0.113.8 packets=1 bytes=60 [UNREPLIED] \
                 src=203.0.113.8 dst=203.0.113.10 packets=0 bytes=0 \
                 mark=0 zone=0 use=2",
                "ipv4     2 unknown  99 598 \
                 src=192.168.95.5 dst=203.0.113.8 packets=1 bytes=60 [UNREPLIED] \
                 src=203.0.113.8 dst=203.0.113.10 packets=0 bytes=0 \
                 mark=0 use=1",
            ),
        ] {
            assert_eq!(procfs_line(&session, Tick(100), &Timeouts::default()), procfs);
            assert_eq!(classic_line(&session, Tick(100)), extended);
        }
    }
}
