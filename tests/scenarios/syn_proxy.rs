//! The SYN proxy in front of a forwarded port: every number, window and option that both sides see.

mod adversity;
mod chaos;
mod flood;
mod stage;
mod talk;

use crate::harness::SHAPES;
use crate::translation::HOME;
use stage::{Stage, Tcp, tcp};

pub(crate) const CLIENT: &str = "198.51.100.7:5000";
pub(crate) const SERVICE: &str = "203.0.113.2:8080";
pub(crate) const BACKEND: &str = "192.168.1.10:80";

/// A home with a web server behind a SYN proxy.
pub(crate) fn proxied() -> String {
    format!(
        r#"{HOME}
        [[dnat]]
        on = "wan"
        protocol = "tcp"
        port = 8080
        to = "192.168.1.10:80"
        syn_proxy = true
        "#
    )
}

/// What a modern client opens a connection with.
pub(crate) fn full_syn() -> Tcp {
    tcp(CLIENT, SERVICE, "S")
        .numbers(1000, 0, 64_240)
        .mss(1460)
        .scale(9)
        .sack_permitted()
        .timestamps(777_000, 0)
}

/// The numbers of a proxied connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// Our initial sequence number and timestamp.
    pub(crate) cookie: u32,
    pub(crate) stamp: u32,
}

impl Connection {
    /// A client with every option gets its cookie.
    pub(crate) fn greeted(stage: &mut Stage) -> Connection {
        let answer = stage.answer("wan", &full_syn(), "wan");
        let (stamp, _) = answer.timestamps.unwrap();
        Connection { cookie: answer.seq, stamp }
    }

    /// The client's ACK with the cookie.
    pub(crate) fn ack(&self) -> Tcp {
        self.client("A")
    }

    /// A segment of the client, which has sent nothing but its SYN before.
    pub(crate) fn client(&self, flags: &str) -> Tcp {
        tcp(CLIENT, SERVICE, flags)
            .numbers(1001, self.cookie.wrapping_add(1), 126)
            .timestamps(777_010, self.stamp)
    }

    /// … as the client gets one back.
    pub(crate) fn service(&self, flags: &str) -> Tcp {
        tcp(SERVICE, CLIENT, flags)
            .numbers(self.cookie.wrapping_add(1), 1001, 0)
            .timestamps(self.stamp, 777_010)
    }
}

/// The SYN that the backend gets for a client with every option.
pub(crate) fn backend_syn() -> Tcp {
    tcp(CLIENT, BACKEND, "S")
        .numbers(1000, 0, 126 << 9)
        .mss(1460)
        .scale(9)
        .sack_permitted()
        .timestamps(777_010, 0)
}

/// The backend's initial sequence number and clock.
pub(crate) const THEIRS: u32 = 0xffff_fff0;
pub(crate) const CLOCK: u32 = 5_000_000;

/// What a modern backend answers.
pub(crate) fn full_syn_ack() -> Tcp {
    tcp(BACKEND, CLIENT, "SA")
        .numbers(THEIRS, 1001, 65_160)
        .mss(1460)
        .scale(7)
        .sack_permitted()
        .timestamps(CLOCK, 777_010)
}

/// A segment of the backend, which has sent nothing but its SYN/ACK before.
pub(crate) fn backend(flags: &str) -> Tcp {
    tcp(BACKEND, CLIENT, flags).numbers(THEIRS.wrapping_add(1), 1001, 501).timestamps(CLOCK, 777_010)
}

/// … as the backend gets one.
pub(crate) fn to_backend(flags: &str) -> Tcp {
    tcp(CLIENT, BACKEND, flags).numbers(1001, THEIRS.wrapping_add(1), 126).timestamps(777_010, CLOCK)
}

/// A client with every option is connected.
pub(crate) fn connected(stage: &mut Stage) -> Connection {
    let connection = Connection::greeted(stage);
    stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
    // 65,160 bytes in units of 128.
    let window = Tcp { window: 509, ..connection.service("A") };
    stage.expect("lan", &full_syn_ack(), &[("lan", &to_backend("A")), ("wan", &window)]);
    connection
}

