//! Every idle timeout, declared once: the variant, the key in the config, the default,
//! that of Linux (both in seconds), the help text.
//!
//! Defaults are those of Linux unless an RFC says that they MUST be longer (RFC 4787 REQ-5, RFC 5382 REQ-5,
//! RFC 5508 REQ-2).

use crate::time::ticks;
use std::time::Duration;

macro_rules! timeouts {
    ($($variant:ident, $name:literal, $secs:literal, $linux:literal, $help:literal;)+) => {
        /// Which idle timeout a session is under.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Timeout {
            $(#[doc = $help] $variant,)+
        }

        impl Timeout {
            /// Every timeout, in the order of their numbers.
            pub const ALL: &'static [Timeout] = &[$(Timeout::$variant),+];

            /// The key in the config.
            pub fn name(self) -> &'static str {
                match self { $(Timeout::$variant => $name),+ }
            }

            /// What it applies to.
            pub fn help(self) -> &'static str {
                match self { $(Timeout::$variant => $help),+ }
            }

            /// The default.
            pub fn default_length(self) -> Duration {
                Duration::from_secs(match self { $(Timeout::$variant => $secs),+ })
            }

            /// What Linux uses if nobody tells it otherwise: `nf_conntrack_*_timeout*` of a stock kernel.
            pub fn linux_default(self) -> Duration {
                Duration::from_secs(match self { $(Timeout::$variant => $linux),+ })
            }
        }
    };
}

timeouts! {
    TcpSynSent, "tcp_syn_sent", 240, 120, "A SYN was seen (RFC 5382 REQ-5: at least 4 minutes; Linux: 120 s).";
    TcpSynRecv, "tcp_syn_recv", 240, 60, "SYN and SYN/ACK were seen (RFC 5382 REQ-5; Linux: 60 s).";
    TcpEstablished, "tcp_established", 432_000, 432_000, "The handshake is complete (RFC 5382 REQ-5: at least 2 h 4 min; Linux: 5 days).";
    TcpFinWait, "tcp_fin_wait", 240, 120, "One side sent FIN (RFC 5382 REQ-5; Linux: 120 s).";
    TcpCloseWait, "tcp_close_wait", 240, 60, "The FIN was acknowledged (RFC 5382 REQ-5; Linux: 60 s).";
    TcpLastAck, "tcp_last_ack", 240, 30, "Both sides sent FIN (RFC 5382 REQ-5; Linux: 30 s).";
    TcpTimeWait, "tcp_time_wait", 240, 120, "Both FINs were acknowledged (RFC 5382 REQ-5; Linux: 120 s).";
    TcpClose, "tcp_close", 240, 10, "A RST was seen (RFC 7857 section 2.2: 4 minutes; Linux: 10 s).";
    TcpMaxRetrans, "tcp_max_retrans", 7440, 300, "The same segment was sent again and again (RFC 5382 REQ-5: at least 2 h 4 min for an open connection; Linux: 5 min).";
    TcpUnacknowledged, "tcp_unacknowledged", 7440, 300, "Data was sent and not acknowledged (RFC 5382 REQ-5: at least 2 h 4 min for an open connection; Linux: 5 min).";
    Udp, "udp", 300, 30, "UDP without an answer yet (RFC 4787 REQ-5: 2 minutes at least, 5 recommended; Linux: 30 s).";
    UdpStream, "udp_stream", 300, 120, "UDP that went both ways (RFC 4787 REQ-5; Linux: 120 s).";
    Icmp, "icmp", 60, 30, "ICMP query (RFC 5508 REQ-2: at least 60 s; Linux: 30 s).";
    SctpClosed, "sctp_closed", 10, 10, "SCTP that is closed, or whose first chunk was none that opens (Linux: 10 s).";
    SctpCookieWait, "sctp_cookie_wait", 3, 3, "An INIT or INIT ACK was seen (Linux: 3 s).";
    SctpCookieEchoed, "sctp_cookie_echoed", 3, 3, "A COOKIE ECHO was seen (Linux: 3 s).";
    SctpEstablished, "sctp_established", 210, 210, "The association is up; its heartbeats keep it (Linux: 210 s).";
    SctpShutdownSent, "sctp_shutdown_sent", 3, 3, "The opener sent SHUTDOWN (Linux: 3 s).";
    SctpShutdownRecd, "sctp_shutdown_recd", 3, 3, "The other side sent SHUTDOWN (Linux: 3 s).";
    SctpShutdownAckSent, "sctp_shutdown_ack_sent", 3, 3, "The SHUTDOWN was acknowledged (Linux: 3 s).";
    SctpHeartbeatSent, "sctp_heartbeat_sent", 30, 30, "A HEARTBEAT on a further path of an association was seen (Linux: 30 s).";
    DccpRequest, "dccp_request", 240, 240, "A DCCP-Request was seen (RFC 5597 REQ-5: at least 4 minutes; Linux: the same).";
    DccpRespond, "dccp_respond", 480, 480, "A DCCP-Response was seen (RFC 4340 section 8.1.3: 8 minutes; Linux: the same).";
    DccpPartopen, "dccp_partopen", 480, 480, "The response was acknowledged (RFC 4340 section 8.1.5: 8 minutes; Linux: the same).";
    DccpOpen, "dccp_open", 43_200, 43_200, "The connection is open (RFC 5597 REQ-5: at least 2 h 4 min; Linux: 12 hours).";
    DccpClosereq, "dccp_closereq", 240, 64, "The server asked to close (RFC 5597 REQ-5: at least 4 minutes; Linux: 64 s).";
    DccpClosing, "dccp_closing", 240, 64, "A DCCP-Close was seen (RFC 5597 REQ-5; Linux: 64 s).";
    DccpTimewait, "dccp_timewait", 240, 240, "A DCCP-Reset was seen (RFC 4340 section 8.3: 4 minutes; Linux: the same).";
    Gre, "gre", 30, 30, "GRE without an answer yet (Linux: 30 s).";
    GreStream, "gre_stream", 180, 180, "GRE that went both ways (Linux: 180 s).";
    Generic, "generic", 600, 600, "Any other protocol, such as ESP (Linux: 10 min).";
}

