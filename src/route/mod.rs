//! Where a packet goes next: longest prefix match and neighbours. Pure.
//!
//! | file | what |
//! |---|---|
//! | [`lpm`] | longest prefix match, immutable |
//! | [`zoned`] | the route tables of a snapshot: which routes packets of which zone see |
//! | [`neighbor_table`] | a worker's copy of the resolved neighbours |
//! | [`neighbors`] | the management core's ARP state machine (RFC 826, RFC 1122 2.3.2) |

pub mod lpm;
pub mod neighbor_table;
pub mod neighbors;
pub mod zoned;

pub use lpm::{NextHop, RouteTable};
pub use neighbor_table::NeighborTable;
pub use zoned::{ZonedRoute, ZonedRoutes};
