//! What a router has to do, whether it translates or not: time to live, size, routes, impossible addresses.

use crate::harness::{Net, SHAPES, frame, host_mac, play};
use crate::translation::{HOME, forwards};

#[test]
fn a_time_to_live_that_runs_out_is_told_to_the_sender() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1 tos=8 ipid=7
        lan<+ icmp 11/0 192.168.1.1 > 192.168.1.10 tos=8 ttl=64 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1 tos=8 ipid=7]
        drop ttl_expired
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=0
        drop ttl_expired
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=2
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 ttl=1
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p ttl=1         # in a session
        wan<+ icmp 11/0 203.0.113.2 > 198.51.100.1 [udp 198.51.100.1:53 > 203.0.113.2:$p ttl=1]
        drop ttl_expired
        lan> icmp echo 192.168.1.10 > 198.51.100.1 id=3 ttl=1 len=1000
        lan<+ icmp 11/0 192.168.1.1 > 192.168.1.10 quote=528 [icmp echo 192.168.1.10 > 198.51.100.1 id=3 ttl=1 len=1000]
        drop ttl_expired
        lan> icmp 3/3 192.168.1.10 > 198.51.100.1 ttl=1 [udp 198.51.100.1:53 > 192.168.1.10:1000]
        drop ttl_expired
        ",
    );
}

/// A narrow link outside.
fn narrow() -> String {
    HOME.replace("gateway =", "mtu = 1000\ngateway =")
}

#[test]
fn a_packet_that_is_too_large_and_may_not_be_cut_is_dropped_and_its_sender_told_the_size() {
    play(
        &narrow(),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=972 df          # 1000 bytes
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=972 df
        opened
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=973 df
        lan<+ icmp 3/4 192.168.1.1 > 192.168.1.10 mtu=1000 quote=528 [udp 192.168.1.10:1000 > 198.51.100.1:53 len=973 df ttl=64]
        drop fragmentation_needed
        lan> udp 192.168.1.11:1000 > 198.51.100.1:53 len=973 df           # no session is made for it
        lan<+ icmp 3/4 192.168.1.1 > 192.168.1.11 mtu=1000 quote=528 [udp 192.168.1.11:1000 > 198.51.100.1:53 len=973 df ttl=64]
        drop fragmentation_needed
        ",
    );
}

#[test]
fn an_answer_that_is_too_large_is_told_with_the_addresses_that_its_sender_knows() {
    let narrow_inside =
        HOME.replace("address = \"192.168.1.1/24\"", "address = \"192.168.1.1/24\"\nmtu = 1000");
    play(
        &narrow_inside,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p len=1200 df
        wan<+ icmp 3/4 203.0.113.2 > 198.51.100.1 mtu=1000 quote=528 [udp 198.51.100.1:53 > 203.0.113.2:$p len=1200 df ttl=64]
        drop fragmentation_needed
        ",
    );
}

#[test]
fn addresses_that_can_not_be_are_dropped_on_both_sides() {
    play(
        &forwards(),
        "
        lan> udp 127.0.0.1:1 > 198.51.100.1:53
        drop martian_source
        lan> udp 224.0.0.1:1 > 198.51.100.1:53
        drop martian_source
        lan> udp 0.0.0.0:1 > 198.51.100.1:53
        drop martian_source
        lan> udp 255.255.255.255:1 > 198.51.100.1:53
        drop martian_source
        lan> udp 192.168.1.255:1 > 198.51.100.1:53
        drop martian_source
        lan> udp 192.168.1.1:1 > 198.51.100.1:53               # the gateway itself
        drop martian_source
        lan> udp 192.168.1.10:1 > 127.0.0.1:53
        drop martian_destination
        lan> udp 192.168.1.10:1 > 224.0.0.1:53
        drop martian_destination
        lan> udp 192.168.1.10:1 > 240.0.0.1:53
        drop martian_destination
        lan> udp 192.168.1.10:1 > 192.168.1.10:1               # LAND
        drop martian_source
        wan> tcp 203.0.113.2:8080 > 203.0.113.2:8080 S
        drop martian_source
        wan> udp 127.0.0.1:1 > 203.0.113.2:53
        drop martian_source
        ",
    );
}