#[test]
fn a_client_with_every_option_and_its_backend_each_see_their_own_numbers() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let answer = stage.answer("wan", &full_syn(), "wan");
        let (stamp, _) = answer.timestamps.unwrap();
        let cookie = answer.seq;
        let expected = tcp(SERVICE, CLIENT, "SA")
            .numbers(cookie, 1001, 0)
            .mss(1460)
            .scale(7)
            .sack_permitted()
            .timestamps(stamp, 777_000);
        assert_eq!(answer, expected);
        assert_eq!(stamp & 0x3f, 9 | 16, "scale and SACK are in our timestamp");
        assert_eq!((stage.net.session_count(), stage.count("cookies")), (0, 1), "no state");

        let connection = Connection { cookie, stamp };
        stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
        assert_eq!((stage.net.session_count(), stage.count("admitted")), (1, 1));
        let window = Tcp { window: 509, ..connection.service("A") };
        stage.expect("lan", &full_syn_ack(), &[("lan", &to_backend("A")), ("wan", &window)]);

        // A request.
        let request = connection.client("AP").len(100);
        stage.expect("wan", &request, &[("lan", &to_backend("AP").len(100))]);
        // Its answer, in the backend's numbers, which wrap, and by its clock.
        let at = |n: u32| (THEIRS.wrapping_add(1).wrapping_add(n), cookie.wrapping_add(1).wrapping_add(n));
        let reply = backend("AP").numbers(at(0).0, 1101, 500).timestamps(CLOCK + 40, 777_010).len(50);
        let seen =
            connection.service("AP").numbers(at(0).1, 1101, 500).timestamps(stamp + 40, 777_010).len(50);
        stage.expect("lan", &reply, &[("wan", &seen)]);
        // A part of it was lost: the client says which it has.
        let blocks = |of: fn((u32, u32)) -> u32| [(of(at(50)), of(at(100))), (of(at(150)), of(at(200)))];
        for (from, to) in [(50, 50), (150, 50)] {
            let part = backend("A").numbers(at(from).0, 1101, 500).len(to);
            let seen = connection.service("A").numbers(at(from).1, 1101, 500).len(to);
            stage.expect("lan", &part, &[("wan", &seen)]);
        }
        let gaps = connection
            .client("A")
            .numbers(1101, at(50).1, 126)
            .timestamps(777_020, stamp + 40)
            .sack(&blocks(|both| both.1));
        let told = to_backend("A")
            .numbers(1101, at(50).0, 126)
            .timestamps(777_020, CLOCK + 40)
            .sack(&blocks(|both| both.0));
        stage.expect("wan", &gaps, &[("lan", &told)]);
        // The backend's SACK is about the client's numbers: nothing to change.
        let sack = backend("A").numbers(at(200).0, 1101, 500).sack(&[(1201, 1301)]);
        let same = connection.service("A").numbers(at(200).1, 1101, 500).sack(&[(1201, 1301)]);
        stage.expect("lan", &sack, &[("wan", &same)]);

        // The end.
        let fin = backend("AF").numbers(at(200).0, 1101, 500);
        stage.expect("lan", &fin, &[("wan", &connection.service("AF").numbers(at(200).1, 1101, 500))]);
        let fin = connection.client("AF").numbers(1101, at(201).1, 126);
        stage.expect("wan", &fin, &[("lan", &to_backend("AF").numbers(1101, at(201).0, 126))]);
        let last = backend("A").numbers(at(201).0, 1102, 500);
        stage.expect("lan", &last, &[("wan", &connection.service("A").numbers(at(201).1, 1102, 500))]);
        assert_eq!(stage.net.session_count(), 1, "in TIME_WAIT");
        stage.net.wait(std::time::Duration::from_secs(245));
        assert_eq!(stage.net.session_count(), 0);
        stage.take();
        stage.net.finish();
    }
}

