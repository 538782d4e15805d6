//! Sessions as text: the classic line of `conntrack -L -o extended` and `/proc/net/nf_conntrack`.

use super::key::V4Key;
use super::session::SessionSnapshot;
use crate::packet::Tuple;
use crate::time::{TICK, Tick};
use crate::wire::{icmp, protocol};
use std::fmt::{self, Write};

/// The session in one line without its end, with accounting as if `nf_conntrack_acct` were on.
///
/// Mark is always 0 and use always 1: there are no marks, and references are not counted here.
pub fn classic_line(session: &SessionSnapshot<V4Key>, now: Tick) -> String {
    let mut line = String::with_capacity(256);
    // Writing to a string can not fail.
    let _ = write_line(&mut line, session, now);
    line
}

fn write_line(out: &mut String, session: &SessionSnapshot<V4Key>, now: Tick) -> fmt::Result {
    let name = match session.protocol {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::ICMP => "icmp",
        _ => "unknown",
    };
    let left = session.timeout_ticks.saturating_sub(now.since(session.last_seen));
    let seconds = (TICK * left).as_secs();
    write!(out, "ipv4     2 {name:<8} {} {seconds} ", session.protocol)?;
    if session.state.is_tcp() {
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
    write!(out, "mark=0 zone={} use=1", session.original.zone())
}

fn write_direction(out: &mut String, tuple: Tuple, reply: bool, packets: u64, bytes: u64) -> fmt::Result {
    let Tuple { src, dst, sport, dport, protocol } = tuple;
    write!(out, "src={src} dst={dst} ")?;
    match (protocol, reply) {
        // The tuple of an answer carries the type of the request: see `Tuple`.
        (protocol::ICMP, false) => write!(out, "type={dport} code=0 id={sport} ")?,
        (protocol::ICMP, true) => write!(out, "type={} code=0 id={dport} ", answer_to(sport))?,
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