impl Timeout {
    /// The shortest length that an RFC allows, and which one.
    pub fn minimum(self) -> Option<(Duration, &'static str)> {
        let (secs, rfc) = match self {
            Timeout::TcpEstablished | Timeout::TcpMaxRetrans | Timeout::TcpUnacknowledged => {
                (7440, "RFC 5382 REQ-5")
            }
            Timeout::TcpSynSent
            | Timeout::TcpSynRecv
            | Timeout::TcpFinWait
            | Timeout::TcpCloseWait
            | Timeout::TcpLastAck
            | Timeout::TcpTimeWait => (240, "RFC 5382 REQ-5"),
            Timeout::TcpClose => (240, "RFC 7857 section 2.2"),
            // 5 minutes are recommended as the default.
            Timeout::Udp | Timeout::UdpStream => (120, "RFC 4787 REQ-5"),
            Timeout::Icmp => (60, "RFC 5508 REQ-2"),
            Timeout::DccpRespond => (480, "RFC 4340 section 8.1.3"),
            Timeout::DccpPartopen => (480, "RFC 4340 section 8.1.5"),
            Timeout::DccpOpen => (7440, "RFC 5597 REQ-5"),
            Timeout::DccpRequest | Timeout::DccpClosereq | Timeout::DccpClosing => (240, "RFC 5597 REQ-5"),
            Timeout::DccpTimewait => (240, "RFC 4340 section 8.3"),
            Timeout::SctpClosed
            | Timeout::SctpCookieWait
            | Timeout::SctpCookieEchoed
            | Timeout::SctpEstablished
            | Timeout::SctpShutdownSent
            | Timeout::SctpShutdownRecd
            | Timeout::SctpShutdownAckSent
            | Timeout::SctpHeartbeatSent
            | Timeout::Gre
            | Timeout::GreStream
            | Timeout::Generic => return None,
        };
        Some((Duration::from_secs(secs), rfc))
    }
}

/// The length of every timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    lengths: [Duration; Timeout::ALL.len()],
    /// The same in ticks: a division that no packet has to pay for.
    ticks: [u32; Timeout::ALL.len()],
}

