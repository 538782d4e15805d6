//! Every section and key of the config file, declared once: what the reader accepts, what it suggests for a
//! misspelt key, and what `docs/config.md` says.
//!
//! A default stands here as the TOML that a user would write; a test reads it back and compares it with what
//! the parser does when the key is absent.

mod alg;
mod behavior;
mod conntrack;
mod health;
mod notrack;
mod runtime;

use std::borrow::Cow;

/// A table of the config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// The file itself: its keys are the other sections.
    File,
    /// `[interface.NAME]`
    Interface,
    /// `[[route]]`
    Route,
    /// `[pool.NAME]`
    Pool,
    /// `[pool.NAME.port_blocks]`
    PortBlocks,
    /// `[pool.NAME.deterministic]`
    Deterministic,
    /// `[masquerade]`
    Masquerade,
    /// `{ tcp = …, udp = …, icmp = … }`
    PerProtocol,
    /// `[[static]]`
    Static,
    /// `[[snat]]`
    Snat,
    /// `[[dnat]]`
    Dnat,
    /// `[[dnat.to]]`
    Backend,
    /// `[dnat.health]`
    Health,
    /// `[[ban]]`
    Ban,
    /// `[set.NAME]`
    Set,
    /// `[[notrack]]`
    Notrack,
    /// `[runtime]`
    Runtime,
    /// `[conntrack]`
    Conntrack,
    /// `[conntrack.timeouts]`
    Timeouts,
    /// `[conntrack.timeout_set.NAME]`
    TimeoutSet,
    /// `[[conntrack.rule]]`
    TrackRule,
    /// `[alg]`
    Alg,
    /// `[alg.ftp]`
    AlgFtp,
    /// `[alg.tftp]`
    AlgTftp,
}

/// Whether a key must be there, and what holds when it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Must be given.
    Required,
    /// May be left out, which means what the text says.
    Optional(&'static str),
    /// May be left out and is then this TOML value.
    Default(Cow<'static, str>),
}

/// A key of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// Its type, in words.
    pub kind: &'static str,
    /// Whether it must be there.
    pub presence: Presence,
    /// A TOML value that it may have.
    pub example: Cow<'static, str>,
    /// What it does.
    pub help: &'static str,
}

const fn key(
    name: &'static str,
    kind: &'static str,
    presence: Presence,
    example: &'static str,
    help: &'static str,
) -> Key {
    Key { name, kind, presence, example: Cow::Borrowed(example), help }
}

const fn required(name: &'static str, kind: &'static str, example: &'static str, help: &'static str) -> Key {
    key(name, kind, Presence::Required, example, help)
}

const fn optional(
    name: &'static str,
    kind: &'static str,
    absent: &'static str,
    example: &'static str,
    help: &'static str,
) -> Key {
    key(name, kind, Presence::Optional(absent), example, help)
}

const fn default(
    name: &'static str,
    kind: &'static str,
    value: &'static str,
    example: &'static str,
    help: &'static str,
) -> Key {
    key(name, kind, Presence::Default(Cow::Borrowed(value)), example, help)
}

const ZONE: &str = "0 to 65535";
const PREFIXES: &str = "prefix or list of prefixes";
const MEMBERS: &str = "prefix, `\"set.NAME\"`, or a list of them";
const PORTS: &str = "port, port range, or a list of them";
const COMMENT: Key = optional(
    "comment",
    "text",
    "no comment",
    "\"ticket 4711\"",
    "For whoever reads the file; natgate does nothing with it.",
);
const BOOLEAN: &str = "`true` or `false`";
const PROTOCOLS: &str = "`\"tcp\"`, `\"udp\"`, `\"icmp\"`, `\"sctp\"`, `\"dccp\"`, `\"udplite\"`, `\"gre\"`, `\"esp\"`, a number, or a list of them";

