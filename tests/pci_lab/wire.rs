//! What hangs on a NIC of the guest: a datagram socket on which each datagram is an Ethernet frame.
//!
//! [`Wire`] plays every host of its side: it answers ARP for any address but the gateway's, learns the gateway's
//! Ethernet address, and pads what it sends to the 60 bytes that Ethernet demands. Nothing is lost on the way, as both ends
//! of such a socket wait for each other.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The shortest Ethernet frame, without FCS.
const SHORTEST: usize = 60;
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const BROADCAST: [u8; 6] = [0xff; 6];
/// Longest wait for a packet that must come. The emulated machine shares few CPUs with others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The Ethernet address of a host.
pub(crate) fn host_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [2, 0xaa, a, b, c, d]
}

/// One end of a wire.
pub(crate) struct Wire {
    name: String,
    socket: UnixDatagram,
    qemu: PathBuf,
    gateway: Ipv4Addr,
    gateway_mac: Option<[u8; 6]>,
    /// IPv4 packets that came and that nobody asked for yet.
    packets: VecDeque<Vec<u8>>,
    /// ARP requests of the gateway that were answered.
    pub(crate) asked: Vec<Ipv4Addr>,
    sent: Cell<u64>,
    received: Cell<u64>,
}

impl Wire {
    /// The wire `name` of the guest in `directory`, whose address here is `gateway`.
    pub(crate) fn new(directory: &Path, name: &str, gateway: Ipv4Addr) -> Wire {
        let socket = UnixDatagram::bind(directory.join(format!("{name}.host"))).unwrap();
        socket.set_nonblocking(true).unwrap();
        Wire {
            name: name.to_owned(),
            socket,
            qemu: directory.join(format!("{name}.qemu")),
            gateway,
            gateway_mac: None,
            packets: VecDeque::new(),
            asked: Vec::new(),
            sent: Cell::new(0),
            received: Cell::new(0),
        }
    }

    /// Sends a frame as it is; waits while QEMU has no room.
    pub(crate) fn send_frame(&self, frame: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.socket.send_to(frame, &self.qemu) {
            assert!(
                error.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < deadline,
                "{}: {error}",
                self.name
            );
            thread::sleep(Duration::from_millis(1));
        }
        self.sent.set(self.sent.get() + 1);
    }

    /// Frames sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Frames received.
    pub(crate) fn received(&self) -> u64 {
        self.received.get()
    }

    /// The next frame, if one is there.
    pub(crate) fn receive_frame(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 65_536];
        match self.socket.recv(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                self.received.set(self.received.get() + 1);
                Some(frame)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{}: {error}", self.name),
        }
    }

    /// Asks for the gateway's Ethernet address until it answers.
    pub(crate) fn find_gateway(&mut self, host: Ipv4Addr) -> [u8; 6] {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.send_frame(&arp(1, host, self.gateway, BROADCAST, [0; 6]));
            let retry = Instant::now() + Duration::from_millis(500);
            while Instant::now() < retry {
                self.take_frames();
                if let Some(mac) = self.gateway_mac {
                    return mac;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        panic!("{}: no answer to ARP for {}", self.name, self.gateway);
    }

    /// Sends an IPv4 packet to the gateway, from the host whose address is its source.
    pub(crate) fn send(&self, packet: &[u8]) {
        self.send_frame(&self.frame(packet, 0));
    }

    /// The frame of an IPv4 packet to the gateway, with `padding` behind it if it is short.
    pub(crate) fn frame(&self, packet: &[u8], padding: u8) -> Vec<u8> {
        let source = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        let to = self.gateway_mac.expect("the gateway was found");
        frame(to, host_mac(source), IPV4, packet, padding)
    }

    /// The next IPv4 packet, without what the frame has behind it.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.take_frames();
            if let Some(packet) = self.packets.pop_front() {
                return packet;
            }
            assert!(Instant::now() < deadline, "{}: nothing came within {PATIENCE:?}", self.name);
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Asserts that nothing that came waits to be received.
    pub(crate) fn assert_quiet(&mut self) {
        self.take_frames();
        let packets: Vec<String> =
            self.packets.iter().map(|packet| crate::packet::describe(packet)).collect();
        assert!(packets.is_empty(), "{}: nobody expected {packets:#?}", self.name);
    }

    /// Takes what is there: answers ARP, keeps IPv4.
    pub(crate) fn take_frames(&mut self) {
        while let Some(frame) = self.receive_frame() {
            let body = frame.get(ETHERNET..).unwrap_or_default();
            match frame.get(12..14) {
                Some(kind) if kind == IPV4 => {
                    let length = body.get(2..4).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
                    let packet = body.get(..length).expect("a frame is as long as its packet");
                    self.packets.push_back(packet.to_vec());
                }
                Some(kind) if kind == ARP => self.take_arp(body),
                kind => panic!("{}: a frame of type {kind:02x?}", self.name),
            }
        }
    }

    fn take_arp(&mut self, body: &[u8]) {
        let address = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
        let sender: [u8; 6] = body[8..14].try_into().unwrap();
        let (from, about) = (address(14), address(24));
        assert_eq!(from, self.gateway, "{}: ARP by a stranger", self.name);
        self.gateway_mac = Some(sender);
        // A request, and not the one by which the gateway announces itself.
        if body[7] == 1 && about != self.gateway {
            self.asked.push(about);
            self.send_frame(&arp(2, about, from, sender, sender));
        }
    }
}

/// ARP (RFC 826): a request (1) or an answer (2).
fn arp(operation: u8, from: Ipv4Addr, about: Ipv4Addr, to: [u8; 6], target: [u8; 6]) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, operation];
    body.extend(host_mac(from));
    body.extend(from.octets());
    body.extend(target);
    body.extend(about.octets());
    frame(to, host_mac(from), ARP, &body, 0)
}

fn frame(to: [u8; 6], from: [u8; 6], kind: [u8; 2], body: &[u8], padding: u8) -> Vec<u8> {
    let mut frame = [&to[..], &from, &kind, body].concat();
    pad(&mut frame, padding);
    frame
}

/// Makes a frame as long as Ethernet demands.
pub(crate) fn pad(frame: &mut Vec<u8>, padding: u8) {
    if frame.len() < SHORTEST {
        frame.resize(SHORTEST, padding);
    }
}
