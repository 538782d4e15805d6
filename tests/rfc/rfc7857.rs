//! RFC 7857: updates of RFC 4787, 5382 and 5508.

use crate::lab::{WORDS, cast, each, filtering, home, home_and, play, pool};
use crate::rfc5382::{OPEN, segments};
use crate::rfc5508::queries_hairpin;
use std::collections::BTreeSet;

/// Different values for the states of figure 1.
const TIMEOUTS: &str = "
    [conntrack.timeouts]
    tcp_syn_sent = \"20s\"
    tcp_syn_recv = \"20s\"
    tcp_established = \"400s\"
    tcp_fin_wait = \"60s\"
    tcp_close_wait = \"60s\"
    tcp_last_ack = \"90s\"
    tcp_time_wait = \"90s\"
    tcp_close = \"120s\"
";

/// Whether a connection that `script` brought somewhere lives as long as that state does: it is there just before, when
/// the segment `probe` (from outside) passes, and gone after.
fn lives(script: &str, seconds: u32, probe: &str) {
    let config = home_and(TIMEOUTS);
    let before = format!("{script}wait {}s\n{}", seconds - 2, segments(&[('<', probe)]));
    play(&config, &before);
    // A second and one percent late at most.
    let after = seconds + seconds / 100 + 2;
    play(&config, &format!("{script}wait {after}s\nwan> tcp S1a:80 > X:$p {probe}"));
}

#[test]
fn r7857_2_the_states_of_figure_1() {
    let syn = "lan> tcp C1:1000 > S1a:80 S seq=100\nwan< tcp X:$p > S1a:80 S seq=100\n";
    let fin_of_client =
        format!("{OPEN}{}", segments(&[('>', "AF seq=101 ack=501"), ('<', "A seq=501 ack=102")]));
    let fin_of_server =
        format!("{OPEN}{}", segments(&[('<', "AF seq=501 ack=101"), ('>', "A seq=101 ack=502")]));
    let fin_of_both =
        format!("{fin_of_client}{}", segments(&[('<', "AF seq=501 ack=102"), ('>', "A seq=102 ack=502")]));
    let reset_by_server = format!("{OPEN}{}", segments(&[('<', "R seq=501")]));
    let reset_by_client = format!("{OPEN}{}", segments(&[('>', "RA seq=101 ack=501")]));
    // CLOSED: nothing comes in.
    play(&home(), "wan> tcp S1a:80 > X:1000 S seq=1\nwan> tcp S1a:80 > X:1000 A seq=1");
    // INIT
    lives(syn, 20, "SA seq=500 ack=101");
    // ESTABLISHED
    lives(OPEN, 400, "A seq=501 ack=101");
    // C FIN, S FIN, both
    lives(&fin_of_client, 60, "A seq=501 ack=102");
    lives(&fin_of_server, 60, "A seq=502 ack=101");
    lives(&fin_of_both, 90, "A seq=502 ack=102");
    // TRANS
    lives(&reset_by_server, 120, "A seq=501 ack=101");
    lives(&reset_by_client, 120, "A seq=501 ack=101");
    // From TRANS back by data, and from both FINs by a new SYN.
    let goes_on = segments(&[('<', "A seq=501 ack=101 len=10")]);
    lives(&format!("{reset_by_server}wait 100s\n{goes_on}"), 400, "A seq=511 ack=101");
    let again = segments(&[('>', "S seq=90000")]);
    lives(&format!("{fin_of_both}wait 60s\n{again}"), 20, "SA seq=7000 ack=90001");
}