#[test]
fn sources_of_the_other_side_are_dropped() {
    play(
        &forwards(),
        "
        wan> udp 192.168.1.10:1 > 203.0.113.2:53               # an internal source from outside
        drop spoofed_source
        lan> udp 198.51.100.1:1 > 198.51.100.9:53              # an external source from inside
        drop spoofed_source
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 192.168.1.10:1000 > 198.51.100.1:53           # a packet of a session, from the wrong side
        drop spoofed_source
        lan> udp 198.51.100.1:53 > 203.0.113.2:$p
        drop spoofed_source
        wan> icmp echo 192.168.1.10 > 203.0.113.2 id=1         # to the gateway itself
        drop spoofed_source
        wan> icmp echo 203.0.113.2 > 203.0.113.2 id=1
        drop martian_source
        lan> icmp echo 198.51.100.1 > 192.168.1.1 id=1
        drop spoofed_source
        ",
    );
}

#[test]
fn directed_broadcasts_are_not_forwarded() {
    let two = forwards()
        + "[interface.dmz]\ndevice = \"vdev:mem2\"\nrealm = \"internal\"\naddress = \"192.168.2.1/24\"\n";
    play(
        &two,
        "
        lan> udp 192.168.1.10:1 > 192.168.2.255:9
        drop martian_destination
        lan> udp 192.168.1.10:1 > 192.168.2.0:9
        drop martian_destination
        lan> udp 192.168.1.10:1 > 203.0.113.255:9
        drop martian_destination
        wan> udp 198.51.100.1:1 > 192.168.2.255:9
        drop martian_destination
        ",
    );
}

#[test]
fn without_a_route_the_sender_is_told() {
    let island = HOME.replace("gateway = \"203.0.113.1\"", "");
    play(
        &island,
        "
        lan> udp 192.168.1.10:1 > 198.51.100.1:53
        lan<+ icmp 3/0 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1 > 198.51.100.1:53 ttl=64]
        drop no_route
        lan> udp 192.168.1.10:1 > 203.0.113.7:53
        wan< udp 203.0.113.2:$p > 203.0.113.7:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p          # nothing leads back
        drop spoofed_source
        ",
    );
}

#[test]
fn the_gateway_answers_echo_requests_and_nothing_else() {
    play(
        HOME,
        "
        lan> icmp echo 192.168.1.10 > 192.168.1.1 id=5 seq=6 len=56 ttl=1
        lan<+ icmp reply 192.168.1.1 > 192.168.1.10 id=5 seq=6 len=56 ttl=64
        wan> icmp echo 198.51.100.1 > 203.0.113.2 id=5 seq=6
        wan<+ icmp reply 203.0.113.2 > 198.51.100.1 id=5 seq=6
        lan> icmp echo 192.168.1.10 > 203.0.113.2 id=5 seq=6       # its other address
        lan<+ icmp reply 203.0.113.2 > 192.168.1.10 id=5 seq=6
        lan> icmp echo 192.168.1.10 > 192.168.1.1 id=5 csum=bad
        drop icmp_invalid
        lan> icmp ts 192.168.1.10 > 192.168.1.1 id=5
        drop gateway_unsupported
        lan> tcp 192.168.1.10:1 > 192.168.1.1:22 S
        drop no_session
        lan> ip89 192.168.1.10 > 192.168.1.1
        drop no_session
        ",
    );
}

