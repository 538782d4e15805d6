//! Of which size frames are and which way they go.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a frame takes on a wire beside itself: preamble and start (8) and the gap to the next one (12).
pub const WIRE_BYTES: u64 = 20;

/// The simple IMIX: bytes of a frame with its check sequence, and how many of twelve have them. The packets of 40, 576 and
/// 1,500 bytes of the Internet of old, the first ones padded to the shortest frame there is.
pub const IMIX: [(u16, u16); 3] = [(64, 7), (594, 4), (1518, 1)];

/// The size of frames, with their check sequence (4 bytes) as RFC 2544 counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Frame {
    /// All have so many bytes.
    Bytes(u16),
    /// A mix of three sizes: [`IMIX`].
    Imix,
}

/// Why a text is no size of frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no frame size: write a number of bytes (64 to 9600, with the check sequence of 4) or \"imix\""
)]
pub struct FrameError(String);

impl Frame {
    /// A rate of such frames in bits a second, as a wire would count them.
    pub fn bits_per_second(self, packets_per_second: u64) -> u64 {
        let (bytes, frames) = match self {
            Frame::Bytes(bytes) => (u64::from(bytes), 1),
            Frame::Imix => IMIX.iter().fold((0, 0), |(bytes, frames), (size, share)| {
                (bytes + u64::from(*size) * u64::from(*share), frames + u64::from(*share))
            }),
        };
        let bits = u128::from(packets_per_second) * u128::from((bytes + WIRE_BYTES * frames) * 8);
        u64::try_from(bits / u128::from(frames)).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Bytes(bytes) => write!(f, "{bytes}"),
            Frame::Imix => f.write_str("imix"),
        }
    }
}

impl FromStr for Frame {
    type Err = FrameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text.eq_ignore_ascii_case("imix") => Ok(Frame::Imix),
            Ok(bytes @ 64..=9_600) => Ok(Frame::Bytes(bytes)),
            _ => Err(FrameError(text.to_owned())),
        }
    }
}

/// As a file has it: a number, or a word.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(u16),
    Word(String),
}

impl TryFrom<Written> for Frame {
    type Error = FrameError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Bytes(bytes) => bytes.to_string().parse(),
            Written::Word(word) => word.parse(),
        }
    }
}

impl From<Frame> for Written {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Bytes(bytes) => Written::Bytes(bytes),
            Frame::Imix => Written::Word(frame.to_string()),
        }
    }
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the clients to the servers.
    Out,
    /// Back to the clients.
    Back,
    /// Half of them each way; rates are of both together.
    Both,
}

impl Direction {
    /// As the command line, the files and the tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::Back => "back",
            Direction::Both => "both",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ten_gigabit_wire_takes_fourteen_million_of_the_shortest_frames() {
        assert_eq!(Frame::Bytes(64).bits_per_second(14_880_952), 9_999_999_744);
        assert_eq!(Frame::Bytes(1518).bits_per_second(812_743), 9_999_989_872);
        assert_eq!(Frame::Imix.bits_per_second(12), (4_342 + 240) * 8);
        assert_eq!(Frame::Bytes(64).bits_per_second(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_size_reads_back_what_it_prints() {
        for frame in [Frame::Bytes(64), Frame::Bytes(9_600), Frame::Imix] {
            assert_eq!(frame.to_string().parse(), Ok(frame));
            let text = serde_json::to_string(&frame).unwrap();
            assert_eq!(serde_json::from_str::<Frame>(&text).unwrap(), frame);
        }
        assert_eq!(serde_json::to_string(&Frame::Bytes(64)).unwrap(), "64");
    }

    #[test]
    fn what_no_frame_can_be_is_refused() {
        for text in ["63", "9601", "", "-1", "jumbo"] {
            let error = text.parse::<Frame>().unwrap_err();
            assert!(error.to_string().contains("\"imix\""), "{error}");
        }
        assert!(serde_json::from_str::<Frame>("20").is_err());
    }
}
