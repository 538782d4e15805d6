//! Commands that go on until Ctrl-C: what a stream tells, as it comes.

use super::complain;
use super::table::{grouped, to_stdout};
use crate::control::api;
use crate::control::client::{Client, ClientError};
use crate::control::sse::{LOST, Message, Messages};
use std::io::Write;

/// Opens a stream.
///
/// # Errors
/// No gateway answers, or it refuses.
pub(super) fn open(client: &Client, path: &str) -> Result<Messages, ClientError> {
    client.follow(path)
}

/// Writes every message as it comes. What was lost is said on standard error. Ends well only when nobody reads the output
/// any more.
///
/// # Errors
/// The gateway went away.
pub(super) fn follow(
    mut messages: Messages,
    mut write: impl FnMut(&mut dyn Write, &Message) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    to_stdout(|out| {
        loop {
            if messages.must_wait() {
                out.flush()?;
            }
            let Some(message) = messages.next() else { anyhow::bail!("the gateway stopped") };
            let message = message?;
            if message.name == LOST {
                let lost = serde_json::from_str::<api::Lost>(&message.data)?.lost;
                complain(&format!("{} events were lost here", grouped(lost)));
            } else {
                write(out, &message)?;
            }
        }
    })
}
