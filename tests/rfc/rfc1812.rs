//! RFC 1812: what every router has to do, and path MTU discovery (RFC 1191) through it.

use crate::harness::{Net, frame, host_mac};
use crate::lab::{cast, each, gateway, home, home_and, mend, play};
use std::time::Duration;

const FLOW: &str = "
    lan> udp C1:1000 > S1a:53
    wan< udp X:$p > S1a:53
";

#[test]
fn r1812_ttl_is_lowered_by_one_and_never_forwarded_as_zero() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:53 ttl=64
        wan< udp X:$p > S1a:53 ttl=63
        wan> udp S1a:53 > X:$p ttl=64
        lan< udp S1a:53 > C1:1000 ttl=63
        lan> udp C1:1000 > S1a:53 ttl=2
        wan< udp X:$p > S1a:53 ttl=1
        lan> udp C1:1000 > S1a:53 ttl=1
        lan<+ icmp 11/0 G > C1 [udp C1:1000 > S1a:53 ttl=1]
        wan> udp S1a:53 > X:$p ttl=1
        wan<+ icmp 11/0 X > S1a [udp S1a:53 > X:$p ttl=1]
        lan> udp C1:1000 > S1a:53 ttl=0
        wan> udp S1a:53 > X:$p ttl=0
        ",
    );
}

#[test]
fn r1812_ttl_hairpin_is_lowered_too() {
    let forward = "[[dnat]]\non = \"wan\"\nprotocol = \"udp\"\nport = 5353\nto = \"192.168.1.10:53\"";
    play(
        &home_and(forward),
        "
        lan> udp C2:6000 > X:5353 ttl=9
        lan< udp X:$y > C1:53 ttl=8
        lan> udp C1:53 > X:$y ttl=2
        lan< udp X:5353 > C2:6000 ttl=1
        lan> udp C1:53 > X:$y ttl=1
        lan<+ icmp 11/0 G > C1 [udp C1:53 > X:$y ttl=1]
        ",
    );
}

#[test]
fn r1812_csum_broken_headers_are_dropped_silently() {
    each(&home(), |net| {
        net.act(FLOW);
        let good = net.packet("udp C1:1000 > S1a:53");
        let lan = net.interface("lan");
        let to = net.snapshot.interface(lan).mac;
        let mut broken = Vec::new();
        let mut with = |change: fn(&mut Vec<u8>), mended: bool| {
            let mut packet = good.clone();
            change(&mut packet);
            if mended {
                mend(&mut packet);
            }
            broken.push(packet);
        };
        with(|packet| packet[10] ^= 1, false);
        with(|packet| packet[8] ^= 1, false);
        with(|packet| packet[0] = 0x65, true);
        with(|packet| packet[0] = 0x05, true);
        with(|packet| packet[3] += 1, true);
        with(|packet| packet[3] = 19, true);
        with(|packet| packet[3] = 0, true);
        // A header of 16 bytes cannot be mended by its own length.
        with(|packet| packet[0] = 0x44, false);
        for packet in broken {
            let before = drops(net);
            net.push(0, &frame(to, host_mac(cast("C1").parse().unwrap()), 0, 0x0800, &packet));
            net.run();
            assert_eq!(net.came_out(), [], "{packet:02x?}");
            assert_eq!(drops(net) - before, 1, "{packet:02x?}");
        }
        net.act("lan> udp C1:1000 > S1a:53\nwan< udp X:$p > S1a:53");
    });
}

fn drops(net: &Net) -> i64 {
    net.totals().iter().filter(|(name, _)| name.starts_with("drop ")).map(|(_, n)| n).sum()
}

#[test]
fn r1812_opt_options_pass_and_ports_are_found_behind_them() {
    let full = "01".repeat(39) + "00";
    for options in
        ["070b04000000000000000000", "440c05000000000000000000", "94040000", "9e04abcd", full.as_str()]
    {
        play(
            &home(),
            &format!(
                "
                lan> udp C1:1000 > S1a:53 opts={options}
                wan< udp X:$p > S1a:53 opts={options}
                wan> udp S1a:53 > X:$p opts={options}
                lan< udp S1a:53 > C1:1000 opts={options}
                lan> tcp C1:1000 > S1a:80 S seq=1 opts={options}
                wan< tcp X:$q > S1a:80 S seq=1 opts={options}"
            ),
        );
    }
    // Source routes are refused.
    play(&home(), "lan> udp C1:1000 > S1a:53 opts=8307040808080800");
}

#[test]
fn r1812_martian_addresses_are_not_forwarded() {
    let mut script = FLOW.to_owned();
    for source in
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1", "255.255.255.255", "224.0.0.1", "239.1.1.1"]
    {
        script += &format!("lan> udp {source}:1000 > S1a:53\nwan> udp {source}:53 > X:$p\n");
    }
    for destination in
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1", "255.255.255.255", "224.0.0.1", "239.1.1.1"]
    {
        script += &format!("lan> udp C1:1000 > {destination}:53\nwan> udp S1a:53 > {destination}:53\n");
    }
    play(&home(), &script);
}

