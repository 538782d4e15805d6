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
