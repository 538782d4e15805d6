//! Every mistake in a config gives one clear error: at its place, with what is wrong and what to write instead.
//!
//! A case is a change to a valid config. `«` and `»` enclose what the error must underline; they are not part of the
//! config.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use natgate::config::{self, ConfigErrors};

const VALID: &str = r#"
[interface.lan]
device = "af_packet:eth1"
realm = "internal"
address = "192.168.1.1/24"

[interface.wan]
device = "af_packet:eth2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[[route]]
to = "10.0.0.0/8"
via = "192.168.1.254"

[pool.public]
addresses = ["203.0.113.10-203.0.113.12", "203.0.113.20"]
ports = "1024-65535"

[[snat]]
from = ["192.168.1.0/24"]
out = "wan"
source = "pool.public"

[[dnat]]
on = "wan"
protocol = "tcp"
port = 8080
to = "192.168.1.10:80"

[runtime]
workers = 2
cpus = [2, 3]

[conntrack]
max_sessions = 262144
management = "192.168.1.7"

[conntrack.timeouts]
udp = "5m"

[conntrack.timeout_set.short]
udp = "2m"

[[conntrack.rule]]
protocol = "udp"
port = 53
timeouts = "short"
mark = 7
"#;

struct Case {
    /// The rule that is broken.
    rule: &'static str,
    /// What is replaced in the valid config.
    replace: &'static str,
    /// By what.
    by: &'static str,
    /// Parts of the message.
    says: &'static [&'static str],
    /// A part of the help.
    cure: &'static str,
}

