//! What a change of the config file is called, and when it needs a restart.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use natgate::config::diff::{Diff, diff};
use natgate::config::reorder::reorder;
use natgate::config::{self, Config};
use std::fmt::Write;

const SITE: &str = r#"
[runtime]
workers = 2
[conntrack]
max_sessions = 100000
timeouts.udp = "5m"
timeout_set.short = { udp = "2m" }
management = "192.168.1.7"
[[conntrack.rule]]
protocol = "udp"
port = 53
timeouts = "short"
[[conntrack.rule]]
protocol = "icmp"
mark = 7
[interface.lan]
device = "tap:lan"
realm = "internal"
address = "192.168.1.1/24"
mtu = 1400
[interface.dmz]
device = "tap:lan"
vlan = 10
realm = "internal"
address = "192.168.2.1/24"
[interface.wan]
device = "tap:wan"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[[route]]
to = "10.0.0.0/8"
via = "192.168.1.254"
[pool.office]
addresses = "203.0.113.9"
[pool.guests]
addresses = ["203.0.113.20-203.0.113.27", "203.0.113.30"]
[[snat]]
from = "192.168.1.0/25"
source = "pool.office"
[[snat]]
from = "192.168.2.0/24"
out = "wan"
source = "pool.guests"
[[snat]]
from = "10.0.0.0/8"
[[dnat]]
on = "wan"
protocol = "tcp"
port = 8080
to = "192.168.1.10:80"
[[dnat]]
address = "203.0.113.9"
protocol = ["tcp", "udp"]
port = "5000-5010"
to = "192.168.2.10"
[[ban]]
from = ["198.51.100.1", "198.51.100.2"]
[set.frontends]
prefixes = ["10.0.0.0/16", "10.2.0.0/16"]
[set.others]
prefixes = []
[[notrack]]
name = "cache"
preset = "memcached"
from = ["set.frontends", "192.0.2.0/24"]
to = "203.0.113.60"
translate_to = "192.168.1.20"
[[notrack]]
name = "tunnel"
preset = "vxlan"
on = "wan"
to = "192.168.2.9"
"#;

fn parsed(text: &str) -> Config {
    config::parse(text, "x").unwrap_or_else(|errors| panic!("{errors}\n{text}")).config
}

/// The differences that replacements in the file make.
fn after(replacements: &[(&str, &str)]) -> Diff {
    let mut text = SITE.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "nothing to replace: {from}");
        text = text.replacen(from, to, 1);
    }
    let running = parsed(SITE);
    let new = reorder(parsed(&text), &running);
    diff(&running, &new)
}

fn lines(diff: &Diff) -> Vec<String> {
    diff.lines().collect()
}

#[test]
fn the_same_file_has_no_differences() {
    let same = after(&[]);
    assert!(same.is_empty());
    assert_eq!(same, Diff::default());
}

#[test]
fn the_order_of_what_has_a_name_is_no_difference() {
    let lan = "[interface.lan]\ndevice = \"tap:lan\"\nrealm = \"internal\"\naddress = \"192.168.1.1/24\"\nmtu = 1400\n";
    let pool = "[pool.office]\naddresses = \"203.0.113.9\"\n";
    let last = "from = [\"198.51.100.1\", \"198.51.100.2\"]\n";
    let split = format!("from = \"198.51.100.2\"\n[[ban]]\nfrom = \"198.51.100.1\"\n{pool}{lan}");
    let set = "[set.frontends]\nprefixes = [\"10.0.0.0/16\", \"10.2.0.0/16\"]\n";
    let set_again =
        "[set.frontends]\nprefixes = [\"10.2.0.0/16\", \"10.0.0.0/16\"]\n[[notrack]]\nname = \"tunnel\"";
    let from = ("[\"set.frontends\", \"192.0.2.0/24\"]", "[\"192.0.2.0/24\", \"set.frontends\"]");
    let tunnel = "[[notrack]]\nname = \"tunnel\"";
    let moved = [(lan, ""), (pool, ""), (last, split.as_str()), (set, ""), (tunnel, set_again), from];
    assert_eq!(after(&moved), Diff::default());
}

