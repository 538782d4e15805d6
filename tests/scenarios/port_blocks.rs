//! Pools that share their ports out among subscribers: in blocks, and by arithmetic. With any number of workers a subscriber gets
//! exactly what he may have, nobody else gets it, and one record says who had it.

use crate::harness::Net;
use crate::packet::Line;
use crate::shape::by_host;
use crate::translation::pool;
use natgate::cli::explain_ports::{Question, by_arithmetic};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

const RATE: &str = "[runtime]\nicmp_errors_per_second = 100000\n";

/// A pool with these addresses, ports and keys, and room for all that asks.
fn with(addresses: &str, ports: &str, keys: &str) -> String {
    pool(addresses, ports).replace("max_sessions = 600", "max_sessions = 16000") + &format!("{keys}\n{RATE}")
}

/// A pool of so many addresses with these keys.
fn shared(addresses: u8, keys: &str) -> String {
    with(&format!("\"203.0.113.10-203.0.113.{}\"", 9 + addresses), "1024-65535", keys)
}

/// Where a packet of `host` to a server comes out, if it does.
fn open(net: &mut Net, host: &str, port: u32) -> Option<(Ipv4Addr, u16)> {
    let lan = net.interface("lan");
    let packet = Line::parse(&format!("udp {host}:{port} > 198.51.100.1:53")).encode(&net.bindings);
    net.send_ipv4(lan, &packet);
    net.run();
    let seen = std::mem::take(&mut net.seen);
    net.forget();
    let out = seen.iter().find(|seen| !seen.arp && seen.interface != lan)?;
    let address = <[u8; 4]>::try_from(&out.body[12..16]).unwrap();
    Some((address.into(), u16::from_be_bytes([out.body[20], out.body[21]])))
}

/// Blocks that are held, that were given, that went back.
fn counts(net: &Net) -> [u64; 3] {
    net.management.ledger().counts()
}

#[test]
fn a_subscriber_gets_exactly_his_blocks_and_nobody_is_evicted_for_more() {
    for shape in by_host() {
        let mut net = Net::new(&shared(2, "port_blocks = { size = 64, per_subscriber = 2 }"), shape);
        let given: BTreeSet<_> =
            (2000..2200).filter_map(|port| open(&mut net, "192.168.1.10", port)).collect();
        assert_eq!(given.len(), 128, "{shape:?}");
        let addresses: BTreeSet<_> = given.iter().map(|(address, _)| address).collect();
        let blocks: BTreeSet<_> = given.iter().map(|(_, port)| port / 64).collect();
        assert_eq!((addresses.len(), blocks.len()), (1, 2), "{shape:?}: paired, in two blocks");
        assert_eq!(net.totals().get("drop subscriber_ports_limit"), Some(&72), "{shape:?}");
        assert!(open(&mut net, "192.168.1.11", 2000).is_some(), "another one has his own");
        assert_eq!((net.session_count(), counts(&net)), (129, [3, 3, 0]), "{shape:?}: a record a block");
        net.finish();
    }
}

#[test]
fn a_block_has_one_subscriber_and_one_worker() {
    for shape in by_host() {
        let mut net = Net::new(&shared(4, "port_blocks = { size = 128 }"), shape);
        let mut holders = BTreeMap::new();
        for (host, port) in (10..60).flat_map(|host| (0..4).map(move |n| (host, 3000 + n))) {
            let (address, port) = open(&mut net, &format!("192.168.1.{host}"), port).unwrap();
            assert_eq!(*holders.entry((address, port / 128)).or_insert(host), host, "{shape:?}");
        }
        assert_eq!((holders.len(), counts(&net)), (50, [50, 50, 0]), "{shape:?}");
        net.finish();
    }
}

#[test]
fn a_block_goes_back_when_its_subscriber_has_been_idle_and_one_record_says_so() {
    for shape in by_host() {
        let keys = "port_blocks = { size = 64, idle = \"30s\" }\nfiltering = \"endpoint-independent\"\nhold_down = \"5s\"";
        let times = "[conntrack.timeouts]\nudp = \"10s\"\nudp_stream = \"10s\"\n";
        let mut net = Net::new(&(shared(1, keys) + times), shape);
        for port in 2000..2010 {
            open(&mut net, "192.168.1.10", port).unwrap();
        }
        // Ten seconds of a session, five of rest, thirty of idleness.
        net.wait(Duration::from_secs(40));
        assert_eq!((net.session_count(), counts(&net)), (0, [1, 1, 0]), "{shape:?}");
        net.wait(Duration::from_secs(8));
        assert_eq!(counts(&net), [0, 1, 1], "{shape:?}");
        open(&mut net, "192.168.1.10", 2000).unwrap();
        assert_eq!(counts(&net), [1, 2, 1], "{shape:?}");
        net.finish();
    }
}

#[test]
fn when_all_blocks_are_given_subscribers_are_refused_and_those_that_have_some_go_on() {
    for shape in by_host() {
        let config = with("\"203.0.113.10\"", "1024-9215", "port_blocks = { size = 1024 }");
        let mut net = Net::new(&config, shape);
        let served = |net: &mut Net, port| -> BTreeSet<u32> {
            (10..60).filter(|host| open(net, &format!("192.168.1.{host}"), port).is_some()).collect()
        };
        let first = served(&mut net, 2000);
        assert_eq!((first.len(), counts(&net)), (8, [8, 8, 0]), "{shape:?}");
        assert_eq!(net.totals().get("drop ports_exhausted"), Some(&42), "{shape:?}");
        assert_eq!(served(&mut net, 2001), first, "{shape:?}");
        net.finish();
    }
}

