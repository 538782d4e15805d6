//! ICMP errors in transit: both the error and what it quotes are translated (RFC 5508 section 4).

use crate::harness::play;
use crate::translation::{FULL, HOME, forwards};

#[test]
fn an_error_from_outside_reaches_whoever_sent_the_packet() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 ttl=50 [udp 203.0.113.2:$p > 198.51.100.1:53 ttl=40]
        lan< icmp 3/3 198.51.100.1 > 192.168.1.10 ttl=49 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=40]
        # From a router on the way, which stays who it is.
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 quote=8 [udp 203.0.113.2:$p > 198.51.100.1:53 ttl=1]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 quote=8 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1]
        wan> icmp 3/4 100.64.0.9 > 203.0.113.2 mtu=1280 quote=8 [udp 203.0.113.2:$p > 198.51.100.1:53 len=1400 df]
        lan< icmp 3/4 100.64.0.9 > 192.168.1.10 mtu=1280 quote=8 [udp 192.168.1.10:1000 > 198.51.100.1:53 len=1400 df]
        # With options in the quoted header.
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53 ttl=1 opts=94040000]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1 opts=94040000]
        # A quoted checksum of zero, and a wrong one.
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53 ttl=1 csum=0]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1 csum=0]
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53 ttl=1 csum=bad]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1 csum=bad]
        # With options in its own header.
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 opts=94040000 [udp 203.0.113.2:$p > 198.51.100.1:53 ttl=1]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 opts=94040000 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1]
        ",
    );
}

#[test]
fn errors_about_tcp_and_queries_are_translated_too() {
    play(
        HOME,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=5
        opened
        wan> icmp 3/4 100.64.0.9 > 203.0.113.2 mtu=1280 quote=8 [tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=5]
        lan< icmp 3/4 100.64.0.9 > 192.168.1.10 mtu=1280 quote=8 [tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5]
        wan> icmp 3/1 100.64.0.9 > 203.0.113.2 [tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=5]
        lan< icmp 3/1 100.64.0.9 > 192.168.1.10 [tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5]
        lan> icmp echo 192.168.1.10 > 198.51.100.1 id=7 seq=3
        wan< icmp echo 203.0.113.2 > 198.51.100.1 id=$i seq=3
        opened
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 [icmp echo 203.0.113.2 > 198.51.100.1 id=$i seq=3 ttl=1]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 [icmp echo 192.168.1.10 > 198.51.100.1 id=7 seq=3 ttl=1]
        lan> icmp ts 192.168.1.10 > 198.51.100.1 id=8
        wan< icmp ts 203.0.113.2 > 198.51.100.1 id=$t
        opened
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 quote=8 [icmp ts 203.0.113.2 > 198.51.100.1 id=$t ttl=1]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 quote=8 [icmp ts 192.168.1.10 > 198.51.100.1 id=8 ttl=1]
        # A host inside about the answer: it seems to come from the gateway.
        wan> icmp reply 198.51.100.1 > 203.0.113.2 id=$i seq=3
        lan< icmp reply 198.51.100.1 > 192.168.1.10 id=7 seq=3
        lan> icmp 3/2 192.168.1.10 > 198.51.100.1 [icmp reply 198.51.100.1 > 192.168.1.10 id=7 seq=3]
        wan< icmp 3/2 203.0.113.2 > 198.51.100.1 [icmp reply 198.51.100.1 > 203.0.113.2 id=$i seq=3]
        ",
    );
}

#[test]
fn an_error_from_inside_shows_nothing_of_the_inside() {
    let routed = format!("{HOME}\n[[route]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.1.254\"\n");
    play(
        &routed,
        "
        lan> udp 10.1.2.3:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 10.1.2.3:1000
        lan> icmp 3/3 10.1.2.3 > 198.51.100.1 [udp 198.51.100.1:53 > 10.1.2.3:1000 ttl=60]
        wan< icmp 3/3 203.0.113.2 > 198.51.100.1 [udp 198.51.100.1:53 > 203.0.113.2:$p ttl=60]
        # From the router between.
        lan> icmp 11/0 192.168.1.254 > 198.51.100.1 quote=8 [udp 198.51.100.1:53 > 10.1.2.3:1000 ttl=1]
        wan< icmp 11/0 203.0.113.2 > 198.51.100.1 quote=8 [udp 198.51.100.1:53 > 203.0.113.2:$p ttl=1]
        ",
    );
}

