//! What a class does not let pass: the wrong direction, the wrong peer, a false source, an address that must not be seen.

use super::cache;
use crate::harness::play;
use crate::translation::HOME;

#[test]
fn a_service_can_not_use_its_class_to_open_a_connection() {
    play(
        &cache(""),
        "
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 S
        drop notrack_opening
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 SA
        wan< tcp 203.0.113.2:11211 > 198.51.100.7:5000 SA
        # With a well-known port as its destination it is no answer to a client: a connection of its own.
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:80 S
        wan< tcp 203.0.113.2:$p > 198.51.100.7:80 S
        opened
        lan> tcp 192.168.1.20:40000 > 198.51.100.7:5000 S
        wan< tcp 203.0.113.2:$q > 198.51.100.7:5000 S
        opened
        ",
    );
}

#[test]
fn both_sides_may_open_if_the_class_says_so() {
    play(
        &cache("opened_by = \"either\"\n"),
        "
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 S
        wan< tcp 203.0.113.2:11211 > 198.51.100.7:5000 S
        ",
    );
}

#[test]
fn only_listed_peers_pass_in_either_direction() {
    let config = cache(
        "
        from = [\"198.51.100.0/28\", \"set.partners\"]
        policy = \"allow-listed\"
        [set.partners]
        prefixes = [\"192.0.2.0/24\"]
        ",
    );
    play(
        &config,
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 S
        lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 S
        wan> udp 192.0.2.9:5000 > 203.0.113.2:11211
        lan< udp 192.0.2.9:5000 > 192.168.1.20:11211
        wan> tcp 198.51.100.16:5000 > 203.0.113.2:11211 S
        drop notrack_not_listed
        # A listed one, but not from a port that clients have.
        wan> udp 198.51.100.7:53 > 203.0.113.2:11211
        drop notrack_not_listed
        lan> udp 192.168.1.20:11211 > 192.0.2.9:5000
        wan< udp 203.0.113.2:11211 > 192.0.2.9:5000
        lan> udp 192.168.1.20:11211 > 198.51.100.16:5000
        drop notrack_not_listed
        lan> tcp 192.168.1.20:11211 > 198.51.100.16:5000 S
        drop notrack_not_listed
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 S
        drop notrack_opening
        # What does not concern the service's port is not the class's.
        lan> udp 192.168.1.20:5000 > 198.51.100.16:53
        wan< udp 203.0.113.2:$p > 198.51.100.16:53
        opened
        ",
    );
}

#[test]
fn an_emptied_list_lets_nobody_pass() {
    let config = cache(
        "
        from = \"set.partners\"
        policy = \"allow-listed\"
        [set.partners]
        prefixes = []
        ",
    );
    play(
        &config,
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 S
        drop notrack_not_listed
        ",
    );
}

#[test]
fn false_sources_are_refused_before_anything_else() {
    play(
        &cache(""),
        "
        wan> udp 192.168.1.10:5000 > 203.0.113.2:11211      # of the inside
        drop spoofed_source
        wan> udp 203.0.113.2:5000 > 203.0.113.2:11211       # to itself
        drop martian_source
        wan> udp 127.0.0.1:5000 > 203.0.113.2:11211
        drop martian_source
        wan> udp 203.0.113.255:5000 > 203.0.113.2:11211     # a broadcast address
        drop martian_source
        lan> udp 198.51.100.7:11211 > 198.51.100.9:5000     # of the outside
        drop spoofed_source
        # The service's own answers do not come from outside.
        wan> udp 192.168.1.20:11211 > 198.51.100.7:5000
        drop spoofed_source
        ",
    );
}

#[test]
fn an_address_that_a_class_translates_is_nobodys_source() {
    play(
        &super::tunnel(""),
        "
        wan> udp 203.0.113.30:5000 > 203.0.113.30:4789
        drop martian_source
        wan> udp 198.51.100.99:5000 > 203.0.113.30:4789     # not the other end
        drop no_rule
        # Not that of who reports an error either, nor of a new session.
        wan> icmp 3/4 203.0.113.30 > 203.0.113.30 mtu=1400 [udp 203.0.113.30:50001 > 198.51.100.30:4789 len=1460 df]
        drop martian_source
        wan> icmp echo 203.0.113.30 > 203.0.113.2 id=1
        drop martian_source
        ",
    );
}

#[test]
fn a_banned_source_is_banned_from_classes_too() {
    play(
        &cache("[[ban]]\nfrom = \"198.51.100.66\"\n"),
        "
        wan> udp 198.51.100.66:5000 > 203.0.113.2:11211
        drop source_banned
        wan> udp 198.51.100.67:5000 > 203.0.113.2:11211
        lan< udp 198.51.100.67:5000 > 192.168.1.20:11211
        ",
    );
}

#[test]
fn an_internal_source_does_not_leave_as_it_is() {
    let config = format!(
        "{HOME}
        [[notrack]]
        name = \"dns\"
        preset = \"dns\"
        on = \"lan\"
        "
    );
    play(
        &config,
        "
        lan> udp 192.168.1.10:5000 > 198.51.100.1:53
        drop notrack_untranslated
        lan> udp 192.168.1.10:5000 > 198.51.100.1:123
        wan< udp 203.0.113.2:$p > 198.51.100.1:123
        opened
        ",
    );
}

#[test]
fn answers_leave_only_to_where_clients_are() {
    let config = format!(
        "{HOME}
        [interface.guests]
        device = \"vdev:mem2\"
        realm = \"internal\"
        address = \"192.168.7.1/24\"
        [[notrack]]
        name = \"cache\"
        preset = \"memcached\"
        on = \"guests\"
        to = \"192.168.1.20\"
        "
    );
    play(
        &config,
        "
        guests> udp 192.168.7.9:5000 > 192.168.1.20:11211
        lan< udp 192.168.7.9:5000 > 192.168.1.20:11211
        lan> udp 192.168.1.20:11211 > 192.168.7.9:5000
        guests< udp 192.168.1.20:11211 > 192.168.7.9:5000
        lan> udp 192.168.1.20:11211 > 198.51.100.1:5000
        drop notrack_wrong_way
        ",
    );
}

#[test]
fn hosts_inside_that_speak_to_the_service_itself_are_no_affair_of_the_class() {
    let guests = "
        [interface.guests]
        device = \"vdev:mem2\"
        realm = \"internal\"
        address = \"192.168.7.1/24\"
        ";
    let list = "from = \"198.51.100.0/24\"\npolicy = \"allow-listed\"\n";
    for config in [cache(guests), cache(&format!("{list}{guests}"))] {
        play(
            &config,
            "
            guests> tcp 192.168.7.9:5000 > 192.168.1.20:11211 S
            lan< tcp 192.168.7.9:5000 > 192.168.1.20:11211 S
            lan> tcp 192.168.1.20:11211 > 192.168.7.9:5000 SA
            guests< tcp 192.168.1.20:11211 > 192.168.7.9:5000 SA
            wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 S
            lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 S
            lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 SA
            wan< tcp 203.0.113.2:11211 > 198.51.100.7:5000 SA
            ",
        );
    }
}

#[test]
fn what_is_dropped_is_dropped_in_both_directions() {
    let config = format!(
        "{HOME}
        [[notrack]]
        name = \"no-smb\"
        action = \"drop\"
        protocol = \"tcp\"
        port = 445
        on = \"lan\"
        "
    );
    play(
        &config,
        "
        lan> tcp 192.168.1.10:5000 > 198.51.100.1:445 S
        drop notrack_dropped
        wan> tcp 198.51.100.1:445 > 192.168.1.10:5000 SA
        drop notrack_dropped
        lan> tcp 192.168.1.10:5000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S
        opened
        ",
    );
}
