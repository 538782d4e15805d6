//! Two hosts with a TCP of their own (smoltcp) talk through the proxy, over good and bad wires.

use super::proxied;
use crate::conversation::{Host, converse};
use crate::harness::{Net, SHAPES, Shape};
use natgate::device::Device;
use natgate::device::fault::{Fault, FaultPlan, Faults};
use natgate::device::membuf::MemBuf;
use smoltcp::time::Instant;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A clock for timestamps that goes on with every look at it.
fn clock() -> u32 {
    static TICKS: AtomicU32 = AtomicU32::new(u32::MAX - 1000);
    TICKS.fetch_add(1, Ordering::Relaxed)
}

fn talk<D: Device<Buf = MemBuf>>(net: &mut Net<D>, timestamps: bool) {
    let now = Instant::from_micros((net.now.as_nanos() / 1000) as i64);
    let [lan, wan, inside, outside]: [Ipv4Addr; 4] =
        ["192.168.1.1", "203.0.113.2", "192.168.1.10", "203.0.113.1"].map(|text| text.parse().unwrap());
    let mut server = Host::new(inside, lan, 3, now);
    let mut client = Host::new(outside, wan, 4, now);
    if timestamps {
        server.socket().set_tsval_generator(Some(clock));
        client.socket().set_tsval_generator(Some(clock));
    }
    server.socket().listen(80).unwrap();
    client.connect((wan, 8080).into(), 50_001);
    converse(net, &mut server, &mut client);
    net.assert_balance("through the proxy");
}

#[test]
fn a_megabyte_each_way_arrives_through_the_proxy() {
    for (shape, timestamps) in SHAPES.into_iter().flat_map(|shape| [(shape, true), (shape, false)]) {
        let mut net = Net::new(&proxied(), shape);
        talk(&mut net, timestamps);
        let totals = net.totals();
        assert_eq!((totals["opened"], totals["admitted"]), (1, 1));
        let dropped: Vec<_> = totals.iter().filter(|(name, n)| name.starts_with("drop") && **n > 0).collect();
        assert!(dropped.is_empty(), "{dropped:?}");
        net.seen.clear();
        net.finish();
    }
}

#[test]
fn a_megabyte_each_way_arrives_through_the_proxy_over_bad_wires_too() {
    let bad = Faults { drop: 0.01, duplicate: 0.01, reorder: 0.02, corrupt: 0.01 };
    let plan = FaultPlan { rx: bad, tx: bad, partial_tx: 0.1 };
    for workers in 1..=3 {
        for timestamps in [true, false] {
            let mut number = 10 * workers as u64;
            let shape = Shape::plain(workers, workers);
            let mut net = Net::with_devices(&proxied(), shape, |device, _, _| {
                number += 1;
                Fault::new(device, plan, number)
            });
            talk(&mut net, timestamps);
            net.finish();
        }
    }
}
