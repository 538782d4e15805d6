//! Named sets and notrack classes: what is written is what is read, and what can not be meant is told with its place.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use natgate::classify::notrack::{
    Addresses, Answers, Existing, NotrackClass, OpenedBy, PeerPolicy, TcpFlags, Verdict,
};
use natgate::config::{self, Caution, Config, ConfigErrors};
use natgate::ids::InterfaceId;
use natgate::wire::protocol::{TCP, UDP, UDP_LITE};
use natgate::wire::tcp;

const SITE: &str = "
interface.lan = { device = 'tap:lan', realm = 'internal', address = '192.168.1.1/24' }
interface.wan = { device = 'tap:wan', realm = 'external', address = '203.0.113.2/24', gateway = '203.0.113.1' }
snat = [{ out = 'wan' }]
[pool.public]
addresses = '203.0.113.32/28'
[set.frontends]
prefixes = ['10.0.0.0/16', '192.0.2.7']
[set.nobody]
prefixes = []
";
/// Customers with the same addresses.
const ZONES: &str = "
interface.red = { device = 'tap:red', realm = 'internal', address = '192.168.1.1/24', zone = 1 }
interface.blue = { device = 'tap:blue', realm = 'internal', addresses = ['192.168.1.1/24', '10.2.0.1/24'], zone = 2 }
interface.wan = { device = 'tap:wan', realm = 'external', address = '203.0.113.2/24', gateway = '203.0.113.1' }
snat = [{ out = 'wan' }]
";

fn errors(text: &str) -> ConfigErrors {
    match config::parse(text, "x") {
        Ok(_) => panic!("this is valid:\n{text}"),
        Err(errors) => errors,
    }
}