static FILE: &[Key] = &[
    required("interface", "tables", "{}", "The gateway's interfaces, one table each: `[interface.NAME]`."),
    optional("route", "list of tables", "connected routes only", "[]", "Static routes: `[[route]]`."),
    optional("pool", "tables", "no pool", "{}", "Pools of external addresses: `[pool.NAME]`."),
    optional(
        "masquerade",
        "table",
        "the defaults",
        "{}",
        "How what is translated to interfaces' own addresses is mapped and filtered: `[masquerade]`.",
    ),
    optional(
        "static",
        "list of tables",
        "no address is translated one to one",
        "[]",
        "Addresses and networks that are translated one to one: `[[static]]`.",
    ),
    optional(
        "snat",
        "list of tables",
        "no source is translated",
        "[]",
        "Source translation, first match decides: `[[snat]]`.",
    ),
    optional(
        "dnat",
        "list of tables",
        "no port is forwarded",
        "[]",
        "Destination translation, first match decides: `[[dnat]]`.",
    ),
    optional(
        "ban",
        "list of tables",
        "nobody is banned",
        "[]",
        "Sources that may open no session: `[[ban]]`.",
    ),
    optional("set", "tables", "no set", "{}", "Prefixes under a name, for rules and classes: `[set.NAME]`."),
    optional(
        "notrack",
        "list of tables",
        "every packet needs a session",
        "[]",
        "Packets that pass without a session, first match decides: `[[notrack]]`.",
    ),
    optional(
        "runtime",
        "table",
        "the defaults",
        "{}",
        "Workers, CPUs, memory, the control socket: `[runtime]`.",
    ),
    optional("conntrack", "table", "the defaults", "{}", "The session table: `[conntrack]`."),
    optional(
        "alg",
        "table",
        "no payload is read",
        "{}",
        "Application level gateways, for FTP and TFTP: `[alg]`.",
    ),
];

static INTERFACE: &[Key] = &[
    required(
        "device",
        "device",
        "\"af_packet:eth1\"",
        "The NIC: a PCI address (`\"0000:01:00.0\"`), `\"af_packet:IFACE\"`, `\"af_xdp:IFACE\"`, `\"tap:NAME\"`, `\"memif:SOCKET[,server]\"` or `\"vdev:…\"` in DPDK's words. Interfaces may share a device when their `vlan` differs.",
    ),
    required(
        "realm",
        "`\"internal\"` or `\"external\"`",
        "\"internal\"",
        "The side that it faces: internal addresses are translated on their way out of an external interface.",
    ),
    optional(
        "address",
        "address with prefix length",
        "`addresses` is given",
        "\"192.168.1.1/24\"",
        "The gateway's address here. Exactly one of `address` and `addresses` is given.",
    ),
    optional(
        "addresses",
        "list of addresses with prefix length",
        "`address` is given",
        "[\"203.0.113.2/24\", \"203.0.113.3/24\"]",
        "Several addresses; the first is the primary one, which masquerading and `on = \"NAME\"` use.",
    ),
    optional(
        "gateway",
        "address",
        "no default route by this interface",
        "\"203.0.113.1\"",
        "Default gateway: short for a `[[route]]` to `0.0.0.0/0`. It lies in one of the interface's prefixes.",
    ),
    default("mtu", "bytes, 576 to 9216", "1500", "9000", "Largest IPv4 packet."),
    default(
        "icmp_errors",
        BOOLEAN,
        "true",
        "false",
        "Whether the gateway makes ICMP errors about packets that come in here (RFC 5508 REQ-9). With `false` it is silent: no time exceeded, no fragmentation needed (path MTU discovery then fails), no unreachable. Errors of others pass.",
    ),
    optional(
        "mss_clamp",
        "`\"auto\"`, or bytes, 536 to 9176",
        "no SYN is changed",
        "\"auto\"",
        "Largest TCP segment that a SYN which comes in or leaves here may offer; a larger one is lowered to it, a smaller one stays. `\"auto\"`: `mtu` less 40.",
    ),
    default(
        "unsolicited_syn",
        "`\"unreachable\"` or `\"silent\"`",
        "\"unreachable\"",
        "\"silent\"",
        "What is said to who opens a TCP or DCCP connection from here to an external address and a port that nobody waits for: port unreachable after six seconds, if no connection the other way began meanwhile (RFC 5382 REQ-4), or nothing at all.",
    ),
    optional("vlan", "1 to 4094", "untagged frames", "100", "802.1Q VLAN id. Unique on its device."),
    default(
        "zone",
        ZONE,
        "0",
        "1",
        "Address space that the interface lies in. Networks of interfaces in different zones may overlap.",
    ),
    optional(
        "mac",
        "Ethernet address",
        "the device's own",
        "\"02:00:00:00:00:01\"",
        "Ethernet address of the device. Interfaces on one device share it.",
    ),
];