const fn case(
    rule: &'static str,
    replace: &'static str,
    by: &'static str,
    says: &'static [&'static str],
    cure: &'static str,
) -> Case {
    Case { rule, replace, by, says, cure }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Syntax.
    case("a string is quoted", r#""af_packet:eth1""#, "«af_packet:eth1»", &["quoted"], "double quotes"),
    case("a key is given once", "realm = \"internal\"", "realm = \"internal\"\n«realm» = \"external\"", &["duplicate key"], "remove one"),
    case("a string is closed", "out = \"wan\"", "out = \"wan«»", &["invalid basic string"], "close the string"),
    case("a header is closed", "[[snat]]", "[[snat]«»", &["unclosed"], "close the header"),
    // Keys.
    case("a key is known", "address = \"192.168.1.1/24\"", "«adress» = \"192.168.1.1/24\"", &["unknown key `adress`", "[interface.lan]"], "did you mean `address`?"),
    case("a section is known", "[conntrack]\n", "[«contrack»]\n", &["unknown key `contrack`", "the file"], "did you mean `conntrack`?"),
    case("a timeout is known", "udp = \"5m\"", "«tcp_etablished» = \"5m\"", &["unknown key `tcp_etablished`"], "did you mean `tcp_established`?"),
    case("an unknown key that resembles none gets the list", "workers = 2", "workers = 2\n«colour» = 1", &["unknown key `colour`"], "known: `workers`, `cpus`"),
    case("a device is required", "[interface.lan]\ndevice = \"af_packet:eth1\"", "[interface.«lan»]", &["missing key `device`", "[interface.lan]"], "device = \"af_packet:eth1\""),
    case("an interface has an address", "[interface.lan]\ndevice = \"af_packet:eth1\"\nrealm = \"internal\"\naddress = \"192.168.1.1/24\"", "[interface.«lan»]\ndevice = \"af_packet:eth1\"\nrealm = \"internal\"", &["neither `address` nor `addresses`"], "address = "),
    case("address and addresses exclude each other", "address = \"203.0.113.2/24\"", "address = \"203.0.113.2/24\"\naddresses = «[\"203.0.113.3/24\"]»", &["`address` and `addresses` exclude each other"], "keep either"),
    case("a rule is a list of tables", "[[snat]]", "«[snat]»", &["wrong type for `snat`", "found a table"], "two brackets: [[snat]]"),
    // Values by themselves.
    case("a value has its type", "workers = 2", "workers = «\"two\"»", &["wrong type for `workers`", "found a string"], "workers = 2"),
    case("a realm is one of two", "realm = \"external\"", "realm = «\"extern\"»", &["\"extern\" is none of"], "did you mean \"external\"?"),
    case("a device has a known kind", "\"af_packet:eth1\"", "«\"afpacket:eth1\"»", &["\"afpacket:eth1\" names no device", "\"af_packet:eth1\""], "docs/config.md"),
    case("a device says how to reach a kernel interface", "\"af_packet:eth1\"", "«\"eth1\"»", &["\"eth1\" does not say how to reach", "\"af_packet:eth1\""], "docs/config.md"),
    case("a kernel interface has a short name", "\"af_packet:eth1\"", "«\"af_packet:ethernet-number-1\"»", &["name of a network interface", "15 characters"], "docs/config.md"),
    case("an address has a prefix length", "\"192.168.1.1/24\"", "«\"192.168.1.1\"»", &["\"192.168.1.1\" has no prefix length"], "192.168.1.1/24"),
    case("a prefix is a prefix", "\"192.168.1.1/24\"", "«\"192.168.1.1/33\"»", &["\"192.168.1.1/33\" is not an IPv4 prefix"], "0 to 32"),
    case("IPv6 is told apart from rubbish", "\"192.168.1.1/24\"", "«\"2001:db8::1/64\"»", &["IPv6"], "IPv4"),
    case("an interface has a host's address", "\"192.168.1.1/24\"", "«\"192.168.1.0/24\"»", &["network's own address", "192.168.1.0/24"], "such as 192.168.1.1"),
    case("an interface has no broadcast address", "\"192.168.1.1/24\"", "«\"192.168.1.255/24\"»", &["broadcast"], "such as 192.168.1.1"),
    case("an interface has a unicast address", "\"192.168.1.1/24\"", "«\"224.0.0.5/24\"»", &["224.0.0.5"], "multicast"),
    case("a mac is six pairs", "[runtime]", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\nmac = «\"02:00\"»\n[runtime]", &["\"02:00\" is not an Ethernet address"], "six pairs"),
    case("a mac is one device's", "realm = \"internal\"", "realm = \"internal\"\nmac = «\"01:00:5e:00:00:01\"»", &["01:00:5e:00:00:01"], "first byte is even"),
    case("a vlan has 12 bits", "realm = \"internal\"", "realm = \"internal\"\nvlan = «4095»", &["4095 is not between 1 and 4094"], "from 1 to 4094"),
    case("an mtu is at least 576", "realm = \"internal\"", "realm = \"internal\"\nmtu = «500»", &["500 is not between 576 and 9216"], "576"),
    case("a rule's prefix has no host bits", "[\"192.168.1.0/24\"]", "[«\"192.168.1.7/24\"»]", &["bits set behind its prefix length"], "\"192.168.1.0/24\" for the network"),
    case("a source rule is for packets from inside", "out = \"wan\"", "out = \"wan\"\non = «\"wan\"»", &["\"wan\" is external"], "to leave by in `out`"),
    case("a source rule's interface is in its zone", "[[snat]]", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\nzone = 3\n[[snat]]\nzone = 0\non = [\"lan\", «\"x\"»]", &["\"x\" is in zone 3", "from zone 0"], "correct `on` or `zone`"),
    case("a source rule has ports only with a protocol", "out = \"wan\"", "out = \"wan\"\nport = «25»", &["`port` without `protocol`"], "add `protocol`"),
    case("a source rule has ports only with protocols that have some", "out = \"wan\"", "out = \"wan\"\nprotocol = [\"tcp\", \"icmp\"]\nfrom_port = «[25]»", &["ICMP has no ports"], "a second rule"),
    case("a source rule names sets that there are", "[\"192.168.1.0/24\"]", "[«\"set.none\"»]", &["there is no set \"none\""], "[set.NAME]"),
    case("a source is a word that there is", "source = \"pool.public\"", "source = «\"untransformed\"»", &["\"untransformed\" is none of", "\"untranslated\""], "\"untranslated\""),
    case("a forward has no word for a source that stays", "to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\nsource = «\"untranslated\"»", &["\"untranslated\" is none of"], ""),
    case("a port is not zero", "port = 8080", "port = «0»", &["0 is not between 1 and 65535"], "from 1 to 65535"),
    case("a port range is ordered", "\"1024-65535\"", "«\"65535-1024\"»", &["begins after its end"], "swap"),
    case("a port range has numbers", "\"1024-65535\"", "«\"high\"»", &["\"high\" is not a port or a range"], "\"8000-8010\""),
    case("a protocol has ports", "protocol = \"tcp\"", "protocol = «\"icmp\"»", &["\"icmp\" is none of"], "\"tcp\", \"udp\""),
    case("a protocol is listed once", "protocol = \"tcp\"", "protocol = [\"tcp\", «\"tcp\"»]", &["\"tcp\" is listed twice"], "remove one"),
    case("a list is not empty", "protocol = \"tcp\"", "protocol = «[]»", &["`protocol` is empty"], "\"tcp\""),
    case("a backend is an address", "\"192.168.1.10:80\"", "«\"webserver:80\"»", &["\"webserver:80\" is not a backend"], "192.168.1.10:80"),
    case("a timeout has a unit", "udp = \"5m\"", "udp = «300»", &["300 has no unit"], "timeouts are written with a unit, such as \"5m\""),
    case("a timeout is a length of time", "udp = \"5m\"", "udp = «\"soon\"»", &["\"soon\" is not a length of time"], "with a unit"),
    case("a timeout is not zero", "udp = \"5m\"", "udp = «\"0s\"»", &["between 1 second and 365 days"], "5m"),
    case("a month is not a minute", "udp = \"5m\"", "udp = «\"5M\"»", &["minute or a month"], "\"m\" for minutes"),
    case("a size has a unit", "workers = 2", "workers = 2\nmemory = «512»", &["512 has no unit"], "512MiB"),
    case("there are sessions", "max_sessions = 262144", "max_sessions = «0»", &["0 is not between 1 and"], "from 1"),
    case("a number is not too large for anything", "max_sessions = 262144", "max_sessions = «99999999999999999999»", &["99999999999999999999 is not between"], "from 1"),
    case("there are workers", "workers = 2", "workers = «0»", &["0 is not between 1 and 64"], "from 1 to 64"),
    case("a socket's path is absolute", "workers = 2", "workers = 2\ncontrol = «\"control.sock\"»", &["\"control.sock\" is not absolute"], "/run/natgate/control.sock"),
    case("a state directory is absolute", "workers = 2", "workers = 2\nstate = «\"state\"»", &["the directory \"state\" is not absolute"], "/var/lib/natgate"),
    case("a group has a name", "workers = 2", "workers = 2\ncontrol_group = «\"adm:x\"»", &["\"adm:x\" can not be the name of a group"], "\"adm\""),
    case("a listener has an address", "workers = 2", "workers = 2\nmetrics = «\":9469\"»", &["\":9469\" is not an address and port"], "127.0.0.1:9469"),
    case("a listener is no bare port", "workers = 2", "workers = 2\nmetrics = «9469»", &["wrong type for `metrics`", "found a number"], "127.0.0.1:9469"),
    case("a ban is a list of tables", "[[route]]", "«[ban]»\nfrom = \"192.0.2.1\"\n[[route]]", &["wrong type for `ban`", "found a table"], "two brackets: [[ban]]"),
    case("a ban says who", "[[route]]", "«[[ban]]»\n[[route]]", &["missing key `from` in [[ban]]"], "from = "),
    case("a ban bans someone", "[[route]]", "[[ban]]\nfrom = «[]»\n[[route]]", &["`from` is empty"], "198.51.100.0/24"),
    case("a ban is of prefixes", "[[route]]", "[[ban]]\nfrom = [«\"198.51.100.7/24\"»]\n[[route]]", &["bits set behind its prefix length"], "198.51.100.7/32"),
    case("a ban's zone exists", "[[route]]", "[[ban]]\nfrom = \"192.0.2.1\"\nzone = «9»\n[[route]]", &["no interface is in zone 9"], "zones of interfaces: 0"),
    case("a comment is text", "[[dnat]]", "[[dnat]]\ncomment = «4711»", &["wrong type for `comment`", "found a number"], "comment = \"ticket 4711\""),
    case("a rule is drained or not", "port = 8080", "port = 8080\ndrain = «\"yes\"»", &["wrong type for `drain`", "found a string"], "drain = true"),
    case("a name is plain", "[[snat]]", "[pool.«\"my pool\"»]\naddresses = \"203.0.113.40\"\n[[snat]]", &["\"my pool\" can not be a name"], "letters"),
    // Values against one another.
    case("an interface exists", "out = \"wan\"", "out = «\"wam\"»", &["there is no interface \"wam\""], "did you mean `wan`?"),
    case("a pool exists", "source = \"pool.public\"", "source = «\"pool.publik\"»", &["there is no pool \"publik\""], "did you mean `public`?"),
    case("a source is a word or a pool", "source = \"pool.public\"", "source = «\"public\"»", &["\"public\" is none of"], "pool.NAME"),
    case("a device without vlan has one interface", "\"af_packet:eth2\"", "«\"af_packet:eth1\"»", &["\"lan\" and \"wan\" are both untagged on af_packet:eth1"], "vlan"),
    case("a vlan is unique on its device", "device = \"af_packet:eth2\"\n", "device = \"af_packet:eth1\"\nvlan = «7»\n", &["both have VLAN 7 on af_packet:eth1"], "another `vlan`"),
    case("a device has one mac", "device = \"af_packet:eth2\"\n", "device = \"af_packet:eth1\"\nvlan = 8\nmac = «\"02:00:00:00:00:02\"»\n", &["different Ethernet addresses"], "keep one `mac`"),
    case("an interface of the kernel is reached in one way", "\"af_packet:eth2\"", "«\"af_xdp:eth1\"»", &["af_packet:eth1 and af_xdp:eth1 are one interface of the kernel"], "in one way"),
    case("an address is given once", "[[route]]", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = «\"192.168.1.1/24\"»\n[[route]]", &["192.168.1.1 is given twice"], "remove one"),
    case("connected networks do not overlap", "[[route]]", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = «\"192.168.0.1/16\"»\n[[route]]", &["192.168.0.0/16 of \"x\" overlaps 192.168.1.0/24 of \"lan\""], "change an address"),
    case("a gateway is near", "gateway = \"203.0.113.1\"", "gateway = «\"203.0.114.1\"»", &["gateway 203.0.114.1 is not in a prefix of \"wan\" (203.0.113.0/24)"], "next router"),
    case("a gateway is someone else", "gateway = \"203.0.113.1\"", "gateway = «\"203.0.113.2\"»", &["203.0.113.2 is an address of the gateway itself"], "next router"),
    case("there is one default route", "realm = \"internal\"", "realm = \"internal\"\ngateway = \"192.168.1.254\"", &["two routes to 0.0.0.0/0"], "one `gateway`"),
    case("a next hop is on a connected network", "via = \"192.168.1.254\"", "via = «\"172.16.0.1\"»", &["next hop 172.16.0.1 is in no interface's prefix"], "an interface is connected to"),
    case("a connected network has no route", "to = \"10.0.0.0/8\"", "to = «\"192.168.1.0/24\"»", &["192.168.1.0/24 is directly connected to \"lan\""], "remove the route"),
    case("a pool holds no interface's address", "\"203.0.113.20\"]", "«\"203.0.113.0/29\"»]", &["203.0.113.2 of pool \"public\" belongs to interface \"wan\""], "source = \"interface\""),
    case("a pool holds no next hop", "\"203.0.113.20\"]", "«\"203.0.113.1\"»]", &["203.0.113.1 of pool \"public\" is a next hop"], "take it out"),
    case("a pool holds an address once", "\"203.0.113.20\"]", "«\"203.0.113.12\"»]", &["203.0.113.12 is in pool \"public\" twice"], "once"),
    case("pools do not overlap", "[[snat]]", "[pool.other]\naddresses = «\"203.0.113.20-203.0.113.30\"»\n[[snat]]", &["203.0.113.20 is in pool \"public\" and in pool \"other\""], "in one pool"),
    case("a pool has a bound", "\"203.0.113.20\"]", "\"198.18.0.0/16\"]", &["65539 addresses, more than 4096"], "fewer"),
    case("a worker has ports in a pool", "ports = \"1024-65535\"", "ports = «2000»", &["pool \"public\" has 1 ports for 2 workers"], "widen"),
    case("a port is given in one way", "ports = \"1024-65535\"", "port_blocks = {}\ndeterministic = «{ inside = \"192.168.1.0/24\" }»", &["`port_blocks` and `deterministic` in one pool"], "two pools"),
    case("blocks have a size that fits", "ports = \"1024-65535\"", "port_blocks = { size = «100» }", &["blocks of 100 ports"], "64, 128"),
    case("blocks hold no well-known ports", "ports = \"1024-65535\"", "ports = \"80-65535\"\nport_blocks = «{}»", &["`port_blocks` with well-known ports"], "1024 or above"),
    case("who has blocks has one address", "ports = \"1024-65535\"", "pooling = \"arbitrary\"\nport_blocks = «{}»", &["a host has one address"], "remove `pooling`"),
    case("a port of a share does not rest", "ports = \"1024-65535\"", "hold_down = \"5s\"\ndeterministic = «{ inside = \"192.168.1.0/24\" }»", &["`hold_down` with `deterministic`"], "remove `hold_down`"),
    case("blocks are with one worker", "[runtime]", "[pool.b]\naddresses = \"203.0.113.30\"\nport_blocks = {}\n[runtime]\nspread = «\"flow\"»", &["`port_blocks` with spread = \"flow\""], "spread = \"source\""),
    case("clients of forwards have no blocks", "[[dnat]]", "[pool.b]\naddresses = \"203.0.113.30\"\nport_blocks = {}\n[[dnat]]\nsource = «\"pool.b\"»", &["sources to pool \"b\", which has ports for subscribers"], "another pool"),
    case("each worker has a block", "ports = \"1024-65535\"", "ports = \"1024-1100\"\nport_blocks = «{}»", &["pool \"public\" has 0 blocks of 512 ports, and 2 workers"], "widen"),
    case("a host has one share", "ports = \"1024-65535\"", "deterministic = { inside = [\"192.168.1.0/24\", «\"192.168.1.64/26\"»] }", &["192.168.1.0/24 and 192.168.1.64/26 of `inside` overlap"], "once"),
    case("shares fit", "ports = \"1024-65535\"", "deterministic = «{ inside = \"10.0.0.0/8\" }»", &["16777216 hosts need 261 addresses, and pool \"public\" has 4"], "until there are 261"),
    case("shares of a given size fit", "ports = \"1024-65535\"", "deterministic = { inside = \"192.168.0.0/22\", ports = «1000» }", &["1024 hosts need 16 addresses"], "fewer ports"),
    case("a share is no more than an address has", "ports = \"1024-65535\"", "ports = \"1024-2023\"\ndeterministic = { inside = \"192.168.1.0/24\", ports = «2000» }", &["a host's 2000 ports are more than the 1000"], "fewer ports"),
    case("a share is a zone's", "[interface.wan]", "[interface.two]\ndevice = \"af_packet:eth3\"\nrealm = \"internal\"\naddress = \"172.31.0.1/24\"\nzone = 2\n[pool.z]\naddresses = \"203.0.113.40\"\ndeterministic = «{ inside = \"172.31.0.0/24\" }»\n[interface.wan]", &["can be in zone 0 or in zone 2"], "zone = 0"),
    case("pools together have a bound", "[[snat]]", "[pool.«other»]\naddresses = \"198.18.0.0/20\"\n[[snat]]", &["all pools together have 4100 addresses, more than 4096"], "fewer"),
    case("snat leaves by an external interface", "out = \"wan\"", "out = «\"lan\"»", &["\"lan\" is internal"], "external"),
    case("ports end at 65535", "port = 8080\nto = \"192.168.1.10:80\"", "port = \"8000-8010\"\nto = «\"192.168.1.10:65530\"»", &["11 ports from 65530 on end behind 65535"], "lower port"),
    case("a host has one address for another", "[[snat]]", "[[static]]\nexternal = \"203.0.113.64/29\"\ninternal = «\"192.168.1.64/28\"»\n[[snat]]", &["203.0.113.64/29 and 192.168.1.64/28 are not of the same length"], "such as /29"),
    case("a static address is another one inside", "[[snat]]", "[[static]]\nexternal = \"192.168.1.64\"\ninternal = «\"192.168.1.64\"»\n[[snat]]", &["192.168.1.64/32 and 192.168.1.64/32 overlap"], "other addresses"),
    case("a static address is one host's", "[[snat]]", "[[static]]\nexternal = \"203.0.113.64/29\"\ninternal = \"192.168.1.64/29\"\n[[static]]\nexternal = «\"203.0.113.66\"»\ninternal = \"192.168.1.9\"\n[[snat]]", &["203.0.113.66/32 overlaps 203.0.113.64/29"], "each address once"),
    case("a host has one static address", "[[snat]]", "[[static]]\nexternal = \"203.0.113.64/29\"\ninternal = \"192.168.1.64/29\"\n[[static]]\nexternal = \"203.0.113.72\"\ninternal = «\"192.168.1.65\"»\non = \"wan\"\n[[snat]]", &["192.168.1.65/32 overlaps 192.168.1.64/29"], "an `on` of its own"),
    case("a static address is not an interface's", "[[snat]]", "[[static]]\nexternal = «\"203.0.113.2/31\"»\ninternal = \"192.168.1.64/31\"\n[[snat]]", &["203.0.113.2/31 holds 203.0.113.2, which belongs to interface \"wan\""], "smaller prefixes"),
    case("a static address is in no pool", "[[snat]]", "[[static]]\nexternal = «\"203.0.113.12/30\"»\ninternal = \"192.168.1.64/30\"\n[[snat]]", &["203.0.113.12/30 holds 203.0.113.12, which belongs to pool \"public\""], "smaller prefixes"),
    case("a static address is not a router's", "[[snat]]", "[[static]]\nexternal = «\"203.0.113.1\"»\ninternal = \"192.168.1.64\"\n[[snat]]", &["203.0.113.1/32 holds 203.0.113.1, which belongs to another machine, a next hop"], "smaller prefixes"),
    case("static addresses are for an external interface", "[[snat]]", "[[static]]\nexternal = \"203.0.113.64\"\ninternal = \"192.168.1.64\"\non = «\"lan\"»\n[[snat]]", &["\"lan\" is internal"], "external"),
    case("a backend is given once", "to = \"192.168.1.10:80\"", "to = [\"192.168.1.10:80\", { address = «\"192.168.1.10:80\"», weight = 2 }]", &["\"192.168.1.10:80\" is listed twice in `to`"], ""),
    case("a service has a backend", "to = \"192.168.1.10:80\"", "to = «[]»", &["`to` is empty"], "192.168.1.10"),
    case("a weight has bounds", "to = \"192.168.1.10:80\"", "to = [\"192.168.1.11:80\", { address = \"192.168.1.10:80\", weight = «101» }]", &["`weight`: 101 is not between 1 and 100"], ""),
    case("a backend has only its keys", "to = \"192.168.1.10:80\"", "to = { address = \"192.168.1.10:80\", «wieght» = 2 }", &["unknown key `wieght` in [[dnat.to]]"], "weight"),
    case("two services share all of their backends or none", "[runtime]", "[[dnat]]\naddress = \"203.0.113.5\"\nprotocol = \"tcp\"\nport = 80\nto = [\"192.168.1.20\", \"192.168.1.21\"]\n[[dnat]]\naddress = \"203.0.113.6\"\nprotocol = \"tcp\"\nport = «80»\nto = [\"192.168.1.22\", \"192.168.1.21\"]\n[runtime]", &["port 80 of the backend 192.168.1.21 is behind two rules that have different backends"], "same backends"),
    case("a port is forwarded once", "[runtime]", "[[dnat]]\naddress = \"203.0.113.2\"\nprotocol = [\"udp\", \"tcp\"]\nport = «\"8000-8100\"»\nto = \"192.168.1.11\"\n[runtime]", &["TCP 203.0.113.2 port 8080 is forwarded twice"], "one backend"),
    case("a SYN proxy is for TCP", "to = \"192.168.1.10:80\"", "to = \"192.168.1.9\"\n[[dnat]]\naddress = \"203.0.113.5\"\nprotocol = [\"tcp\", \"udp\"]\nport = 53\nto = \"192.168.1.10\"\nsyn_proxy = «true»", &["`syn_proxy` is for TCP, and the rule forwards UDP"], "protocol = \"tcp\""),
    case("a switch is on or off", "to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\nsyn_proxy = «\"on\"»", &["wrong type for `syn_proxy`", "`true` or `false`; found a string"], "syn_proxy = true"),
    case("an affinity that is kept is a source's", "to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\naffinity_timeout = «\"5m\"»", &["each connection of a source may have another backend"], "affinity = \"source\""),
    case("an affinity is not kept for ever", "to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\naffinity = \"source\"\naffinity_timeout = «\"31d\"»", &["no source is remembered for"], "30 days"),
    case("an echo request has no port", "to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\nhealth = { check = \"icmp\", port = «80» }", &["an echo request goes to no port"], "check = \"tcp\""),
    case("an answer comes before the next question", "to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\nhealth = { timeout = «\"3s\"» }", &["the next question comes after 2s, and an answer may take 3s"], "`interval` longer"),
    case("a health check has only its keys", "to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\nhealth = { «intervall» = \"3s\" }", &["unknown key `intervall` in [dnat.health]"], "interval"),
    case("a backend is another machine", "\"192.168.1.10:80\"", "«\"192.168.1.1:80\"»", &["192.168.1.1 is an address of the gateway itself"], "server"),
    case("each worker has a cpu", "cpus = [2, 3]", "cpus = «[2, 3, 4]»", &["2 workers but 3 CPUs"], "one CPU for each worker"),
    case("a cpu has one worker", "cpus = [2, 3]", "cpus = [2, «2»]", &["\"2\" is listed twice in `cpus`"], "remove one"),
    case("a cpu has a number that the system knows", "cpus = [2, 3]", "cpus = [2, «2000»]", &["2000 is not between 0 and 1023"], "from 0 to 1023"),
    case("eal arguments do not end the process", "workers = 2", "workers = 2\neal = [\"--log-level=eal,8\", «\"--version\"»]", &["\"--version\" makes DPDK print something and end"], "remove it"),
    case("what is counted by source is on one worker", "cpus = [2, 3]\n\n[conntrack]\n", "cpus = [2, 3]\nspread = \"flow\"\n\n[conntrack]\nmax_sessions_per_source = «10»\n", &["`max_sessions_per_source` counts a source's sessions on its worker"], "spread = \"source\""),
    case("a rate by source is one worker's too", "cpus = [2, 3]\n\n[conntrack]\n", "cpus = [2, 3]\nspread = \"flow\"\n\n[conntrack]\nnew_sessions_per_source = «\"10/s\"»\n", &["`new_sessions_per_source` counts"], "remove `new_sessions_per_source`"),
    case("each worker has a session", "max_sessions = 262144", "max_sessions = «1»", &["1 sessions are fewer than the 2 workers"], "raise"),
    case("the memory holds more than the frames", "workers = 2", "workers = 2\nframes = 16384\nmemory = «\"60MiB\"»", &["60 MiB are too little for 16384 frames"], "90MiB"),
    case("the frames suffice for the shortest queues", "workers = 2", "workers = 2\nframes = «2000»", &["2000 frames are too few: these devices and 2 workers need 5920"], "at least 5920"),
    case("the frames suffice for what AF_XDP keeps", "[runtime]", "[interface.x]\ndevice = \"af_xdp:eth3\"\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\n[runtime]\nframes = «10271»", &["10271 frames are too few: these devices and 2 workers need 10272"], "at least 10272"),
    case("a packet fits a frame of AF_XDP", "device = \"af_packet:eth2\"", "device = \"af_xdp:eth2\"\nmtu = «2795»", &["an MTU of 2795 on af_xdp:eth2 needs larger buffers than af_xdp:eth2 can use"], "to 2794"),
    case("AF_XDP shares no buffers with jumbo frames", "[[route]]", "[interface.x]\ndevice = \"af_xdp:eth3\"\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\n[interface.y]\ndevice = \"af_packet:eth4\"\nrealm = \"internal\"\naddress = \"10.8.0.1/24\"\nmtu = «9000»\n[[route]]", &["an MTU of 9000 on af_packet:eth4", "than af_xdp:eth3 can use"], "to 1950"),
    // Zones.
    case("a zone has 16 bits", "realm = \"internal\"", "realm = \"internal\"\nzone = «65536»", &["65536 is not between 0 and 65535"], "from 0 to 65535"),
    case("networks of one zone do not overlap", "[[route]]", "[interface.y]\ndevice = \"tap:y\"\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\nzone = 7\n[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = «\"10.9.0.2/25\"»\nzone = 7\n[[route]]", &["10.9.0.0/25 of \"x\" overlaps 10.9.0.0/24 of \"y\""], "change an address"),
    case("a zone has one route to a prefix", "via = \"192.168.1.254\"", "via = \"192.168.1.254\"\n[[route]]\nto = «\"10.0.0.0/8\"»\nvia = \"192.168.1.253\"\nzone = 0", &["two routes to 10.0.0.0/8"], "keep one"),
    case("a next hop in two zones is ambiguous", "[[route]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.1.254\"", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"192.168.1.129/25\"\nzone = 1\n[[route]]\nto = \"10.0.0.0/8\"\nvia = «\"192.168.1.254\"»", &["192.168.1.254 is in networks of \"lan\" and of \"x\", which are in different zones"], "add the `zone`"),
    case("a next hop is in the zone that is given", "[[route]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.1.254\"", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"10.9.0.1/24\"\nzone = 1\n[[route]]\nto = \"10.0.0.0/8\"\nvia = «\"192.168.1.254\"»\nzone = 1", &["192.168.1.254 is in no network of zone 1"], "correct `via` or `zone`"),
    case("a next hop is another machine in its zone", "[[route]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.1.254\"", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"192.168.1.250/29\"\nzone = 1\n[[route]]\nto = \"10.0.0.0/8\"\nvia = «\"192.168.1.250\"»\nzone = 1\n[[route]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.1.250\"\nzone = 0", &["192.168.1.250 is an address of the gateway itself"], "next router"),
    case("a route's zone exists", "via = \"192.168.1.254\"", "via = \"192.168.1.254\"\nzone = «3»", &["no interface is in zone 3"], "zones of interfaces: 0"),
    case("a source rule's zone exists", "out = \"wan\"", "out = \"wan\"\nzone = «3»", &["no interface is in zone 3"], "zones of interfaces: 0"),
    case("a backend's zone exists", "on = \"wan\"", "on = \"wan\"\nzone = «3»", &["no interface is in zone 3"], "zones of interfaces: 0"),
    case("a backend's zone has 16 bits", "on = \"wan\"", "on = \"wan\"\nzone = «-1»", &["-1 is not between 0 and 65535"], "from 0"),
    case("a backend in two zones is ambiguous", "to = \"192.168.1.10:80\"", "to = «\"192.168.1.10:80\"»\n[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"192.168.1.2/27\"\nzone = 1\n", &["the backend 192.168.1.10 can be in zone 0 or in zone 1"], "zone = 0"),
    case("a backend is another machine in its zone", "to = \"192.168.1.10:80\"", "to = «\"192.168.1.10:80\"»\nzone = 1\n[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"192.168.1.10/27\"\nzone = 1\n", &["192.168.1.10 is an address of the gateway itself"], "server"),
    case("an own address in two zones is ambiguous", "[[dnat]]\non = \"wan\"", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"192.168.1.1/29\"\nzone = 1\n[[dnat]]\naddress = «\"192.168.1.1\"»", &["192.168.1.1 is an address of \"lan\" and of \"x\""], "on = \"lan\""),
    case("a pool is in no network of two zones", "\"203.0.113.20\"]", "«\"192.168.1.96\"»]\n[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"192.168.1.65/26\"\nzone = 1\n[pool.more]\naddresses = \"203.0.113.30\"", &["192.168.1.96 is in networks of \"lan\" and of \"x\", which are in different zones"], "every zone sees this address"),
    case("a forwarded address is in no network of two zones", "[[dnat]]\non = \"wan\"", "[interface.x]\ndevice = \"tap:x\"\nrealm = \"internal\"\naddress = \"192.168.1.65/26\"\nzone = 1\n[[dnat]]\naddress = «\"192.168.1.96\"»", &["192.168.1.96 is in networks of \"lan\" and of \"x\""], "every zone sees this address"),
    // The session table.
    case("a share is a percentage", "management = \"192.168.1.7\"", "reserve = «\"some\"»", &["\"some\" is not a percentage"], "\"0.25%\""),
    case("a share has a percent sign", "management = \"192.168.1.7\"", "reserve = «\"1\"»", &["\"1\" has no percent sign"], "\"1%\""),
    case("a share is no bare number", "management = \"192.168.1.7\"", "half_open = «0.5»", &["`half_open`: 0.5 has no percent sign"], "\"1%\""),
    case("a share has two decimals", "management = \"192.168.1.7\"", "half_open = «\"0.255%\"»", &["\"0.255%\" has more than two decimals"], "hundredths"),
    case("a share is at most all", "management = \"192.168.1.7\"", "half_open = «\"101%\"»", &["\"101%\" is more than 100%"], "\"100%\""),
    case("a reserve is at most half", "management = \"192.168.1.7\"", "reserve = «\"50.01%\"»", &["a reserve of 50.01% is more than 50%"], "\"50%\""),
    case("connections can open", "management = \"192.168.1.7\"", "half_open = «\"0%\"»", &["no TCP connection can open"], "above \"0%\""),
    case("a full table does one of two things", "management = \"192.168.1.7\"", "when_full = «\"earlydrop\"»", &["\"earlydrop\" is none of"], "did you mean \"early-drop\"?"),
    case("adaptive timeouts have two marks", "management = \"192.168.1.7\"", "adaptive = «[\"80%\"]»", &["wrong type for `adaptive`", "`\"off\"` or a list of two percentages"], "adaptive = \"off\""),
    case("adaptive timeouts have shares as marks", "management = \"192.168.1.7\"", "adaptive = [\"80%\", «98»]", &["`adaptive`: 98 has no percent sign"], "\"1%\""),
    case("adaptive timeouts begin before they end", "management = \"192.168.1.7\"", "adaptive = «[\"90%\", \"80%\"]»", &["`adaptive` begins at 90% and ends at 80%"], "\"off\" switches it off"),
    case("adaptive timeouts are no step", "management = \"192.168.1.7\"", "adaptive = «[\"90%\", \"90%\"]»", &["begins at 90% and ends at 90%"], "lower mark first"),
    case("adaptive timeouts are off or have marks", "management = \"192.168.1.7\"", "adaptive = «\"of\"»", &["\"of\" is none of \"off\""], "did you mean \"off\"?"),
    case("a source may have a session", "management = \"192.168.1.7\"", "max_sessions_per_source = «0»", &["0 is not between 1 and"], "from 1"),
    case("a rate has a unit", "management = \"192.168.1.7\"", "new_sessions_per_source = «100»", &["100 does not say how long it takes"], "\"100/s\""),
    case("a rate is per second", "management = \"192.168.1.7\"", "new_sessions_per_source = «\"6000/min\"»", &["\"6000/min\" is not a rate per second"], "\"100/s\""),
    case("a rate is a rate", "management = \"192.168.1.7\"", "new_sessions_per_source = «\"fast\"»", &["\"fast\" is not a rate"], "\"100/s\""),
    case("a rate is not nothing", "management = \"192.168.1.7\"", "new_sessions_per_source = «\"0/s\"»", &["\"0/s\" is not between 1/s and"], "\"100/s\""),
    case("a burst belongs to a rate", "management = \"192.168.1.7\"", "new_sessions_burst = «200»", &["`new_sessions_burst` without `new_sessions_per_source`"], "\"100/s\""),
    case("a burst is not nothing", "management = \"192.168.1.7\"", "new_sessions_per_source = \"1/s\"\nnew_sessions_burst = «0»", &["0 is not between 1 and"], "from 1"),
    case("management sources are prefixes", "\"192.168.1.7\"", "«\"admin\"»", &["\"admin\" is not an IPv4 prefix"], "192.168.1.0/24"),
    case("a TCP option is on or off", "management = \"192.168.1.7\"", "tcp_be_liberal = «1»", &["wrong type for `tcp_be_liberal`", "found a number"], "tcp_be_liberal = true"),
    case("a second TCP option is on or off", "management = \"192.168.1.7\"", "tcp_loose = «\"no\"»", &["wrong type for `tcp_loose`", "found a string"], "tcp_loose = true"),
    case("a timeout of a set is known", "udp = \"2m\"", "«udb» = \"2m\"", &["unknown key `udb` in [conntrack.timeout_set.short]"], "did you mean `udp`?"),
    case("a timeout of a set has a unit", "udp = \"2m\"", "udp = «120»", &["120 has no unit"], "\"5m\""),
    case("a set is a table", "[conntrack.timeout_set.short]\nudp = \"2m\"", "[conntrack.timeout_set]\n«short» = \"2m\"", &["wrong type for `short`"], "[conntrack.timeout_set.short]"),
    case("a timeout set exists", "timeouts = \"short\"", "timeouts = «\"shrt\"»", &["there is no timeout set \"shrt\""], "did you mean `short`?"),
    case("a rule of conntrack is a list of tables", "[[conntrack.rule]]", "«[conntrack.rule]»", &["wrong type for `rule`", "found a table"], "two brackets: [[conntrack.rule]]"),
    case("a rule of conntrack does something", "[[conntrack.rule]]\nprotocol = \"udp\"\nport = 53\ntimeouts = \"short\"\nmark = 7", "«[[conntrack.rule]]»\nprotocol = \"udp\"\n[[conntrack.rule]]\ntimeouts = \"short\"", &["[[conntrack.rule]] has neither `timeouts` nor `mark`"], "timeouts = \"short\""),
    case("a rule's interface exists", "mark = 7", "on = «\"lam\"»", &["there is no interface \"lam\""], "did you mean `lan`?"),
    case("a rule's source is a prefix", "mark = 7", "from = «\"192.168.1.1/24\"»", &["bits set behind its prefix length"], "192.168.1.0/24"),
    case("a rule's destination is a prefix", "mark = 7", "to = [«\"dns\"»]", &["\"dns\" is not an IPv4 prefix"], "such as"),
    case("a rule's protocol has a known name", "protocol = \"udp\"", "protocol = [\"udp\", «\"sctpp\"»]", &["\"sctpp\" is none of"], "did you mean \"sctp\"?"),
    case("a rule's protocol has 8 bits", "protocol = \"udp\"\nport = 53", "protocol = «256»", &["256 is not between 0 and 255"], "from 0 to 255"),
    case("a rule's protocol is listed once", "protocol = \"udp\"", "protocol = [\"udp\", «17»]", &["\"17\" is listed twice"], "remove one"),
    case("a rule's port belongs to a protocol", "protocol = \"udp\"\nport = 53", "port = «53»", &["`port` without `protocol`"], "protocol = \"udp\""),
    case("a rule's protocol has ports", "protocol = \"udp\"\nport = 53", "protocol = [\"udp\", \"icmp\"]\nport = «53»", &["ICMP has no ports"], "\"sctp\", \"dccp\" and \"udplite\""),
    case("a rule's port is a port", "port = 53", "port = «\"domain\"»", &["\"domain\" is not a port"], "\"8000-8010\""),
    case("a mark has 32 bits", "mark = 7", "mark = «4294967296»", &["4294967296 is not between 0 and 4294967295"], "from 0"),
    case("a mark is a number", "mark = 7", "mark = «\"0xgg\"»", &["\"0xgg\" is not a number of 32 bits"], "\"0xffffffff\""),
    // Memory.
    case("the memory holds the frames", "workers = 2", "workers = 2\nframes = 1000000\nmemory = «\"64MiB\"»", &["64 MiB are too little for 1000000 frames"], "2319MiB"),
];

/// The text without the marks, and what they enclose: line, column, width.
fn unmark(text: &str) -> (String, Option<(usize, usize, usize)>) {
    let (Some(start), Some(end)) = (text.find('«'), text.find('»')) else { return (text.into(), None) };
    let before = &text[..start];
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    let width = text[start + '«'.len_utf8()..end].chars().count().max(1);
    (text.replace(['«', '»'], ""), Some((before.matches('\n').count() + 1, column, width)))
}

fn errors(text: &str) -> ConfigErrors {
    match config::parse(text, "natgate.toml") {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors,
    }
}

#[test]
fn the_config_that_the_mistakes_are_made_in_is_valid() {
    let checked = config::parse(VALID, "natgate.toml").unwrap();
    assert_eq!(checked.warnings, []);
}

#[test]
fn each_mistake_gives_one_error_at_its_place_with_a_cure() {
    for Case { rule, replace, by, says, cure } in CASES {
        assert!(VALID.contains(replace), "{rule}: nothing to replace");
        let mut marked = VALID.replacen(replace, by, 1);
        // What shares a device has another VLAN; the first interface gets one where a case needs it.
        if rule.contains("vlan is unique") {
            marked = marked.replacen("realm = \"internal\"", "realm = \"internal\"\nvlan = 7", 1);
        }
        if rule.contains("one mac") {
            let with = "realm = \"internal\"\nmac = \"02:00:00:00:00:01\"";
            marked = marked.replacen("realm = \"internal\"", with, 1);
        }
        let (text, place) = unmark(&marked);
        let found = errors(&text);
        assert_eq!(found.errors.len(), 1, "{rule}:\n{found}");
        let error = &found.errors[0];
        if let Some(place) = place {
            let at = (error.place.line, error.place.column, error.place.width);
            assert_eq!(at, place, "{rule}:\n{found}");
        }
        let message = error.what.to_string();
        for part in *says {
            assert!(message.contains(part), "{rule}: {part:?} is not in\n{found}");
        }
        assert!(error.what.cure().contains(cure), "{rule}: {cure:?} is not in\n{found}");
    }
}

#[test]
fn a_file_with_many_mistakes_reports_them_all_in_the_order_of_its_lines() {
    let mut text = VALID.to_owned();
    for (from, to) in [
        ("device = \"af_packet:eth1\"", "device = \"eth1\""),
        ("address = \"192.168.1.1/24\"", "adress = \"192.168.1.1\""),
        ("203.0.113.12\"", "203.0.113.9\""),
        ("\"pool.public\"", "\"pool.private\""),
        ("protocol = \"tcp\"", "protocol = \"sctp\""),
        ("port = 8080", "port = 80800"),
        ("workers = 2", "workers = 3"),
        ("udp = \"5m\"", "udp = 300"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let found = errors(&text);
    let lines: Vec<usize> = found.errors.iter().map(|error| error.place.line).collect();
    assert_eq!(lines, [3, 5, 5, 18, 24, 28, 29, 34, 41], "{found}");
    assert!(found.to_string().contains("the config has 9 errors"), "{found}");
}

#[test]
fn syntax_errors_are_all_reported_with_the_wrong_values_but_not_what_follows_from_them() {
    let text = VALID
        .replacen("\"af_packet:eth1\"", "af_packet:eth1", 1)
        .replacen("out = \"wan\"", "out = wan", 1)
        .replacen("udp = \"5m\"", "udp = 300", 1);
    let found = errors(&text);
    let lines: Vec<usize> = found.errors.iter().map(|error| error.place.line).collect();
    assert_eq!(lines, [3, 23, 41], "{found}");
}

#[test]
fn an_error_shows_the_line_an_underline_and_the_cure() {
    let text = VALID.replacen("address = \"192", "adress = \"192", 1);
    let expected = "\
error: unknown key `adress` in [interface.lan]
  --> natgate.toml:5:1
   |
 5 | adress = \"192.168.1.1/24\"
   | ^^^^^^
   = help: did you mean `address`?
";
    assert_eq!(errors(&text).errors[0].to_string(), expected);
}

#[test]
fn an_error_between_two_lines_names_the_other_line() {
    let text = VALID.replacen("af_packet:eth2", "af_packet:eth1", 1);
    let printed = errors(&text).to_string();
    assert!(printed.contains("natgate.toml:8:10"), "{printed}");
    assert!(printed.contains("see also line 3: device = \"af_packet:eth1\""), "{printed}");

    let (workers, sessions) = ("workers = 2", "max_sessions = 262144");
    let text = VALID.replacen(workers, "workers = 2\nspread = \"flow\"", 1);
    let text = text.replacen(sessions, "max_sessions_per_source = 10", 1);
    let printed = errors(&text).to_string();
    assert!(printed.contains("natgate.toml:38:27"), "{printed}");
    assert!(printed.contains("see also line 34: spread = \"flow\""), "{printed}");
}

#[test]
fn an_empty_file_says_what_it_lacks() {
    let found = errors("");
    assert_eq!(found.errors.len(), 1);
    assert!(found.to_string().contains("[interface.NAME]"), "{found}");
}

#[test]
fn lists_that_workers_go_through_one_by_one_have_a_bound() {
    let management = "management = \"192.168.1.7\"";
    let prefixes = |n: u32| (0..n).map(|n| format!("\"10.0.0.{n}\"")).collect::<Vec<_>>().join(", ");
    let rule = "protocol = \"udp\"\nport = 53\ntimeouts = \"short\"\nmark = 7\n";
    let rules = |n: usize| vec![rule; n].join("[[conntrack.rule]]\n");
    let sets = |n: usize| {
        let header = |n| format!("[conntrack.timeout_set.s{n}]\n");
        (0..n).map(header).collect::<String>() + "[conntrack.timeout_set.short]"
    };
    for (replace, most, by, says) in [
        (
            management,
            format!("management = [{}]", prefixes(64)),
            format!("management = [{}]", prefixes(65)),
            "65 management prefixes are too many",
        ),
        (rule, rules(1024), rules(1025), "1025 rules of conntrack (one a protocol) are too many"),
        ("[conntrack.timeout_set.short]", sets(254), sets(255), "256 timeout sets are too many"),
    ] {
        assert!(VALID.contains(replace));
        assert!(config::parse(&VALID.replacen(replace, &most, 1), "x").is_ok(), "{says}");
        let found = errors(&VALID.replacen(replace, &by, 1));
        assert_eq!(found.errors.len(), 1, "{found}");
        assert!(found.errors[0].what.to_string().contains(says), "{found}");
    }
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_a_warning() {
    for (replace, by, says) in [
        ("udp = \"5m\"", "udp = «\"30s\"»", "below the 2m of RFC 4787 REQ-5"),
        ("udp = \"5m\"", "tcp_established = «\"1h\"»", "below the 2h4m of RFC 5382 REQ-5"),
        ("\"192.168.1.10:80\"", "«\"198.51.100.7:80\"»", "198.51.100.7 is not reached by an internal"),
        (
            "[\"192.168.1.0/24\"]",
            "[\"192.168.1.0/24\", «\"172.16.0.0/12\"»]",
            "no internal interface leads to 172.16.0.0/12",
        ),
        ("source = \"pool.public\"", "source = \"interface\"", "pool \"public\" is used by no rule"),
        (
            "[[dnat]]",
            "[[snat]]\nto = \"8.0.0.0/8\"\nsource = «\"untranslated\"»\n[[dnat]]",
            "leave with their internal addresses",
        ),
        (
            "[[dnat]]",
            "[[snat]]\nprotocol = \"tcp\"\nport = \"80-90\"\n«[[snat]]»\nprotocol = \"tcp\"\nport = [81, 90]\nto = \"8.0.0.0/8\"\n[[dnat]]",
            "never applies",
        ),
        ("[[dnat]]", "«[[snat]]»\nfrom = \"192.168.1.128/25\"\nout = \"wan\"\n[[dnat]]", "never applies"),
        (
            "\"203.0.113.20\"]",
            "«\"192.168.1.100\"»]",
            "lies in 192.168.1.0/24 of the internal interface \"lan\"",
        ),
        ("on = \"wan\"", "on = «\"lan\"»", "\"lan\" is internal"),
        ("\"1024-65535\"", "«\"2000-2126\"»", "pool \"public\" has only 63 ports of each address"),
        (
            "[[snat]]",
            "[pool.f]\naddresses = \"203.0.113.40\"\ndeterministic = { inside = \"192.168.1.0/25\" }\n[[snat]]\nfrom = «\"192.168.1.0/24\"»\nto = \"8.0.0.0/8\"\nsource = \"pool.f\"\n[[snat]]",
            "hosts of 192.168.1.0/24 have no ports in pool \"f\"",
        ),
        (
            "ports = \"1024-65535\"",
            "deterministic = «{ inside = \"192.168.1.0/24\", ports = 63 }»",
            "a host has only 63 ports of pool \"public\"",
        ),
        ("udp = \"2m\"", "udp = «\"30s\"»", "below the 2m of RFC 4787 REQ-5"),
        ("max_sessions = 262144", "max_sessions = «3000»", "only 15 sessions of each of 2 workers are kept"),
        ("max_sessions = 262144", "max_sessions = 3000\nreserve = «\"1%\"»", "only 15 sessions of each"),
        (
            "management = \"192.168.1.7\"",
            "reserve = «\"3%\"»",
            "`adaptive` ends at 98%, but with the reserve the table is full at 97%",
        ),
        (
            "management = \"192.168.1.7\"",
            "half_open = «\"0.04%\"»",
            "only 53 TCP connections of each of 2 workers may be half-open",
        ),
        ("management = \"192.168.1.7\"", "when_full = «\"refuse\"»", "one source can fill the table"),
        (
            "management = \"192.168.1.7\"",
            "max_sessions_per_source = «131072»",
            "a worker's part of the table holds 131072",
        ),
        (
            "management = \"192.168.1.7\"",
            "management = [«\"0.0.0.0/0\"»]",
            "every source is a management source",
        ),
        ("workers = 2\ncpus = [2, 3]", "spread = «\"flow\"»", "`spread` has no meaning with one worker"),
        (
            "workers = 2\ncpus = [2, 3]",
            "steering = «\"port-rules\"»",
            "`steering` has no meaning with one worker",
        ),
        ("workers = 2", "workers = 2\nmetrics = «\"0.0.0.0:9469\"»", "whoever reaches 0.0.0.0:9469 can read"),
        (
            "[[dnat]]",
            "[[ban]]\nfrom = [\"192.0.2.1\", «\"192.168.1.0/28\"»]\n[[dnat]]",
            "the ban of 192.168.1.0/28 takes in 192.168.1.7/32, which is to be never locked out",
        ),
        (
            "[[dnat]]",
            "[[ban]]\nfrom = «\"203.0.0.0/8\"»\nzone = 0\n[[dnat]]",
            "takes in all of 203.0.113.0/24, the network of interface \"wan\"",
        ),
        (
            "timeouts = \"short\"",
            "timeouts = \"short\"\n[conntrack.timeout_set.«long»]\nudp = \"10m\"\n[[conntrack.rule]]\nprotocol = \"tcp\"",
            "timeout set \"long\" is chosen by no rule",
        ),
        (
            "mark = 7",
            "mark = 7\n«[[conntrack.rule]]»\nprotocol = 17\nport = 53\nfrom = \"192.168.1.0/24\"\nmark = 0x10",
            "this rule never applies",
        ),
    ] {
        let (text, place) = unmark(&VALID.replacen(replace, by, 1));
        let checked = config::parse(&text, "natgate.toml").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(checked.warnings.len(), 1, "{says}: {:?}", checked.warnings);
        let warning = &checked.warnings[0];
        assert!(warning.what.to_string().contains(says), "{says}: {warning}");
        if let Some(place) = place {
            let at = (warning.place.line, warning.place.column, warning.place.width);
            assert_eq!(at, place, "{warning}");
        }
    }
}