fn valid(text: &str) -> config::Checked {
    config::parse(text, "x").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn read(class: &str) -> Config {
    valid(&format!("{SITE}[[notrack]]\nname = 'x'\n{class}")).config
}

/// A class that says what `class` says.
fn class(class: &str) -> NotrackClass {
    read(class).notrack.remove(0)
}

/// One that says nothing.
fn plain() -> NotrackClass {
    NotrackClass {
        name: "x".into(),
        preset: None,
        on: Vec::new(),
        zone: None,
        from: Addresses::default(),
        from_ports: Vec::new(),
        to: Addresses::default(),
        to_zone: 0,
        ports: Vec::new(),
        protocols: Vec::new(),
        flags: None,
        verdict: Verdict::Forward,
        translate_from: None,
        translate_to: None,
        untranslated: false,
        answers: Answers::Mirrored,
        policy: PeerPolicy::Open,
        opened_by: OpenedBy::Clients,
        existing: Existing::Keep,
    }
}

fn nets(texts: &[&str]) -> Addresses {
    Addresses { nets: texts.iter().map(|text| text.parse().unwrap()).collect(), sets: Vec::new() }
}

#[test]
fn a_class_is_what_was_written() {
    assert_eq!(class(""), plain());
    let written = class(
        "on = ['wan', 'lan']\nzone = 0\nfrom = ['10.9.0.0/16', 'set.frontends', '192.0.2.1']\nfrom_port = '1024-65535'\n\
         to = '203.0.113.9'\nto_zone = 0\nport = [11212, '11000-11211', 53]\nprotocol = ['tcp', 'udplite', 17]\n\
         translate_to = '192.168.1.20'\npolicy = 'allow-listed'\nopened_by = 'either'\nexisting = 'release'\n\
         untranslated = true\npeers = true\ncomment = 'ticket 4711'\n",
    );
    let expected = NotrackClass {
        on: vec![InterfaceId(1), InterfaceId(0)],
        zone: Some(0),
        from: Addresses { sets: vec![0], ..nets(&["10.9.0.0/16", "192.0.2.1/32"]) },
        from_ports: vec![1024..=65535],
        to: nets(&["203.0.113.9/32"]),
        ports: vec![53..=53, 11000..=11212],
        protocols: vec![TCP, UDP_LITE, UDP],
        translate_to: Some("192.168.1.20/32".parse().unwrap()),
        untranslated: true,
        answers: Answers::SamePort,
        policy: PeerPolicy::AllowListed,
        opened_by: OpenedBy::Either,
        existing: Existing::Release,
        ..plain()
    };
    assert_eq!(written, expected);
    let dropped =
        class("action = 'drop'\nprotocol = 'tcp'\ntcp_flags = ['syn', '!ack']\nsymmetric = false\n");
    let flags = TcpFlags { mask: tcp::SYN | tcp::ACK, set: tcp::SYN };
    let expected = NotrackClass {
        verdict: Verdict::Drop,
        protocols: vec![TCP],
        flags: Some(flags),
        answers: Answers::Elsewhere,
        ..plain()
    };
    assert_eq!(dropped, expected);
}

#[test]
fn sets_have_their_prefixes_and_classes_name_them_by_their_place() {
    let config = read("from = 'set.nobody'\nto = ['set.nobody', 'set.frontends']\n");
    let sets: Vec<_> = config.sets.iter().map(|set| (set.name.as_str(), set.prefixes.len())).collect();
    assert_eq!(sets, [("frontends", 2), ("nobody", 0)]);
    let named = &config.notrack[0];
    assert_eq!((&named.from.sets[..], &named.to.sets[..]), (&[1][..], &[1, 0][..]));
    // An empty set is nobody, an empty list is anybody.
    assert!(!named.from.is_any() && class("from = []\n").from.is_any());
}

#[test]
fn a_preset_fills_what_the_class_does_not_say() {
    let filled = |text: &str| {
        let NotrackClass { preset, from_ports, ports, protocols, answers, .. } = class(text);
        (preset, from_ports, ports, protocols, answers)
    };
    let memcached =
        (Some("memcached"), vec![1024..=65535], vec![11211..=11211], vec![TCP, UDP], Answers::Mirrored);
    assert_eq!(filled("preset = 'memcached'\n"), memcached);
    let vxlan = (Some("vxlan"), vec![], vec![4789..=4789], vec![UDP], Answers::SamePort);
    assert_eq!(filled("preset = 'vxlan'\n"), vxlan);
    let other = (Some("vxlan"), vec![1..=9], vec![8472..=8472], vec![UDP], Answers::Elsewhere);
    assert_eq!(filled("preset = 'vxlan'\nport = 8472\nfrom_port = '1-9'\nsymmetric = false\n"), other);
    let one_way = (Some("geneve"), vec![], vec![6081..=6081], vec![UDP], Answers::Mirrored);
    assert_eq!(filled("preset = 'geneve'\npeers = false\n"), one_way);
    assert_eq!(filled("preset = 'dns'\nprotocol = 'udp'\n").3, [UDP]);
}

#[test]
fn the_zone_of_a_service_is_the_one_that_leads_inside_to_it() {
    let zones = |class: &str| {
        let text =
            format!("{ZONES}[set.blue]\nprefixes = ['10.2.0.0/28']\n[[notrack]]\nname = 'x'\n{class}\n");
        let class = valid(&text).config.notrack.remove(0);
        (class.zone, class.to_zone)
    };
    assert_eq!(zones("to = '10.2.0.7'"), (None, 2));
    assert_eq!(zones("to = 'set.blue'"), (None, 2));
    assert_eq!(zones("to = '203.0.113.9'\ntranslate_to = '10.2.0.7'"), (None, 2));
    assert_eq!(zones("to = '203.0.113.9'\ntranslate_to = '192.168.1.7'\nto_zone = 1"), (None, 1));
    // Clients inside see their own zone, all see the same outside.
    assert_eq!(zones("to = '192.168.1.7'\nzone = 1"), (Some(1), 1));
    assert_eq!(zones("to = '192.168.1.7'\non = 'blue'"), (None, 2));
    assert_eq!(zones("to = '198.51.100.1'\non = 'blue'"), (None, 2));
    assert_eq!(zones("zone = 2"), (Some(2), 2));
    // Answers to translated clients have to find their zone.
    let translated = "to = '198.51.100.1'\ntranslate_from = '203.0.113.9'\n";
    assert_eq!(zones(&format!("from = '10.2.0.7'\n{translated}")), (Some(2), 0));
    assert_eq!(zones(&format!("from = '192.168.1.7'\non = 'red'\n{translated}")), (Some(1), 1));
}

/// `«` and `»` enclose what must be underlined.
fn unmark(text: &str) -> (String, (usize, usize, usize)) {
    let (before, rest) = text.split_once('«').unwrap();
    let (marked, after) = rest.split_once('»').unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (format!("{before}{marked}{after}"), (line, column, marked.chars().count()))
}

#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    // Values by themselves.
    ("«port_from» = 80", "unknown key `port_from`", "known: `name`"),
    ("«protokol» = 'tcp'", "unknown key `protokol` in [[notrack]]", "did you mean `protocol`?"),
    ("preset = «'memcache'»", "\"memcache\" is none of", "did you mean \"memcached\"?"),
    ("action = «'deny'»", "\"deny\" is none of", "\"forward\", \"drop\""),
    ("policy = «'allow-list'»", "\"allow-list\" is none of", "did you mean \"allow-listed\"?"),
    ("from = ['10.0.0.0/8', «'frontends'»]", "\"frontends\" is neither an IPv4 prefix nor a set", "\"set.NAME\""),
    ("from = «'10.0.0.1/8'»", "bits set behind its prefix length", "10.0.0.0/8"),
    ("protocol = 'tcp'\nport = [80, «0»]", "0 is not between 1 and 65535", "65535"),
    ("protocol = 'tcp'\nport = «[]»", "`port` is empty", "11211"),
    ("protocol = ['tcp', «'tcp'»]", "\"tcp\" is listed twice", "remove one"),
    ("protocol = 'tcp'\nsymmetric = false\ntcp_flags = ['syn', «'!akc'»]", "\"!akc\" is none of", "did you mean \"ack\"?"),
    ("protocol = 'tcp'\nsymmetric = false\ntcp_flags = ['syn', «'!syn'»]", "\"syn\" is listed twice", "remove one"),
    // Names.
    ("from = «'set.frontend'»", "there is no set \"frontend\"", "did you mean `frontends`?"),
    ("on = ['wan', «'lam'»]", "there is no interface \"lam\"", "did you mean `lan`?"),
    ("zone = «7»", "no interface is in zone 7", "zones of interfaces: 0"),
    ("to_zone = «7»", "no interface is in zone 7", "zones of interfaces: 0"),
    ("[[notrack]]\nname = «'x'»", "two classes are called \"x\"", "rename"),
    ("[[notrack]]\nname = «'x y'»", "\"x y\" can not be a name", "letters"),
    ("«[[notrack]]»", "missing key `name` in [[notrack]]", "name = "),
    // Keys that exclude or need one another.
    ("port = «53»", "`port` without `protocol`", "protocol = "),
    ("from_port = «53»", "`from_port` without `protocol`", "protocol = "),
    ("protocol = ['udp', 'icmp']\nport = «53»", "ICMP has no ports", "a second rule for the others"),
    ("protocol = «'gre'»\npreset = 'dns'", "GRE has no ports", "a second rule for the others"),
    ("protocol = 'tcp'\ntcp_flags = «'syn'»", "`tcp_flags` with answers", "symmetric = false"),
    ("preset = 'dns'\nsymmetric = false\ntcp_flags = «'syn'»", "takes in UDP", "protocol = \"tcp\""),
    ("symmetric = false\ntcp_flags = «'syn'»", "takes in every protocol", "protocol = \"tcp\""),
    ("protocol = 'udp'\nport = 4789\npeers = true\nsymmetric = «false»", "exclude each other", "remove `peers`"),
    ("protocol = 'udp'\npeers = «true»", "`peers` without `port`", "port = 4789"),
    ("preset = 'vxlan'\nopened_by = «'either'»", "`opened_by` is for TCP", "remove `opened_by`"),
    ("action = 'drop'\nuntranslated = «true»", "`untranslated` has no meaning for packets that are dropped", "remove"),
    ("action = 'drop'\nto = '203.0.113.9'\ntranslate_to = «'192.168.1.9'»", "`translate_to` has no meaning", "remove"),
    ("action = 'drop'\nfrom = '10.0.0.0/8'\npolicy = «'allow-listed'»", "`policy` has no meaning", "remove"),
    ("policy = «'allow-listed'»", "lists everybody", "from = "),
    ("from = ['10.0.0.0/8', '0.0.0.0/0']\npolicy = «'allow-listed'»", "lists everybody", "from = "),
    // Translations.
    ("translate_to = «'192.168.1.9'»", "`translate_to` without exactly one prefix in `to`", "one address or prefix in `to`"),
    ("to = 'set.frontends'\ntranslate_to = «'192.168.1.9'»", "without exactly one prefix", "no set"),
    ("from = ['10.1.0.0/24', '10.2.0.0/24']\ntranslate_from = «'198.51.100.0/24'»", "exactly one prefix in `from`", "each of several"),
    ("to = '203.0.113.64/28'\ntranslate_to = «'192.168.1.0/24'»", "they differ in length", "length 28 in `translate_to`"),
    ("to = '203.0.113.9'\ntranslate_to = «'192.168.1.1'»", "192.168.1.1 is an address of the gateway itself", "the server"),
    ("to = '203.0.113.9'\ntranslate_to = «'224.0.0.1'»", "224.0.0.1", "multicast"),
    ("to = «'203.0.113.1'»\ntranslate_to = '192.168.1.9'", "203.0.113.1 is a next hop", "nobody else has"),
    ("to = «'203.0.113.2'»\ntranslate_to = '192.168.1.9'", "203.0.113.2 belongs to interface \"wan\"", "add `port`"),
    ("to = «'203.0.113.32/30'»\ntranslate_to = '192.168.1.64/30'", "203.0.113.32 belongs to pool \"public\"", "add `port`"),
    ("from = '192.168.1.9'\ntranslate_from = «'203.0.113.33'»", "203.0.113.33 belongs to pool \"public\"", "this class alone"),
    ("from = '192.168.1.9'\ntranslate_from = «'203.0.113.2'»", "203.0.113.2 belongs to interface \"wan\"", "this class alone"),
];