#[test]
fn r7857_2_1_opening_and_closing_have_timeouts_of_their_own() {
    let config = home_and(
        "[conntrack.timeouts]\ntcp_syn_sent = \"30s\"\ntcp_fin_wait = \"60s\"\ntcp_close_wait = \"60s\"",
    );
    let syn = "lan> tcp C1:1000 > S1a:80 S seq=100\nwan< tcp X:$p > S1a:80 S seq=100\n";
    play(&config, &format!("{syn}wait 28s\n{}", segments(&[('<', "SA seq=500 ack=101")])));
    play(&config, &format!("{syn}wait 33s\nwan> tcp S1a:80 > X:$p SA seq=500 ack=101"));
    let fin = format!("{OPEN}{}", segments(&[('>', "AF seq=101 ack=501"), ('<', "A seq=501 ack=102")]));
    play(&config, &format!("{fin}wait 58s\n{}", segments(&[('<', "A seq=501 ack=102")])));
    play(&config, &format!("{fin}wait 63s\nwan> tcp S1a:80 > X:$p A seq=501 ack=102"));
    // The defaults are four minutes.
    play(&home(), &format!("{syn}wait 239s\n{}", segments(&[('<', "SA seq=500 ack=101")])));
    play(&home(), &format!("{fin}wait 239s\n{}", segments(&[('<', "A seq=501 ack=102")])));
}

#[test]
fn r7857_2_2a_a_reset_is_translated_and_forwarded() {
    play(&home(), &format!("{OPEN}{}", segments(&[('<', "R seq=501")])));
    play(&home(), &format!("{OPEN}{}", segments(&[('>', "R seq=101")])));
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1a:80 S seq=100
        wan< tcp X:$p > S1a:80 S seq=100
        wan> tcp S1a:80 > X:$p RA ack=101
        lan< tcp S1a:80 > C1:1000 RA ack=101
        ",
    );
}

#[test]
fn r7857_2_2b_after_a_reset_the_state_stays_four_minutes_and_data_brings_it_back() {
    let reset = format!("{OPEN}{}", segments(&[('<', "R seq=501")]));
    let goes_on = segments(&[('<', "A seq=501 ack=101 len=10"), ('>', "A seq=101 ack=511")]);
    play(
        &home(),
        &format!("{reset}wait 239s\n{goes_on}wait 1000s\n{}", segments(&[('>', "A seq=101 ack=511 len=1")])),
    );
    play(&home(), &format!("{reset}wait 245s\nwan> tcp S1a:80 > X:$p A seq=501 ack=101 len=10"));
    // One that is not of the connection.
    play(
        &home(),
        &format!(
            "{OPEN}wan> tcp S1a:80 > X:$p R seq=900000\nwait 300s\n{}",
            segments(&[('<', "A seq=501 ack=101 len=1")])
        ),
    );
}

#[test]
fn r7857_4a_a_host_whose_address_has_no_ports_is_refused_and_not_moved() {
    each(&pool("addresses = [\"203.0.113.10-203.0.113.11\"]\nports = \"2000-2015\""), |net| {
        let mut used = BTreeSet::new();
        let mut passed = 0;
        for n in 0..100 {
            for out in net.offer("lan", &format!("udp C1:{} > S1a:53", 1000 + n)) {
                if out.interface == "wan" {
                    used.insert(out.src());
                    passed += 1;
                }
            }
        }
        assert_eq!(used.len(), 1, "{used:?}");
        assert!(passed <= 16, "{passed} flows");
        let other = used.first().copied();
        let free = (12..60).any(|host| {
            let outs = net.offer("lan", &format!("udp 192.168.1.{host}:1000 > S1a:53"));
            outs.iter().any(|out| out.interface == "wan" && Some(out.src()) != other)
        });
        assert!(free, "the other address had ports");
    });
}

#[test]
fn r7857_4b_tcp_is_paired_too() {
    each(&pool("addresses = [\"203.0.113.10-203.0.113.13\"]"), |net| {
        let udp = net.pass("lan", "udp C1:1000 > S1a:53").src();
        for n in 0..100 {
            let server = ["S1a", "S1b", "S2"][n % 3];
            assert_eq!(net.pass("lan", &format!("tcp C1:{} > {server}:80 S", 1000 + n)).src(), udp);
        }
    });
}

