//! The real process between real hosts: everything that a NAT gateway is asked for every day, on each kind of
//! kernel device, with one to four workers. The answers must be the same.
//!
//! Needs root, and the programs that `scripts/test` installs. With `NATGATE_LAB_REFERENCE=kernel` the kernel's
//! NAT stands in for natgate and must pass the same steps.

#![cfg(feature = "dpdk")]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod support;

use natgate::lab::gateway::{Natgate, kernel_is_asked_for};
use natgate::lab::topology::{
    CLIENT, CLOSED, FAR, FORWARDED, FULL_NAT, GATEWAY_INSIDE, GATEWAY_OUTSIDE, NARROW_MTU, REMOTE, ROUTER,
    SERVER, Site,
};
use natgate::lab::traffic::{self, Transport, Way};
use natgate::lab::{Background, DeviceKind, Gateway, GatewayOptions, LabError, Namespace};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use support::Steps;

#[test]
fn af_packet_with_one_worker() {
    experiment(DeviceKind::AfPacket, 1);
}

#[test]
fn af_packet_with_two_workers() {
    experiment(DeviceKind::AfPacket, 2);
}

#[test]
fn af_packet_with_three_workers() {
    experiment(DeviceKind::AfPacket, 3);
}

#[test]
fn af_packet_with_four_workers() {
    experiment(DeviceKind::AfPacket, 4);
}

#[test]
fn af_xdp_with_one_worker() {
    experiment(DeviceKind::AfXdp, 1);
}

#[test]
fn af_xdp_with_two_workers() {
    experiment(DeviceKind::AfXdp, 2);
}

#[test]
fn af_xdp_with_three_workers() {
    experiment(DeviceKind::AfXdp, 3);
}

#[test]
fn af_xdp_with_four_workers() {
    experiment(DeviceKind::AfXdp, 4);
}

fn experiment(device: DeviceKind, workers: u8) {
    if support::skipped_without_root() {
        return;
    }
    if kernel_is_asked_for() && device == DeviceKind::AfXdp {
        eprintln!("SKIPPED: the kernel as the reference has no devices; see the tests named af_packet");
        return;
    }
    let _alone = support::alone();
    let binary = support::binary();
    let site = Site::full(device.queues(workers)).expect("the network can be built");
    let _servers = servers(&binary, &site).expect("the servers start");
    let options = GatewayOptions { binary: binary.clone(), device, workers };
    let mut gateway = Gateway::start(&site, &options).expect("the gateway starts");

    let mut steps = Steps::default();
    translation(&mut steps, &site);
    large_packets(&mut steps, &binary, &site);
    errors(&mut steps, &binary, &site);
    load(&mut steps, &binary, &site);
    steps.see("sessions", || sessions(&gateway));
    if let Some(natgate) = gateway.natgate() {
        steps.see("counters add up", || counters(natgate));
        steps.see("clean stop", || stop(natgate));
        if !steps.all_passed() {
            eprintln!("what natgate wrote:\n{}", natgate.log());
        }
    }
    steps.finish();
}

fn servers(binary: &Path, site: &Site) -> Result<Vec<Background>, LabError> {
    let web = |at: &Namespace| traffic::serve(binary, at, "http", &["http-server", "0.0.0.0:80"]);
    let echo = |at: &Namespace| traffic::serve(binary, at, "udp", &["udp-echo", "0.0.0.0:80"]);
    Ok(vec![
        web(&site.client)?,
        web(&site.backend)?,
        web(&site.server)?,
        web(far(site)?)?,
        echo(&site.client)?,
        echo(&site.server)?,
        traffic::serve_iperf(&site.server)?,
    ])
}

fn translation(steps: &mut Steps, site: &Site) {
    steps.see("the gateway answers inside", || traffic::ping(&site.client, GATEWAY_INSIDE, 56));
    steps.see("the gateway answers outside", || traffic::ping(&site.server, GATEWAY_OUTSIDE, 56));
    steps.see("ping", || traffic::ping(&site.client, SERVER, 56));
    steps.see("ping over three hops", || traffic::ping(&site.client, FAR, 56));
    steps.see("SNAT", || traffic::page(&site.client, at(SERVER, 80), GATEWAY_OUTSIDE));
    steps.see("DNAT from outside", || traffic::page(&site.server, at(GATEWAY_OUTSIDE, FORWARDED), SERVER));
    steps.see("full NAT", || traffic::page(&site.server, at(GATEWAY_OUTSIDE, FULL_NAT), GATEWAY_INSIDE));
    steps.see("full NAT from further away", || {
        traffic::page(far(site)?, at(GATEWAY_OUTSIDE, FULL_NAT), GATEWAY_INSIDE)
    });
}