#[test]
fn a_mistake_in_a_class_is_told_with_its_place_and_its_cure() {
    for (class, says, cure) in MISTAKES {
        let (text, place) = unmark(&format!("{SITE}[[notrack]]\nname = 'x'\n{class}\n"));
        let found = errors(&text);
        assert_eq!(found.errors.len(), 1, "{class}: {found}");
        let error = &found.errors[0];
        assert!(error.what.to_string().contains(says), "{class}: {error}");
        assert!(error.what.cure().contains(cure), "{class}: {error}");
        assert_eq!((error.place.line, error.place.column, error.place.width), place, "{error}");
    }
}

#[test]
fn where_zones_have_the_same_addresses_the_class_says_which_is_meant() {
    for (class, says) in [
        ("to = «'192.168.1.7'»", "the service can be in zone 1 or in zone 2"),
        ("zone = 1\nto = '203.0.113.9'\ntranslate_to = «'192.168.1.7'»", "the service can be in zone 1"),
        (
            "from = «'192.168.1.7'»\nto = '198.51.100.1'\ntranslate_from = '203.0.113.9'",
            "the clients can be in",
        ),
        ("on = «'red'»\nzone = 2", "\"red\" is in zone 1, and the class is for clients in zone 2"),
        (
            "to = «'192.168.1.40'»\ntranslate_to = '10.2.0.7'",
            "in networks of \"red\" and of \"blue\", which are in different zones",
        ),
    ] {
        let (text, place) = unmark(&format!("{ZONES}[[notrack]]\nname = 'x'\n{class}\n"));
        let found = errors(&text);
        assert_eq!(found.errors.len(), 1, "{class}: {found}");
        let error = &found.errors[0];
        assert!(error.what.to_string().contains(says), "{class}: {error}");
        assert_eq!((error.place.line, error.place.column, error.place.width), place, "{error}");
    }
}