#[test]
fn errors_about_forwarded_hairpinned_and_full_nat_sessions_are_translated() {
    play(
        &forwards(),
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:8080 S
        lan< tcp 198.51.100.7:5000 > 192.168.1.10:80 S
        opened
        lan> icmp 3/10 192.168.1.10 > 198.51.100.7 [tcp 198.51.100.7:5000 > 192.168.1.10:80 S]
        wan< icmp 3/10 203.0.113.2 > 198.51.100.7 [tcp 198.51.100.7:5000 > 203.0.113.2:8080 S]
        lan> tcp 192.168.1.10:80 > 198.51.100.7:5000 SA
        wan< tcp 203.0.113.2:8080 > 198.51.100.7:5000 SA
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 [tcp 203.0.113.2:8080 > 198.51.100.7:5000 SA ttl=1]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 [tcp 192.168.1.10:80 > 198.51.100.7:5000 SA ttl=1]

        lan> udp 192.168.1.33:6000 > 203.0.113.2:53
        lan< udp 203.0.113.2:$p > 192.168.1.53:53
        opened
        lan> icmp 3/3 192.168.1.53 > 203.0.113.2 [udp 203.0.113.2:$p > 192.168.1.53:53]
        lan< icmp 3/3 203.0.113.2 > 192.168.1.33 [udp 192.168.1.33:6000 > 203.0.113.2:53]
        lan> udp 192.168.1.53:53 > 203.0.113.2:$p
        lan< udp 203.0.113.2:53 > 192.168.1.33:6000
        lan> icmp 3/3 192.168.1.33 > 203.0.113.2 [udp 203.0.113.2:53 > 192.168.1.33:6000]
        lan< icmp 3/3 203.0.113.2 > 192.168.1.53 [udp 192.168.1.53:53 > 203.0.113.2:$p]
        ",
    );
    play(
        FULL,
        "
        front> udp 198.51.100.7:5000 > 203.0.113.9:443
        back< udp 10.20.0.2:$p > 10.20.0.15:8443
        opened
        back> icmp 3/3 10.20.0.15 > 10.20.0.2 [udp 10.20.0.2:$p > 10.20.0.15:8443]
        front< icmp 3/3 203.0.113.9 > 198.51.100.7 [udp 198.51.100.7:5000 > 203.0.113.9:443]
        back> udp 10.20.0.15:8443 > 10.20.0.2:$p
        front< udp 203.0.113.9:443 > 198.51.100.7:5000
        front> icmp 11/0 100.64.0.9 > 203.0.113.9 [udp 203.0.113.9:443 > 198.51.100.7:5000 ttl=1]
        back< icmp 11/0 100.64.0.9 > 10.20.0.15 [udp 10.20.0.15:8443 > 10.20.0.2:$p ttl=1]
        ",
    );
}

#[test]
fn an_error_that_can_not_be_trusted_is_dropped() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 csum=bad [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop icmp_invalid
        wan> icmp 5/1 203.0.113.1 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop icmp_type_unsupported
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 quote=7 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop icmp_invalid
        # About a packet that never was.
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:54]
        drop icmp_unsolicited
        # Not to whom the quoted packet came from.
        wan> icmp 3/3 198.51.100.1 > 203.0.113.77 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop icmp_invalid
        # From the other side.
        lan> icmp 3/3 198.51.100.1 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop spoofed_source
        # Sources that can not be.
        wan> icmp 3/3 127.0.0.1 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop martian_source
        wan> icmp 3/3 203.0.113.2 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop martian_source
        wan> icmp 3/3 192.168.1.99 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop spoofed_source
        # No error about an error.
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 ttl=1 [udp 203.0.113.2:$p > 198.51.100.1:53]
        drop ttl_expired
        # The session has seen nothing of all this.
        wait 299s
        wait 2100ms
        closed
        ",
    );
}

#[test]
fn an_error_does_not_keep_a_session_alive() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wait 200s
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53]
        lan< icmp 3/3 198.51.100.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53]
        wait 99s
        wait 2100ms
        closed
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$q > 198.51.100.1:80 S
        opened
        wan> icmp 3/1 198.51.100.1 > 203.0.113.2 [tcp 203.0.113.2:$q > 198.51.100.1:80 S]
        lan< icmp 3/1 198.51.100.1 > 192.168.1.10 [tcp 192.168.1.10:1000 > 198.51.100.1:80 S]
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$q SA          # and does not end it
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA
        ",
    );
}

