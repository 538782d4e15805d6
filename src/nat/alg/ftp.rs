//! FTP's control connection: where a data connection is waited for.
//!
//! | line | who waits |
//! |---|---|
//! | `PORT h1,h2,h3,h4,p1,p2` (RFC 959 4.1.2) | the client |
//! | `EPRT \|1\|address\|port\|` (RFC 2428 section 2) | the client |
//! | `227 … h1,h2,h3,h4,p1,p2 …` (RFC 959, RFC 1123 4.1.2.6) | the server |
//! | `229 … (\|\|\|port\|)` (RFC 2428 section 3) | the server |
//!
//! A line ends with CR LF. That a line begins where it seems to is for whoever hands it over to know: a reply that quotes what
//! a client said must not be taken for another reply.
//!
//! Whoever says something on this port that no FTP client says is none: a browser that is made to send a form there could
//! speak for its host otherwise. A command is a word of letters and digits, and a space or the end behind it.

use super::{Alg, Form, Meaning, Mention, Speaker};
use std::net::Ipv4Addr;

/// FTP.
#[derive(Clone, Copy, Debug)]
pub struct Ftp;

/// The longest word that is taken for a command.
const WORD: usize = 8;
/// RFC 2428: the number of IPv4.
const IPV4: &[u8] = b"1";

impl Alg for Ftp {
    fn read(&self, speaker: Speaker, line: &[u8]) -> Meaning {
        match speaker {
            Speaker::Client => command(line),
            Speaker::Server => reply(line),
        }
    }
}

fn command(line: &[u8]) -> Meaning {
    // Telnet's interrupt and data mark before ABOR (RFC 959 4.1.3).
    let start = line.iter().take_while(|byte| matches!(byte, 0xf2 | 0xf4 | 0xff)).count();
    let line_of = line.get(start..).unwrap_or_default();
    let word = line_of.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let behind = line_of.get(word).copied();
    // A line whose end is not there may be cut anywhere.
    let is_cut = behind.is_none() && word <= WORD;
    if !is_cut && (!(3..=WORD).contains(&word) || !matches!(behind, Some(b' ' | b'\r'))) {
        return Meaning::Foreign;
    }
    let name = line_of.get(..word).unwrap_or_default();
    let read: fn(&[u8], usize) -> Option<Mention> = match name {
        name if name.eq_ignore_ascii_case(b"PORT") => commas,
        name if name.eq_ignore_ascii_case(b"EPRT") => extended,
        _ => return Meaning::Nothing,
    };
    let from = start + word;
    let Some(arguments) = arguments(line, from) else { return Meaning::Unreadable };
    if name.eq_ignore_ascii_case(b"EPRT") && is_other_family(arguments) {
        return Meaning::Nothing;
    }
    read(arguments, from).map_or(Meaning::Unreadable, Meaning::Waits)
}

fn reply(line: &[u8]) -> Meaning {
    let read: fn(&[u8], usize) -> Option<Mention> = match line.get(..4) {
        Some(b"227 ") => commas,
        Some(b"229 ") => port_alone,
        _ => return Meaning::Nothing,
    };
    // Behind the code.
    let mention = arguments(line, 3).and_then(|text| read(text, 3));
    mention.map_or(Meaning::Unreadable, Meaning::Waits)
}

/// What stands between offset `from` and the end of a line that is there as a whole.
fn arguments(line: &[u8], from: usize) -> Option<&[u8]> {
    line.strip_suffix(b"\r\n")?.get(from..)
}

/// A number without sign, of a few digits.
fn number<T: TryFrom<u32>>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    let add = |sum: u32, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'));
    T::try_from(digits.iter().try_fold(0, add)?).ok()
}

/// Six numbers with commas between, the first ones behind offset `from` of the line.
fn commas(text: &[u8], from: usize) -> Option<Mention> {
    let start = text.iter().position(u8::is_ascii_digit)?;
    let rest = text.get(start..)?;
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b',').count();
    let mut parts = [0u8; 6];
    let mut words = rest.get(..len)?.split(|byte| *byte == b',');
    for part in &mut parts {
        *part = number(words.next()?)?;
    }
    let [a, b, c, d, high, low] = parts;
    words.next().is_none().then(|| Mention {
        place: from + start..from + start + len,
        form: Form::Commas,
        address: Some(Ipv4Addr::new(a, b, c, d)),
        port: u16::from_be_bytes([high, low]),
    })
}