#[test]
fn r7857_5_each_protocol_has_mappings_of_its_own() {
    each(&home(), |net| {
        let (_, udp) = net.pass("lan", "udp C1:1000 > S1a:80").source();
        assert_eq!(net.session_count(), 1);
        let (_, tcp) = net.pass("lan", "tcp C1:1000 > S1a:80 S seq=5").source();
        assert_eq!(net.session_count(), 2);
        net.act(&format!(
            "wan> udp S1a:80 > X:{udp}
            lan< udp S1a:80 > C1:1000
            wan> tcp S1a:80 > X:{tcp} SA ack=6
            lan< tcp S1a:80 > C1:1000 SA ack=6
            wait 245s                         # the half-open connection is gone, the other is not
            wan> udp S1a:80 > X:{udp}
            lan< udp S1a:80 > C1:1000
            wan> tcp S1a:80 > X:{tcp} SA ack=6"
        ));
    });
}

#[test]
fn r7857_6_filtering_is_each_protocols_own() {
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1a:80 S seq=100
        wan< tcp X:$p > S1a:80 S seq=100
        wan> udp S1a:80 > X:$p
        lan> udp C1:1001 > S1a:81
        wan< udp X:$q > S1a:81
        wan> tcp S1a:81 > X:$q S seq=1
        ",
    );
}

#[test]
fn r7857_7_what_is_refused_refreshes_nothing() {
    let refused = "
        wait 60s
        wan> udp S2:9 > X:$p";
    play(
        &home(),
        &format!(
            "
            lan> udp C1:1000 > S1a:53
            wan< udp X:$p > S1a:53
            {refused}{refused}{refused}{refused}
            wait 66s
            wan> udp S1a:53 > X:$p"
        ),
    );
}

/// Fails if a guess from the ports before hits the next more often than luck does: the same distance again, one more or
/// less, or a few places where all are.
pub(crate) fn is_unpredictable(ports: &[i32]) {
    let steps: Vec<i32> = ports.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let again = steps.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(again * 100 < ports.len(), "{again} times the same step again");
    let small = steps.iter().filter(|step| step.abs() <= 8).count();
    assert!(small * 50 < ports.len(), "{small} small steps");
    // Spread: of 64 equal parts of what was seen, none has four times its share.
    let (low, high) = (*ports.iter().min().unwrap(), *ports.iter().max().unwrap());
    assert!(high - low > 30_000, "{low} to {high}");
    let mut parts = [0_usize; 64];
    for port in ports {
        parts[((port - low) * 63 / (high - low)) as usize] += 1;
    }
    let most = parts.iter().max().unwrap();
    assert!(most * 64 < ports.len() * 4, "{parts:?}");
}

#[test]
fn r7857_9_a_port_that_must_change_is_chosen_at_random() {
    each(&home(), |net| {
        net.pass("lan", "udp 192.168.1.200:5000 > S1a:53");
        let ports: Vec<i32> = (0..1000)
            .map(|n| {
                // Everybody's port inside is the same: a collision each time.
                let (host, server) = (10 + n % 100, 1 + n / 100);
                i32::from(
                    net.pass("lan", &format!("udp 192.168.1.{host}:5000 > 198.51.100.{server}:53"))
                        .source()
                        .1,
                )
            })
            .collect();
        is_unpredictable(&ports);
    });
}

#[test]
fn r7857_11_a_query_mapping_goes_with_its_session() {
    play(
        &home(),
        "
        lan> icmp echo C1 > S1a id=7
        wan< icmp echo X > S1a id=$i
        wait 63s
        wan> icmp reply S1a > X id=$i
        lan> icmp echo C1 > S1a id=7
        wan< icmp echo X > S1a id=$j
        wan> icmp reply S1a > X id=$j
        lan< icmp reply S1a > C1 id=7
        ",
    );
}

