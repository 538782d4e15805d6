//! Health checks: who does not answer gets no new session, and nobody but the backend itself makes it seem to be there.

use crate::harness::{Net, SHAPES, Shape};
use crate::translation::HOME;
use etherparse::{Icmpv4Type, PacketBuilder, SlicedPacket, TransportSlice};
use natgate::management::events::EventKind;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SECOND: Duration = Duration::from_secs(1);

/// A home whose web service has the backends .20 and .21, with these keys more, and these rules more.
fn web(keys: &str, more: &str) -> String {
    let rule = "[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 80\nto = [\"192.168.1.20:8080\", \"192.168.1.21:8080\"]";
    format!("{HOME}\n{rule}\n{keys}\n{more}")
}

/// What a backend does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Answers,
    Silent,
    Refuses,
    /// It, or somebody in its place, answers something that was not asked.
    Guesses(u32),
}

/// The backends .20, .21 and so on.
struct Farm {
    net: Net,
    does: BTreeMap<Ipv4Addr, Host>,
    /// Questions, by backend.
    asked: BTreeMap<Ipv4Addr, usize>,
    /// Connections that came to their end: closed by the gateway, then by the server, and that acknowledged.
    closed: usize,
}

fn backend(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

impl Farm {
    fn new(config: &str, shape: Shape) -> Farm {
        let mut net = Net::new(config, shape);
        net.black_box = true;
        Farm { net, does: BTreeMap::new(), asked: BTreeMap::new(), closed: 0 }
    }

    fn set(&mut self, last: u8, does: Host) {
        self.does.insert(backend(last), does);
    }

    /// Time passes.
    fn pass(&mut self, length: Duration) {
        let end = self.net.now + length;
        while self.net.now < end {
            self.net.now = self.net.now + Duration::from_millis(50);
            self.net.run();
            while self.serve() {}
        }
        self.net.forget();
    }

    /// Backends answer what came out. Returns whether there was anything.
    fn serve(&mut self) -> bool {
        let seen = std::mem::take(&mut self.net.seen);
        let lan = self.net.interface("lan");
        for frame in seen.iter().filter(|frame| !frame.arp) {
            for answer in self.answers(&frame.body) {
                self.net.send_ipv4(lan, &answer);
            }
        }
        self.net.run();
        !seen.is_empty()
    }

    fn answers(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let to = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[16..20]).unwrap());
        assert_eq!(packet[12..16], GATEWAY.octets(), "the gateway asks by its own address");
        let does = *self.does.get(&to).unwrap_or(&Host::Answers);
        let back = || PacketBuilder::ipv4(to.octets(), GATEWAY.octets(), 64);
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(tcp) => {
                let (ours, theirs) = (tcp.destination_port(), tcp.source_port());
                let (seq, ack) = (tcp.sequence_number(), tcp.acknowledgment_number());
                let back = |seq| back().tcp(ours, theirs, seq, 1000);
                let write = |builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>| {
                    let mut bytes = Vec::new();
                    builder.write(&mut bytes, &[]).unwrap();
                    bytes
                };
                if tcp.syn() {
                    *self.asked.entry(to).or_default() += 1;
                    return match does {
                        Host::Silent => vec![],
                        Host::Answers => vec![write(back(5000).syn().ack(seq.wrapping_add(1)))],
                        Host::Guesses(by) => {
                            vec![write(back(5000).syn().ack(seq.wrapping_add(1).wrapping_add(by)))]
                        }
                        Host::Refuses => vec![write(back(0).rst().ack(seq.wrapping_add(1)))],
                    };
                }
                if matches!(does, Host::Guesses(_)) {
                    // Its number may be one of ours, though not that of this question.
                    return vec![];
                }
                assert_eq!(does, Host::Answers, "nothing more is said to the others");
                if tcp.fin() {
                    assert_eq!(ack, 5001);
                    return vec![write(back(5001).fin().ack(seq.wrapping_add(1)))];
                }
                self.closed += usize::from(ack == 5002);
                vec![]
            }
            TransportSlice::Icmpv4(icmp) => {
                let Icmpv4Type::EchoRequest(echo) = icmp.icmp_type() else {
                    panic!("{:?}", icmp.icmp_type())
                };
                *self.asked.entry(to).or_default() += 1;
                let mut payload = icmp.payload().to_vec();
                match does {
                    Host::Silent | Host::Refuses => return vec![],
                    Host::Answers => {}
                    Host::Guesses(by) => payload[3] = payload[3].wrapping_add(by as u8),
                }
                let mut bytes = Vec::new();
                back().icmpv4_echo_reply(echo.id, echo.seq).write(&mut bytes, &payload).unwrap();
                vec![bytes]
            }
            other => panic!("{other:?}"),
        }
    }

    /// The backends that twenty new clients get, from this number on.
    fn chosen(&mut self, from: usize) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for client in from..from + 20 {
            self.net.play(&format!(
                "wan> tcp 198.51.100.{client}:4000 > 203.0.113.2:80 S
                lan< tcp 198.51.100.{client}:4000 > $b{client}:8080 S
                opened"
            ));
            found.insert(self.net.bindings.address(&format!("$b{client}")).to_string());
        }
        self.net.forget();
        found
    }

    fn ups(&self) -> Vec<(u8, bool)> {
        let list = self.net.management.backends();
        list.iter().map(|status| (status.patient.address.octets()[3], status.vitals.up)).collect()
    }

    fn events(&mut self) -> Vec<EventKind> {
        self.net.management.take_events().iter().map(|event| event.kind).collect()
    }
}