#[test]
fn r1812_icmp_1_errors_quote_enough_of_the_packet() {
    each(&gateway("", "mtu = 1280", "interface", ""), |net| {
        for (line, code) in [
            ("udp C1:1000 > S1a:53 ttl=1 len=0", (11, 0)),
            ("udp C1:1000 > S1a:53 ttl=1 len=1000 opts=94040000", (11, 0)),
            ("tcp C1:1000 > S1a:80 S seq=7 ttl=1", (11, 0)),
            ("udp C1:1000 > S1a:53 len=1372 df", (3, 4)),
        ] {
            let sent = net.packet(line);
            let outs = net.offer("lan", line);
            assert_eq!((outs.len(), outs[0].icmp()), (1, Some(code)));
            let quote = &outs[0].body()[8..];
            assert!(quote.len() >= 28, "{} bytes", quote.len());
            assert_eq!(quote, &sent[..quote.len()], "the bytes as they came");
            // As much as fits in 576 bytes.
            assert!(outs[0].packet.len() <= 576);
            assert!(quote.len() == sent.len() || outs[0].packet.len() > 576 - 8, "{}", outs[0].packet.len());
        }
    });
}

#[test]
fn r1812_icmp_2_errors_come_from_the_interface_towards_the_sender() {
    play(
        &home(),
        &format!(
            "{FLOW}
            lan> udp C1:1000 > S1a:53 ttl=1
            lan<+ icmp 11/0 G > C1 [udp C1:1000 > S1a:53 ttl=1]
            wan> udp S1a:53 > X:$p ttl=1
            wan<+ icmp 11/0 X > S1a [udp S1a:53 > X:$p ttl=1]"
        ),
    );
}

#[test]
fn r1812_icmp_3_no_error_is_made_about_errors_fragments_and_broadcasts() {
    each(&home(), |net| {
        net.act(FLOW);
        for line in [
            "icmp 3/3 C1 > S1a ttl=1 [udp S1a:53 > C1:1000]",
            "icmp 12/0 C1 > S1a ttl=1 [udp S1a:53 > C1:1000]",
            "udp C1:1000 > S1a:53 ttl=1 len=100 part=48-108 ipid=3",
            "udp C1:1000 > 224.0.0.9:520 ttl=1",
            "udp C1:1000 > 255.255.255.255:67 ttl=1",
            "udp C1:1000 > 192.168.1.255:67 ttl=1",
        ] {
            net.nothing("lan", line);
        }
        // To everybody on the link: a packet that would have an error if it were for the gateway alone.
        let packet = net.packet("udp C1:1000 > S1a:53 ttl=1");
        let from = host_mac(cast("C1").parse().unwrap());
        net.push(0, &frame(natgate::ids::MacAddr::BROADCAST, from, 0, 0x0800, &packet));
        net.run();
        net.wait(Duration::from_secs(3));
        assert_eq!(net.came_out(), []);
    });
}

#[test]
fn r1812_bcast_directed_broadcasts_are_not_forwarded() {
    let third = "[interface.dmz]\ndevice = \"vdev:mem2\"\nrealm = \"internal\"\naddress = \"192.168.2.1/24\"";
    play(
        &home_and(third),
        "
        lan> udp C1:1000 > 203.0.113.255:9
        lan> udp C1:1000 > 203.0.113.0:9
        lan> udp C1:1000 > 192.168.2.255:9
        wan> udp S1a:1 > 192.168.1.255:9
        wan> udp S1a:1 > 192.168.2.255:9
        wan> udp S1a:1 > 203.0.113.255:9
        ",
    );
}

#[test]
fn r1812_arp_is_answered_asked_again_and_given_up() {
    let forward = "[[dnat]]\naddress = \"203.0.113.9\"\nprotocol = \"udp\"\nport = 53\nto = \"192.168.1.10\"";
    let config = gateway(
        "",
        "",
        "pool.public",
        &format!("[pool.public]\naddresses = \"203.0.113.20-203.0.113.21\"\n{forward}"),
    );
    play(
        &config,
        "
        wan> arp who X from 203.0.113.1
        wan<+ arp is X to 203.0.113.1
        wan> arp who 203.0.113.20 from 203.0.113.1
        wan<+ arp is 203.0.113.20 to 203.0.113.1
        wan> arp who 203.0.113.9 from 203.0.113.1
        wan<+ arp is 203.0.113.9 to 203.0.113.1
        wan> arp who 203.0.113.22 from 203.0.113.1
        lan> arp who G from C1
        lan<+ arp is G to C1
        ",
    );
    each(&home(), |net| {
        net.silent.insert("203.0.113.77".parse().unwrap());
        net.play("lan> icmp echo 192.168.1.10 > 192.168.1.1 id=1\nlan<+ icmp reply 192.168.1.1 > 192.168.1.10 id=1");
        // The queue is bounded: what does not fit is dropped at once.
        for _ in 0..2000 {
            let _ = net.offer("lan", "udp C1:1000 > 203.0.113.77:9");
        }
        let held = net.totals()["held"];
        assert!((1..=1000).contains(&held), "{held} wait");
        let mut asked = 0;
        let mut told = Vec::new();
        for _ in 0..50 {
            net.wait(Duration::from_millis(100));
            asked += net.seen.iter().filter(|seen| seen.arp).count();
            told.extend(net.came_out());
        }
        assert!((1..=10).contains(&asked), "asked {asked} times more");
        assert!(
            !told.is_empty() && told.iter().all(|out| out.interface == "lan" && out.icmp() == Some((3, 1)))
        );
        assert_eq!(net.totals()["held"], 0);
    });
}

