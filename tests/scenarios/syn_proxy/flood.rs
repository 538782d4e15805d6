//! Floods: of SYNs from everywhere, of ACKs that bring back nothing of ours.

use super::stage::{Stage, Tcp, tcp};
use super::{SERVICE, backend, connected, full_syn, proxied, to_backend};
use crate::harness::SHAPES;
use crate::shape::FEW;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// SYNs, each of another host.
const FLOOD: u32 = 20_000;

/// The n-th liar: any address and port.
fn liar(n: u32) -> SocketAddrV4 {
    let mixed = n.wrapping_mul(0x9e37_79b1);
    SocketAddrV4::new(Ipv4Addr::from_bits(0x2d00_0000 | mixed >> 9), 1024 + (n % 60_000) as u16)
}

#[test]
fn a_flood_of_syns_leaves_no_session_and_an_honest_client_gets_through() {
    for shape in FEW {
        let mut stage = Stage::new(&proxied(), shape);
        let wan = stage.net.interface("wan");
        let mut connection = None;
        for n in 0..FLOOD {
            let syn = Tcp { from: liar(n), seq: n.wrapping_mul(77), ..full_syn() };
            stage.net.send_ipv4(wan, &syn.encode());
            if n % 500 == 499 {
                stage.net.now = stage.net.now + Duration::from_millis(1);
                stage.net.run();
                let answers = stage.take();
                assert_eq!(answers.len(), 500, "each is answered");
                assert!(answers.iter().all(|(name, _)| name == "wan"));
                Tcp::decode(&answers[0].1);
            }
            if n == FLOOD / 2 - 1 {
                connection = Some(connected(&mut stage));
            }
        }
        assert_eq!(stage.net.session_count(), 1, "the honest one's");
        assert_eq!(stage.count("cookies"), i64::from(FLOOD) + 1);
        assert_eq!((stage.count("opened"), stage.count("admitted")), (1, 1));
        let connection = connection.unwrap();
        stage.expect("wan", &connection.client("AP").len(10), &[("lan", &to_backend("AP").len(10))]);
        let seen = Tcp { window: 501, ..connection.service("AP") }.len(10);
        stage.expect("lan", &backend("AP").len(10), &[("wan", &seen)]);
        stage.net.finish();
    }
}

#[test]
fn forged_acknowledgements_are_dropped_by_name() {
    for shape in FEW {
        let mut stage = Stage::new(&proxied(), shape);
        let wan = stage.net.interface("wan");
        for n in 0..FLOOD {
            let ack = Tcp { from: liar(n), ..tcp("192.0.2.1:1", SERVICE, "A") };
            let ack = ack.numbers(n, n.wrapping_mul(0x85eb_ca6b), 500);
            stage.net.send_ipv4(wan, &ack.encode());
            if n % 500 == 499 {
                stage.net.run();
            }
        }
        assert_eq!(stage.take(), []);
        assert_eq!(stage.count("drop syn_cookie_invalid"), i64::from(FLOOD));
        assert_eq!(stage.net.session_count(), 0);
        stage.net.finish();
    }
}

#[test]
fn a_cookie_is_good_for_its_own_client_and_for_a_minute_or_two() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = super::Connection::greeted(&mut stage);
        let stolen = Tcp { from: "198.51.100.8:5000".parse().unwrap(), ..connection.ack() };
        stage.expect("wan", &stolen, &[]);
        stage.net.wait(Duration::from_secs(120));
        stage.expect("wan", &connection.ack(), &[]);
        assert_eq!(stage.count("drop syn_cookie_invalid"), 2);
        assert_eq!(stage.net.session_count(), 0);
        stage.net.finish();
    }
}

#[test]
fn clients_that_wait_for_a_silent_backend_are_bounded_as_half_open_connections_are() {
    let config = proxied().replace("max_sessions = 600", "max_sessions = 16");
    let mut stage = Stage::new(&config, SHAPES[0]);
    for n in 0..20 {
        let from = SocketAddrV4::new("198.51.100.9".parse().unwrap(), 2000 + n);
        let answer = stage.answer("wan", &Tcp { from, ..full_syn() }, "wan");
        let ack = tcp("192.0.2.1:1", SERVICE, "A").numbers(1001, answer.seq.wrapping_add(1), 126);
        let ack = Tcp { from, timestamps: Some((777_010, answer.timestamps.unwrap().0)), ..ack };
        stage.send_bytes("wan", &ack.encode());
    }
    // Half of the table, and the oldest had to go.
    assert_eq!((stage.net.session_count(), stage.count("admitted")), (8, 20));
    stage.net.wait(Duration::from_secs(32));
    assert_eq!((stage.net.session_count(), stage.count("given up")), (0, 8));
    stage.net.finish();
}