/// A change of the file, and what it is called.
#[rustfmt::skip]
const CHANGES: &[(&str, &str, &[&str])] = &[
    ("timeouts.udp = \"5m\"", "timeouts.udp = \"6m\"", &["~ conntrack.timeouts.udp: 5m -> 6m"]),
    ("timeouts.udp = \"5m\"", "timeouts.icmp = \"2h4m\"", &["~ conntrack.timeouts.icmp: 1m -> 2h 4m", "~ conntrack.timeout_set.short.icmp: 1m -> 2h 4m"]),
    ("timeout_set.short = { udp = \"2m\" }", "timeout_set.short = {}\ntimeout_set.long = { udp = \"9m\" }", &["~ conntrack.timeout_set.short.udp: 2m -> 5m", "+ conntrack.timeout_set.long"]),
    ("management = \"192.168.1.7\"", "management = []\nwhen_full = \"refuse\"\nadaptive = \"off\"\nreserve = \"2%\"\nhalf_open = \"25%\"", &[
        "~ conntrack.when_full: early-drop -> refuse", "~ conntrack.reserve: 1% -> 2%", "~ conntrack.adaptive: 80% to 98% -> off",
        "~ conntrack.half_open: 50% -> 25%", "~ conntrack.management: 192.168.1.7/32 -> none"]),
    ("management", "tcp_loose = true\ntcp_be_liberal = true\nmanagement", &["~ conntrack.tcp_be_liberal: false -> true", "~ conntrack.tcp_loose: false -> true"]),
    ("workers = 2", "workers = 2\nicmp_errors_per_second = 5", &["~ runtime.icmp_errors_per_second: 1000 -> 5"]),
    ("mtu = 1400", "mtu = 1300", &["~ interface lan mtu: 1400 -> 1300"]),
    ("mtu = 1400", "mtu = 1400\nicmp_errors = false\nmss_clamp = \"auto\"\nunsolicited_syn = \"silent\"", &[
        "~ interface lan icmp_errors: true -> false", "~ interface lan mss_clamp: none -> auto", "~ interface lan unsolicited_syn: unreachable -> silent"]),
    ("address = \"203.0.113.2/24\"", "addresses = [\"203.0.113.2/24\", \"203.0.113.3/24\"]", &["~ interface wan addresses: 203.0.113.2/24 -> 203.0.113.2/24, 203.0.113.3/24"]),
    ("address = \"203.0.113.2/24\"", "address = \"203.0.113.4/24\"", &["~ interface wan addresses: 203.0.113.2/24 -> 203.0.113.4/24"]),
    ("gateway = \"203.0.113.1\"", "gateway = \"203.0.113.254\"", &["~ route 0.0.0.0/0: 203.0.113.1 on wan -> 203.0.113.254 on wan"]),
    ("to = \"10.0.0.0/8\"\n", "to = \"10.0.0.0/9\"\n", &["- route 10.0.0.0/8 -> 192.168.1.254 on lan", "+ route 10.0.0.0/9 -> 192.168.1.254 on lan"]),
    ("[pool.office]\naddresses = \"203.0.113.9\"", "[pool.office]\naddresses = \"203.0.113.10\"\nports = \"2000-3000\"", &["~ pool office addresses: 203.0.113.9 -> 203.0.113.10", "~ pool office ports: 1024-65535 -> 2000-3000"]),
    ("\"203.0.113.20-203.0.113.27\", ", "\"203.0.113.20\", \"203.0.113.22\", \"203.0.113.24\", \"203.0.113.26\", \"203.0.113.29\", ", &["~ pool guests addresses: 1 added (203.0.113.29), 4 removed (203.0.113.21, 203.0.113.23, 203.0.113.25, 203.0.113.27)"]),
    ("[[snat]]", "[pool.new]\naddresses = \"203.0.113.64/28\"\n[[snat]]", &["+ pool new: 203.0.113.64-203.0.113.79, ports 1024-65535"]),
    ("[[snat]]", "[[snat]]\nfrom = \"192.168.1.128/25\"\nout = \"wan\"\n[[snat]]", &["+ snat from 192.168.1.128/25 out wan -> interface, place 1"]),
    ("[[dnat]]", "[[static]]\nexternal = \"203.0.113.64/29\"\ninternal = \"192.168.1.64/29\"\non = \"wan\"\ninbound = false\n[[dnat]]", &["+ static 192.168.1.64/29 on wan -> 203.0.113.64/29 inbound = false"]),
    ("[[dnat]]", "[[snat]]\nzone = 0\nto = \"192.0.2.0/24\"\n[[dnat]]", &["+ snat zone 0 to 192.0.2.0/24 -> interface"]),
    ("out = \"wan\"\nsource = \"pool.guests\"", "out = \"wan\"\nsource = \"pool.office\"", &["~ snat from 192.168.2.0/24 out wan: pool.guests -> pool.office"]),
    ("[[dnat]]", "[[snat]]\non = \"lan\"\nprotocol = [\"tcp\", \"udp\"]\nport = [25, \"80-90\"]\nsource = \"untranslated\"\n[[dnat]]", &["+ snat on lan port 25, 80-90 protocol tcp, udp -> untranslated"]),
    ("out = \"wan\"\nsource = \"pool.guests\"", "out = \"wan\"\nsource = \"untranslated\"", &["~ snat from 192.168.2.0/24 out wan: pool.guests -> untranslated"]),
    ("out = \"wan\"\nsource = \"pool.guests\"", "out = \"wan\"\nsource = \"pool.guests\"\nmss_clamp = 1360", &["~ snat from 192.168.2.0/24 out wan: pool.guests -> pool.guests mss_clamp 1360"]),
    ("[[snat]]\nfrom = \"10.0.0.0/8\"\n", "", &["- snat from 10.0.0.0/8 -> interface"]),
    ("to = \"192.168.1.10:80\"", "to = [\"192.168.1.10:80\", { address = \"192.168.1.11:80\", weight = 3, drain = true }]\naffinity = \"source\"", &["~ dnat tcp 203.0.113.2:8080: 192.168.1.10:80 -> 192.168.1.10:80, 192.168.1.11:80 weight 3 drain affinity source"]),
    ("to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\naffinity = \"source\"\naffinity_timeout = \"5m\"\nhealth = { port = 9 }", &["~ dnat tcp 203.0.113.2:8080: 192.168.1.10:80 -> 192.168.1.10:80 affinity source affinity_timeout 5m health tcp:9 interval 2s timeout 1s rise 2 fall 3"]),
    ("to = \"192.168.1.10:80\"", "to = \"192.168.1.11:80\"", &["~ dnat tcp 203.0.113.2:8080: 192.168.1.10:80 -> 192.168.1.11:80"]),
    ("to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\ndrain = true\nsyn_proxy = true\nsource = \"pool.office\"", &["~ dnat tcp 203.0.113.2:8080: 192.168.1.10:80 -> 192.168.1.10:80 source pool.office syn_proxy drain"]),
    ("[\"tcp\", \"udp\"]", "\"tcp\"", &["- dnat udp 203.0.113.9:5000-5010 -> 192.168.2.10:5000-5010"]),
    ("[[dnat]]", "[[dnat]]\non = \"wan\"\nprotocol = \"udp\"\nport = 53\nto = \"192.168.1.53\"\n[[dnat]]", &["+ dnat udp 203.0.113.2:53 -> 192.168.1.53:53"]),
    ("\"198.51.100.1\", \"198.51.100.2\"", "\"198.51.100.2\", \"192.0.2.0/24\"", &["- ban 198.51.100.1/32", "+ ban 192.0.2.0/24"]),
    ("[[ban]]", "[[ban]]\nfrom = [\"set.others\", \"192.0.2.1\"]\n[[ban]]", &["+ ban 192.0.2.1/32, set.others"]),
    ("[[ban]]", "[[ban]]\nzone = 0\nfrom = \"192.0.2.1\"\n[[ban]]", &["+ ban 192.0.2.1/32 zone 0"]),
    ("[\"10.0.0.0/16\", ", "[\"10.3.0.0/16\", ", &["~ set frontends: 10.0.0.0/16, 10.2.0.0/16 -> 10.3.0.0/16, 10.2.0.0/16"]),
    ("prefixes = []", "prefixes = \"10.9.0.0/16\"", &["~ set others: nobody -> 10.9.0.0/16"]),
    ("[set.others]", "[set.more]\nprefixes = \"10.9.0.0/16\"\n[set.others]", &["+ set more: 10.9.0.0/16"]),
    ("[set.others]", "[set.more]", &["+ set more: nobody", "- set others"]),
    ("name = \"cache\"", "name = \"caches\"", &[
        "- notrack cache -> forward from 192.0.2.0/24, set.frontends from_port 1024-65535 to 203.0.113.60/32 port 11211 protocol tcp, udp translate_to 192.168.1.20/32 policy open answers symmetric",
        "+ notrack caches -> forward from 192.0.2.0/24, set.frontends from_port 1024-65535 to 203.0.113.60/32 port 11211 protocol tcp, udp translate_to 192.168.1.20/32 policy open answers symmetric, place 1"]),
    ("\"set.frontends\", \"192.0.2.0/24\"", "\"set.others\", \"192.0.2.0/24\"", &["~ notrack cache from: 192.0.2.0/24, set.frontends -> 192.0.2.0/24, set.others"]),
    ("from = [\"set.frontends\", \"192.0.2.0/24\"]\n", "", &["~ notrack cache from: 192.0.2.0/24, set.frontends -> any"]),
    ("preset = \"memcached\"\n", "preset = \"memcached\"\npolicy = \"allow-listed\"\nopened_by = \"either\"\nexisting = \"release\"\n", &[
        "~ notrack cache policy: open -> allow-listed", "~ notrack cache opened_by: clients -> either", "~ notrack cache existing: keep -> release"]),
    ("translate_to = \"192.168.1.20\"\n", "untranslated = true\n", &["~ notrack cache translate_to: 192.168.1.20/32 -> none", "~ notrack cache untranslated: false -> true"]),
    ("preset = \"vxlan\"\non = \"wan\"\n", "zone = 0\nprotocol = \"tcp\"\nport = [8472, 9000]\nfrom_port = \"1-9\"\ntcp_flags = [\"syn\", \"!ack\"]\nsymmetric = false\naction = \"drop\"\n", &[
        "~ notrack tunnel preset: vxlan -> none", "~ notrack tunnel on: wan -> any", "~ notrack tunnel zone: any -> 0", "~ notrack tunnel from_port: any -> 1-9",
        "~ notrack tunnel port: 4789 -> 8472, 9000", "~ notrack tunnel protocol: udp -> tcp", "~ notrack tunnel tcp_flags: any -> syn, !ack",
        "~ notrack tunnel action: forward -> drop", "~ notrack tunnel answers: symmetric, peers -> none"]),
    ("to = \"192.168.2.9\"\n", "to = \"192.168.2.9\"\n[[notrack]]\nname = \"no-telnet\"\naction = \"drop\"\nprotocol = \"tcp\"\nport = 23\n", &[
        "+ notrack no-telnet -> drop port 23 protocol tcp answers symmetric"]),
    ("mark = 7", "mark = 8", &["~ conntrack.rule protocol icmp: timeouts default, mark 7 -> timeouts default, mark 8"]),
    ("port = 53", "port = \"53-54\"\non = \"dmz\"", &["- conntrack.rule protocol udp port 53 -> timeouts short, mark 0", "+ conntrack.rule on dmz protocol udp port 53-54 -> timeouts short, mark 0, place 1"]),
];

