//! TCP between hosts with a TCP of their own (smoltcp): each client sends a stream, the server sends it back, and every byte
//! is compared. The clients differ, so that a segment of one in the stream of another is seen.

use crate::packet::{describe, sums_are_right};
use crate::phy::Phy;
use crate::traffic::Lab;
use crate::wire::{Wire, host_mac, pad};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

/// Bytes of each stream.
const LENGTH: usize = 128 << 10;
const BUFFER: usize = 65_535;
/// The gateway's addresses.
const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Longest time for all streams together.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host with sockets that are all servers, or one that is a client.
struct Host {
    mac: [u8; 6],
    port: Phy,
    interface: Interface,
    sockets: SocketSet<'static>,
    role: Role,
}

enum Role {
    Server(Vec<SocketHandle>),
    /// Sends and receives its stream; `salt` makes it its own.
    Client {
        socket: SocketHandle,
        salt: u8,
        sent: usize,
        received: usize,
    },
}

fn byte(salt: u8, at: usize) -> u8 {
    (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(salt)
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
    tcp::Socket::new(buffer(), buffer())
}

impl Host {
    fn new(address: Ipv4Addr, gateway: Ipv4Addr, seed: u8) -> Host {
        let mac = host_mac(address);
        let mut port = Phy::default();
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = u64::from(seed);
        let mut interface = Interface::new(config, &mut port, Instant::ZERO);
        interface
            .update_ip_addrs(|addresses| addresses.push(IpCidr::new(IpAddress::Ipv4(address), 24)).unwrap());
        interface.routes_mut().add_default_ipv4_route(gateway).unwrap();
        let (sockets, role) = (SocketSet::new(Vec::new()), Role::Server(Vec::new()));
        Host { mac, port, interface, sockets, role }
    }

    /// Waits for so many clients on a port.
    fn serving(mut self, port: u16, clients: usize) -> Host {
        let mut listening = || {
            let mut socket = socket();
            socket.listen(port).unwrap();
            self.sockets.add(socket)
        };
        self.role = Role::Server((0..clients).map(|_| listening()).collect());
        self
    }

    fn connecting(mut self, to: Ipv4Addr, port: u16, from: u16, salt: u8) -> Host {
        let socket = self.sockets.add(socket());
        let context = self.interface.context();
        self.sockets.get_mut::<tcp::Socket>(socket).connect(context, (to, port), from).unwrap();
        self.role = Role::Client { socket, salt, sent: 0, received: 0 };
        self
    }

    /// Sends and receives what is possible.
    fn work(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.port, &mut self.sockets);
        match &mut self.role {
            Role::Server(sockets) => {
                for socket in sockets {
                    echo(self.sockets.get_mut(*socket));
                }
            }
            Role::Client { socket, salt, sent, received } => {
                stream(self.sockets.get_mut(*socket), *salt, sent, received);
            }
        }
        self.interface.poll(now, &mut self.port, &mut self.sockets);
    }

    /// Whether every conversation is over, and as it should be.
    fn is_done(&mut self) -> bool {
        let sockets: Vec<SocketHandle> = match &self.role {
            Role::Server(sockets) => sockets.clone(),
            Role::Client { socket, .. } => vec![*socket],
        };
        let mut states = sockets.into_iter().map(|socket| self.sockets.get::<tcp::Socket>(socket).state());
        let over = states.all(|state| matches!(state, tcp::State::Closed | tcp::State::TimeWait));
        if let (true, Role::Client { sent, received, salt, .. }) = (over, &self.role) {
            assert_eq!((*sent, *received), (LENGTH, LENGTH), "client {salt} ended early");
        }
        over
    }
}

/// The server's part: every byte goes back, and when the client has no more the connection ends.
fn echo(socket: &mut tcp::Socket<'_>) {
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity() - socket.send_queue();
        let bytes = socket.recv(|bytes| {
            let taken = bytes.len().min(room);
            (taken, bytes[..taken].to_vec())
        });
        assert_eq!(socket.send_slice(&bytes.unwrap()).map(|sent| sent > 0), Ok(true));
    }
    if socket.state() == tcp::State::CloseWait && !socket.can_recv() && socket.send_queue() == 0 {
        socket.close();
    }
}

/// The client's part: the whole stream out, the whole stream back.
fn stream(socket: &mut tcp::Socket<'_>, salt: u8, sent: &mut usize, received: &mut usize) {
    while socket.can_recv() {
        let bytes = socket.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap();
        for seen in bytes {
            assert_eq!(seen, byte(salt, *received), "client {salt}, byte {received}");
            *received += 1;
        }
    }
    while socket.can_send() && *sent < LENGTH {
        let from = *sent;
        *sent += socket
            .send(|room| {
                let n = room.len().min(LENGTH - from);
                for (at, place) in room[..n].iter_mut().enumerate() {
                    *place = byte(salt, from + at);
                }
                (n, n)
            })
            .unwrap();
    }
    if *received == LENGTH {
        socket.close();
    }
}

/// Hands frames from a wire to the hosts on it.
fn deliver(wire: &Wire, hosts: &mut [Host]) -> bool {
    let mut busy = false;
    while let Some(frame) = wire.receive_frame() {
        busy = true;
        if frame[12..14] == [8, 0] {
            let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let packet = &frame[14..14 + length];
            assert!(sums_are_right(packet), "a wrong checksum: {}", describe(packet));
        }
        for host in hosts.iter_mut().filter(|host| frame[..6] == host.mac || frame[..6] == [0xff; 6]) {
            host.port.received.push_back(frame.clone());
        }
    }
    for host in hosts {
        for mut frame in host.port.sent.drain(..) {
            busy = true;
            pad(&mut frame, 0);
            wire.send_frame(&frame);
        }
    }
    busy
}

/// Eight clients inside talk to a server outside, all at once.
pub(crate) fn out(lab: &mut Lab) {
    let server = Ipv4Addr::new(203, 0, 113, 60);
    let clients = (0..8).map(|n| {
        let address = Ipv4Addr::new(192, 168, 1, 60 + n);
        Host::new(address, LAN, n).connecting(server, 80, 50_000, n)
    });
    talk(lab, &mut clients.collect::<Vec<_>>(), &mut [Host::new(server, WAN, 201).serving(80, 8)]);
}

/// Four clients outside talk to a forwarded port.
pub(crate) fn forwarded(lab: &mut Lab) {
    let clients = (8..12).map(|n| {
        let address = Ipv4Addr::new(203, 0, 113, 60 + n);
        Host::new(address, WAN, n).connecting(WAN, 8080, 50_000, n)
    });
    let backend = Host::new(Ipv4Addr::new(192, 168, 1, 80), LAN, 200).serving(80, 4);
    talk(lab, &mut [backend], &mut clients.collect::<Vec<_>>());
}

/// Lets the hosts on both wires talk until every conversation is over.
fn talk(lab: &mut Lab, inside: &mut [Host], outside: &mut [Host]) {
    let begun = std::time::Instant::now();
    let all = inside.len() + outside.len();
    loop {
        let now = Instant::from_millis(begun.elapsed().as_millis() as i64);
        for host in inside.iter_mut().chain(outside.iter_mut()) {
            host.work(now);
        }
        let busy = [deliver(&lab.guest.lan, inside), deliver(&lab.guest.wan, outside)];
        let done =
            inside.iter_mut().chain(outside.iter_mut()).map(Host::is_done).filter(|done| *done).count();
        if done == all {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{done} of {all} hosts are done");
        if busy == [false; 2] {
            thread::sleep(Duration::from_micros(200));
        }
    }
}
