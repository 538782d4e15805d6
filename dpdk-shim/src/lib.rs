//! Raw bindings of the system's DPDK, as natgate needs them. Nothing in here is safe.
//!
//! The bindings are of `shim.h` alone: DPDK's own headers are read by the C compiler only, so that whatever
//! changes between DPDK versions (structure layouts, names, static inlines) stays in `shim.c`. The contract of
//! each function is the comment in `shim.h`.

#![allow(unsafe_code, missing_docs, unreachable_pub)]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(unsafe_op_in_unsafe_fn)]
#![allow(clippy::all, clippy::ptr_as_ptr, clippy::undocumented_unsafe_blocks)]
#![allow(clippy::multiple_unsafe_ops_per_block)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
