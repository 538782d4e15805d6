//! Two hosts that want to talk to each other and know only a server: how games and calls find each other (RFC 5128 3.3).
//!
//! The server tells each of two hosts from which address and port the other one's datagram came. Each host then sends there,
//! from the port that it sent to the server from, until it hears the other one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Between two datagrams to the same one.
const PAUSE: Duration = Duration::from_millis(100);
/// Who was not heard by then is not heard.
const PATIENCE: Duration = Duration::from_secs(8);
const HELLO: &[u8] = b"hello";

/// Introduces hosts to each other, two by two, until killed; `ready` is called when the port is open.
///
/// # Errors
/// When the port is taken.
pub fn introduce(address: SocketAddr, ready: impl FnOnce()) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    ready();
    let mut last: Option<SocketAddr> = None;
    let mut buffer = [0; 64];
    loop {
        let Ok((_, from)) = socket.recv_from(&mut buffer) else { continue };
        match last {
            Some(other) if other != from => {
                let _ = socket.send_to(other.to_string().as_bytes(), from);
                let _ = socket.send_to(from.to_string().as_bytes(), other);
            }
            _ => {}
        }
        last = Some(from);
    }
}

/// Meets another host that the server introduces, and says where it was heard from.
///
/// # Errors
/// When nobody is introduced, or who was is not heard.
pub fn meet(server: SocketAddr) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PAUSE))?;
    let begun = Instant::now();
    let mut buffer = [0; 64];
    let mut other: Option<SocketAddr> = None;
    let mut heard = None;
    while begun.elapsed() < PATIENCE {
        socket.send_to(HELLO, other.unwrap_or(server))?;
        // So that the other one, whose filter may have kept out what came until now, hears this host too.
        if heard.is_some() {
            break;
        }
        // An ICMP error for what the other one was not ready for shows up here.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let text = buffer.get(..length).unwrap_or_default();
        if from == server {
            other = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).or(other);
        } else if text == HELLO && other == Some(from) {
            heard = other;
        }
    }
    heard.ok_or_else(|| {
        let of = other.map_or("nobody was introduced".to_owned(), |other| format!("{other} was not heard"));
        io::Error::other(format!("{of} within {PATIENCE:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn two_hosts_find_each_other() {
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || introduce(address, || tell.send(()).unwrap()));
        told.recv().unwrap();
        let [one, other] = [0, 1].map(|_| thread::spawn(move || meet(address)));
        let (one, other) = (one.join().unwrap().unwrap(), other.join().unwrap().unwrap());
        assert_ne!(one, other);
        assert!(one.ip().is_loopback() && other.ip().is_loopback());
    }
}