#[test]
fn what_changes_while_the_gateway_runs_is_said_in_a_line_each() {
    for (from, to, expected) in CHANGES {
        let found = after(&[(from, to)]);
        let found_lines = lines(&found);
        assert_eq!(found_lines.len(), expected.len(), "{to}: {found_lines:#?}");
        for (line, expected) in found_lines.iter().zip(*expected) {
            assert_eq!(line, expected);
        }
        assert_eq!(found.restart, [], "{to}");
    }
}

/// A change of the file, and of what it says that it needs a restart.
#[rustfmt::skip]
const RESTARTS: &[(&str, &str, &[&str])] = &[
    ("workers = 2", "workers = 3", &["runtime.workers: 2 -> 3", "runtime.frames: 16384 -> 24576"]),
    ("workers = 2", "workers = 2\ncpus = [0, 1]", &["runtime.cpus: the last ones -> [0, 1]"]),
    ("workers = 2", "workers = 2\nspread = \"flow\"", &["runtime.spread: source -> flow"]),
    ("workers = 2", "workers = 2\nsteering = \"software\"", &["runtime.steering: auto -> software"]),
    ("workers = 2", "workers = 2\npoll = \"adaptive\"", &["runtime.poll: busy -> adaptive"]),
    ("workers = 2", "workers = 2\ncontrol = \"/run/x.sock\"", &["runtime.control: /run/natgate/control.sock -> /run/x.sock"]),
    ("workers = 2", "workers = 2\ncontrol_group = \"adm\"", &["runtime.control_group: none -> adm"]),
    ("workers = 2", "workers = 2\nmetrics = \"127.0.0.1:9469\"", &["runtime.metrics: none -> 127.0.0.1:9469"]),
    ("workers = 2", "workers = 2\nstate = \"/srv\"", &["runtime.state: /var/lib/natgate -> /srv"]),
    ("workers = 2", "workers = 2\nframes = 50000", &["runtime.frames: 16384 -> 50000"]),
    ("workers = 2", "workers = 2\nmemory = \"512MiB\"", &["runtime.memory: as needed -> 512MiB"]),
    ("workers = 2", "workers = 2\neal = [\"--no-huge\"]", &["runtime.eal: [] -> [\"--no-huge\"]"]),
    ("max_sessions = 100000", "max_sessions = 200000", &["conntrack.max_sessions: 100000 -> 200000"]),
    ("management", "max_sessions_per_source = 100\nmanagement", &["limits per source: none -> some"]),
    ("management", "new_sessions_per_source = \"10/s\"\nmanagement", &["limits per source: none -> some"]),
    ("device = \"tap:wan\"", "device = \"tap:other\"", &["device tap:other: not used -> used", "device tap:wan: used -> not used", "interface wan device: tap:wan -> tap:other"]),
    ("device = \"tap:wan\"", "device = \"tap:wan\"\nmac = \"02:00:00:00:00:01\"", &["device tap:wan mac: its own -> 02:00:00:00:00:01"]),
    ("[interface.dmz]", "[interface.dmz2]", &["interface dmz: there -> removed"]),
    ("vlan = 10", "vlan = 11", &["interface dmz vlan: 10 -> 11"]),
    ("vlan = 10", "vlan = 10\nzone = 1", &["interface dmz zone: 0 -> 1"]),
    ("mtu = 1400", "mtu = 1600", &["interface lan mtu: at most 1500 -> 1600"]),
    ("[interface.wan]", "[interface.new]\ndevice = \"tap:lan\"\nvlan = 9\nmtu = 9000\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\n[interface.wan]", &["interface new mtu: at most 1500 -> 9000"]),
];

