//! The keys of `[runtime]`.

use super::{Key, default, optional};

pub(super) static RUNTIME: &[Key] = &[
    optional("workers", "1 to 64", "one a CPU in `cpus`, else 1", "2", "Poll-mode workers."),
    optional(
        "cpus",
        "list of CPU numbers, 0 to 1023",
        "the last CPUs that the process may use",
        "[2, 3]",
        "CPUs to pin the workers to, one each.",
    ),
    default(
        "spread",
        "`\"source\"` or `\"flow\"`",
        "\"source\"",
        "\"flow\"",
        "What decides which worker a packet from inside goes to: its source, so that a host has one worker, or its addresses and ports, so that a busy host has all of them. `\"flow\"` and limits per source exclude each other.",
    ),
    default(
        "steering",
        "`\"auto\"`, `\"port-rules\"` or `\"software\"`",
        "\"auto\"",
        "\"software\"",
        "How packets reach their worker (see steering.md): as well as the NICs can; by external port, with rules of the NICs; or by handoff alone, with nothing asked of the NICs.",
    ),
    default(
        "poll",
        "`\"busy\"` or `\"adaptive\"`",
        "\"busy\"",
        "\"adaptive\"",
        "What an idle worker does: poll on (lowest latency, its CPU at 100 %) or sleep for a moment (demos, virtual machines).",
    ),
    default(
        "control",
        "path",
        "\"/run/natgate/control.sock\"",
        "\"/run/natgate/control.sock\"",
        "The control socket; at most 107 bytes, absolute.",
    ),
    optional(
        "control_group",
        "group name",
        "only the user that natgate runs as, and root",
        "\"adm\"",
        "Group whose members may use the control socket too, for everything that it offers.",
    ),
    optional(
        "metrics",
        "address:port",
        "no TCP listener",
        "\"127.0.0.1:9469\"",
        "Where the read-only part of the API (metrics, health, lists) listens on TCP. It has no authentication: who reaches it reads it.",
    ),
    default(
        "state",
        "path",
        "\"/var/lib/natgate\"",
        "\"/var/lib/natgate\"",
        "Directory for the revisions of the config, which `natgate rollback` goes back to; absolute.",
    ),
    optional(
        "frames",
        "1024 to 16777216",
        "4096 for each worker and device, 8192 with AF_XDP, at least 16384",
        "32768",
        "Frames in the packet pool of all devices together.",
    ),
    optional("memory", "size", "as much as the frames need", "\"512MiB\"", "Memory for DPDK."),
    default("eal", "list of strings", "[]", "[\"--log-level=eal,8\"]", "Further arguments for DPDK's EAL."),
    default(
        "icmp_errors_per_second",
        "0 to 1000000",
        "1000",
        "1000",
        "ICMP errors that natgate itself makes, all workers together; 0 makes none.",
    ),
];
