//! Two hosts with a TCP of their own (smoltcp) talk through the gateway: a megabyte each way, every byte compared.

use crate::harness::{Net, SHAPES, Shape, host_mac};
use crate::phy::Phy;
use crate::translation::forwards;
use natgate::device::Device;
use natgate::device::fault::{Fault, FaultPlan, Faults};
use natgate::device::membuf::MemBuf;
use natgate::packet::PacketBuf;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, IpEndpoint};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Bytes each way.
const LENGTH: usize = 1 << 20;
const BUFFER: usize = 65_535;

/// A host with one TCP socket that sends a stream and checks another.
pub(crate) struct Host {
    wire: Phy,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    /// Marks its stream.
    salt: u8,
    sent: usize,
    received: usize,
}

fn byte(salt: u8, at: usize) -> u8 {
    (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(salt)
}

impl Host {
    pub(crate) fn new(address: Ipv4Addr, gateway: Ipv4Addr, salt: u8, now: Instant) -> Host {
        let mut wire = Phy::default();
        let mut config = Config::new(EthernetAddress(host_mac(address).0).into());
        config.random_seed = u64::from(salt);
        let mut interface = Interface::new(config, &mut wire, now);
        interface
            .update_ip_addrs(|addresses| addresses.push(IpCidr::new(IpAddress::Ipv4(address), 24)).unwrap());
        interface.routes_mut().add_default_ipv4_route(gateway).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let socket = sockets.add(tcp::Socket::new(buffer(), buffer()));
        Host { wire, interface, sockets, socket, salt, sent: 0, received: 0 }
    }

    pub(crate) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    pub(crate) fn connect(&mut self, to: IpEndpoint, port: u16) {
        let socket = self.sockets.get_mut::<tcp::Socket>(self.socket);
        socket.connect(self.interface.context(), to, port).unwrap();
    }

    /// Sends and receives what is possible; closes when all is sent and acknowledged: a FIN that arrives out of order
    /// with the last data gets lost in smoltcp's queue, and the ACK of the data alone stops its timer.
    fn work(&mut self, now: Instant, other: u8) {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        let socket = self.sockets.get_mut::<tcp::Socket>(self.socket);
        let received = &mut self.received;
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    for byte_seen in bytes.iter() {
                        assert_eq!(*byte_seen, byte(other, *received), "byte {received}");
                        *received += 1;
                    }
                    (bytes.len(), ())
                })
                .unwrap();
        }
        while socket.can_send() && self.sent < LENGTH {
            let (salt, sent) = (self.salt, self.sent);
            let n = socket
                .send(|room| {
                    let n = room.len().min(LENGTH - sent);
                    for (at, place) in room[..n].iter_mut().enumerate() {
                        *place = byte(salt, sent + at);
                    }
                    (n, n)
                })
                .unwrap();
            self.sent += n;
        }
        if self.sent == LENGTH && socket.send_queue() == 0 {
            socket.close();
        }
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
    }
}

/// The receive queue of a frame without a NIC that would choose it: one for each flow and direction. Whether the owner
/// listens on it is chance.
fn queue_of(frame: &[u8], queues: usize) -> usize {
    let ends = frame.get(26..38).unwrap_or_default();
    ends.iter().fold(7usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % queues
}

/// Lets both hosts talk until both streams have arrived and both ends are closed.
pub(crate) fn converse<D: Device<Buf = MemBuf>>(net: &mut Net<D>, client: &mut Host, server: &mut Host) {
    for _ in 0..200_000 {
        net.now = net.now + Duration::from_millis(1);
        let now = Instant::from_micros((net.now.as_nanos() / 1000) as i64);
        client.work(now, server.salt);
        server.work(now, client.salt);
        for (device, host) in [(0, &mut *client), (1, &mut *server)] {
            for frame in host.wire.sent.drain(..) {
                let queue =
                    net.queue_of(device, &frame).unwrap_or_else(|| queue_of(&frame, net.shape.queues));
                assert!(net.wires[device].push(queue, &frame), "pool or queue are full");
            }
        }
        for _ in 0..4 {
            net.management.poll_once(net.now);
            for worker in &mut net.workers {
                worker.poll_once(net.now);
            }
        }
        for (device, host) in [(0, &mut *client), (1, &mut *server)] {
            while let Some(frame) = net.wires[device].pop() {
                host.wire.received.push_back(frame.data().to_vec());
            }
        }
        let over =
            |host: &mut Host| matches!(host.socket().state(), tcp::State::Closed | tcp::State::TimeWait);
        if over(client) && over(server) {
            assert_eq!((client.received, server.received), (LENGTH, LENGTH));
            return;
        }
    }
    panic!("still talking: {} of {LENGTH} and {}, {:?}", client.received, server.received, net.shape);
}

fn talk<D: Device<Buf = MemBuf>>(net: &mut Net<D>) {
    let now = Instant::from_micros((net.now.as_nanos() / 1000) as i64);
    let [lan, wan, inside, outside]: [Ipv4Addr; 4] =
        ["192.168.1.1", "203.0.113.2", "192.168.1.10", "203.0.113.1"].map(|text| text.parse().unwrap());
    // Out by SNAT.
    let mut client = Host::new(inside, lan, 1, now);
    let mut server = Host::new(outside, wan, 2, now);
    server.socket().listen(80).unwrap();
    client.connect((outside, 80).into(), 50_000);
    converse(net, &mut client, &mut server);
    net.assert_balance("behind a NAT");
    // In by a forwarded port: 8080 is the backend's 80.
    let mut server = Host::new(inside, lan, 3, now);
    let mut client = Host::new(outside, wan, 4, now);
    server.socket().listen(80).unwrap();
    client.connect((wan, 8080).into(), 50_001);
    converse(net, &mut server, &mut client);
    net.assert_balance("to a forwarded port");
}

#[test]
fn a_megabyte_each_way_arrives_byte_for_byte() {
    for shape in SHAPES {
        let mut net = Net::new(&forwards(), shape);
        talk(&mut net);
        let totals = net.totals();
        assert_eq!(totals["opened"], 2, "one session each");
        let dropped: Vec<_> = totals.iter().filter(|(name, n)| name.starts_with("drop") && **n > 0).collect();
        assert!(dropped.is_empty(), "{dropped:?}");
        net.wait(Duration::from_secs(245));
        assert_eq!(net.session_count(), 0, "both ended");
        net.seen.clear();
        net.finish();
    }
}

#[test]
fn a_megabyte_each_way_arrives_over_bad_wires_too() {
    let bad = Faults { drop: 0.01, duplicate: 0.01, reorder: 0.02, corrupt: 0.01 };
    let plan = FaultPlan { rx: bad, tx: bad, partial_tx: 0.1 };
    for shape in [Shape::plain(1, 1), Shape::plain(3, 3)] {
        let mut number = 0;
        let mut net = Net::with_devices(&forwards(), shape, |device, _, _| {
            number += 1;
            Fault::new(device, plan, number)
        });
        talk(&mut net);
        net.finish();
    }
}