#[test]
fn what_is_shared_with_sessions_by_port_is_no_mistake() {
    for class in [
        "to = '203.0.113.2'\ntranslate_to = '192.168.1.9'\nprotocol = 'udp'\nport = 53\n",
        "to = '203.0.113.40'\ntranslate_to = '192.168.1.9'\npreset = 'memcached'\n",
        "preset = 'vxlan'\nfrom = '192.168.1.9'\ntranslate_from = '203.0.113.9'\n",
    ] {
        read(class);
    }
    // A whole network, the gateway's own address in it.
    let site = SITE.replace("203.0.113.32/28", "203.0.113.200");
    valid(&format!(
        "{site}[[notrack]]\nname = 'x'\nto = '198.51.100.0/24'\ntranslate_to = '192.168.1.0/24'\n"
    ));
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_a_warning() {
    let site = SITE.split("[pool").next().unwrap();
    for (more, says) in [
        ("[set.«a»]\nprefixes = '10.0.0.0/8'\n", "set \"a\" is used by no rule"),
        ("[set.«a»]\nprefixes = []\n[[notrack]]\nname = 'x'\nfrom = 'set.a'\n", "set \"a\" is empty"),
        ("«[[notrack]]»\nname = 'x'\n", "class \"x\" takes in every packet"),
        (
            "[[notrack]]\nname = 'x'\nto = ['192.168.1.9', «'203.0.113.2'»]\n",
            "203.0.113.2 belongs to interface \"wan\": without `translate_to`",
        ),
    ] {
        let (text, place) = unmark(&format!("{site}{more}"));
        // What becomes of the packets of such classes is in config_symmetry.rs.
        let mut warnings = valid(&text).warnings;
        warnings.retain(|warning| !matches!(warning.what, Caution::Notrack(_)));
        assert_eq!(warnings.len(), 1, "{says}: {warnings:?}");
        let warning = &warnings[0];
        assert!(warning.what.to_string().contains(says), "{says}: {warning}");
        assert_eq!((warning.place.line, warning.place.column, warning.place.width), place, "{warning}");
    }
}

#[test]
fn packets_to_the_gateway_itself_can_be_dropped() {
    let site = SITE.split("[pool").next().unwrap();
    let class =
        "[[notrack]]\nname = 'x'\naction = 'drop'\nto = '203.0.113.2'\nprotocol = 'udp'\nport = 161\n";
    assert_eq!(valid(&format!("{site}{class}")).warnings, []);
}

#[test]
fn a_site_with_classes_alone_translates() {
    let site = SITE.split("snat").next().unwrap();
    let class = "[[notrack]]\nname = 'x'\nto = '203.0.113.9'\ntranslate_to = '192.168.1.9'\n";
    assert_eq!(valid(&format!("{site}{class}")).warnings, []);
}

#[test]
fn there_are_at_most_1024_classes() {
    let classes = |n: usize| {
        let class = |n| format!("[[notrack]]\nname = 'c{n}'\npreset = 'dns'\n");
        SITE.to_owned() + &(0..n).map(class).collect::<String>()
    };
    assert_eq!(valid(&classes(1024)).config.notrack.len(), 1024);
    let found = errors(&classes(1025)).to_string();
    assert!(found.contains("1025 notrack classes are too many"), "{found}");
}

#[test]
fn many_classes_and_prefixes_are_read() {
    let mut text = ZONES.to_owned();
    for set in 0..100 {
        let prefixes: Vec<String> =
            (0..1000).map(|n| format!("'10.{set}.{}.{}'", n / 250, n % 250)).collect();
        text += &format!("[set.s{set}]\nprefixes = [{}]\n", prefixes.join(", "));
    }
    for class in 0..1000 {
        let sets: Vec<String> = (0..100).map(|set| format!("'set.s{set}'")).collect();
        text += &format!("[[notrack]]\nname = 'c{class}'\npreset = 'dns'\nto = [{}]\n", sets.join(", "));
    }
    let config = valid(&text).config;
    assert_eq!((config.sets.len(), config.notrack.len()), (100, 1000));
    assert!(config.notrack.iter().all(|class| class.to_zone == 2));
}
