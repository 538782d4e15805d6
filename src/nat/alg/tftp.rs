//! TFTP (RFC 1350): a server answers from a port of its own choice, not from the one that was asked.
//!
//! Only what asks counts: a read or write request. All that follows is between the two ports and a session of its own.

use super::{Alg, Meaning, Speaker};

/// Operation codes of requests (RFC 1350 section 5).
const READ: u16 = 1;
const WRITE: u16 = 2;

/// TFTP.
#[derive(Clone, Copy, Debug)]
pub struct Tftp;

impl Alg for Tftp {
    fn read(&self, speaker: Speaker, message: &[u8]) -> Meaning {
        match (speaker, message) {
            (Speaker::Client, [a, b, name @ ..]) if matches!(u16::from_be_bytes([*a, *b]), READ | WRITE) => {
                // A file name and a mode, with a zero behind each.
                if name.iter().filter(|byte| **byte == 0).count() >= 2 {
                    Meaning::Asks
                } else {
                    Meaning::Unreadable
                }
            }
            _ => Meaning::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_request_of_the_client_asks() {
        let read = |speaker, message: &[u8]| Tftp.read(speaker, message);
        assert_eq!(read(Speaker::Client, b"\0\x01file\0octet\0"), Meaning::Asks);
        assert_eq!(read(Speaker::Client, b"\0\x02file\0octet\0blksize\x001428\0"), Meaning::Asks);
        assert_eq!(read(Speaker::Client, b"\0\x01file"), Meaning::Unreadable);
        assert_eq!(read(Speaker::Client, b"\0\x03\0\x01data\0\0"), Meaning::Nothing);
        assert_eq!(read(Speaker::Server, b"\0\x01file\0octet\0"), Meaning::Nothing);
        assert_eq!(read(Speaker::Client, b"\0"), Meaning::Nothing);
    }
}
