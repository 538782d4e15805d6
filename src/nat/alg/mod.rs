//! Application level gateways: protocols that name endpoints in what they say, or answer from another port than they were
//! asked at. Off unless the config says so (RFC 4787 REQ-10, RFC 5382 REQ-6). Pure.
//!
//! | file | concept |
//! |---|---|
//! | [`ftp`] | FTP: endpoints in commands and replies (RFC 959, RFC 2428, RFC 1123 4.1.2) |
//! | [`tftp`] | TFTP: answers from another port (RFC 1350) |
//! | [`stream`] | what was replaced in a TCP stream, and whose byte is which |
//! | [`segment`] | a segment made what its receiver gets |
//! | [`controls`] | the sessions that are watched, and what is known of each |
//! | [`expectations`] | sessions that somebody outside is expected to open, once and soon |
//!
//! Each protocol is behind [`Alg`]: it reads one message and says what it means. What becomes of it, which endpoint it is
//! outside and whether anybody may come in by it, is for `pipeline::alg`.
//!
//! # What is never done
//!
//! Nothing is opened for a host but the one that spoke, nor for a port below 1024, nor for anybody but the other end of its
//! control connection. Nothing is put together from several segments: a line that is not there as a whole stays as it is.

pub mod controls;
pub mod expectations;
pub mod ftp;
mod queue_map;
pub mod segment;
pub mod stream;
pub mod tftp;

use crate::wire::protocol;
use std::net::Ipv4Addr;
use std::ops::Range;
use stream::Text;

/// A port below this one is no host's data port: those are services (RFC 2577 section 3).
pub const FIRST_PORT: u16 = 1024;

/// Which end of a control connection spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The one that opened it.
    Client,
    /// The other one.
    Server,
}

/// How an endpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `h1,h2,h3,h4,p1,p2` (RFC 959).
    Commas,
    /// `address|port` with this delimiter (RFC 2428 section 2).
    Extended(u8),
    /// The port alone (RFC 2428 section 3).
    Port,
}

/// An endpoint that a message names: there its sender waits for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The bytes of the message that name it.
    pub place: Range<usize>,
    /// How they do.
    pub form: Form,
    /// The address; `None`: the sender's own.
    pub address: Option<Ipv4Addr>,
    /// The port.
    pub port: u16,
}

impl Form {
    /// Another endpoint, written in the same way.
    pub fn write(self, address: Ipv4Addr, port: u16) -> Text {
        let mut text = Text::new();
        let [a, b, c, d] = address.octets();
        let (separator, parts): (u8, [Option<u16>; 6]) = match self {
            Form::Commas => {
                let [high, low] = port.to_be_bytes();
                (b',', [a, b, c, d, high, low].map(|part| Some(part.into())))
            }
            Form::Extended(_) => {
                (b'.', [Some(a.into()), Some(b.into()), Some(c.into()), Some(d.into()), None, None])
            }
            Form::Port => (0, [Some(port), None, None, None, None, None]),
        };
        for (n, part) in parts.into_iter().flatten().enumerate() {
            if n > 0 {
                put(&mut text, separator);
            }
            write_number(&mut text, part);
        }
        if let Form::Extended(delimiter) = self {
            put(&mut text, delimiter);
            write_number(&mut text, port);
        }
        text
    }
}

/// The longest forms fit: see [`stream::TEXT`].
fn put(text: &mut Text, byte: u8) {
    let _ = text.try_push(byte);
}

fn write_number(text: &mut Text, number: u16) {
    let mut started = false;
    for unit in [10_000, 1000, 100, 10, 1] {
        let digit = u8::try_from(number / unit % 10).unwrap_or(0);
        started |= digit > 0 || unit == 1;
        if started {
            put(text, b'0' + digit);
        }
    }
}

