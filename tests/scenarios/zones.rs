//! Zones: customers whose networks have the same addresses share a gateway, and never meet.

use crate::harness::{Net, SHAPES, play};

/// Two customers with the same network, in which the gateway has the same address; the second has another network
/// besides. Their routers have a network behind them. `wan_zone` is the zone of the external interface.
fn customers(wan_zone: u16) -> String {
    let config = r#"
        [interface.one]
        device = "vdev:mem0"
        realm = "internal"
        address = "192.168.1.1/24"
        zone = 1
        [interface.two]
        device = "vdev:mem1"
        realm = "internal"
        address = "192.168.1.1/24"
        zone = 2
        [interface.more]
        device = "vdev:mem2"
        realm = "internal"
        address = "10.3.0.1/24"
        zone = 2
        [interface.wan]
        device = "vdev:mem3"
        realm = "external"
        address = "203.0.113.2/24"
        gateway = "203.0.113.1"
        zone = WAN
        [[route]]
        to = "10.8.0.0/16"
        via = "192.168.1.254"
        zone = 1
        [[route]]
        to = "10.8.0.0/16"
        via = "192.168.1.253"
        zone = 2
        [[snat]]
        [[dnat]]
        on = "wan"
        protocol = "tcp"
        port = 8001
        to = "192.168.1.20:80"
        zone = 1
        [[dnat]]
        on = "wan"
        protocol = "tcp"
        port = 8002
        to = "192.168.1.20:80"
        zone = 2
        [[dnat]]
        on = "wan"
        protocol = "tcp"
        port = 8003
        to = "10.3.0.20:80"
        [conntrack]
        max_sessions = 600
    "#;
    config.replace("WAN", &wan_zone.to_string())
}

/// Plays a script with the external interface in a zone of its own, and in that of the second customer.
fn play_customers(script: &str) {
    play(&customers(0), script);
    play(&customers(2), script);
}

#[test]
fn customers_with_the_same_host_and_port_get_their_own_answers_by_one_external_address() {
    for (shape, wan_zone) in SHAPES.into_iter().flat_map(|shape| [(shape, 0), (shape, 2)]) {
        let mut net = Net::new(&customers(wan_zone), shape);
        net.play(
            "
            one> udp 192.168.1.10:1000 > 198.51.100.1:53 len=1
            wan< udp 203.0.113.2:$one > 198.51.100.1:53 len=1
            opened
            two> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2
            wan< udp 203.0.113.2:$two > 198.51.100.1:53 len=2
            opened
            wan> udp 198.51.100.1:53 > 203.0.113.2:$two len=3
            two< udp 198.51.100.1:53 > 192.168.1.10:1000 len=3
            wan> udp 198.51.100.1:53 > 203.0.113.2:$one len=4
            one< udp 198.51.100.1:53 > 192.168.1.10:1000 len=4
            one> udp 192.168.1.10:1000 > 198.51.100.1:53
            wan< udp 203.0.113.2:$one > 198.51.100.1:53
            two> udp 192.168.1.10:1000 > 198.51.100.1:53
            wan< udp 203.0.113.2:$two > 198.51.100.1:53
            ",
        );
        assert_ne!(net.bindings.get("$one"), net.bindings.get("$two"));
        net.finish();
    }
}

#[test]
fn a_forwarded_port_leads_into_one_zone_and_the_answer_comes_from_there() {
    play_customers(
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:8001 S
        one< tcp 198.51.100.7:5000 > 192.168.1.20:80 S
        opened
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:8002 S
        two< tcp 198.51.100.7:5000 > 192.168.1.20:80 S
        opened
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:8003 S
        more< tcp 198.51.100.7:5000 > 10.3.0.20:80 S
        opened
        two> tcp 192.168.1.20:80 > 198.51.100.7:5000 SA ack=1
        wan< tcp 203.0.113.2:8002 > 198.51.100.7:5000 SA ack=1
        one> tcp 192.168.1.20:80 > 198.51.100.7:5000 SA ack=1
        wan< tcp 203.0.113.2:8001 > 198.51.100.7:5000 SA ack=1
        ",
    );
}