/// What a subscriber has stays his over a reload, and what is given then is of the new size.
#[test]
fn blocks_of_another_size_leave_those_that_are_given_as_they_are() {
    for shape in by_host() {
        let config = |size| shared(1, &format!("port_blocks = {{ size = {size}, per_subscriber = 1 }}"));
        let mut net = Net::new(&config(256), shape);
        let before = open(&mut net, "192.168.1.10", 2000).unwrap();
        net.reload(&config(64));
        net.run();
        net.forget();
        assert_eq!(open(&mut net, "192.168.1.10", 2000), Some(before), "{shape:?}: its session goes on");
        let more: Vec<_> = (2001..2300).filter_map(|port| open(&mut net, "192.168.1.10", port)).collect();
        assert!(more.len() == 255 && more.iter().all(|(_, port)| port / 256 == before.1 / 256), "{shape:?}");
        let other: Vec<_> = (2000..2100).filter_map(|port| open(&mut net, "192.168.1.11", port)).collect();
        assert_eq!((other.len(), counts(&net)), (64, [2, 2, 0]), "{shape:?}");
        assert!(other.iter().all(|(_, port)| port / 256 != before.1 / 256), "{shape:?}");
        net.finish();
    }
}

#[test]
fn hosts_with_blocks_or_shares_reach_each_other_by_their_external_ports() {
    for keys in ["port_blocks = {}", "deterministic = { inside = \"192.168.1.0/24\" }"] {
        for shape in by_host() {
            let mut net = Net::new(&shared(4, keys), shape);
            net.play(
                "
                lan> udp 192.168.1.10:4000 > 198.51.100.1:53
                wan< udp $a:$p > 198.51.100.1:53
                opened
                wan> udp 198.51.100.1:53 > $a:$p
                lan< udp 198.51.100.1:53 > 192.168.1.10:4000
                lan> udp 192.168.1.77:5000 > $a:$p
                lan< udp $b:$q > 192.168.1.10:4000
                opened 2
                lan> udp 192.168.1.10:4000 > $b:$q
                lan< udp $a:$p > 192.168.1.77:5000
                ",
            );
            net.finish();
        }
    }
}

const SHARE: &str = "deterministic = { inside = [\"192.168.1.8/29\", \"192.168.1.64/26\"], ports = 700 }";

#[test]
fn a_hosts_ports_are_those_that_explain_says_both_ways_whichever_worker_it_has() {
    for shape in by_host() {
        let mut net = Net::new(&shared(2, SHARE), shape);
        for host in (8..16).chain(64..128) {
            let host: Ipv4Addr = [192, 168, 1, host].into();
            for n in 0..3 {
                let (address, port) = open(&mut net, &host.to_string(), 2000 + n).unwrap();
                let behind = by_arithmetic(&net.config, Question::Port(address, port));
                assert_eq!(
                    behind.iter().map(|ports| ports.subscriber).collect::<Vec<_>>(),
                    [host],
                    "{shape:?}"
                );
                let has = by_arithmetic(&net.config, Question::Host(host));
                assert!(has[0].address == address && (has[0].first_port..=has[0].last_port).contains(&port));
            }
        }
        // Answers find their worker.
        net.play("lan> udp 192.168.1.9:7777 > 198.51.100.2:53\nwan< udp $a:$p > 198.51.100.2:53\nopened");
        net.play("wan> udp 198.51.100.2:53 > $a:$p\nlan< udp 198.51.100.2:53 > 192.168.1.9:7777");
        assert_eq!(counts(&net), [0; 3], "no records at all");
        net.finish();
    }
}

#[test]
fn a_host_gets_exactly_its_share_and_one_without_a_share_is_of_no_rule() {
    for shape in by_host() {
        let mut net = Net::new(&shared(2, SHARE), shape);
        let given: BTreeSet<_> =
            (2000..2800).filter_map(|port| open(&mut net, "192.168.1.70", port)).collect();
        assert_eq!(given.len(), 700, "{shape:?}");
        assert_eq!(net.totals().get("drop subscriber_ports_limit"), Some(&100), "{shape:?}");
        assert_eq!(open(&mut net, "192.168.1.20", 2000), None);
        assert_eq!(net.totals().get("drop no_rule"), Some(&1), "{shape:?}");
        assert!(open(&mut net, "192.168.1.71", 2000).is_some(), "{shape:?}");
        net.finish();
    }
}

/// With one worker nothing of a session changes hands; with several, sessions whose port is another worker's now are ended by
/// the reload (`moved`), as this harness does not.
#[test]
fn mappings_keep_their_ports_when_the_arithmetic_changes_and_new_ones_go_by_the_new_one() {
    let config =
        |ports| shared(2, &format!("deterministic = {{ inside = \"192.168.1.0/26\", ports = {ports} }}"));
    let mut net = Net::new(&config(1000), by_host().next().unwrap());
    let mut all: BTreeSet<_> = (2000..2010).filter_map(|port| open(&mut net, "192.168.1.9", port)).collect();
    let before = open(&mut net, "192.168.1.9", 2000).unwrap();
    net.reload(&config(1100));
    net.run();
    net.forget();
    assert_eq!(open(&mut net, "192.168.1.9", 2000), Some(before));
    for host in [8, 9, 10] {
        for port in 3000..3900 {
            let Some(given) = open(&mut net, &format!("192.168.1.{host}"), port) else { continue };
            assert!(all.insert(given), "{given:?} twice");
            let behind = by_arithmetic(&net.config, Question::Port(given.0, given.1));
            assert_eq!(behind[0].subscriber, Ipv4Addr::from([192, 168, 1, host]));
        }
    }
    net.finish();
}
