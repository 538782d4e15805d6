//! The keys of pools and of `[masquerade]` that say how what is translated is mapped and filtered.

use super::{Key, default, optional};

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