static ROUTE: &[Key] = &[
    required("to", "prefix", "\"10.0.0.0/8\"", "Destination; the longest prefix that matches decides."),
    required(
        "via",
        "address",
        "\"192.168.1.254\"",
        "Next hop; lies in a prefix of an interface, which is thereby the interface of the route.",
    ),
    optional(
        "zone",
        ZONE,
        "that of the interface; required if `via` lies in networks of several zones",
        "0",
        "Zone that the next hop is in.",
    ),
];

static POOL: &[Key] = &[
    required(
        "addresses",
        "address, range, prefix, or a list of them",
        "[\"203.0.113.10-203.0.113.12\", \"203.0.113.64/28\"]",
        "External addresses (at most 4096 in all pools together). natgate answers ARP for those that lie in a connected prefix; the others must be routed to it.",
    ),
    default(
        "ports",
        "port range",
        "\"1024-65535\"",
        "\"2048-65535\"",
        "Ports, and identifiers of ICMP queries, that may be allocated.",
    ),
];

static STATIC: &[Key] = &[
    required(
        "external",
        "address or prefix",
        "\"203.0.113.96\"",
        "What the hosts are outside. natgate answers ARP for those of the addresses that lie in a connected prefix; the others must be routed to it.",
    ),
    required(
        "internal",
        "address or prefix",
        "\"192.168.1.64\"",
        "What they are inside: a prefix of the same length, whose addresses are mapped one by one.",
    ),
    optional(
        "zone",
        ZONE,
        "the zone in which a route leads inside to `internal`; required if there are several",
        "0",
        "Zone that the hosts are in.",
    ),
    optional(
        "on",
        "interface name",
        "any external interface",
        "\"wan\"",
        "The external interface that their packets leave by. What leaves by others is for `[[snat]]`.",
    ),
    default(
        "inbound",
        BOOLEAN,
        "true",
        "false",
        "Whether sessions may be opened to the hosts from outside, and from inside by their external addresses; `false`: only answers come in.",
    ),
    COMMENT,
];

static SNAT: &[Key] = &[
    optional(
        "on",
        "interface name or list of names",
        "any internal interface",
        "\"lan\"",
        "The internal interfaces that the packet comes in by.",
    ),
    optional("zone", ZONE, "any zone", "0", "Zone that the packet comes in from."),
    default(
        "from",
        MEMBERS,
        "[]",
        "[\"192.168.1.0/24\"]",
        "Sources that the rule applies to; an empty list means any.",
    ),
    optional(
        "from_port",
        PORTS,
        "any port",
        "\"1024-65535\"",
        "Source ports; only with protocols that have ports.",
    ),
    default(
        "to",
        MEMBERS,
        "[]",
        "\"198.51.100.0/24\"",
        "Destinations that the rule applies to; an empty list means any.",
    ),
    optional(
        "port",
        PORTS,
        "any port",
        "[25, \"8000-8010\"]",
        "Destination ports; only with protocols that have ports.",
    ),
    optional("protocol", PROTOCOLS, "any protocol", "\"tcp\"", "Protocols that the rule applies to."),
    optional(
        "out",
        "interface name",
        "any external interface",
        "\"wan\"",
        "The external interface that the packet leaves by.",
    ),
    default(
        "source",
        "`\"interface\"`, `\"pool.NAME\"` or `\"untranslated\"`",
        "\"interface\"",
        "\"untranslated\"",
        "What the source becomes: the primary address of the interface that the packet leaves by (masquerade), or an address of a pool; or it stays as it is, an internal address outside (RFC 6888 REQ-6; see below).",
    ),
    optional(
        "mss_clamp",
        "bytes, 536 to 9176",
        "what the interfaces say",
        "1360",
        "Largest TCP segment that a SYN or its answer may offer in connections of this rule, where the path behind is narrower than the interfaces' own links. The smallest of this and the `mss_clamp` of both interfaces counts.",
    ),
    COMMENT,
];

