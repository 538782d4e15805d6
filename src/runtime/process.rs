//! The process of `natgate run`: opens the devices, starts a [`Gateway`] and the control socket, waits for a
//! signal, and takes everything down in the opposite order.

use super::steer::{discard_backlog, steer};
use super::{Gateway, GatewayError, ThreadSetup, random};
use crate::config::model::Config;
use crate::control::publish::{Published, Publisher};
use crate::control::reload::Reloader;
use crate::control::reload::history::History;
use crate::control::running::{DeviceRow, Running};
use crate::control::server::{Claim, Limits, Places, Server, ServerError};
use crate::control::state::{ControlState, Started};
use crate::device::dpdk::{self, DeviceInfo, DeviceOptions, Dpdk, DpdkError, DpdkOptions, DpdkQueue};
use crate::ids::MacAddr;
use crate::management::Management;
use crate::pipeline::held_frames;
use crate::steering::Steering;
use crate::steering::plan::Choices;
use crate::telemetry::{Counter, DropReason, WorkerCounters};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the process looks for a signal or a failed thread.
const WATCH: Duration = Duration::from_millis(20);

/// Why `natgate run` ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Signals can not be caught.
    #[error("can not catch signals: {0}")]
    Signals(std::io::Error),
    /// A device or DPDK itself.
    #[error(transparent)]
    Dpdk(#[from] DpdkError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ServerError),
    /// The threads.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

/// What the gateway is started with, beside the checked config.
#[derive(Debug)]
pub struct StartedWith {
    /// The config file.
    pub path: PathBuf,
    /// The text that runs: that of the file, or of the last revision that was confirmed.
    pub text: String,
    /// The revisions so far.
    pub history: History,
}

/// Runs the gateway until SIGINT or SIGTERM; a second one ends the process at once. SIGHUP reads the config file again.
///
/// # Errors
/// Whatever kept it from starting, or did not end well.
pub fn run(config: &Config, start: StartedWith) -> Result<(), RunError> {
    let stop = Arc::new(AtomicBool::new(false));
    let hangup = Arc::new(AtomicBool::new(false));
    flag::register(SIGHUP, hangup.clone()).map_err(RunError::Signals)?;
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal sets the flag, the second one finds it set.
        flag::register_conditional_shutdown(signal, 1, stop.clone()).map_err(RunError::Signals)?;
        flag::register(signal, stop.clone()).map_err(RunError::Signals)?;
    }
    let claim = Claim::new(Places {
        socket: &config.runtime.control,
        group: config.runtime.control_group.as_deref(),
        read_only: config.runtime.metrics,
    })?;
    let options = device_options(config);
    let seed = random()?;
    let dpdk::Started { mut dpdk, mut queues, devices } = Dpdk::start(&DpdkOptions {
        devices: &options,
        workers: usize::from(config.runtime.workers),
        frames: config.runtime.frames,
        held_per_worker: held_frames(config.runtime.workers.into()),
        memory_mib: config.runtime.memory_mib,
        eal_args: &config.runtime.eal_args,
    })?;
    let steered = steer(config, seed, &mut dpdk, &devices);
    discard_backlog(&mut queues, &steered.1);
    let served =
        serve(config, start, claim, &dpdk, queues, steered, Signals { stop: &stop, hangup: &hangup });
    // Only now nobody holds a frame or a queue any more.
    let stopped = dpdk.stop();
    served?;
    stopped?;
    tracing::info!("stopped");
    Ok(())
}

fn device_options(config: &Config) -> Vec<DeviceOptions> {
    let mtu_of = |device: usize| {
        let mine = config.interfaces.iter().filter(|interface| interface.device.index() == device);
        mine.map(|interface| interface.mtu).max().unwrap_or(1500)
    };
    config
        .devices
        .iter()
        .enumerate()
        .map(|(n, device)| DeviceOptions { spec: device.spec.clone(), mac: device.mac, mtu: mtu_of(n) })
        .collect()
}

/// What signals ask for.
#[derive(Clone, Copy)]
struct Signals<'a> {
    stop: &'a AtomicBool,
    /// To read the config file again.
    hangup: &'a AtomicBool,
}