fn large_packets(steps: &mut Steps, binary: &Path, site: &Site) {
    // The echo replies are in fragments as well: both ways.
    steps.see("ping of 4,000 bytes", || traffic::ping(&site.client, SERVER, 4000));
    steps.see("4,000 bytes of UDP, SNAT", || {
        traffic::datagram(binary, &site.client, at(SERVER, 80), 4000, "echoed 4000 bytes")
    });
    steps.see("4,000 bytes of UDP, DNAT", || {
        traffic::datagram(binary, &site.server, at(GATEWAY_OUTSIDE, FORWARDED), 4000, "echoed 4000 bytes")
    });
    steps.see("upload over the narrow link", || {
        traffic::upload(&site.client, site.lab.directory(), at(FAR, 80), 1_000_000)
    });
    steps.see("path MTU", || traffic::learned_mtu(&site.client, FAR, NARROW_MTU));
    steps.see("download over the narrow link", || {
        traffic::download(binary, &site.client, at(FAR, 80), 1_000_000)
    });
}

fn errors(steps: &mut Steps, binary: &Path, site: &Site) {
    steps.see("traceroute", || traffic::traceroute(&site.client, &[GATEWAY_INSIDE, ROUTER, REMOTE, FAR]));
    steps.see("a closed UDP port, seen from inside", || {
        traffic::datagram(binary, &site.client, at(SERVER, 9), 100, "refused")
    });
    steps.see("a closed UDP port, seen from outside", || {
        traffic::datagram(binary, &site.server, at(GATEWAY_OUTSIDE, CLOSED), 100, "refused")
    });
}

fn load(steps: &mut Steps, binary: &Path, site: &Site) {
    const SECONDS: u8 = 2;
    const UDP: Transport = Transport::Udp(20);
    steps.see("100 MiB", || traffic::download(binary, &site.client, at(SERVER, 80), 100 << 20));
    steps.see("1,000 connections", || traffic::crowd(binary, &site.client, at(SERVER, 80), 1000));
    steps.see("1,000 connections from outside", || {
        traffic::crowd(binary, &site.server, at(GATEWAY_OUTSIDE, FORWARDED), 1000)
    });
    for way in [Way::Up, Way::Down] {
        steps.see("iperf3", || traffic::iperf(&site.client, SERVER, Transport::Tcp, way, SECONDS));
        steps.see("iperf3", || traffic::iperf(&site.client, SERVER, UDP, way, SECONDS));
    }
}

fn sessions(gateway: &Gateway) -> Result<String, LabError> {
    let table = gateway.sessions()?;
    let original = format!("{CLIENT} dst={SERVER} ");
    let opened_by_client = |line: &&str| {
        line.starts_with("ipv4     2 tcp      6 ")
            && line.split_once("src=").is_some_and(|(_, flow)| flow.starts_with(&original))
    };
    let line = table.lines().find(opened_by_client);
    match line {
        Some(line) => Ok(format!("{} sessions, one of them: {line}", table.lines().count())),
        None => Err(LabError::unexpected(format!("no TCP session of the client to the server: {table}"))),
    }
}

fn counters(natgate: &mut Natgate) -> Result<String, LabError> {
    natgate.still_running()?;
    let totals = natgate.totals()?;
    if totals.held != 0 {
        return Err(LabError::unexpected(format!("{} packets are still held", totals.held)));
    }
    Ok(format!("{totals:?}"))
}

fn stop(natgate: &mut Natgate) -> Result<String, LabError> {
    let status = natgate.terminate()?;
    let log = natgate.log();
    let bad = ["lost mbufs", "panicked"].into_iter().find(|word| log.contains(word));
    match (status.code(), bad) {
        (Some(0), None) => Ok("SIGTERM, exit code 0".to_owned()),
        (_, Some(word)) => Err(LabError::unexpected(format!("natgate wrote of {word}"))),
        _ => Err(LabError::unexpected(format!("natgate ended with {status}"))),
    }
}

fn far(site: &Site) -> Result<&Namespace, LabError> {
    site.far.as_ref().ok_or_else(|| LabError::unexpected("this network has no far host"))
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((address, port))
}
