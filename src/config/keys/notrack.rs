//! The keys of `[set.NAME]` and `[[notrack]]`.

use super::{BOOLEAN, COMMENT, Key, PREFIXES, PROTOCOLS, ZONE, default, optional, required};

const MEMBERS: &str = "prefix, `\"set.NAME\"`, or a list of them";
const PORTS: &str = "port, port range, or a list of them";

pub(super) static SET: &[Key] = &[required(
    "prefixes",
    PREFIXES,
    "[\"10.0.0.0/16\", \"192.0.2.7\"]",
    "The addresses; an empty list means nobody.",
)];

pub(super) static NOTRACK: &[Key] = &[
    required(
        "name",
        "name",
        "\"sessions-cache\"",
        "What the class is called in all output; no two have one name.",
    ),
    optional(
        "preset",
        "`\"vxlan\"`, `\"geneve\"`, `\"memcached\"`, `\"dns\"` or `\"quic-lb\"`",
        "no preset",
        "\"memcached\"",
        "Fills what the class does not say of `protocol`, `port`, `from_port` and `peers`; see below.",
    ),
    optional(
        "on",
        "interface name or list of names",
        "any interface",
        "\"wan\"",
        "The interfaces that clients' packets come in by.",
    ),
    optional("zone", ZONE, "any zone", "0", "Zone that clients' packets come in from."),
    default(
        "from",
        MEMBERS,
        "[]",
        "[\"10.0.0.0/8\", \"192.0.2.7\"]",
        "The clients; an empty list means any.",
    ),
    optional(
        "from_port",
        PORTS,
        "any port",
        "\"1024-65535\"",
        "Clients' ports; only with protocols that have ports.",
    ),
    default(
        "to",
        MEMBERS,
        "[]",
        "\"203.0.113.9\"",
        "The service, as clients address it; an empty list means any.",
    ),
    optional(
        "to_zone",
        ZONE,
        "the zone in which a route leads inside to the service; required if there are several",
        "0",
        "Zone that the service is in.",
    ),
    optional("port", PORTS, "any port", "11211", "The service's ports; only with protocols that have ports."),
    optional(
        "protocol",
        PROTOCOLS,
        "any protocol",
        "[\"tcp\", \"udp\"]",
        "Protocol, by name or IANA number.",
    ),
    optional(
        "tcp_flags",
        "flag, flag with `!`, or a list of them",
        "any flags",
        "[\"syn\", \"!ack\"]",
        "Flags that a client's packet has, or with `!` has not: `fin`, `syn`, `rst`, `psh`, `ack`, `urg`. Only with `protocol = \"tcp\"` and `symmetric = false`, since answers have other flags.",
    ),
    default(
        "action",
        "`\"forward\"` or `\"drop\"`",
        "\"forward\"",
        "\"drop\"",
        "What becomes of the packets.",
    ),
    optional(
        "translate_to",
        "address or prefix",
        "`to` stays",
        "\"192.168.1.20\"",
        "What `to` becomes, one to one: `to` is then one prefix of the same length. Answers come from `to` again. Ports stay.",
    ),
    optional(
        "translate_from",
        "address or prefix",
        "`from` stays",
        "\"203.0.113.64/26\"",
        "What `from` becomes, one to one: `from` is then one prefix of the same length. Answers go to `from` again. Ports stay.",
    ),
    default(
        "untranslated",
        BOOLEAN,
        "false",
        "true",
        "Internal sources may leave by external interfaces as they are, since they are valid there. If not, such packets are dropped as `notrack_untranslated`.",
    ),
    default("symmetric", BOOLEAN, "true", "false", "Take in answers too."),
    optional(
        "peers",
        BOOLEAN,
        "as the preset says, else `false`",
        "true",
        "Both sides send to `port`, as tunnels do, so that answers come back to it.",
    ),
    default(
        "policy",
        "`\"open\"` or `\"allow-listed\"`",
        "\"open\"",
        "\"allow-listed\"",
        "What becomes of packets between the service and others than `from`: they are not of this class, or they are dropped, both ways.",
    ),
    default(
        "opened_by",
        "`\"clients\"` or `\"either\"`",
        "\"clients\"",
        "\"either\"",
        "Which side opens TCP connections: a SYN without ACK from the service is dropped, or not.",
    ),
    default(
        "existing",
        "`\"keep\"` or `\"release\"`",
        "\"keep\"",
        "\"release\"",
        "What becomes of sessions that are in the table when the class appears: they go on until they end, or are deleted.",
    ),
    COMMENT,
];