static DNAT: &[Key] = &[
    optional(
        "on",
        "interface name",
        "`address` is given",
        "\"wan\"",
        "Translate what is sent to this interface's primary address; an internal interface's can only be reached from inside. Exactly one of `on` and `address` is given.",
    ),
    optional(
        "address",
        "address",
        "`on` is given",
        "\"203.0.113.9\"",
        "Translate what is sent to this address. natgate answers ARP for it if it lies in a connected prefix; if not, it must be routed to natgate.",
    ),
    required("protocol", "`\"tcp\"`, `\"udp\"` or a list of both", "\"tcp\"", "Transport protocol."),
    required(
        "port",
        "port or port range",
        "8080",
        "The port that clients use; a range is written `\"8000-8010\"`.",
    ),
    required(
        "to",
        "address or address:port, table, or list of them",
        "\"192.168.1.10:80\"",
        "The backend. Without a port it gets the port that the client used; a range of ports is mapped one by one from the port given. Of several, each client gets one: see `[[dnat.to]]`.",
    ),
    default(
        "affinity",
        "`\"connection\"` or `\"source\"`",
        "\"connection\"",
        "\"source\"",
        "Which sessions go to the same one of several backends: `\"source\"` sends all of a client's address to one, also those to other rules with the same backends.",
    ),
    optional(
        "affinity_timeout",
        "duration",
        "a source has the backend that the hash says",
        "\"30m\"",
        "With `affinity = \"source\"`: so long after it last opened a session a source keeps the backend that it had, also when others come, come back or change their weights.",
    ),
    optional(
        "health",
        "table",
        "backends are taken to be there",
        "{}",
        "Ask the backends whether they are there, and send no new session to one that does not answer: `[dnat.health]`.",
    ),
    optional(
        "zone",
        ZONE,
        "the zone in which a route leads inside to `to`; required if there are several",
        "0",
        "Zone that the backend is in.",
    ),
    optional(
        "source",
        "`\"interface\"` or `\"pool.NAME\"`",
        "the source is kept",
        "\"interface\"",
        "Translate the source too (full NAT), so that the backend needs no route back through natgate.",
    ),
    default(
        "syn_proxy",
        BOOLEAN,
        "false",
        "true",
        "Answer handshakes with SYN cookies (RFC 4987): the backend and the session table see only clients that complete them. TCP only.",
    ),
    default(
        "drain",
        BOOLEAN,
        "false",
        "true",
        "Make no new session: those that there are go on until they end. For a backend that is to be taken away.",
    ),
    COMMENT,
];

static BACKEND: &[Key] = &[
    required("address", "address or address:port", "\"192.168.1.11:80\"", "The backend, as in `to`."),
    default(
        "weight",
        "1 to 100",
        "1",
        "3",
        "Its part of the new sessions, against the weights of the other backends.",
    ),
    default(
        "drain",
        BOOLEAN,
        "false",
        "true",
        "It gets no new session: those that it has go on until they end.",
    ),
];

static BAN: &[Key] = &[
    required(
        "from",
        MEMBERS,
        "[\"198.51.100.0/24\", \"192.0.2.7\"]",
        "The sources, on whichever side they are.",
    ),
    optional("zone", ZONE, "any zone", "0", "Zone that the packet comes in from."),
    COMMENT,
];

