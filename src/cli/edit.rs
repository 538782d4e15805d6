//! `natgate forward`, `natgate ban`, `natgate unban`: edits of single objects of the configuration that runs.

use super::Failure;
use super::change::{ChangeArgs, SocketArgs, ask, write_change};
use crate::config::edit::Edit;
use crate::control::reload::answer::{EditRequest, SessionPolicy};
use serde_json::{Map, Value, json};

/// Arguments of `natgate forward`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  natgate forward add --on wan tcp 8080 192.168.1.10:80
  natgate forward drain --backend 192.168.1.10

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
pub(super) struct ForwardArgs {
    #[command(subcommand)]
    command: ForwardCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum ForwardCommand {
    /// Forward a port to a backend
    #[command(after_help = "\
Examples:
  natgate forward add --on wan tcp 8080 192.168.1.10:80
  natgate forward add --address 203.0.113.9 tcp,udp 53 192.168.1.53 --save
  natgate forward add --on wan tcp 2200-2210 192.168.1.10:2200 --syn-proxy

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
    Add {
        #[command(flatten)]
        at: Place,
        /// The backend, with its first port if it is another one
        #[arg(value_name = "BACKEND")]
        to: String,
        /// Translate the source too: `interface` or `pool.NAME`
        #[arg(long)]
        source: Option<String>,
        /// Answer handshakes with SYN cookies
        #[arg(long)]
        syn_proxy: bool,
        /// Zone that the backend is in
        #[arg(long)]
        zone: Option<u16>,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Remove a forward
    #[command(after_help = "\
Examples:
  natgate forward remove --on wan tcp 8080
  natgate forward remove --on wan tcp 8080 --sessions drop

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
    Remove(Target),
    /// Make no new session of a forward, and let those that there are end
    #[command(after_help = "\
Examples:
  natgate forward drain --on wan tcp 8080
  natgate forward drain --backend 192.168.1.10      every forward to it

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
    Drain(Target),
    /// Make new sessions again
    #[command(after_help = "\
Example:
  natgate forward undrain --backend 192.168.1.10

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
    Undrain(Target),
}

/// Where clients come to.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// The interface whose primary address clients use
    #[arg(long, value_name = "INTERFACE", conflicts_with = "address")]
    on: Option<String>,
    /// The address that clients use
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// `tcp`, `udp` or `tcp,udp`
    #[arg(value_name = "PROTOCOL")]
    protocol: String,
    /// The port or range of ports that clients use
    #[arg(value_name = "PORT")]
    port: String,
}

/// Which forward.
#[derive(Clone, Debug, clap::Args)]
struct Target {
    /// The interface whose primary address clients use
    #[arg(long, value_name = "INTERFACE", conflicts_with_all = ["address", "backend"])]
    on: Option<String>,
    /// The address that clients use
    #[arg(long, value_name = "ADDRESS", conflicts_with = "backend")]
    address: Option<String>,
    /// `tcp` or `udp`
    #[arg(value_name = "PROTOCOL", required_unless_present = "backend")]
    protocol: Option<String>,
    /// The port or range of ports that clients use
    #[arg(value_name = "PORT", required_unless_present = "backend")]
    port: Option<String>,
    /// Every forward to this backend, instead of one by its port (not for `remove`)
    #[arg(long, value_name = "BACKEND", conflicts_with_all = ["protocol", "port"])]
    backend: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Arguments of `natgate ban` and `natgate unban`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Banned sources open no session, on whichever side; `--sessions drop` ends those
that they have.

Examples:
  natgate ban 198.51.100.7 --sessions drop -m 'scans us'
  natgate ban 198.51.100.0/24 203.0.113.66 --save
  natgate unban 198.51.100.7

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
pub(super) struct BanArgs {
    /// Addresses or prefixes
    #[arg(value_name = "SOURCE", required = true)]
    from: Vec<String>,
    /// Zone that their packets come in from; any if left out
    #[arg(long)]
    zone: Option<u16>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn forward(args: &ForwardArgs) -> Result<(), Failure> {
    match &args.command {
        ForwardCommand::Add { at, to, source, syn_proxy, zone, change, socket } => {
            let mut edit = object("add_forward");
            put(&mut edit, "on", at.on.as_ref());
            put(&mut edit, "address", at.address.as_ref());
            let protocols: Vec<&str> = at.protocol.split(',').map(str::trim).collect();
            edit.insert("protocol".into(), json!(protocols));
            edit.insert("port".into(), port(&at.port));
            put(&mut edit, "to", Some(to));
            put(&mut edit, "source", source.as_ref());
            if *syn_proxy {
                edit.insert("syn_proxy".into(), json!(true));
            }
            edit.extend(zone.map(|zone| ("zone".to_owned(), json!(zone))));
            apply(edit, change, socket)
        }
        ForwardCommand::Remove(target) if target.backend.is_some() => {
            Err(Failure::Usage("remove takes a forward by its port: drain a backend instead".into()))
        }
        ForwardCommand::Remove(target) => aim("remove_forward", "", target),
        ForwardCommand::Drain(target) => aim("drain", "drain_backend", target),
        ForwardCommand::Undrain(target) => aim("undrain", "undrain_backend", target),
    }
}

pub(super) fn ban(args: &BanArgs, is_ban: bool) -> Result<(), Failure> {
    let mut edit = object(if is_ban { "ban" } else { "unban" });
    edit.insert("from".into(), json!(args.from));
    edit.extend(args.zone.map(|zone| ("zone".to_owned(), json!(zone))));
    apply(edit, &args.change, &args.socket)
}

fn object(edit: &str) -> Map<String, Value> {
    Map::from_iter([("edit".to_owned(), json!(edit))])
}

fn put(edit: &mut Map<String, Value>, key: &str, value: Option<&String>) {
    edit.extend(value.map(|value| (key.to_owned(), json!(value))));
}

/// As the config file has it: a number, or a range as text.
fn port(text: &str) -> Value {
    text.parse::<u16>().map_or_else(|_| json!(text), |port| json!(port))
}

fn aim(one: &str, backend: &str, target: &Target) -> Result<(), Failure> {
    let mut edit = object(if target.backend.is_some() { backend } else { one });
    put(&mut edit, "on", target.on.as_ref());
    put(&mut edit, "address", target.address.as_ref());
    put(&mut edit, "protocol", target.protocol.as_ref());
    edit.extend(target.port.as_ref().map(|text| ("port".to_owned(), port(text))));
    put(&mut edit, "backend", target.backend.as_ref());
    apply(edit, &target.change, &target.socket)
}

/// Checks the words as the gateway would, and sends them.
fn apply(edit: Map<String, Value>, change: &ChangeArgs, socket: &SocketArgs) -> Result<(), Failure> {
    let edit: Edit =
        serde_json::from_value(Value::Object(edit)).map_err(|error| Failure::Usage(error.to_string()))?;
    let options = change.options()?;
    let (dry_run, kept) = (options.dry_run, options.sessions == SessionPolicy::Keep);
    let done = ask(socket, "/v1/config/edit", &EditRequest { edit, options })?;
    socket.show(&done, |out| {
        write_change(out, &done, dry_run)?;
        if done.applied && kept && done.sessions.not_made > 0 {
            writeln!(out, "`--sessions drop` ends such sessions, as does `natgate sessions delete`")?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_and_a_range_is_a_text() {
        assert_eq!((port("80"), port("80-90"), port("http")), (json!(80), json!("80-90"), json!("http")));
    }
}
