//! The keys of pools and of `[masquerade]` that say how what is translated is mapped and filtered.

use super::{Key, PREFIXES, ZONE, default, optional, required};

const DEPENDENCE: &str = "`\"endpoint-independent\"`, `\"address-dependent\"` or `\"address-and-port-dependent\"`; one for all, or a table by protocol: `{ tcp = …, udp = …, icmp = … }`";

pub(super) static BEHAVIOR: &[Key] = &[
    optional(
        "mapping",
        DEPENDENCE,
        "`\"endpoint-independent\"`; `\"address-and-port-dependent\"` where `runtime.spread` is `\"flow\"`",
        "\"address-and-port-dependent\"",
        "On what of the remote end it depends which external port a source gets (RFC 4787 section 4.1). `icmp` also stands for SCTP, DCCP and UDP-Lite.",
    ),
    optional(
        "filtering",
        DEPENDENCE,
        "`\"address-dependent\"`; `\"address-and-port-dependent\"` where `runtime.spread` is `\"flow\"`",
        "{ tcp = \"address-and-port-dependent\", udp = \"endpoint-independent\" }",
        "On what of the remote end it depends whether it may open a session to such a port (RFC 4787 section 5).",
    ),
    default(
        "pooling",
        "`\"paired\"` or `\"arbitrary\"`",
        "\"paired\"",
        "\"arbitrary\"",
        "Whether all sessions of a host are translated to one address of the pool, or each to any that has a free port (RFC 4787 REQ-2).",
    ),
    default(
        "hold_down",
        "duration, or `\"0s\"` for none",
        "\"2m\"",
        "\"5s\"",
        "How long a freed port rests before it is given out again, where filtering is endpoint-independent (RFC 6888 REQ-8). That of a TCP connection that both ends have closed does not rest.",
    ),
    optional(
        "ports_per_subscriber",
        "1 to 65536, or a table by protocol: `{ tcp = …, udp = …, icmp = … }`",
        "any number",
        "512",
        "Ports that one host may hold, of each protocol (RFC 6888 REQ-4), where each port is one mapping's. Where mapping and filtering both depend on address and port, limit sessions instead: `conntrack.max_sessions_per_source`.",
    ),
];

pub(super) static SHARING: &[Key] = &[
    optional(
        "port_blocks",
        "table: `{ size = …, per_subscriber = …, idle = … }`",
        "ports are given one at a time",
        "{ size = 256, per_subscriber = 8 }",
        "Each host gets blocks of ports, which are his while he needs them; one record says who has which (RFC 6888 REQ-14): see [port-blocks.md](port-blocks.md).",
    ),
    optional(
        "deterministic",
        "table: `{ inside = …, ports = …, zone = … }`",
        "ports are given to whoever needs one",
        "{ inside = \"192.168.1.0/24\" }",
        "Each host has ports of its own by arithmetic, so that nothing has to be recorded (RFC 7422): see [port-blocks.md](port-blocks.md).",
    ),
];

pub(super) static PORT_BLOCKS: &[Key] = &[
    default(
        "size",
        "64, 128, 256, 512 or 1024",
        "512",
        "256",
        "Ports of a block, of each protocol. It begins at a multiple of its size and lies wholly among the `ports` of the pool.",
    ),
    default(
        "per_subscriber",
        "1 to 64",
        "4",
        "2",
        "Blocks that one host may have at once. When they are full new flows are refused (`subscriber_ports_limit`).",
    ),
    default(
        "idle",
        "duration, or `\"0s\"` for none",
        "\"10m\"",
        "\"1h\"",
        "How long a block stays with its host after the last of its ports was freed and has rested.",
    ),
];

pub(super) static DETERMINISTIC: &[Key] = &[
    required(
        "inside",
        PREFIXES,
        "\"192.168.1.0/24\"",
        "The hosts, in the order in which they are numbered; every address of a prefix counts. Others are refused (`no_rule`).",
    ),
    optional(
        "ports",
        "1 to 64512",
        "as many as there are for all",
        "500",
        "Ports of each host, of each protocol.",
    ),
    optional(
        "zone",
        ZONE,
        "the only one with internal interfaces; required if there are several",
        "0",
        "Zone that the hosts are in.",
    ),
];

pub(super) static PER_PROTOCOL: &[Key] = &[
    optional("tcp", "as where the table stands", "the default", "\"address-dependent\"", "For TCP."),
    optional("udp", "as where the table stands", "the default", "\"address-dependent\"", "For UDP."),
    optional(
        "icmp",
        "as where the table stands",
        "the default",
        "\"address-dependent\"",
        "For ICMP queries, SCTP, DCCP and UDP-Lite.",
    ),
];