#[test]
fn what_can_not_change_while_the_gateway_runs_is_said_with_its_reason() {
    for (from, to, expected) in RESTARTS {
        let found = after(&[(from, to)]);
        assert!(!found.is_empty(), "{to}");
        let restarts: Vec<String> = found.restart.iter().map(ToString::to_string).collect();
        let parts: Vec<&str> = restarts.iter().map(|line| line.split(" (").next().unwrap()).collect();
        assert_eq!(parts, *expected, "{to}");
        assert!(found.restart.iter().all(|restart| !restart.why.is_empty()));
    }
}

#[test]
fn a_new_vlan_or_a_larger_mtu_within_the_device_s_needs_no_restart() {
    let vlan =
        "[interface.new]\ndevice = \"tap:lan\"\nvlan = 9\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\n";
    let found =
        after(&[("[interface.wan]", &format!("{vlan}[interface.wan]")), ("mtu = 1400", "mtu = 1500")]);
    assert_eq!(
        lines(&found),
        [
            "~ interface lan mtu: 1400 -> 1500",
            "+ interface new on tap:lan vlan 9, internal, 10.9.0.1/24, mtu 1500"
        ]
    );
    assert_eq!(found.restart, []);
}

#[test]
fn another_limit_per_source_where_there_is_one_needs_no_restart() {
    let text = SITE.replacen("management", "max_sessions_per_source = 100\nmanagement", 1);
    let other = text.replacen("_source = 100", "_source = 50\nnew_sessions_per_source = \"9/s\"", 1);
    let found = diff(&parsed(&text), &parsed(&other));
    assert_eq!(
        lines(&found),
        [
            "~ conntrack.max_sessions_per_source: 100 -> 50",
            "~ conntrack.new_sessions_per_source: none -> 9/s, 9 at once"
        ]
    );
    assert_eq!(found.restart, []);
}

