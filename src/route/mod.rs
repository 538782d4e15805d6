//! Where a packet goes next: longest prefix match and neighbours. Pure.
//!
//! | file | what |
//! |---|---|
//! | [`lpm`] | the route table of a snapshot, immutable |
//! | [`neighbor_table`] | a worker's copy of the resolved neighbours |
//! | [`neighbors`] | the management core's ARP state machine (RFC 826, RFC 1122 2.3.2) |

pub mod lpm;
pub mod neighbor_table;
pub mod neighbors;

pub use lpm::{NextHop, RouteTable};
pub use neighbor_table::NeighborTable;
