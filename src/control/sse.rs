//! Server-sent events: the form in which streams are written and read (HTML standard, section 9.2).
//!
//! A message is a name, its data in one line, and for some a number. While there is nothing to say a comment goes out every
//! [`KEEP_ALIVE`], so that both sides notice when the other one is gone.

use super::client::{ClientError, Lines};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use hyper::body::Bytes;
use std::convert::Infallible;
use std::time::Duration;

/// The value of the Content-Type header.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// The longest silence.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The comment that breaks it.
pub const COMMENT: &[u8] = b":\n\n";
/// The name of the message that says how many others were lost; its data is [`super::api::Lost`].
pub const LOST: &str = "lost";

/// Writes a message. `data` has no line ends.
pub fn write(out: &mut Vec<u8>, name: &str, number: Option<u64>, data: &str) {
    out.extend_from_slice(format!("event: {name}\n").as_bytes());
    if let Some(number) = number {
        out.extend_from_slice(format!("id: {number}\n").as_bytes());
    }
    out.extend_from_slice(format!("data: {data}\n\n").as_bytes());
}

/// The answer that consists of these pieces.
pub fn response(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (head, Body::from_stream(pieces.map(Ok::<_, Infallible>))).into_response()
}

/// A message as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// The messages of a stream, as they come.
pub struct Messages(Lines);

impl Messages {
    /// Those that these lines make.
    pub fn new(lines: Lines) -> Self {
        Messages(lines)
    }

    /// Whether the next one is to be waited for.
    pub fn must_wait(&self) -> bool {
        let unread = self.0.unread();
        // Comments and halves do not count.
        let data = unread.windows(5).position(|bytes| bytes == b"data:");
        !data.and_then(|at| unread.get(at..)).is_some_and(|rest| rest.windows(2).any(|end| end == b"\n\n"))
    }
}

impl Iterator for Messages {
    type Item = Result<Message, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut message = Message::default();
        loop {
            let line = match self.0.next()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            match line.split_once(':').map_or((line.as_str(), ""), |(field, value)| (field, value)) {
                // An empty line ends a message, if there is one.
                ("", "") if line.is_empty() && !message.data.is_empty() => return Some(Ok(message)),
                ("event", value) => value.strip_prefix(' ').unwrap_or(value).clone_into(&mut message.name),
                ("data", value) => value.strip_prefix(' ').unwrap_or(value).clone_into(&mut message.data),
                // A comment, a number, or a field of a later version.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_name_a_number_and_a_line_of_data() {
        let mut out = Vec::new();
        write(&mut out, "table_full", Some(7), "{}");
        write(&mut out, "new", None, "    [NEW] tcp");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "event: table_full\nid: 7\ndata: {}\n\nevent: new\ndata:     [NEW] tcp\n\n"
        );
    }
}
