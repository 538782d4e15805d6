//! Keys that say who is kept out, what is drained, and who may look: what was written is what is read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use natgate::config::{self, Config};

const SITE: &str = "
interface.lan = { device = 'tap:lan', realm = 'internal', address = '192.168.1.1/24' }
interface.wan = { device = 'tap:wan', realm = 'external', address = '203.0.113.2/24' }
";

fn read(more: &str) -> Config {
    config::parse(&format!("{SITE}{more}"), "x").unwrap().config
}

#[test]
fn a_ban_has_prefixes_and_perhaps_a_zone() {
    let config = read(
        "[[ban]]\nfrom = '198.51.100.7'\n[[ban]]\nzone = 0\nfrom = ['192.0.2.0/24', '198.51.100.8/32']\n",
    );
    let bans: Vec<_> = config.bans.iter().map(|ban| (ban.zone, format!("{:?}", ban.from.nets))).collect();
    let all = "[198.51.100.7/32]".to_owned();
    assert_eq!(bans, [(None, all), (Some(0), "[192.0.2.0/24, 198.51.100.8/32]".to_owned())]);
    assert_eq!(read("").bans, []);
}

#[test]
fn drain_holds_for_every_protocol_of_its_rule() {
    let config = read(
        "[[dnat]]\non = 'wan'\nprotocol = ['tcp', 'udp']\nport = 53\nto = '192.168.1.9'\ndrain = true\n\
         [[dnat]]\non = 'wan'\nprotocol = 'tcp'\nport = 80\nto = '192.168.1.9'\n",
    );
    assert_eq!(config.dnat.iter().map(|rule| rule.drain).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn a_comment_changes_nothing() {
    let rule = "[[snat]]\nout = 'wan'\n";
    assert_eq!(read(&format!("{rule}comment = 'ticket 4711'\n")), read(rule));
}

#[test]
fn without_a_word_nobody_else_may_look_and_revisions_have_their_place() {
    let runtime = read("").runtime;
    assert_eq!((runtime.control_group, runtime.metrics), (None, None));
    assert_eq!(runtime.state.to_str(), Some("/var/lib/natgate"));
}

#[test]
fn who_may_look_and_where_revisions_are_is_said() {
    let runtime =
        read("[runtime]\ncontrol_group = 'adm'\nmetrics = '[::1]:9469'\nstate = '/srv/nat'\n").runtime;
    assert_eq!(runtime.control_group.as_deref(), Some("adm"));
    assert_eq!(runtime.metrics.unwrap().to_string(), "[::1]:9469");
    assert_eq!(runtime.state.to_str(), Some("/srv/nat"));
}

#[test]
fn an_interface_says_what_it_clamps_and_whether_it_is_silent() {
    use natgate::config::model::{MssClamp, UnsolicitedSyn};
    let with = |keys: &str| {
        let text = format!(
            "[interface.lan]\ndevice = 'tap:lan'\nrealm = 'internal'\naddress = '10.0.0.1/8'\n{keys}"
        );
        config::parse(&text, "x").map(|checked| {
            let lan = &checked.config.interfaces[0];
            (lan.mss_clamp, lan.icmp_errors, lan.unsolicited_syn)
        })
    };
    assert_eq!(with("").unwrap(), (MssClamp::Off, true, UnsolicitedSyn::Unreachable));
    let all = with("mss_clamp = 1360\nicmp_errors = false\nunsolicited_syn = 'silent'\n").unwrap();
    assert_eq!(all, (MssClamp::To(1360), false, UnsolicitedSyn::Silent));
    assert_eq!(with("mss_clamp = 'auto'\n").unwrap().0, MssClamp::Auto);
    for wrong in ["mss_clamp = 100", "mss_clamp = 'much'", "mss_clamp = true", "unsolicited_syn = 'later'"] {
        assert!(with(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_gateway_for_a_protocol_is_on_if_its_table_is_there_and_has_its_usual_port() {
    use natgate::config::model::AlgConfig;
    use std::time::Duration;
    assert_eq!(read("").alg, AlgConfig::default());
    assert_eq!(read("[alg]\n").alg, AlgConfig::default());
    assert_eq!(read("[alg.ftp]\n").alg.ports, [vec![21], vec![]]);
    assert_eq!(read("alg = { tftp = { ports = [69, 6969] } }\n").alg.ports, [vec![], vec![69, 6969]]);
    let alg =
        read("[alg]\nmax_expectations = 7\nmax_sessions = 8\nexpectation_timeout = '9s'\n[alg.ftp]\n").alg;
    assert_eq!((alg.max_expectations, alg.max_sessions, alg.timeout), (7, 8, Duration::from_secs(9)));
    for wrong in ["max_expectations = 0", "ftp = { ports = [0] }", "ftp = { ports = [] }", "ftp = true"] {
        assert!(config::parse(&format!("{SITE}[alg]\n{wrong}\n"), "x").is_err(), "{wrong}");
    }
}

#[test]
fn whom_a_gateway_for_ftp_can_not_help_is_said_with_the_cure() {
    const BY_FLOW: &str =
        "[masquerade]\nmapping = 'address-and-port-dependent'\nfiltering = 'address-and-port-dependent'\n";
    const SNAT: &str = "[[snat]]\n";
    let forward = |more: &str| {
        format!("[[dnat]]\non = 'wan'\nprotocol = 'tcp'\nport = 2121\nto = '192.168.1.9:21'\n{more}\n")
    };
    let elsewhere = "[[dnat]]\naddress = '203.0.113.9'\nprotocol = 'tcp'\nport = 21\nto = '192.168.1.9'\n";
    for (text, says) in [
        (format!("{BY_FLOW}{SNAT}"), "let nobody in by masquerade"),
        (SNAT.to_owned() + &forward("syn_proxy = true"), "which has a SYN proxy"),
        (SNAT.to_owned() + &forward("source = 'interface'"), "which translates the source too"),
        (format!("{SNAT}{elsewhere}"), "gives hosts no ports"),
        (format!("{SNAT}{}", forward("")), ""),
    ] {
        let warnings = config::parse(&format!("{SITE}{text}[alg.ftp]\n"), "x").unwrap().warnings;
        let said: Vec<String> = warnings.iter().map(|warning| warning.what.to_string()).collect();
        assert_eq!(said.len(), usize::from(!says.is_empty()), "{said:?}");
        assert!(said.iter().all(|said| said.contains(says)), "{said:?}");
        assert!(warnings.iter().all(|warning| !warning.what.cure().is_empty()));
        // Without it there is nothing to say.
        assert_eq!(config::parse(&format!("{SITE}{text}"), "x").unwrap().warnings, []);
    }
}