impl Section {
    /// Every section, in the order of the documentation.
    pub const ALL: &'static [Section] = &[
        Section::File,
        Section::Interface,
        Section::Route,
        Section::Pool,
        Section::PortBlocks,
        Section::Deterministic,
        Section::Masquerade,
        Section::Static,
        Section::Snat,
        Section::Dnat,
        Section::Backend,
        Section::Health,
        Section::Ban,
        Section::Set,
        Section::Notrack,
        Section::Runtime,
        Section::Conntrack,
        Section::Timeouts,
        Section::TimeoutSet,
        Section::TrackRule,
        Section::Alg,
        Section::AlgFtp,
        Section::AlgTftp,
    ];

    /// The header as the user writes it.
    pub fn header(self) -> &'static str {
        match self {
            Section::File => "the file",
            Section::Interface => "[interface.NAME]",
            Section::Route => "[[route]]",
            Section::Pool => "[pool.NAME]",
            Section::PortBlocks => "[pool.NAME.port_blocks]",
            Section::Deterministic => "[pool.NAME.deterministic]",
            Section::Masquerade => "[masquerade]",
            Section::PerProtocol => "{ tcp, udp, icmp }",
            Section::Static => "[[static]]",
            Section::Snat => "[[snat]]",
            Section::Dnat => "[[dnat]]",
            Section::Backend => "[[dnat.to]]",
            Section::Health => "[dnat.health]",
            Section::Ban => "[[ban]]",
            Section::Set => "[set.NAME]",
            Section::Notrack => "[[notrack]]",
            Section::Runtime => "[runtime]",
            Section::Conntrack => "[conntrack]",
            Section::Timeouts => "[conntrack.timeouts]",
            Section::TimeoutSet => "[conntrack.timeout_set.NAME]",
            Section::TrackRule => "[[conntrack.rule]]",
            Section::Alg => "[alg]",
            Section::AlgFtp => "[alg.ftp]",
            Section::AlgTftp => "[alg.tftp]",
        }
    }

    /// The keys that it may hold.
    pub fn keys(self) -> Cow<'static, [Key]> {
        Cow::Borrowed(match self {
            Section::File => FILE,
            Section::Interface => INTERFACE,
            Section::Route => ROUTE,
            Section::Pool => return Cow::Owned([POOL, behavior::BEHAVIOR, behavior::SHARING].concat()),
            Section::PortBlocks => behavior::PORT_BLOCKS,
            Section::Deterministic => behavior::DETERMINISTIC,
            Section::Masquerade => behavior::BEHAVIOR,
            Section::PerProtocol => behavior::PER_PROTOCOL,
            Section::Static => STATIC,
            Section::Snat => SNAT,
            Section::Dnat => DNAT,
            Section::Backend => BACKEND,
            Section::Health => health::HEALTH,
            Section::Ban => BAN,
            Section::Set => notrack::SET,
            Section::Notrack => notrack::NOTRACK,
            Section::Runtime => runtime::RUNTIME,
            Section::Conntrack => conntrack::CONNTRACK,
            Section::TrackRule => conntrack::RULE,
            Section::Alg => alg::ALG,
            Section::AlgFtp => alg::FTP,
            Section::AlgTftp => alg::TFTP,
            Section::Timeouts => return Cow::Owned(conntrack::timeouts()),
            Section::TimeoutSet => return Cow::Owned(conntrack::timeout_set()),
        })
    }

    /// The section's table in Markdown, as `docs/config.md` holds it.
    pub fn markdown(self) -> String {
        let mut out = String::from("| key | type | default | meaning |\n|---|---|---|---|\n");
        if self == Section::TimeoutSet {
            // The same thirty rows would say nothing new.
            return out + conntrack::TIMEOUT_SET_ROW;
        }
        for key in self.keys().iter() {
            let absent = match &key.presence {
                Presence::Required => "required".to_owned(),
                Presence::Optional(meaning) => (*meaning).to_owned(),
                Presence::Default(value) => format!("`{value}`"),
            };
            out += &format!("| `{}` | {} | {absent} | {} |\n", key.name, key.kind, key.help);
        }
        out
    }
}
