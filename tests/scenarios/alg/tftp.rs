//! TFTP: the answer comes from another port.

use crate::harness::{Net, play};
use crate::shape::by_host;
use crate::translation::HOME;

/// HOME with this filter, and what is said of gateways.
fn home(filtering: &str, alg: &str) -> String {
    format!("{HOME}\n[masquerade]\nfiltering = '{filtering}'\n{alg}\n")
}

fn play_by_host(config: &str, script: &str) {
    for shape in by_host() {
        let mut net = Net::new(config, shape);
        net.play(script);
        net.finish();
    }
}

/// A read request for `file`, in `octet`.
const ASKS: &str = "
    lan> udp 192.168.1.10:4000 > 198.51.100.1:69 hex=000166696c65006f6374657400
    wan< udp 203.0.113.2:$p > 198.51.100.1:69 hex=000166696c65006f6374657400
    opened
";

const ANSWER: &str = "
    wan> udp 198.51.100.1:5000 > 203.0.113.2:$p
    lan< udp 198.51.100.1:5000 > 192.168.1.10:4000
    opened
";

#[test]
fn where_the_filter_goes_by_addresses_or_by_nothing_the_answer_comes_in_by_itself() {
    for filtering in ["endpoint-independent", "address-dependent"] {
        for alg in ["", "[alg.tftp]"] {
            play_by_host(&home(filtering, alg), &format!("{ASKS}{ANSWER}"));
        }
    }
}

#[test]
fn where_the_filter_goes_by_ports_it_is_kept_out_unless_it_is_expected() {
    let kept_out = format!("{ASKS}wan> udp 198.51.100.1:5000 > 203.0.113.2:$p\ndrop filtered\n");
    play_by_host(&home("address-and-port-dependent", ""), &kept_out);
    play_by_host(
        &home("address-and-port-dependent", "[alg.tftp]"),
        &format!(
            "{ASKS}
            alg opened
            wan> udp 198.51.100.9:5000 > 203.0.113.2:$p    # another server
            drop filtered
            {ANSWER}
            alg used
            lan> udp 192.168.1.10:4000 > 198.51.100.1:5000
            wan< udp 203.0.113.2:$p > 198.51.100.1:5000
            wan> udp 198.51.100.1:5000 > 203.0.113.2:$p
            lan< udp 198.51.100.1:5000 > 192.168.1.10:4000
            wan> udp 198.51.100.1:5001 > 203.0.113.2:$p    # once
            drop filtered
            "
        ),
    );
}

#[test]
fn an_answer_is_expected_for_a_while_and_again_when_it_is_asked_for_again() {
    play_by_host(
        &home("address-and-port-dependent", "[alg]\nexpectation_timeout = '5s'\ntftp = {}"),
        &format!(
            "{ASKS}
            alg opened
            wait 6s
            alg expired
            wan> udp 198.51.100.1:5000 > 203.0.113.2:$p
            drop filtered
            lan> udp 192.168.1.10:4000 > 198.51.100.1:69 hex=000266696c65006f6374657400
            wan< udp 203.0.113.2:$p > 198.51.100.1:69 hex=000266696c65006f6374657400
            alg opened
            {ANSWER}
            alg used
            lan> udp 192.168.1.10:4000 > 198.51.100.1:69 hex=000266696c65   # cut
            wan< udp 203.0.113.2:$p > 198.51.100.1:69 hex=000266696c65
            alg unreadable
            "
        ),
    );
}

#[test]
fn no_more_sessions_are_watched_than_the_bound() {
    let config = home("address-and-port-dependent", "[alg]\nmax_sessions = 1\ntftp = {}");
    play_by_host(
        &config,
        &format!(
            "{ASKS}
            alg opened
            lan> udp 192.168.1.10:4001 > 198.51.100.1:69 hex=000166696c65006f6374657400
            wan< udp 203.0.113.2:$q > 198.51.100.1:69 hex=000166696c65006f6374657400
            opened
            alg refused_session
            wan> udp 198.51.100.1:5000 > 203.0.113.2:$q
            drop filtered
            "
        ),
    );
}

#[test]
fn where_ports_are_shared_it_is_said_that_nobody_can_be_let_in() {
    let behavior =
        "[masquerade]\nmapping = 'address-and-port-dependent'\nfiltering = 'address-and-port-dependent'";
    play(
        &format!("{HOME}\n{behavior}\n[alg.tftp]\n"),
        &format!(
            "{ASKS}
            alg refused_unmapped
            wan> udp 198.51.100.1:5000 > 203.0.113.2:$p
            drop no_session
            "
        ),
    );
}