#[test]
fn rules_that_move_together_are_one_line() {
    let rules: Vec<String> = (0..8).map(|n| format!("[[snat]]\nfrom = \"10.{n}.0.0/16\"\n")).collect();
    let with = |order: &[usize]| {
        let text: String = order.iter().map(|n| rules[*n].as_str()).collect();
        parsed(&format!("{SITE}{text}"))
    };
    let found = diff(&with(&[0, 1, 2, 3, 4, 5, 6, 7]), &with(&[0, 5, 6, 1, 2, 3, 4, 7]));
    assert_eq!(lines(&found), ["> snat from 10.5.0.0/16 -> interface and 1 more behind it: place 9 -> 5"]);
    assert_eq!(found.restart, []);
}

#[test]
fn a_class_that_comes_before_another_one_has_moved() {
    let tunnel = "[[notrack]]\nname = \"tunnel\"\npreset = \"vxlan\"\non = \"wan\"\nto = \"192.168.2.9\"\n";
    let found = after(&[(tunnel, ""), ("[[notrack]]", &format!("{tunnel}[[notrack]]"))]);
    let words =
        "forward on wan to 192.168.2.9/32 port 4789 protocol udp policy open answers symmetric, peers";
    assert_eq!(lines(&found), [format!("> notrack tunnel -> {words}: place 2 -> 1")]);
}