#[test]
fn a_client_outside_can_not_pose_as_a_neighbour_of_the_backend() {
    play_customers(
        "
        wan> tcp 192.168.1.10:5000 > 203.0.113.2:8001 S
        drop spoofed_source
        wan> tcp 10.8.0.9:5000 > 203.0.113.2:8001 S
        drop spoofed_source
        ",
    );
    // An address that only another customer has is anybody's.
    play(
        &customers(0),
        "
        wan> tcp 192.168.1.1:5000 > 203.0.113.2:8001 S            # the gateway's own, where the backend is
        drop spoofed_source
        wan> tcp 10.3.0.9:5000 > 203.0.113.2:8001 S
        one< tcp 10.3.0.9:5000 > 192.168.1.20:80 S
        opened
        one> tcp 192.168.1.20:80 > 10.3.0.9:5000 SA ack=1
        wan< tcp 203.0.113.2:8001 > 10.3.0.9:5000 SA ack=1
        ",
    );
}

#[test]
fn networks_inside_are_reached_from_their_own_zone_only() {
    play_customers(
        "
        two> udp 192.168.1.10:1000 > 10.3.0.9:53
        more< udp 192.168.1.10:1000 > 10.3.0.9:53
        more> udp 10.3.0.9:53 > 192.168.1.10:1000
        two< udp 10.3.0.9:53 > 192.168.1.10:1000
        # From the first zone this is an address outside, for the first packet and for all that follow.
        one> udp 192.168.1.10:1000 > 10.3.0.9:53
        wan< udp 203.0.113.2:$p > 10.3.0.9:53
        opened
        one> udp 192.168.1.10:1000 > 10.3.0.9:53
        wan< udp 203.0.113.2:$p > 10.3.0.9:53
        wan> udp 10.3.0.9:53 > 203.0.113.2:$p
        one< udp 10.3.0.9:53 > 192.168.1.10:1000
        ",
    );
}

#[test]
fn each_zone_has_its_own_routers() {
    play_customers(
        "
        one> udp 10.8.0.5:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$one > 198.51.100.1:53
        opened
        two> udp 10.8.0.5:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$two > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$one
        one< udp 198.51.100.1:53 > 10.8.0.5:1000 mac=02:aa:c0:a8:01:fe
        wan> udp 198.51.100.1:53 > 203.0.113.2:$two
        two< udp 198.51.100.1:53 > 10.8.0.5:1000 mac=02:aa:c0:a8:01:fd
        more> udp 10.3.0.9:1000 > 10.8.0.5:53
        two< udp 10.3.0.9:1000 > 10.8.0.5:53 mac=02:aa:c0:a8:01:fd
        ",
    );
}

#[test]
fn a_hairpin_reaches_the_backend_of_the_port_whatever_the_zone_of_the_client() {
    play_customers(
        "
        one> tcp 192.168.1.10:1000 > 203.0.113.2:8001 S
        one< tcp 203.0.113.2:$a > 192.168.1.20:80 S
        opened
        one> tcp 192.168.1.20:80 > 203.0.113.2:$a SA ack=1
        one< tcp 203.0.113.2:8001 > 192.168.1.10:1000 SA ack=1
        two> tcp 192.168.1.10:1000 > 203.0.113.2:8002 S
        two< tcp 203.0.113.2:$b > 192.168.1.20:80 S
        opened
        two> tcp 192.168.1.20:80 > 203.0.113.2:$b SA ack=1
        two< tcp 203.0.113.2:8002 > 192.168.1.10:1000 SA ack=1
        # A forwarded port is public: another customer may use it, and is known there by the external address.
        two> tcp 192.168.1.10:1001 > 203.0.113.2:8001 S
        one< tcp 203.0.113.2:$c > 192.168.1.20:80 S
        opened
        one> tcp 192.168.1.20:80 > 203.0.113.2:$c SA ack=1
        two< tcp 203.0.113.2:8001 > 192.168.1.10:1001 SA ack=1
        ",
    );
}

