//! Raw bindings of the system's DPDK.
