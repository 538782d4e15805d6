//! UDP: a server that sends everything back, and a client that says what came.

use super::Noise;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_port_is_refused() {
        // Bound and closed again: nobody listens there now.
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        assert_eq!(probe(address, 10).unwrap(), "refused");
    }
}
