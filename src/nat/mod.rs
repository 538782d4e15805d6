//! Translating packets: which external port, and every byte that changes with it. Pure.
//!
//! | file | concept |
//! |---|---|
//! | [`alg`] | protocols that name endpoints in what they say: FTP, TFTP |
//! | [`behavior`] | on what mapping and filtering depend (RFC 4787 4.1 and 5) |
//! | [`blocks`] | which subscriber has which block of ports |
//! | [`deterministic`] | ports that are a subscriber's by arithmetic (RFC 7422) |
//! | [`mapping`] | the external endpoints of internal ones, and whom they let in |
//! | [`crowd`] | remote ends to which nearly every port of an address is in use |
//! | [`ports`] | the free external ports of one address, exactly and in bounded time |
//! | [`space`] | those of all addresses of one worker |
//! | [`mod@rewrite`] | addresses, ports, TTL and checksums of a packet (RFC 3022 4.1, RFC 1624) |
//! | [`icmp_error`] | ICMP errors in transit: the outside and the quote (RFC 5508 4) |
//! | [`icmp_make`] | ICMP that the gateway says itself: errors, echo replies, and how often (RFC 1812 4.3) |
//! | [`split`] | packets that are larger than the next link takes, cut into fragments (RFC 791, RFC 1812 5.2.6) |
//! | [`ident`] | identifications of datagrams in fragments (RFC 7857 10, RFC 6864) |
//! | [`mss`] | the segment size that a SYN offers, lowered |
//! | [`fragment`] | the ports of fragments that do not carry them (RFC 4787 REQ-14) |
//! | [`syn_cookie`] | a TCP handshake answered without state (RFC 4987 3.6) |
//! | [`sequence`] | TCP sequence numbers and timestamps that the two ends count differently |
//! | [`tcp_make`] | TCP segments that the gateway says itself |
//! | [`probe`] | questions to backends whether they are there, and their answers |
//! | [`proxied`] | what a worker keeps of sessions behind a SYN proxy, and of their handshakes |
//!
//! Which translation a flow gets is decided in `classify` and remembered in `conntrack`; here it is carried
//! out. Everything is owned by one worker, allocates only when it is made, and is bounded.

pub mod alg;
pub mod behavior;
pub mod blocks;
pub mod crowd;
pub mod deterministic;
pub mod fragment;
pub mod icmp_error;
pub mod icmp_make;
pub mod ident;
pub mod mapping;
pub mod mss;
mod peers;
pub mod ports;
pub mod probe;
pub mod proxied;
pub mod rewrite;
pub mod sequence;
pub mod space;
pub mod split;
pub mod syn_cookie;
pub mod tcp_make;
#[cfg(test)]
mod testing;

pub use fragment::{FragmentTable, Later};
pub use icmp_error::rewrite_error;
pub use icmp_make::{RateLimit, answer_echo, build_error, may_answer};
pub use ports::{PortSet, Rng};
pub use rewrite::{Translation, rewrite};