#[test]
fn a_pool_s_number_and_the_order_of_interfaces_do_not_matter() {
    let running = parsed(SITE);
    let pool = "[pool.office]\naddresses = \"203.0.113.9\"\n";
    let lan = "[interface.lan]\ndevice = \"tap:lan\"\nrealm = \"internal\"\naddress = \"192.168.1.1/24\"\nmtu = 1400\n";
    let text = SITE.replacen(pool, "", 1).replacen(lan, "", 1);
    // Not even put in order.
    assert_eq!(diff(&running, &parsed(&format!("{text}{pool}{lan}"))), Diff::default());
}

#[test]
fn a_difference_has_plain_fields_for_programs() {
    let found = after(&[("workers = 2", "workers = 3")]);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["changes"][0]["kind"], "changed");
    assert_eq!(json["changes"][0]["what"], "runtime.workers");
    assert_eq!(json["restart"][0]["before"], "2");
}

#[test]
fn what_differs_in_ten_thousand_rules_is_found() {
    let file = |rules: &mut dyn Iterator<Item = u32>| {
        let mut text = SITE.to_owned();
        for n in rules {
            let (a, b) = (n / 250, n % 250);
            write!(text, "[[snat]]\nfrom = \"172.{}.{}.{b}\"\n", 16 + a / 250, a % 250).unwrap();
        }
        parsed(&text)
    };
    let before = file(&mut (0..10_000));
    let all_moved = diff(&before, &file(&mut (0..10_000).rev()));
    assert_eq!(all_moved.changes.len(), 9_999);
    let found = diff(&before, &file(&mut (5..10_000).chain([2])));
    assert_eq!(found.changes.len(), 5);
}