fn both() -> BTreeSet<String> {
    ["192.168.1.20", "192.168.1.21"].map(str::to_owned).into()
}

fn only(last: u8) -> BTreeSet<String> {
    [backend(last).to_string()].into()
}

#[test]
fn a_backend_that_is_silent_gets_no_new_session_until_it_answers_again() {
    for shape in SHAPES {
        let mut farm = Farm::new(&web("health = {}", ""), shape);
        farm.pass(10 * SECOND);
        assert_eq!(farm.ups(), [(20, true), (21, true)]);
        assert_eq!((farm.asked[&backend(20)], farm.asked[&backend(21)]), (5, 5), "{shape:?}");
        assert_eq!(farm.closed, 10, "each connection is closed by both sides");
        assert_eq!((farm.chosen(1), farm.events()), (both(), vec![]));

        farm.set(20, Host::Silent);
        farm.pass(4 * SECOND);
        assert_eq!(farm.ups(), [(20, true), (21, true)], "not after two");
        farm.pass(3 * SECOND);
        assert_eq!(farm.ups(), [(20, false), (21, true)]);
        assert_eq!((farm.chosen(30), farm.events()), (only(21), vec![EventKind::BackendDown]));
        // Who has it keeps it.
        let client =
            (1..21).find(|client| farm.net.bindings.address(&format!("$b{client}")) == backend(20)).unwrap();
        farm.net.play(&format!(
            "lan> tcp 192.168.1.20:8080 > 198.51.100.{client}:4000 SA
            wan< tcp 203.0.113.2:80 > 198.51.100.{client}:4000 SA"
        ));

        farm.set(20, Host::Answers);
        farm.pass(5 * SECOND);
        assert_eq!((farm.chosen(60), farm.events()), (both(), vec![EventKind::BackendUp]));
        let vitals = farm.net.management.backends()[0].vitals;
        assert_eq!((vitals.changes, vitals.up), (2, true));
        farm.net.finish();
    }
}