#[test]
fn a_client_without_timestamps_gets_neither_window_scale_nor_sack() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let syn = tcp(CLIENT, SERVICE, "S").numbers(1000, 0, 64_240).mss(1452).scale(9).sack_permitted();
        let answer = stage.answer("wan", &syn, "wan");
        assert_eq!(answer, tcp(SERVICE, CLIENT, "SA").numbers(answer.seq, 1001, 0).mss(1460));

        let ours = answer.seq.wrapping_add(1);
        let ack = tcp(CLIENT, SERVICE, "A").numbers(1001, ours, 64_240);
        // The size that the cookie could tell; the client takes 1452.
        let syn = tcp(CLIENT, BACKEND, "S").numbers(1000, 0, 64_240).mss(1440);
        stage.expect("wan", &ack, &[("lan", &syn)]);
        let syn_ack = tcp(BACKEND, CLIENT, "SA").numbers(50, 1001, 64_000).mss(1460);
        let ack = tcp(CLIENT, BACKEND, "A").numbers(1001, 51, 64_240);
        let window = tcp(SERVICE, CLIENT, "A").numbers(ours, 1001, 64_000);
        stage.expect("lan", &syn_ack, &[("lan", &ack), ("wan", &window)]);
        let data = tcp(BACKEND, CLIENT, "AP").numbers(51, 1001, 63_000).len(1440);
        let seen = tcp(SERVICE, CLIENT, "AP").numbers(ours, 1001, 63_000).len(1440);
        stage.expect("lan", &data, &[("wan", &seen)]);
        stage.net.finish();
    }
}

#[test]
fn windows_are_converted_if_the_backend_has_another_scale() {
    for (scale, update, theirs, seen) in [
        // The unit of the backend is 2 bytes; ours is 128. Never rounded to zero, never up.
        (Some(1), 509, 64_000, 1000),
        (Some(1), 509, 63, 1),
        (Some(1), 509, 0, 0),
        // 1024 bytes: more than the header holds is all that it holds.
        (Some(10), 509, 500, 4000),
        (Some(10), 509, 65_000, 65_535),
        // It does not scale at all.
        (None, 509, 12_800, 100),
    ] {
        let mut stage = Stage::new(&proxied(), SHAPES[1]);
        let connection = Connection::greeted(&mut stage);
        stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
        // The backend takes the client's windows for what it thinks they are.
        let own = if scale.is_some() { 126 } else { 126 << 9 };
        let syn_ack = Tcp { scale, ..full_syn_ack() };
        let ack = Tcp { window: own, ..to_backend("A") };
        let window = Tcp { window: update, ..connection.service("A") };
        stage.expect("lan", &syn_ack, &[("lan", &ack), ("wan", &window)]);
        stage.expect(
            "lan",
            &Tcp { window: theirs, ..backend("A") },
            &[("wan", &Tcp { window: seen, ..connection.service("A") })],
        );
        stage.expect("wan", &connection.client("A"), &[("lan", &Tcp { window: own, ..to_backend("A") })]);
        stage.net.finish();
    }
}

#[test]
fn what_a_backend_can_not_do_the_next_client_is_not_promised() {
    let mut stage = Stage::new(&proxied(), SHAPES[0]);
    let connection = Connection::greeted(&mut stage);
    stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
    let syn_ack = tcp(BACKEND, CLIENT, "SA").numbers(THEIRS, 1001, 65_160).mss(1300).scale(7);
    let ack = Tcp { timestamps: None, ..to_backend("A") };
    stage.expect("lan", &syn_ack, &[("lan", &ack), ("wan", &Tcp { window: 509, ..connection.service("A") })]);
    let next = Tcp { from: "198.51.100.8:5000".parse().unwrap(), ..full_syn() };
    let answer = stage.answer("wan", &next, "wan");
    assert_eq!(answer, tcp(SERVICE, "198.51.100.8:5000", "SA").numbers(answer.seq, 1001, 0).mss(1300));
    stage.net.finish();
}