#[test]
fn an_extension_behind_a_padded_quote_survives() {
    use crate::harness::{Net, SHAPES};
    use crate::packet::{Line, sums_are_right};
    use etherparse::{Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header};
    // RFC 4884: the quote padded with zeros to 128 bytes, then an extension with an MPLS label (RFC 4950).
    const EXTENSION: [u8; 12] = [0x20, 0, 0xab, 0xcd, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x40];
    for shape in SHAPES {
        let mut net = Net::new(HOME, shape);
        net.play(
            "
            lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5
            wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=5
            opened
            ",
        );
        let mut body =
            Line::parse("tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=5 ttl=1").encode(&net.bindings);
        body.resize(128, 0);
        body.extend(EXTENSION);
        let kind = Icmpv4Type::Unknown { type_u8: 11, code_u8: 0, bytes5to8: [0, 32, 0, 0] };
        let message = Icmpv4Header::with_checksum(kind, &body);
        let len = u16::try_from(message.header_len() + body.len()).unwrap();
        let mut outer = Ipv4Header::new(len, 60, IpNumber(1), [100, 64, 0, 9], [203, 0, 113, 2]).unwrap();
        outer.header_checksum = outer.calc_header_checksum();
        let wan = net.interface("wan");
        net.send_ipv4(wan, &[&outer.to_bytes()[..], &message.to_bytes(), &body].concat());
        net.run();
        let out = &net.seen.last().unwrap().body;
        assert!(sums_are_right(out));
        assert_eq!(out[16..20], [192, 168, 1, 10]);
        let quoted =
            Line::parse("tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5 ttl=1").encode(&net.bindings);
        assert_eq!(out[28..28 + quoted.len()], quoted);
        assert!(out[28 + quoted.len()..28 + 128].iter().all(|byte| *byte == 0));
        assert_eq!((out[25], &out[28 + 128..]), (32, &EXTENSION[..]));
        net.forget();
        net.finish();
    }
}

#[test]
fn type_code_and_pointer_stay_and_what_may_not_pass_does_not() {
    let mut script = "lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        "
    .to_owned();
    let unreachable = (0..16).map(|code| (3, code));
    for (kind, code) in unreachable.chain([(11, 0), (11, 1), (12, 0), (4, 0)]) {
        script += &format!(
            "wan> icmp {kind}/{code} 100.64.0.9 > 203.0.113.2 id=5120 [udp 203.0.113.2:$p > 198.51.100.1:53]
            lan< icmp {kind}/{code} 100.64.0.9 > 192.168.1.10 id=5120 [udp 192.168.1.10:1000 > 198.51.100.1:53]
            "
        );
    }
    // Router discovery, information, address mask, and what nobody knows.
    for kind in [9, 10, 15, 16, 17, 18, 40, 41, 255] {
        script += &format!(
            "wan> icmp {kind}/0 198.51.100.1 > 203.0.113.2
            drop icmp_type_unsupported
            lan> icmp {kind}/0 192.168.1.10 > 198.51.100.1
            drop icmp_type_unsupported
            "
        );
    }
    // Source routes, outside and in the quote, in both directions.
    for option in ["83070400000000", "89070400000000"] {
        script += &format!(
            "wan> icmp 3/3 198.51.100.1 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53 opts={option}00]
            drop source_routed
            lan> icmp echo 192.168.1.10 > 198.51.100.1 opts={option}00
            drop source_routed
            lan> icmp 3/3 192.168.1.10 > 198.51.100.1 [udp 198.51.100.1:53 > 192.168.1.10:1000 opts={option}00]
            drop source_routed
            "
        );
    }
    play(HOME, &script);
}

#[test]
fn an_interface_without_icmp_errors_is_silent_and_the_other_is_not() {
    play(
        &HOME.replace("gateway =", "icmp_errors = false\nmtu = 1000\ngateway ="),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p ttl=1
        drop ttl_expired
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1
        lan<+ icmp 11/0 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1]
        drop ttl_expired
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=1400 df
        lan<+ icmp 3/4 192.168.1.1 > 192.168.1.10 mtu=1000 quote=528 [udp 192.168.1.10:1000 > 198.51.100.1:53 len=1400 df ttl=64]
        drop fragmentation_needed
        # Errors of others pass.
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 [udp 203.0.113.2:$p > 198.51.100.1:53]
        lan< icmp 3/3 198.51.100.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53]
        ",
    );
}