#[test]
fn frames_that_are_not_for_the_gateway_or_not_whole_are_dropped_by_name() {
    for shape in SHAPES {
        let mut net = Net::new(HOME, shape);
        let lan = net.interface("lan");
        let to = net.snapshot.interface(lan).mac;
        let from = host_mac([192, 168, 1, 10].into());
        let packet = crate::packet::Line::parse("udp 192.168.1.10:1 > 198.51.100.1:53").encode(&net.bindings);
        let mut broken_header = packet.clone();
        broken_header[10] ^= 1;
        let mut version = packet.clone();
        version[0] = 0x65;
        let source_route = crate::packet::Line::parse("udp 192.168.1.10:1 > 198.51.100.1:53 opts=83030400")
            .encode(&net.bindings);
        let mut long_udp = packet.clone();
        long_udp[25] = 200;
        for (bytes, reason) in [
            (frame(to, from, 0, 0x86dd, &packet), "ethertype_unsupported"),
            (frame(to, from, 7, 0x0800, &packet), "unknown_vlan"),
            (frame(from, from, 0, 0x0800, &packet), "not_for_us"),
            (frame(natgate::ids::MacAddr::BROADCAST, from, 0, 0x0800, &packet), "not_for_us"),
            (frame(to, from, 0, 0x0800, &packet[..19]), "truncated"),
            (frame(to, from, 0, 0x0800, &packet[..30]), "truncated"),
            (vec![1, 2, 3], "truncated"),
            (vec![], "truncated"),
            (frame(to, from, 0, 0x0800, &broken_header), "ipv4_checksum_wrong"),
            (frame(to, from, 0, 0x0800, &version), "ipv4_header_invalid"),
            (frame(to, from, 0, 0x0800, &source_route), "source_routed"),
            (frame(to, from, 0, 0x0800, &long_udp), "l4_header_invalid"),
            (frame(to, from, 0, 0x0806, &[0; 28]), "arp_invalid"),
        ] {
            net.push(0, &bytes);
            net.run();
            net.play(&format!("drop {reason}"));
        }
        net.finish();
    }
}

#[test]
fn options_of_every_length_are_passed_and_the_ports_behind_them_found() {
    // Record route, timestamp, router alert, one that nobody knows, and as many as a header holds.
    let longest = format!("{}{}", "9e28", "00".repeat(38));
    for options in ["0707040000000000", "4408050000000000", "94040000", "9e04abcd", &longest] {
        play(
            HOME,
            &format!(
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53 opts={options}
                wan< udp 203.0.113.2:$p > 198.51.100.1:53 opts={options}
                opened
                wan> udp 198.51.100.1:53 > 203.0.113.2:$p opts={options}
                lan< udp 198.51.100.1:53 > 192.168.1.10:1000 opts={options}
                "
            ),
        );
    }
}

#[test]
fn nothing_is_said_about_errors_later_fragments_and_impossible_addresses() {
    let mut script = String::new();
    for (src, dst, reason) in [
        ("0.0.0.0", "198.51.100.1", "martian_source"),
        ("127.0.0.1", "198.51.100.1", "martian_source"),
        ("240.0.0.1", "198.51.100.1", "martian_source"),
        ("224.0.0.1", "198.51.100.1", "martian_source"),
        ("192.168.1.255", "198.51.100.1", "martian_source"),
        ("192.168.1.10", "224.0.0.1", "martian_destination"),
        ("192.168.1.10", "255.255.255.255", "martian_destination"),
        ("192.168.1.10", "203.0.113.255", "martian_destination"),
    ] {
        script += &format!("lan> udp {src}:1000 > {dst}:53 ttl=1\ndrop {reason}\n");
    }
    script += "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=3 part=0-1480
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=2000 ipid=$id part=0-1480
        opened
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=3 part=1480-2008 ttl=1
        drop ttl_expired
        ";
    play(HOME, &script);
}

#[test]
fn port_zero_is_no_port_to_be_given_and_does_no_harm() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:0 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:0
        drop no_session
        wan> tcp 198.51.100.1:0 > 203.0.113.2:0 A
        drop no_session
        ",
    );
}