#[test]
fn r7857_3_a_port_serves_several_hosts_if_their_destinations_differ() {
    // More flows than ports; each destination sees each port once.
    let keys = "addresses = \"203.0.113.10\"\nports = \"2000-2003\"\nmapping = \"address-and-port-dependent\"\nfiltering = \"address-and-port-dependent\"";
    each(&pool(keys), |net| {
        let mut owners = Vec::new();
        for server in ["S1a", "S1b", "S2"] {
            let mut taken = BTreeSet::new();
            for host in 10..60 {
                let outs = net.offer("lan", &format!("udp 192.168.1.{host}:1000 > {server}:53"));
                for out in outs.iter().filter(|out| out.interface == "wan") {
                    assert!(taken.insert(out.source()), "{:?}: one port twice to {server}", net.shape);
                    owners.push((server, host, out.source().1));
                }
            }
            assert_eq!(taken.len(), 4, "{:?}: to {server}", net.shape);
        }
        for (server, host, port) in owners {
            net.act(&format!(
                "wan> udp {server}:53 > 203.0.113.10:{port}\nlan< udp {server}:53 > 192.168.1.{host}:1000"
            ));
        }
    });
}

#[test]
fn r7857_4a_with_arbitrary_pooling_it_gets_another_address() {
    let keys = "addresses = [\"203.0.113.10-203.0.113.11\"]\nports = \"2000-2015\"\npooling = \"arbitrary\"";
    each(&pool(keys), |net| {
        let mut used = BTreeSet::new();
        for n in 0..100 {
            let outs = net.offer("lan", &format!("udp C1:{} > S1a:53", 1000 + n));
            used.extend(outs.iter().filter(|out| out.interface == "wan").map(|out| out.src()));
        }
        assert_eq!(used.len(), 2, "{:?}: {used:?}", net.shape);
    });
}

#[test]
fn r7857_7_1_what_a_closed_port_answers_keeps_no_mapping() {
    for (open, knock, answer) in [
        ("udp C1:1000 > S1a:1", "udp S2:9 > $a:$p", None),
        ("tcp C1:1000 > S1a:1 S seq=1", "tcp S2:9 > $a:$p S seq=5", Some("tcp C1:1000 > S2:9 RA ack=6")),
    ] {
        each(&filtering(WORDS[0]), |net| {
            let (address, port) = net.pass("lan", open).source();
            let knock = knock.replace("$a", &address.to_string()).replace("$p", &port.to_string());
            for _ in 0..5 {
                net.wait(std::time::Duration::from_secs(50));
                net.came_out();
                for out in net.offer("wan", &knock) {
                    assert_eq!(out.dst().to_string(), cast("C1"));
                    let error = "icmp 3/3 C1 > S2 [udp S2:9 > C1:1000]";
                    net.pass("lan", answer.unwrap_or(error));
                }
            }
            net.wait(std::time::Duration::from_secs(56));
            net.came_out();
            // 306 s after the only packet that C1 meant: nobody new gets in.
            net.nothing("wan", &knock.replace("S2:9", "S1b:7"));
        });
    }
}

#[test]
fn r7857_10_fragments_of_two_hosts_with_one_identification_leave_with_two() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:1 len=2900 ipid=9 part=0-1480
        wan< udp X:$p > S1a:1 len=2900 ipid=$a part=0-1480
        lan> udp C2:1000 > S1a:1 len=2900 ipid=9 part=0-1480
        wan< udp X:$q > S1a:1 len=2900 ipid=$b part=0-1480
        lan> udp C1:1000 > S1a:1 len=2900 ipid=9 part=1480-2908
        wan< udp X:$p > S1a:1 len=2900 ipid=$a part=1480-2908
        lan> udp C2:1000 > S1a:1 len=2900 ipid=9 part=1480-2908
        wan< udp X:$q > S1a:1 len=2900 ipid=$b part=1480-2908
        differ $a $b
        ",
    );
}

#[test]
fn r7857_12_queries_and_errors_hairpin_between_hosts_translated_one_to_one() {
    queries_hairpin();
}