#[test]
fn when_all_are_down_clients_are_told_and_the_operator_once() {
    let drained = web("health = { fall = 1 }", "")
        .replace("\"192.168.1.21:8080\"", "{ address = \"192.168.1.21:8080\", drain = true }");
    for shape in SHAPES {
        for config in [web("health = { fall = 1 }", ""), drained.clone()] {
            let mut farm = Farm::new(&config, shape);
            farm.set(20, Host::Refuses);
            farm.set(21, Host::Silent);
            farm.pass(5 * SECOND);
            let mut events = farm.events();
            events.sort_by_key(|kind| kind.name());
            assert_eq!(events, [EventKind::BackendDown, EventKind::BackendDown, EventKind::ServiceDown]);
            farm.net.play(
                "
                wan> tcp 198.51.100.1:4000 > 203.0.113.2:80 S
                drop backends_down
                wan<+ icmp 3/1 203.0.113.2 > 198.51.100.1 [tcp 198.51.100.1:4000 > 203.0.113.2:80 S]
                ",
            );
            let failures: Vec<_> = farm
                .net
                .management
                .backends()
                .iter()
                .map(|one| one.vitals.failure.unwrap().0.name())
                .collect();
            assert_eq!(failures, ["refused", "timeout"]);
            farm.set(20, Host::Answers);
            farm.pass(5 * SECOND);
            assert_eq!(farm.chosen(1), only(20));
            assert_eq!(farm.events(), [EventKind::BackendUp, EventKind::ServiceUp]);
            farm.net.finish();
        }
    }
}

#[test]
fn an_answer_to_what_was_not_asked_is_none() {
    // The worker sees through what is far off; what is four milliseconds off only the management core.
    for (check, by) in [("tcp", 0x7000_0000), ("tcp", 1000), ("icmp", 1)] {
        for shape in SHAPES {
            let keys = format!("health = {{ check = \"{check}\", fall = 2 }}");
            let mut farm = Farm::new(&web(&keys, ""), shape);
            farm.set(20, Host::Guesses(by));
            farm.pass(10 * SECOND);
            assert_eq!(farm.ups(), [(20, false), (21, true)], "{check}");
            farm.set(20, Host::Answers);
            farm.pass(6 * SECOND);
            assert_eq!(farm.ups(), [(20, true), (21, true)]);
            farm.net.finish();
        }
    }
}

#[test]
fn a_backend_without_arp_is_down_too_and_rules_that_ask_the_same_ask_once() {
    let second = "[[dnat]]\naddress = \"203.0.113.9\"\nprotocol = \"tcp\"\nport = 80\nto = [\"192.168.1.20:8080\", \"192.168.1.21:8080\"]\nhealth = {}\n";
    for shape in SHAPES {
        let mut farm = Farm::new(&web("health = {}", second), shape);
        farm.net.silent.insert(backend(20));
        farm.pass(10 * SECOND);
        assert_eq!(farm.ups(), [(20, false), (21, true)]);
        assert_eq!(farm.asked.get(&backend(20)), None);
        assert_eq!(farm.asked[&backend(21)], 5);
        farm.net.silent.clear();
        farm.pass(10 * SECOND);
        assert_eq!(farm.ups(), [(20, true), (21, true)]);
        farm.net.finish();
    }
}

#[test]
fn what_is_known_of_a_backend_survives_a_reload() {
    for shape in SHAPES {
        let mut farm = Farm::new(&web("health = {}", ""), shape);
        farm.set(20, Host::Silent);
        farm.pass(10 * SECOND);
        assert_eq!(farm.events(), [EventKind::BackendDown]);
        let since = farm.net.management.backends()[0].vitals.since;
        farm.net.reload(&web(
            "health = {}",
            "[[dnat]]\non = \"wan\"\nprotocol = \"udp\"\nport = 9\nto = \"192.168.1.30\"\nhealth = {}\n",
        ));
        farm.net.run();
        farm.net.forget();
        assert_eq!(farm.chosen(1), only(21), "from the first packet on");
        assert_eq!(farm.ups(), [(20, false), (21, true), (30, true)], "a new one is taken to be up");
        assert_eq!(farm.net.management.backends()[0].vitals.since, since);
        // Asked otherwise it is another question, and without one everybody is taken to be up.
        farm.net.reload(&web("health = { port = 9 }", ""));
        farm.net.run();
        farm.net.forget();
        assert_eq!((farm.ups(), farm.chosen(30)), (vec![(20, true), (21, true)], both()));
        farm.net.reload(&web("", ""));
        farm.net.run();
        farm.net.forget();
        assert_eq!((farm.ups(), farm.chosen(60)), (vec![], both()));
        assert_eq!(farm.events(), []);
        farm.net.finish();
    }
}
