//! The gateway that fits the generator's default addresses: its config, and one in this process.
//!
//! [`config()`] is what `natgate bench config` prints and what [`InProcess`] runs: two interfaces, a route to the clients, a
//! pool with room for the sessions. [`InProcess`] is what `natgate run` starts ([`Gateway`]), over devices in memory: one
//! worker and the management core on threads of their own.

use super::ring::RingDevice;
use crate::config;
use crate::ids::{MacAddr, WorkerId};
use crate::management::commands::{BATCH, SessionName};
use crate::runtime::{Gateway, GatewayError};
use crate::steering::Steering;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Frames in each ring between the generator and the gateway.
const RING: usize = 1024;
/// How long removing the sessions may stand still.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions that an external address of the pool is good for: its ports, with some to spare.
const PER_ADDRESS: u32 = 60_000;
/// The pool's addresses (RFC 6598: they are nobody's) and the most that there can be.
const POOL: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const POOL_MOST: u32 = 1024;
/// The gateway's Ethernet addresses in this process.
const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 1, 2])];

/// The networks around the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Networks {
    /// The generator's address inside, with the length of the network's prefix.
    pub inside: Ipv4Net,
    /// The gateway's address inside.
    pub inside_gateway: Ipv4Addr,
    /// The generator's address outside.
    pub outside: Ipv4Net,
    /// The gateway's address outside.
    pub outside_gateway: Ipv4Addr,
    /// The clients, behind the generator's address inside.
    pub clients: Ipv4Net,
}

/// A config for these networks with room for so many sessions; `devices` are the gateway's, as a config names them.
pub fn config(networks: &Networks, devices: [&str; 2], sessions: u32) -> String {
    let Networks { inside, inside_gateway, outside, outside_gateway, clients } = networks;
    let addresses = sessions.div_ceil(PER_ADDRESS).clamp(1, POOL_MOST).next_power_of_two();
    let pool = 32 - addresses.trailing_zeros();
    let [internal, external] = devices;
    let (in_len, out_len) = (inside.prefix_len(), outside.prefix_len());
    format!(
        r#"# For `natgate bench`: the generator plays the clients in {clients} behind {via}, and all servers behind {router}.

[interface.inside]
device = "{internal}"
realm = "internal"
address = "{inside_gateway}/{in_len}"

[interface.outside]
device = "{external}"
realm = "external"
address = "{outside_gateway}/{out_len}"
gateway = "{router}"

[[route]]
to = "{clients}"
via = "{via}"

[pool.bench]
addresses = "{POOL}/{pool}"

[[snat]]
source = "pool.bench"

[runtime]
workers = 1

[conntrack]
max_sessions = {sessions}
when_full = "refuse"
reserve = "0%"
"#,
        via = inside.addr(),
        router = outside.addr(),
    )
}

/// Why there is no gateway in this process.
#[derive(Debug, thiserror::Error)]
pub enum InProcessError {
    /// The addresses do not fit together.
    #[error("the gateway can not have these addresses:\n{0}")]
    Config(String),
    /// It can not be started.
    #[error(transparent)]
    Start(#[from] GatewayError),
}

/// A gateway in this process.
pub struct InProcess {
    gateway: Gateway<RingDevice>,
}

impl InProcess {
    /// Starts it. Returns the generator's ends of its wires too: inside and outside.
    ///
    /// # Errors
    /// The addresses do not fit, or there are no threads.
    pub fn start(networks: &Networks, sessions: u32) -> Result<(InProcess, [RingDevice; 2]), InProcessError> {
        let text = config(networks, ["vdev:net_ring0", "vdev:net_ring1"], sessions);
        let checked =
            config::parse(&text, "bench").map_err(|errors| InProcessError::Config(errors.to_string()))?;
        let (inside, gateway_inside) = RingDevice::pair(RING);
        let (outside, gateway_outside) = RingDevice::pair(RING);
        let devices = vec![vec![gateway_inside, gateway_outside]];
        let setup = Arc::new(|_: WorkerId| -> Box<dyn std::any::Any> { Box::new(()) });
        let steering = (Steering::single(), &[][..]);
        let gateway = Gateway::start(&checked.config, steering, devices, &MACS, setup, |_, _| {})?;
        Ok((InProcess { gateway }, [inside, outside]))
    }

    /// Removes every session and waits until they are gone.
    ///
    /// # Errors
    /// In words: they do not go.
    pub fn clear(&self) -> Result<(), String> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        for (worker, view) in (0u8..).zip(&self.gateway.sessions) {
            let live = (0..view.capacity()).filter_map(|index| view.read(index));
            let mut names = live
                .map(|session| SessionName { index: session.index, generation: session.generation })
                .peekable();
            while names.peek().is_some() {
                let batch = names.by_ref().take(BATCH).collect();
                let sent = self.gateway.commands.delete(WorkerId(worker), batch);
                runtime.block_on(sent).map_err(|error| error.to_string())?;
            }
        }
        self.wait_until_gone()
    }

    fn wait_until_gone(&self) -> Result<(), String> {
        let left = || self.gateway.counters.iter().map(|counters| counters.sessions.get()).sum::<u64>();
        let (mut last, mut since) = (left(), Instant::now());
        while last > 0 {
            std::thread::sleep(Duration::from_millis(1));
            let now = left();
            if now < last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Err(format!("{now} sessions are left"));
            }
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// One of its threads had panicked.
    pub fn stop(self) -> Result<(), GatewayError> {
        self.gateway.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_one_that_natgate_runs_whatever_the_number_of_sessions() {
        let networks = Networks {
            inside: "10.0.0.2/24".parse().unwrap(),
            inside_gateway: Ipv4Addr::new(10, 0, 0, 1),
            outside: "203.0.113.1/24".parse().unwrap(),
            outside_gateway: Ipv4Addr::new(203, 0, 113, 2),
            clients: "10.1.0.0/16".parse().unwrap(),
        };
        for sessions in [1024, 65_536, 1_000_000, 10_000_000, 16_777_216] {
            let text = config(&networks, ["memif:/run/in.sock", "memif:/run/out.sock,server"], sessions);
            let config =
                config::parse(&text, "bench").unwrap_or_else(|errors| panic!("{errors}\n{text}")).config;
            assert_eq!(config.conntrack.max_sessions, sessions);
        }
    }
}
