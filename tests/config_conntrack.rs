//! What the config says of the session table is what workers read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use natgate::config::{self, compile::compile};
use natgate::conntrack::policy::{Limits, Policy, Rate, Share, TcpOptions, WhenFull};
use natgate::conntrack::timeouts::{Timeout, Timeouts};
use natgate::ids::InterfaceId;
use natgate::packet::Tuple;
use std::time::Duration;

const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);

/// The policy of a gateway with `text` in its config.
fn policy(text: &str) -> Policy {
    let text = format!(
        "[interface.lan]\ndevice = \"tap:a\"\nrealm = \"internal\"\naddress = \"192.168.1.1/24\"\n\
         [interface.wan]\ndevice = \"tap:b\"\nrealm = \"external\"\naddress = \"203.0.113.2/24\"\n[[snat]]\n{text}"
    );
    let checked = config::parse(&text, "x.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(checked.warnings, []);
    compile(&checked.config, &[], 1, 1).conntrack
}

fn tuple(src: &str, dst: &str, protocol: u8, dport: u16) -> Tuple {
    Tuple { src: src.parse().unwrap(), dst: dst.parse().unwrap(), sport: 40_000, dport, protocol }
}

#[test]
fn a_config_that_says_nothing_gives_the_defaults() {
    assert_eq!(policy(""), Policy::default());
    assert_eq!(policy("[conntrack]\n"), Policy::default());
}

#[test]
fn limits_are_what_the_config_says() {
    let text = "[conntrack]\nmax_sessions = 1000000\nwhen_full = \"refuse\"\nreserve = \"2.5%\"\n\
                adaptive = [\"70%\", \"95.25%\"]\nhalf_open = \"25%\"\nmax_sessions_per_source = 1000\n\
                new_sessions_per_source = \"100/s\"\nnew_sessions_burst = 300\n\
                management = [\"10.0.0.5\", \"192.168.1.0/28\"]\ntcp_be_liberal = true\ntcp_loose = true\n";
    let policy = policy(text);
    let expected = Limits {
        when_full: WhenFull::Refuse,
        reserve: Share::from_basis_points(250),
        adaptive_low: Share::percent(70),
        adaptive_high: Share::from_basis_points(9525),
        half_open: Share::percent(25),
        sessions_per_source: Some(1000),
        new_per_source: Some(Rate { per_second: 100, burst: 300 }),
        management: vec!["10.0.0.5/32".parse().unwrap(), "192.168.1.0/28".parse().unwrap()],
    };
    assert_eq!(policy.limits, expected);
    assert_eq!(policy.tcp, TcpOptions { be_liberal: true, loose: true });
}

#[test]
fn a_rate_without_a_burst_allows_one_second_at_once() {
    let limits = policy("[conntrack]\nnew_sessions_per_source = \"40/s\"\n").limits;
    assert_eq!(limits.new_per_source, Some(Rate { per_second: 40, burst: 40 }));
}

#[test]
fn adaptive_timeouts_are_switched_off_by_a_word() {
    let limits = policy("[conntrack]\nadaptive = \"off\"\n").limits;
    assert_eq!(limits.adaptive_low, limits.adaptive_high);
}

#[test]
fn a_timeout_set_takes_what_it_does_not_give_from_the_common_timeouts() {
    let policy = policy(
        "[conntrack.timeout_set.b]\nudp = \"2m\"\n[conntrack.timeouts]\nudp = \"10m\"\nicmp = \"90s\"\n\
         [conntrack.timeout_set.a]\n\
         [[conntrack.rule]]\ntimeouts = \"a\"\nprotocol = \"udp\"\n[[conntrack.rule]]\ntimeouts = \"b\"\n",
    );
    let lengths = |set| {
        let timeouts: &Timeouts = policy.timeouts(set);
        [Timeout::Udp, Timeout::Icmp, Timeout::Gre].map(|timeout| timeouts.get(timeout).as_secs())
    };
    assert_eq!(policy.timeout_sets.len(), 3);
    assert_eq!(lengths(0), [600, 90, 30]);
    assert_eq!(lengths(1), [120, 90, 30], "in the order of the file");
    assert_eq!(lengths(2), [600, 90, 30]);
    assert_eq!(policy.rules.iter().map(|rule| rule.timeouts).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(policy.timeouts(1).get(Timeout::Udp), Duration::from_secs(120));
}

#[test]
fn the_first_rule_that_matches_gives_a_session_its_timeouts_and_mark() {
    let policy = policy(
        "[conntrack.timeout_set.dns]\nudp = \"2m\"\n\
         [[conntrack.rule]]\nprotocol = [\"udp\", \"tcp\"]\nport = \"53-54\"\ntimeouts = \"dns\"\nmark = \"0x10\"\n\
         [[conntrack.rule]]\non = \"wan\"\nfrom = [\"198.51.100.0/24\", \"192.0.2.1\"]\nto = \"203.0.113.2\"\nmark = 0x20\n\
         [[conntrack.rule]]\nprotocol = [\"icmp\", \"sctp\", \"dccp\", \"gre\", \"esp\", 4]\nmark = 4294967295\n\
         [[conntrack.rule]]\nprotocol = \"udp\"\nfrom = \"192.168.1.9\"\ntimeouts = \"dns\"\n",
    );
    let protocols: Vec<Option<u8>> = policy.rules.iter().map(|rule| rule.protocol).collect();
    assert_eq!(protocols.len(), 10, "one a protocol");
    assert_eq!(protocols[3..9], [Some(1), Some(132), Some(33), Some(47), Some(50), Some(4)]);
    let inside = "192.168.1.7";
    for (on, tuple, expected) in [
        (LAN, tuple(inside, "192.0.2.53", 17, 53), (1, 0x10)),
        (LAN, tuple(inside, "192.0.2.53", 6, 54), (1, 0x10)),
        (LAN, tuple(inside, "192.0.2.53", 17, 55), (0, 0)),
        (LAN, tuple(inside, "192.0.2.53", 132, 53), (0, u32::MAX)),
        (WAN, tuple("198.51.100.9", "203.0.113.2", 6, 443), (0, 0x20)),
        (WAN, tuple("192.0.2.1", "203.0.113.2", 17, 443), (0, 0x20)),
        (WAN, tuple("192.0.2.1", "203.0.113.2", 17, 53), (1, 0x10)),
        (WAN, tuple("192.0.2.2", "203.0.113.2", 6, 443), (0, 0)),
        (LAN, tuple("198.51.100.9", "203.0.113.2", 6, 443), (0, 0)),
        (WAN, tuple("198.51.100.9", "203.0.113.3", 6, 443), (0, 0)),
        (LAN, tuple("192.168.1.9", "192.0.2.53", 17, 443), (1, 0)),
    ] {
        assert_eq!(policy.choose(on, &tuple), expected, "{on:?} {tuple:?}");
    }
}

#[test]
fn rules_shadow_one_another_only_when_nothing_is_left() {
    let warned = |rules: &str| {
        let text = format!(
            "[interface.lan]\ndevice = \"tap:a\"\nrealm = \"internal\"\naddress = \"192.168.1.1/24\"\n\
             [interface.wan]\ndevice = \"tap:b\"\nrealm = \"external\"\naddress = \"203.0.113.2/24\"\n[[snat]]\n{rules}"
        );
        let checked = config::parse(&text, "x.toml").unwrap_or_else(|errors| panic!("{errors}"));
        !checked.warnings.is_empty()
    };
    let rule = |keys: &str| format!("[[conntrack.rule]]\nmark = 1\n{keys}\n");
    for (earlier, later, shadowed) in [
        ("", "protocol = \"udp\"", true),
        ("protocol = \"udp\"", "", false),
        ("protocol = \"udp\"", "protocol = [\"udp\", \"tcp\"]", false),
        ("protocol = [\"udp\", \"tcp\", \"icmp\"]", "protocol = [\"udp\", \"tcp\"]", true),
        ("protocol = \"tcp\"\nport = \"1-100\"", "protocol = \"tcp\"\nport = \"50-100\"", true),
        ("protocol = \"tcp\"\nport = \"1-100\"", "protocol = \"tcp\"\nport = \"50-101\"", false),
        ("protocol = \"tcp\"\nport = \"1-100\"", "protocol = \"tcp\"", false),
        ("on = \"lan\"", "on = \"wan\"", false),
        ("on = \"lan\"", "", false),
        ("", "on = \"lan\"", true),
        ("from = \"10.0.0.0/8\"", "from = \"10.1.0.0/16\"", true),
        ("from = \"10.0.0.0/8\"", "from = [\"10.1.0.0/16\", \"11.0.0.0/8\"]", false),
        ("to = \"10.0.0.0/8\"", "", false),
    ] {
        assert_eq!(warned(&(rule(earlier) + &rule(later))), shadowed, "{earlier:?} before {later:?}");
    }
}