/// Whether `EPRT` names an address that is not IPv4's: that is nobody's affair here.
fn is_other_family(text: &[u8]) -> bool {
    let Some((delimiter, rest)) = text.trim_ascii_start().split_first() else { return false };
    rest.split(|byte| byte == delimiter).next() == Some(b"2")
}

/// `|1|address|port|`, with any delimiter.
fn extended(text: &[u8], from: usize) -> Option<Mention> {
    let text = text.trim_ascii_end();
    let start = text.iter().position(|byte| *byte != b' ')?;
    let (delimiter, rest) = text.get(start..)?.split_first()?;
    if !(33..=126).contains(delimiter) || delimiter.is_ascii_digit() || *delimiter == b'.' {
        return None;
    }
    let mut words = rest.split(|byte| byte == delimiter);
    let (family, address, port) = (words.next()?, words.next()?, words.next()?);
    let is_whole = words.next() == Some(&[]) && words.next().is_none();
    let begin = from + start + 1 + family.len() + 1;
    (family == IPV4 && is_whole).then_some(())?;
    Some(Mention {
        place: begin..begin + address.len() + 1 + port.len(),
        form: Form::Extended(*delimiter),
        address: Some(dotted(address)?),
        port: number(port)?,
    })
}

fn dotted(text: &[u8]) -> Option<Ipv4Addr> {
    let mut parts = text.split(|byte| *byte == b'.');
    let mut octets = [0u8; 4];
    for octet in &mut octets {
        *octet = number(parts.next()?)?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// `(|||port|)`, with any delimiter, somewhere in a text.
fn port_alone(text: &[u8], from: usize) -> Option<Mention> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let inner = text.get(open + 1..)?;
    let inner = inner.get(..inner.iter().position(|byte| *byte == b')')?)?;
    let [a, b, c, digits @ .., d] = inner else { return None };
    let is_delimited = a == b && b == c && c == d && (33..=126).contains(a) && !a.is_ascii_digit();
    let begin = from + open + 4;
    let port = number(digits)?;
    is_delimited.then(|| Mention {
        place: begin..begin + digits.len(),
        form: Form::Port,
        address: None,
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is named, and the bytes that do.
    fn named(speaker: Speaker, line: &str) -> Option<(Option<Ipv4Addr>, u16, &str)> {
        match Ftp.read(speaker, line.as_bytes()) {
            Meaning::Waits(mention) => Some((mention.address, mention.port, &line[mention.place])),
            _ => None,
        }
    }

    const HOST: Option<Ipv4Addr> = Some(Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn commands_and_replies_name_endpoints() {
        use Speaker::{Client, Server};
        for (speaker, line, expected) in [
            (Client, "PORT 10,0,0,2,4,1\r\n", (HOST, 1025, "10,0,0,2,4,1")),
            (Client, "port 10,0,0,2,255,255 \r\n", (HOST, 65535, "10,0,0,2,255,255")),
            (Client, "EPRT |1|10.0.0.2|1025|\r\n", (HOST, 1025, "10.0.0.2|1025")),
            (Client, "eprt !1!10.0.0.2!50000!\r\n", (HOST, 50000, "10.0.0.2!50000")),
            (Server, "227 Entering Passive Mode (10,0,0,2,195,80)\r\n", (HOST, 50000, "10,0,0,2,195,80")),
            (Server, "227 Entering Passive Mode. 10,0,0,2,195,80\r\n", (HOST, 50000, "10,0,0,2,195,80")),
            (Server, "227 =10,0,0,2,4,1\r\n", (HOST, 1025, "10,0,0,2,4,1")),
            (Server, "229 Entering Extended Passive Mode (|||6446|)\r\n", (None, 6446, "6446")),
            (Server, "229 Extended (!!!6446!).\r\n", (None, 6446, "6446")),
        ] {
            assert_eq!(named(speaker, line), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_told_from_what_does_not_matter() {
        use Speaker::{Client, Server};
        for (speaker, line, expected) in [
            (Client, "PORT 10,0,0,2,4\r\n", Meaning::Unreadable),
            (Client, "PORT 10,0,0,2,4,1,1\r\n", Meaning::Unreadable),
            (Client, "PORT 10,0,0,256,4,1\r\n", Meaning::Unreadable),
            (Client, "PORT 10,0,0,2,4,1\n", Meaning::Unreadable),
            (Client, "PORT 10,0,0,2,4,1", Meaning::Unreadable),
            (Client, "PORT", Meaning::Unreadable),
            (Client, "EPRT |1|10.0.0.2|99999|\r\n", Meaning::Unreadable),
            (Client, "EPRT |1|10.0.0.2|\r\n", Meaning::Unreadable),
            (Client, "EPRT |2|2001:db8::1|1025|\r\n", Meaning::Nothing),
            (Client, "PORTER 10,0,0,2,4,1\r\n", Meaning::Nothing),
            (Client, "PASV\r\n", Meaning::Nothing),
            (Client, "XSHA256 a b\r\n", Meaning::Nothing),
            (Client, "RET", Meaning::Nothing),
            (Client, "\u{0}\r\n", Meaning::Foreign),
            (Client, "Host: example.net\r\n", Meaning::Foreign),
            (Client, "\r\n", Meaning::Foreign),
            (Server, "227-not the last\r\n", Meaning::Nothing),
            (Server, "227 Entering Passive Mode (10,0,0,2,195)\r\n", Meaning::Unreadable),
            (Server, "229 Entering (|||6446)\r\n", Meaning::Unreadable),
            (Server, "229 Entering (|1||6446|)\r\n", Meaning::Unreadable),
            (Server, "500 227 (10,0,0,2,195,80)\r\n", Meaning::Nothing),
            (Server, "PORT 10,0,0,2,4,1\r\n", Meaning::Nothing),
        ] {
            assert_eq!(Ftp.read(speaker, line.as_bytes()), expected, "{line}");
        }
        assert_eq!(Ftp.read(Client, b"\xff\xf4\xff\xf2ABOR\r\n"), Meaning::Nothing);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_written_is_read_again(octets in any::<[u8; 4]>(), port in any::<u16>(), way in 0usize..4) {
            let address = Ipv4Addr::from(octets);
            let (speaker, before, form, after) = [
                (Speaker::Client, "PORT ", Form::Commas, "\r\n"),
                (Speaker::Client, "EPRT $1$", Form::Extended(b'$'), "$\r\n"),
                (Speaker::Server, "227 Entering Passive Mode (", Form::Commas, ").\r\n"),
                (Speaker::Server, "229 Entering (|||", Form::Port, "|)\r\n"),
            ][way];
            let text = form.write(address, port);
            let line = [before.as_bytes(), &text, after.as_bytes()].concat();
            let place = before.len()..before.len() + text.len();
            let address = (form != Form::Port).then_some(address);
            prop_assert_eq!(Ftp.read(speaker, &line), Meaning::Waits(Mention { place, form, address, port }));
        }

        #[test]
        fn any_bytes_are_read_and_what_they_name_lies_within_them(
            head in prop_oneof![Just("PORT "), Just("EPRT "), Just("227 "), Just("229 "), Just("")],
            tail in proptest::collection::vec(
                prop_oneof![Just(b','), Just(b'|'), b'0'..=b'9', Just(b'('), Just(b')'), Just(b'.'), any::<u8>()], 0..40,
            ),
        ) {
            let line = [head.as_bytes(), &tail, b"\r\n"].concat();
            for speaker in [Speaker::Client, Speaker::Server] {
                if let Meaning::Waits(Mention { place, .. }) = Ftp.read(speaker, &line) {
                    prop_assert!(!place.is_empty() && place.end < line.len());
                }
            }
        }
    }
}
