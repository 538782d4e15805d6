//! `natgate api`: the OpenAPI document of the control socket, without a gateway.

use super::table::to_stdout;
use crate::control::openapi;

/// Print the description of the control socket for programs (OpenAPI)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It is what a running gateway of this version answers to GET /v1/openapi.json. No gateway is needed.

Examples:
  natgate api > natgate.openapi.json
  natgate api | jq '.paths | keys'

Exit codes: 0 printed, 1 the output can not be written, 2 wrong usage.")]
pub(super) struct Args {}

pub(super) fn run(Args {}: Args) -> anyhow::Result<()> {
    to_stdout(|out| Ok(writeln!(out, "{}", openapi::document())?))
}