#[test]
fn a_connection_after_another_begins_with_a_cookie_again() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = connected(&mut stage);
        let (ours, theirs) = (connection.cookie.wrapping_add(1), THEIRS.wrapping_add(1));
        stage.expect("wan", &connection.client("AF"), &[("lan", &to_backend("AF"))]);
        let fin = backend("AF").numbers(theirs, 1002, 500);
        stage.expect("lan", &fin, &[("wan", &connection.service("AF").numbers(ours, 1002, 500))]);
        let ack = connection.client("A").numbers(1002, ours.wrapping_add(1), 126);
        let seen = to_backend("A").numbers(1002, theirs.wrapping_add(1), 126);
        stage.expect("wan", &ack, &[("lan", &seen)]);

        let again = Tcp { seq: 90_000, ..full_syn() };
        let answer = stage.answer("wan", &again, "wan");
        assert_eq!((answer.flags.as_str(), answer.ack), ("SA", 90_001));
        assert_eq!(stage.net.session_count(), 0, "the one before has made room");
        let (stamp, _) = answer.timestamps.unwrap();
        let ack = tcp(CLIENT, SERVICE, "A")
            .numbers(90_001, answer.seq.wrapping_add(1), 126)
            .timestamps(777_010, stamp);
        stage.expect("wan", &ack, &[("lan", &Tcp { seq: 90_000, ..backend_syn() })]);
        assert_eq!(stage.net.session_count(), 1);
        stage.net.finish();
    }
}

#[test]
fn a_connected_session_is_established_and_lasts() {
    let mut stage = Stage::new(&proxied(), SHAPES[1]);
    let connection = connected(&mut stage);
    stage.net.wait(std::time::Duration::from_secs(7200));
    assert_eq!(stage.net.session_count(), 1);
    stage.take();
    stage.expect("wan", &connection.client("AP").len(5), &[("lan", &to_backend("AP").len(5))]);
    stage.net.finish();
}

#[test]
fn full_nat_and_hairpin_are_proxied_as_well() {
    for shape in SHAPES {
        let config = proxied().replace("syn_proxy = true", "syn_proxy = true\nsource = \"interface\"");
        let cases =
            [(config, CLIENT, "wan", "192.168.1.1"), (proxied(), "192.168.1.50:5000", "lan", "203.0.113.2")];
        for (config, client, side, source) in cases {
            let mut stage = Stage::new(&config, shape);
            let from = |segment: Tcp| Tcp { from: client.parse().unwrap(), ..segment };
            let to = |segment: Tcp| Tcp { to: client.parse().unwrap(), ..segment };
            let answer = stage.answer(side, &from(full_syn()), side);
            let connection = Connection { cookie: answer.seq, stamp: answer.timestamps.unwrap().0 };
            let syn = stage.answer(side, &from(connection.ack()), "lan");
            assert_eq!(syn.from.ip().to_string(), source, "the backend sees an address of ours");
            assert_eq!(syn, Tcp { from: syn.from, ..backend_syn() });
            let accept = Tcp { to: syn.from, ..full_syn_ack() };
            let seen = stage.send_bytes("lan", &accept.encode());
            let mut seen: Vec<_> =
                seen.iter().map(|(name, packet)| (name.as_str(), Tcp::decode(packet))).collect();
            seen.sort_by_key(|(_, segment)| segment.to != syn.to);
            let window = Tcp { window: 509, ..to(connection.service("A")) };
            let ack = Tcp { from: syn.from, ..to_backend("A") };
            assert_eq!(seen, [("lan", ack), (side, window)], "{client}");
            let data = Tcp { from: syn.from, ..to_backend("AP") }.len(9);
            stage.expect(side, &from(connection.client("AP").len(9)), &[("lan", &data)]);
            let data = Tcp { to: syn.from, ..backend("AP") }.len(7);
            let shown = Tcp { window: 501, ..to(connection.service("AP")) }.len(7);
            stage.expect("lan", &data, &[(side, &shown)]);
            stage.net.finish();
        }
    }
}