/// Everything between the start of the devices and their end.
fn serve(
    config: &Config,
    start: StartedWith,
    claim: Claim,
    dpdk: &Dpdk,
    queues: Vec<Vec<DpdkQueue>>,
    (steering, choices): (Steering, Vec<Choices>),
    Signals { stop, hangup }: Signals<'_>,
) -> Result<(), RunError> {
    let devices = &dpdk.devices()[..];
    let macs: Vec<MacAddr> = devices.iter().map(|device| device.mac).collect();
    let published = Publisher::default();
    let mut publisher = published.clone();
    let watch = move |management: &mut Management, now| publisher.look(management, now);
    let gateway = Gateway::start(config, (steering, &choices), queues, &macs, registering(dpdk), watch)?;
    let clock = gateway.clock;
    let StartedWith { path, text, history } = start;
    let state = Arc::new(ControlState {
        started: Started::now(clock.now()),
        version: env!("CARGO_PKG_VERSION").into(),
        dpdk_version: Some(dpdk::version().trim_start_matches("DPDK ").to_owned()),
        tsc_hz: dpdk::tsc_hz(),
        config_path: path,
        workers: gateway.counters.clone(),
        running: Published::new(Running::new(config.clone(), gateway.snapshot.clone(), device_rows(devices))),
        sessions: gateway.sessions.clone(),
        published,
        commands: gateway.commands.clone(),
        session_feed: gateway.session_feed.clone(),
        reloads: Published::default(),
        now: Box::new(move || clock.now().tick()),
    });
    let counters = gateway.counters.clone();
    let reloader = Arc::new(Reloader::new(state.clone(), gateway.publications.clone(), history, &text));
    let outcome: Result<(), RunError> =
        match Server::serve(claim, state, Some(reloader.clone()), Limits::default()) {
            Ok(server) => {
                tell_started(config, devices);
                while !stop.load(Ordering::Relaxed) && !gateway.has_failed() {
                    if hangup.swap(false, Ordering::Relaxed) {
                        reloader.hang_up();
                    }
                    std::thread::sleep(WATCH);
                }
                tracing::info!("stopping");
                server.stop();
                Ok(())
            }
            Err(error) => Err(error.into()),
        };
    let ended = gateway.stop();
    outcome?;
    ended?;
    tell_totals(&counters);
    Ok(())
}

/// Registers worker threads with DPDK, which gives them a cache in the pool of frames.
fn registering(dpdk: &Dpdk) -> ThreadSetup {
    let registrar = dpdk.registrar();
    Arc::new(move |worker| match registrar.clone().register_thread() {
        Ok(guard) => Box::new(guard),
        Err(error) => {
            tracing::warn!("{worker} runs without a cache of frames: {error}");
            Box::new(())
        }
    })
}

fn device_rows(devices: &[DeviceInfo]) -> Vec<DeviceRow> {
    let row = |DeviceInfo { name, driver, mac, .. }: &DeviceInfo| DeviceRow {
        name: name.clone(),
        driver: driver.clone(),
        mac: *mac,
    };
    devices.iter().map(row).collect()
}

fn tell_started(config: &Config, devices: &[DeviceInfo]) {
    for device in devices {
        tracing::info!(
            driver = device.driver,
            mac = %device.mac,
            rx_queues = device.rx_queues,
            tx_queues = device.tx_queues,
            "{}",
            device.name
        );
    }
    if let Some(address) = config.runtime.metrics {
        tracing::info!(%address, "metrics and the read-only API are served without authentication");
    }
    tracing::info!(
        workers = config.runtime.workers,
        max_sessions = config.conntrack.max_sessions,
        control = %config.runtime.control.display(),
        "natgate {} is running on {}",
        env!("CARGO_PKG_VERSION"),
        dpdk::version()
    );
}

/// One line at the end that says where every packet went.
fn tell_totals(counters: &[Arc<WorkerCounters>]) {
    let sum = |pick: fn(&WorkerCounters) -> &Counter| counters.iter().map(|c| pick(c).get()).sum::<u64>();
    let drops: Vec<String> = DropReason::ALL
        .iter()
        .map(|reason| (reason.name(), counters.iter().map(|c| c.drops[*reason as usize].get()).sum::<u64>()))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name}={count}"))
        .collect();
    let (rx, sent, consumed) = (sum(|c| &c.rx), sum(|c| &c.sent), sum(|c| &c.consumed));
    let dropped: u64 = counters.iter().map(|c| c.dropped()).sum();
    let unaccounted = rx.wrapping_sub(sent).wrapping_sub(consumed).wrapping_sub(dropped);
    tracing::info!(rx, sent, consumed, dropped, "packets; drops: {}", drops.join(" "));
    if unaccounted != 0 {
        tracing::error!(unaccounted, "packets without a verdict: this is a bug, please report it");
    }
}