#[test]
fn the_gateway_answers_in_the_zone_that_asks() {
    play_customers(
        "
        one> icmp echo 192.168.1.10 > 192.168.1.1 id=1
        one<+ icmp reply 192.168.1.1 > 192.168.1.10 id=1
        two> icmp echo 192.168.1.10 > 192.168.1.1 id=1
        two<+ icmp reply 192.168.1.1 > 192.168.1.10 id=1
        two> icmp echo 192.168.1.10 > 10.3.0.1 id=1
        two<+ icmp reply 10.3.0.1 > 192.168.1.10 id=1
        one> icmp echo 192.168.1.10 > 203.0.113.2 id=1
        one<+ icmp reply 203.0.113.2 > 192.168.1.10 id=1
        one> icmp echo 192.168.1.10 > 10.3.0.1 id=1               # not the gateway's in this zone
        wan< icmp echo 203.0.113.2 > 10.3.0.1 id=$i
        opened
        wan> icmp echo 198.51.100.1 > 203.0.113.2 id=1
        wan<+ icmp reply 203.0.113.2 > 198.51.100.1 id=1
        wan> icmp echo 198.51.100.1 > 192.168.1.1 id=1
        drop no_rule
        ",
    );
}

#[test]
fn errors_reach_the_zone_of_the_session_and_hops_are_seen_where_they_are() {
    play_customers(
        "
        one> udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=1
        one<+ icmp 11/0 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=1]
        drop ttl_expired
        two> udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=1
        two<+ icmp 11/0 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=1]
        drop ttl_expired
        more> udp 10.3.0.9:1000 > 192.168.1.10:33434 ttl=1
        more<+ icmp 11/0 10.3.0.1 > 10.3.0.9 [udp 10.3.0.9:1000 > 192.168.1.10:33434 ttl=1]
        drop ttl_expired
        one> udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=2
        wan< udp 203.0.113.2:$one > 198.51.100.1:33434 ttl=1
        opened
        two> udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=2
        wan< udp 203.0.113.2:$two > 198.51.100.1:33434 ttl=1
        opened
        wan> icmp 11/0 203.0.113.1 > 203.0.113.2 [udp 203.0.113.2:$one > 198.51.100.1:33434 ttl=1]
        one< icmp 11/0 203.0.113.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=1]
        wan> icmp 11/0 203.0.113.1 > 203.0.113.2 [udp 203.0.113.2:$two > 198.51.100.1:33434 ttl=1]
        two< icmp 11/0 203.0.113.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:33434 ttl=1]
        wan> udp 198.51.100.1:33434 > 203.0.113.2:$two ttl=1
        wan<+ icmp 11/0 203.0.113.2 > 198.51.100.1 [udp 198.51.100.1:33434 > 203.0.113.2:$two ttl=1]
        drop ttl_expired
        wan> udp 198.51.100.1:33434 > 203.0.113.2:$two
        two< udp 198.51.100.1:33434 > 192.168.1.10:1000
        two> icmp 3/3 192.168.1.10 > 198.51.100.1 [udp 198.51.100.1:33434 > 192.168.1.10:1000 ttl=9]
        wan< icmp 3/3 203.0.113.2 > 198.51.100.1 [udp 198.51.100.1:33434 > 203.0.113.2:$two ttl=9]
        ",
    );
}

#[test]
fn a_source_of_another_zone_is_a_lie() {
    play_customers(
        "
        one> udp 10.3.0.9:1000 > 198.51.100.1:53
        drop spoofed_source
        more> udp 192.168.1.10:1000 > 198.51.100.1:53
        drop spoofed_source
        one> udp 192.168.1.1:1000 > 198.51.100.1:53               # the gateway's own
        drop martian_source
        one> udp 203.0.113.2:1000 > 198.51.100.1:53
        drop martian_source
        one> udp 192.168.1.10:1000 > 192.168.1.255:53
        drop martian_destination
        ",
    );
}

