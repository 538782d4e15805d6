//! UDP: a server that sends everything back, a client that says what came, and a crowd that only sends.

use super::Noise;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

const LARGEST: usize = 65_507;
/// Answers that do not come within this time do not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends every datagram back, until killed; `ready` is called when the port is open.
///
/// # Errors
/// When the port is taken.
pub fn echo(address: SocketAddr, ready: impl FnOnce()) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    ready();
    let mut buffer = vec![0; LARGEST];
    loop {
        // An ICMP error for an earlier answer shows up here: it concerns nobody else.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
    }
}

/// Sends one datagram of `size` bytes and says what came of it: `echoed SIZE bytes`, `refused` (an ICMP port
/// unreachable came back), or `silence`.
///
/// # Errors
/// When the socket can not be used, or the answer is not what was sent.
pub fn probe(to: SocketAddr, size: usize) -> io::Result<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Only a connected socket is told of ICMP errors.
    socket.connect(to)?;
    let mut sent = vec![0; size.min(LARGEST)];
    Noise::default().fill(&mut sent);
    socket.send(&sent)?;
    let mut answer = vec![0; LARGEST];
    match socket.recv(&mut answer) {
        Ok(length) if answer.get(..length) == Some(&sent) => Ok(format!("echoed {length} bytes")),
        Ok(length) => Err(io::Error::other(format!("{length} other bytes came back"))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok("refused".to_owned()),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok("silence".to_owned())
        }
        Err(error) => Err(error),
    }
}

/// Sends one datagram from each of these ports of each of these addresses, at most `rate` a second, and returns how many
/// left. No answer is waited for.
///
/// # Errors
/// When an address is not one of this host's, or a port is taken.
pub fn crowd(
    from: impl IntoIterator<Item = Ipv4Addr>,
    ports: RangeInclusive<u16>,
    to: SocketAddr,
    rate: u32,
) -> io::Result<u64> {
    let begun = Instant::now();
    let between = Duration::from_secs(1) / rate.max(1);
    let mut due = Duration::ZERO;
    let mut sent = 0;
    for address in from {
        for port in ports.clone() {
            UdpSocket::bind((address, port))?.send_to(b"natgate lab", to)?;
            sent += 1;
            due += between;
            let early = due.saturating_sub(begun.elapsed());
            // A sleep takes longer than most of these pauses: several at once.
            if early > Duration::from_millis(2) {
                thread::sleep(early);
            }
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_sends_one_datagram_from_every_port_of_every_address() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let addresses = [Ipv4Addr::new(127, 77, 0, 1), Ipv4Addr::new(127, 77, 0, 2)];
        assert_eq!(crowd(addresses, 7001..=7003, server.local_addr().unwrap(), 1_000_000).unwrap(), 6);
        let seen: std::collections::HashSet<_> =
            (0..6).map(|_| server.recv_from(&mut [0; 99]).unwrap().1).collect();
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn a_closed_port_is_refused() {
        // Bound and closed again: nobody listens there now.
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        assert_eq!(probe(address, 10).unwrap(), "refused");
    }
}