/// A sender that learns the path MTU from errors, and a link of 1280 bytes behind the receiver's side of the gateway: the
/// router R1 there drops what is larger and says so. Returns the bytes that arrived.
fn transfer(
    net: &mut Net,
    (entry, line): (&str, &str),
    (exit, towards): (&str, &str),
    total: usize,
) -> usize {
    const BOTTLENECK: usize = 1280;
    let (mut size, mut arrived, mut errors) = (1460, 0, 0);
    while arrived < total {
        let rest = size.min(total - arrived);
        let sent = net.packet(&format!("{line} seq={} len={rest} df", 1 + arrived));
        let outs = net.send_bytes(entry, &sent);
        assert_eq!(outs.len(), 1, "{} bytes", sent.len());
        assert_eq!(outs[0].interface, exit);
        if outs[0].packet.len() <= BOTTLENECK {
            arrived += rest;
            // The other end acknowledges, so that the window moves.
            let ack = net.packet(&format!("{towards} seq=1 ack={}", 1 + arrived));
            assert_eq!(net.send_bytes(exit, &ack).len(), 1);
            continue;
        }
        errors += 1;
        assert!(errors < 3, "a black hole");
        // What a router quotes: the header and eight bytes.
        let quote = &outs[0].packet[..28];
        let body = [&[3, 4, 0, 0, 0, 0, 5, 0][..], quote].concat();
        let router = if exit == "wan" { "R1" } else { "192.168.1.254" };
        let to = outs[0].src().to_string();
        let told = net.send_bytes(exit, &crate::lab::ipv4(1, router, &to, &[], &body));
        assert_eq!(told.len(), 1, "the error reaches the sender");
        assert_eq!((told[0].interface.as_str(), told[0].icmp()), (entry, Some((3, 4))));
        assert_eq!(told[0].dst().octets(), sent[12..16], "it is the sender's");
        assert_eq!(told[0].body()[8 + 12..8 + 28], sent[12..28], "it knows the segment");
        size = usize::from(told[0].word(6)) - 40;
    }
    assert_eq!(errors, 1);
    arrived
}

#[test]
fn r1191_pmtu_is_found_through_the_gateway_both_ways() {
    const MEGABYTE: usize = 1_000_000;
    const CONNECT: &str = "
        lan> tcp C1:1000 > S1a:80 S seq=0
        wan< tcp X:$p > S1a:80 S seq=0
        wan> tcp S1a:80 > X:$p SA seq=0 ack=1 win=65000
        lan< tcp S1a:80 > C1:1000 SA seq=0 ack=1 win=65000
        lan> tcp C1:1000 > S1a:80 A seq=1 ack=1 win=65000
        wan< tcp X:$p > S1a:80 A seq=1 ack=1 win=65000
        ";
    let (inside, outside) = ("tcp C1:1000 > S1a:80 A win=65000", "tcp S1a:80 > X:$p A win=65000");
    let (out, back) = (format!("{inside} ack=1"), format!("{outside} ack=1"));
    for (from, to) in [(("lan", &*out), ("wan", outside)), (("wan", &*back), ("lan", inside))] {
        each(&home(), |net| {
            net.act(CONNECT);
            assert_eq!(transfer(net, from, to, MEGABYTE), MEGABYTE);
        });
    }
}

#[test]
fn r1812_frag_options_are_in_the_fragments_that_their_copy_bit_says() {
    // Record route, which is not copied, and router alert, which is.
    play(
        &gateway("", "mtu = 576", "interface", ""),
        "
        lan> udp C1:1000 > S1a:1 len=1400 opts=070704000000000194040000
        wan< udp X:$p > S1a:1 len=1400 ipid=$id opts=070704000000000194040000 part=0-544
        wan<+ udp X:$p > S1a:1 len=1400 ipid=$id opts=94040000 part=544-1096
        wan<+ udp X:$p > S1a:1 len=1400 ipid=$id opts=94040000 part=1096-1408
        ",
    );
}