#[test]
fn fragments_of_two_zones_with_the_same_identification_do_not_mix() {
    play_customers(
        "
        one> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=9 part=1480-2008
        held +1
        two> udp 192.168.1.10:2000 > 198.51.100.1:54 len=2000 ipid=9 part=0-1480
        wan< udp 203.0.113.2:$two > 198.51.100.1:54 len=2000 ipid=$id_two part=0-1480
        opened
        one> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=9 part=0-1480
        wan< udp 203.0.113.2:$one > 198.51.100.1:53 len=2000 ipid=$id_one part=0-1480
        wan< udp 203.0.113.2:$one > 198.51.100.1:53 len=2000 ipid=$id_one part=1480-2008
        held -1
        opened
        two> udp 192.168.1.10:2000 > 198.51.100.1:54 len=2000 ipid=9 part=1480-2008
        wan< udp 203.0.113.2:$two > 198.51.100.1:54 len=2000 ipid=$id_two part=1480-2008
        ",
    );
}

#[test]
fn customers_with_an_uplink_each_use_their_own_even_if_everything_is_the_same() {
    let interface = |name: &str, device: u8, realm: &str, zone: u8| {
        let address = match realm {
            "internal" => "address = \"192.168.1.1/24\"",
            _ => "address = \"203.0.113.2/24\"\ngateway = \"203.0.113.1\"",
        };
        format!(
            "[interface.{name}{zone}]\ndevice = \"vdev:mem{device}\"\nrealm = \"{realm}\"\nzone = {zone}\n{address}\n"
        )
    };
    let config = [
        interface("lan", 0, "internal", 1),
        interface("wan", 1, "external", 1),
        interface("lan", 2, "internal", 2),
        interface("wan", 3, "external", 2),
        "[[snat]]\n[[dnat]]\non = \"wan2\"\nprotocol = \"udp\"\nport = 53\nto = \"192.168.1.53\"\nzone = 2\n"
            .into(),
    ];
    play(
        &config.concat(),
        "
        lan1> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan1< udp 203.0.113.2:$one > 198.51.100.1:53
        opened
        lan2> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan2< udp 203.0.113.2:$two > 198.51.100.1:53
        opened
        wan1> udp 198.51.100.1:53 > 203.0.113.2:$one
        lan1< udp 198.51.100.1:53 > 192.168.1.10:1000
        wan2> udp 198.51.100.1:53 > 203.0.113.2:$two
        lan2< udp 198.51.100.1:53 > 192.168.1.10:1000
        lan1> icmp echo 192.168.1.10 > 203.0.113.2 id=1
        lan1<+ icmp reply 203.0.113.2 > 192.168.1.10 id=1
        wan2> udp 198.51.100.1:1000 > 203.0.113.2:53
        lan2< udp 198.51.100.1:1000 > 192.168.1.53:53
        opened
        wan1> udp 198.51.100.1:1000 > 203.0.113.2:53           # forwarded by the other one only
        drop no_session
        ",
    );
}

#[test]
fn a_source_rule_may_be_for_one_zone() {
    let pools = "[pool.first]\naddresses = \"203.0.113.11\"\n[pool.second]\naddresses = \"203.0.113.12\"\n\
                 [[snat]]\nzone = 2\nsource = \"pool.second\"\n[[snat]]\nfrom = \"192.168.1.0/24\"\nsource = \"pool.first\"\n";
    play(
        &customers(0).replace("        [[snat]]\n", pools),
        "
        one> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.11:$one > 198.51.100.1:53
        opened
        two> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.12:$two > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.12:$two
        two< udp 198.51.100.1:53 > 192.168.1.10:1000
        ",
    );
}
