//! The answer to `/v1/blocks`: which subscriber has which block of ports.

use super::api;
use super::filter::BadParameter;
use super::query::Query;
use super::state::ControlState;
use crate::config::Config;
use crate::config::units;
use crate::nat::blocks::Block;
use crate::time::{TICK, Tick, Time};
use std::net::Ipv4Addr;

/// The parameters of a request.
pub(super) const PARAMETERS: [&str; 4] = ["limit", "subscriber", "address", "port"];

/// Builds the answer.
///
/// # Errors
/// A parameter does not fit.
pub fn blocks(state: &ControlState, query: &Query) -> Result<api::Blocks, BadParameter> {
    let address = |text: &str| units::address(text).map_err(|_| format!("{text:?} is not an IPv4 address"));
    let number =
        |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is not a port: write 0 to 65535"));
    let (subscriber, external) = (query.get("subscriber", address)?, query.get("address", address)?);
    let port = query.get("port", number)?;
    let most = query.limit()?.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let wanted = |block: &Block| {
        subscriber.is_none_or(|wanted| wanted == block.subscriber)
            && external.is_none_or(|wanted| wanted == block.address)
            && port.is_none_or(|wanted| block.ports().contains(&wanted))
    };
    let (ledger, running) = (state.published.blocks.read(), state.running.read());
    let [total, given, released] = ledger.counts();
    let row = |(block, since): (Block, Tick)| api::Ports {
        kind: "block".to_owned(),
        pool: pool_of(&running.config, block.address).map(str::to_owned),
        subscriber: block.subscriber,
        zone: block.zone,
        address: block.address,
        first_port: block.first,
        last_port: *block.ports().end(),
        given: Some(at(state, since)),
    };
    let blocks = ledger.list(most, wanted).into_iter().map(row).collect();
    Ok(api::Blocks { total, given, released, blocks })
}

fn at(state: &ControlState, since: Tick) -> String {
    humantime::format_rfc3339_seconds(state.started.wall_of(Time::ZERO + TICK * since.0)).to_string()
}

/// The pool that an external address is in.
pub fn pool_of(config: &Config, address: Ipv4Addr) -> Option<&str> {
    config.pools.iter().find(|pool| pool.addresses.contains(&address)).map(|pool| pool.name.as_str())
}
