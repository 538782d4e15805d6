//! Every idle timeout, declared once: the variant, the key in the config, the default, the help text.
//!
//! Defaults are those of Linux unless an RFC says that they MUST be longer (RFC 4787 REQ-5, RFC 5382 REQ-5,
//! RFC 5508 REQ-2).

use crate::time::ticks;
use std::time::Duration;

macro_rules! timeouts {
    ($($variant:ident, $name:literal, $secs:literal, $help:literal;)+) => {
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
        }
    };
}

timeouts! {
    TcpSynSent, "tcp_syn_sent", 240, "A SYN was seen (RFC 5382 REQ-5: at least 4 minutes; Linux: 120 s).";
    TcpSynRecv, "tcp_syn_recv", 240, "SYN and SYN/ACK were seen (RFC 5382 REQ-5; Linux: 60 s).";
    TcpEstablished, "tcp_established", 432_000, "The handshake is complete (RFC 5382 REQ-5: at least 2 h 4 min; Linux: 5 days).";
    TcpFinWait, "tcp_fin_wait", 240, "One side sent FIN (RFC 5382 REQ-5; Linux: 120 s).";
    TcpCloseWait, "tcp_close_wait", 240, "The FIN was acknowledged (RFC 5382 REQ-5; Linux: 60 s).";
    TcpLastAck, "tcp_last_ack", 240, "Both sides sent FIN (RFC 5382 REQ-5; Linux: 30 s).";
    TcpTimeWait, "tcp_time_wait", 240, "Both FINs were acknowledged (RFC 5382 REQ-5; Linux: 120 s).";
    TcpClose, "tcp_close", 240, "A RST was seen (RFC 7857 section 2.2: 4 minutes; Linux: 10 s).";
    Udp, "udp", 300, "UDP without an answer yet (RFC 4787 REQ-5: 2 minutes at least, 5 recommended; Linux: 30 s).";
    UdpStream, "udp_stream", 300, "UDP that went both ways (RFC 4787 REQ-5; Linux: 120 s).";
    Icmp, "icmp", 60, "ICMP query (RFC 5508 REQ-2: at least 60 s; Linux: 30 s).";
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

    /// What the RFCs demand at least, in seconds.
    fn minimum(timeout: Timeout) -> u64 {
        match timeout {
            // RFC 5382 REQ-5: 2 h 4 min when established, 4 min in between; RFC 7857 2.2: 4 min after a RST.
            Timeout::TcpEstablished => 7440,
            Timeout::TcpSynSent
            | Timeout::TcpSynRecv
            | Timeout::TcpFinWait
            | Timeout::TcpCloseWait
            | Timeout::TcpLastAck
            | Timeout::TcpTimeWait
            | Timeout::TcpClose => 240,
            // RFC 4787 REQ-5: 2 min, 5 min recommended as the default.
            Timeout::Udp | Timeout::UdpStream => 300,
            // RFC 5508 REQ-2.
            Timeout::Icmp => 60,
        }
    }

    #[test]
    fn no_default_is_shorter_than_the_rfcs_demand() {
        let timeouts = Timeouts::default();
        for timeout in Timeout::ALL {
            assert!(timeouts.get(*timeout).as_secs() >= minimum(*timeout), "{}", timeout.name());
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