/// What a message means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing that matters here.
    Nothing,
    /// Its sender waits for a connection to this endpoint.
    Waits(Mention),
    /// Its sender waits for an answer to the port that it sent this from, which may come from any other.
    Asks,
    /// It should name an endpoint, and does not in a way that can be read.
    Unreadable,
    /// It is another protocol's: the session is not watched any more.
    Foreign,
}

/// One protocol.
pub trait Alg {
    /// What the message at the beginning of `bytes` means: one line with its end, or one datagram.
    fn read(&self, speaker: Speaker, message: &[u8]) -> Meaning;
}

/// Which protocol a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helper {
    /// FTP's control connection.
    Ftp,
    /// TFTP.
    Tftp,
}

impl Helper {
    /// All of them, with their names in the config.
    pub const NAMES: [(&str, Helper); 2] = [("ftp", Helper::Ftp), ("tftp", Helper::Tftp)];

    /// The name in the config.
    pub fn name(self) -> &'static str {
        match self {
            Helper::Ftp => "ftp",
            Helper::Tftp => "tftp",
        }
    }

    /// IANA number of the protocol that it is carried by.
    pub fn protocol(self) -> u8 {
        match self {
            Helper::Ftp => protocol::TCP,
            Helper::Tftp => protocol::UDP,
        }
    }

    /// What a message means.
    pub fn read(self, speaker: Speaker, message: &[u8]) -> Meaning {
        match self {
            Helper::Ftp => ftp::Ftp.read(speaker, message),
            Helper::Tftp => tftp::Tftp.read(speaker, message),
        }
    }
}

/// Which sessions are watched, and within which bounds: of the whole config, compiled for one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algs {
    /// Ports of servers, by [`Helper`].
    pub ports: [Box<[u16]>; 2],
    /// Expectations that a worker keeps at once.
    pub expectations: u32,
    /// Sessions that a worker watches at once.
    pub sessions: u32,
    /// Ticks that an expectation lasts.
    pub timeout: u32,
}

impl Algs {
    /// Whether nothing is watched.
    #[inline]
    pub fn is_off(&self) -> bool {
        self.ports.iter().all(|ports| ports.is_empty())
    }

    /// The protocol of sessions with one of these ports at the server's end.
    pub fn helper(&self, protocol: u8, ports: [u16; 2]) -> Option<Helper> {
        let of = |(helper, known): (Helper, &[u16])| {
            let is_there = ports.iter().any(|port| known.contains(port));
            (helper.protocol() == protocol && is_there).then_some(helper)
        };
        let [ftp, tftp] = &self.ports;
        of((Helper::Ftp, ftp)).or_else(|| of((Helper::Tftp, tftp)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form, address: [u8; 4], port: u16) -> String {
        String::from_utf8(form.write(address.into(), port).to_vec()).unwrap()
    }

    #[test]
    fn endpoints_are_written_as_their_commands_have_them_and_the_longest_fits() {
        assert_eq!(written(Form::Commas, [10, 0, 0, 2], 1025), "10,0,0,2,4,1");
        assert_eq!(written(Form::Commas, [203, 0, 113, 255], 65535), "203,0,113,255,255,255");
        assert_eq!(written(Form::Extended(b'|'), [10, 0, 0, 2], 1025), "10.0.0.2|1025");
        assert_eq!(written(Form::Extended(b'!'), [255; 4], 65535), "255.255.255.255!65535");
        assert_eq!(written(Form::Port, [255; 4], 0), "0");
        assert_eq!(written(Form::Port, [255; 4], 50_100), "50100");
    }

    #[test]
    fn a_helper_is_for_its_protocol_and_its_ports() {
        let algs = Algs { ports: [[21, 2121].into(), [69].into()], ..Algs::default() };
        assert_eq!(algs.helper(6, [40_000, 2121]), Some(Helper::Ftp));
        assert_eq!(algs.helper(6, [69, 40_000]), None);
        assert_eq!(algs.helper(17, [69, 1]), Some(Helper::Tftp));
        assert!(!algs.is_off() && Algs::default().is_off());
    }
}
