//! Classes where networks overlap: each zone has its own clients and services.

use crate::harness::play;

/// Two customers with the same network, and the outside.
fn customers(classes: &str) -> String {
    format!(
        r#"
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
        [interface.wan]
        device = "vdev:mem2"
        realm = "external"
        address = "203.0.113.2/24"
        gateway = "203.0.113.1"
        [[snat]]
        {classes}
        "#
    )
}

#[test]
fn each_of_two_services_with_one_address_has_its_own_class() {
    let class = |zone: u8| {
        format!(
            "[[notrack]]
            name = \"cache-{zone}\"
            preset = \"memcached\"
            on = \"wan\"
            to = \"203.0.113.{zone}1\"
            translate_to = \"192.168.1.20\"
            to_zone = {zone}
            "
        )
    };
    play(
        &customers(&(class(1) + &class(2))),
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.11:11211 S
        one< tcp 198.51.100.7:5000 > 192.168.1.20:11211 S
        wan> tcp 198.51.100.7:5000 > 203.0.113.21:11211 S
        two< tcp 198.51.100.7:5000 > 192.168.1.20:11211 S
        one> tcp 192.168.1.20:11211 > 198.51.100.7:5000 SA
        wan< tcp 203.0.113.11:11211 > 198.51.100.7:5000 SA
        two> tcp 192.168.1.20:11211 > 198.51.100.7:5000 SA
        wan< tcp 203.0.113.21:11211 > 198.51.100.7:5000 SA
        two> icmp 3/3 192.168.1.20 > 198.51.100.7 [udp 198.51.100.7:5000 > 192.168.1.20:11211]
        wan< icmp 3/3 203.0.113.21 > 198.51.100.7 [udp 198.51.100.7:5000 > 203.0.113.21:11211]
        # A source outside that is a neighbour to the service.
        wan> udp 192.168.1.30:5000 > 203.0.113.11:11211
        drop spoofed_source
        ",
    );
}

#[test]
fn clients_of_one_zone_are_not_those_of_the_other_although_their_addresses_are_the_same() {
    let class = "
        [[notrack]]
        name = \"two-dns\"
        preset = \"dns\"
        zone = 2
        from = \"192.168.1.30\"
        translate_from = \"203.0.113.30\"
        ";
    play(
        &customers(class),
        "
        two> udp 192.168.1.30:5000 > 198.51.100.1:53
        wan< udp 203.0.113.30:5000 > 198.51.100.1:53
        wan> udp 198.51.100.1:53 > 203.0.113.30:5000
        two< udp 198.51.100.1:53 > 192.168.1.30:5000
        one> udp 192.168.1.30:5000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        one< udp 198.51.100.1:53 > 192.168.1.30:5000
        ",
    );
}
