//! From tracked to notracked and back, under sessions that live.

use super::cache;
use crate::harness::{Net, SHAPES};
use crate::translation::HOME;
use natgate::steering::plan::Wish;
use std::sync::atomic::Ordering::Relaxed;

/// The cache behind an ordinary forward.
fn tracked() -> String {
    format!("{HOME}\n[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 11211\nto = \"192.168.1.20\"\n")
}

const OPEN: &str = "
    wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 S seq=9
    lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 S seq=9
    opened
    lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 SA seq=3 ack=10
    wan< tcp 203.0.113.2:11211 > 198.51.100.7:5000 SA seq=3 ack=10
    wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 A seq=10 ack=4
    lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 A seq=10 ack=4
";

/// Packets that a tracker lets pass as well as a class does.
const GO_ON: &str = "
    wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 PA seq=10 ack=4 len=20
    lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 PA seq=10 ack=4 len=20
    lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 A seq=4 ack=30
    wan< tcp 203.0.113.2:11211 > 198.51.100.7:5000 A seq=4 ack=30
";

/// A segment that no window holds: only a class lets it pass.
const OUT_OF_WINDOW: &str = "wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 A seq=9000000 ack=4";

/// Every shape in which a session stays with its worker when the forward that decided of the owner goes.
fn in_each_shape(play: impl Fn(&mut Net)) {
    for shape in SHAPES.into_iter().filter(|shape| shape.wish != Wish::PortRules) {
        let mut net = Net::new(&tracked(), shape);
        play(&mut net);
        net.finish();
    }
}

fn reload(net: &mut Net, config: &str) {
    net.reload(config);
    net.run();
    assert!(net.management.is_published());
}

#[test]
fn sessions_go_on_by_the_tracker_while_the_class_settles_and_new_flows_need_none() {
    in_each_shape(|net| {
        net.play(OPEN);
        reload(net, &cache(""));
        net.play(GO_ON);
        net.play(&format!("{OUT_OF_WINDOW}\ndrop tcp_out_of_window"));
        net.play(
            "
            wan> tcp 198.51.100.8:5000 > 203.0.113.2:11211 S
            lan< tcp 198.51.100.8:5000 > 192.168.1.20:11211 S
            lan> tcp 192.168.1.20:11211 > 198.51.100.8:5000 SA
            wan< tcp 203.0.113.2:11211 > 198.51.100.8:5000 SA
            lan> icmp 3/3 192.168.1.20 > 198.51.100.8 [tcp 198.51.100.8:5000 > 192.168.1.20:11211 S]
            wan< icmp 3/3 203.0.113.2 > 198.51.100.8 [tcp 198.51.100.8:5000 > 203.0.113.2:11211 S]
            ",
        );
        // Nothing settles a second time when the same classes come again.
        net.snapshot.classes[0].settling.store(false, Relaxed);
        reload(net, &cache(""));
        assert!(!net.snapshot.classes[0].settling.load(Relaxed));
        net.play(&format!(
            "{OUT_OF_WINDOW}\nlan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 A seq=9000000 ack=4"
        ));
    });
}

#[test]
fn released_sessions_are_bypassed_at_once() {
    in_each_shape(|net| {
        net.play(OPEN);
        reload(net, &cache("existing = \"release\"\n"));
        net.play(GO_ON);
        net.play(&format!(
            "{OUT_OF_WINDOW}\nlan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 A seq=9000000 ack=4"
        ));
    });
}

#[test]
fn without_its_class_a_flow_is_tracked_again() {
    in_each_shape(|net| {
        reload(net, &cache(""));
        net.play(
            "
            wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 S
            lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 S
            ",
        );
        reload(net, &tracked());
        net.play(OPEN);
    });
}

#[test]
fn what_a_class_counted_goes_on_under_its_name() {
    let shape = SHAPES[0];
    let mut net = Net::new(&cache(""), shape);
    let packet = "
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211
        lan< udp 198.51.100.7:5000 > 192.168.1.20:11211
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 S
        drop notrack_opening
    ";
    net.play(packet);
    reload(&mut net, &cache("from = \"198.51.100.0/24\"\n"));
    net.play(packet);
    let totals = net.snapshot.classes[0].counters.totals();
    assert_eq!((totals.packets, totals.bytes, totals.dropped), ([2, 0], [72, 0], [0, 2]));
    assert!(totals.last.iter().all(Option::is_some));
    net.finish();
}