impl Default for Timeouts {
    fn default() -> Self {
        let mut timeouts =
            Timeouts { lengths: [Duration::ZERO; Timeout::ALL.len()], ticks: [0; Timeout::ALL.len()] };
        for timeout in Timeout::ALL {
            timeouts.set(*timeout, timeout.default_length());
        }
        timeouts
    }
}

impl Timeouts {
    /// The length of one timeout.
    pub fn get(&self, timeout: Timeout) -> Duration {
        self.lengths[timeout as usize]
    }

    /// The length of one timeout in ticks, rounded up.
    #[inline]
    pub fn ticks(&self, timeout: Timeout) -> u32 {
        self.ticks[timeout as usize]
    }

    /// Changes the length of one timeout.
    pub fn set(&mut self, timeout: Timeout, length: Duration) {
        self.lengths[timeout as usize] = length;
        self.ticks[timeout as usize] = ticks(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_default_is_shorter_than_the_rfcs_demand() {
        let timeouts = Timeouts::default();
        for timeout in Timeout::ALL {
            let minimum = timeout.minimum().map_or(Duration::ZERO, |(minimum, _)| minimum);
            assert!(timeouts.get(*timeout) >= minimum, "{}", timeout.name());
        }
        // RFC 4787 REQ-5 recommends 5 minutes as the default.
        assert_eq!(timeouts.get(Timeout::Udp).as_secs(), 300);
        assert_eq!(timeouts.get(Timeout::UdpStream).as_secs(), 300);
    }

    /// `nf_conntrack_*_timeout*` of a stock kernel, in seconds (Linux 6.1, conntrack sysctl), without `icmpv6`.
    const LINUX: &[(&str, u64)] = &[
        ("tcp_syn_sent", 120),
        ("tcp_syn_recv", 60),
        ("tcp_established", 432_000),
        ("tcp_fin_wait", 120),
        ("tcp_close_wait", 60),
        ("tcp_last_ack", 30),
        ("tcp_time_wait", 120),
        ("tcp_close", 10),
        ("tcp_max_retrans", 300),
        ("tcp_unacknowledged", 300),
        ("udp", 30),
        ("udp_stream", 120),
        ("icmp", 30),
        ("sctp_closed", 10),
        ("sctp_cookie_wait", 3),
        ("sctp_cookie_echoed", 3),
        ("sctp_established", 210),
        ("sctp_shutdown_sent", 3),
        ("sctp_shutdown_recd", 3),
        ("sctp_shutdown_ack_sent", 3),
        ("sctp_heartbeat_sent", 30),
        ("dccp_request", 240),
        ("dccp_respond", 480),
        ("dccp_partopen", 480),
        ("dccp_open", 43_200),
        ("dccp_closereq", 64),
        ("dccp_closing", 64),
        ("dccp_timewait", 240),
        ("gre", 30),
        ("gre_stream", 180),
        ("generic", 600),
    ];

    #[test]
    fn every_timeout_of_linux_is_there_and_longer_only_where_an_rfc_demands_it() {
        assert_eq!(Timeout::ALL.len(), LINUX.len());
        for (timeout, (name, linux)) in Timeout::ALL.iter().zip(LINUX) {
            assert_eq!(timeout.name(), *name);
            let linux = Duration::from_secs(*linux);
            assert_eq!(timeout.linux_default(), linux, "{name}");
            match timeout.minimum() {
                Some((minimum, _)) if minimum > linux => {
                    assert!(timeout.default_length() >= minimum, "{name}")
                }
                // Recommended, not demanded.
                _ if *timeout == Timeout::UdpStream => {}
                _ => assert_eq!(timeout.default_length(), linux, "{name}"),
            }
        }
    }

    #[test]
    fn ticks_follow_the_length_and_round_up() {
        let mut timeouts = Timeouts::default();
        assert_eq!(timeouts.ticks(Timeout::Udp), 3000);
        timeouts.set(Timeout::Udp, Duration::from_millis(1001));
        assert_eq!(
            (timeouts.get(Timeout::Udp), timeouts.ticks(Timeout::Udp)),
            (Duration::from_millis(1001), 11)
        );
        assert_ne!(timeouts, Timeouts::default());
    }
}
