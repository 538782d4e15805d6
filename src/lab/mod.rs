//! A laboratory of network namespaces: real kernels, real clients, and the gateway between them.
//!
//! Used by `natgate demo` and by the tests with traffic. Everything that it makes lives in namespaces of its own
//! and is taken down when its owner is dropped, also on Ctrl-C; nothing of the machine's own network is touched.
//! It drives the programs `ip`, `ethtool`, `nft`, `setpriv` and `prlimit`, and the clients `ping`, `curl`, `iperf3`
//! and `traceroute`. Every command has a bound on its time, and every error names the command and what it said.
//!
//! | file | what it is |
//! |---|---|
//! | [`command`] | running programs with a bound on their time |
//! | [`namespace`] | namespaces and their end |
//! | [`link`] | veth pairs and bridges |
//! | [`topology`] | the networks of the experiments |
//! | [`gateway`] | natgate, or the kernel as the reference, in the middle |
//! | [`traffic`] | clients, and what must be seen |
//! | [`peer`] | the servers and clients that natgate brings itself |

pub mod command;
pub mod error;
pub mod gateway;
pub mod link;
pub mod namespace;
pub mod peer;
pub mod topology;
pub mod traffic;

pub use command::{Background, Output};
pub use error::LabError;
pub use gateway::{DeviceKind, Gateway, GatewayOptions};
pub use namespace::{Lab, Namespace};
pub use topology::Site;
