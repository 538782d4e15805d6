//! Rules of conntrack: which session gets which timeouts.

use crate::harness::play;
use crate::translation::HOME;

#[test]
fn the_timeouts_of_a_rule_hold_for_the_whole_life_of_its_sessions() {
    let config = format!(
        "{HOME}
        [conntrack.timeout_set.short]
        udp = \"2m\"
        udp_stream = \"150s\"
        [[conntrack.rule]]
        on = \"lan\"
        protocol = \"udp\"
        port = 53
        timeouts = \"short\"
        "
    );
    play(
        &config,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$dns > 198.51.100.1:53
        opened
        lan> udp 192.168.1.10:1000 > 198.51.100.1:123
        wan< udp 203.0.113.2:$ntp > 198.51.100.1:123
        opened
        wait 119s
        wan> udp 198.51.100.1:53 > 203.0.113.2:$dns           # answered: 150 s from now on
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000
        wait 149s
        wait 2100ms
        closed
        wait 29s                                              # the other lives 5 minutes
        wait 3s
        closed
        ",
    );
}
