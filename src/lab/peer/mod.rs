//! The other ends of the experiments: small servers and clients that run inside a namespace.
//!
//! The same binary plays these roles (`natgate peer …`, a hidden command), because a thread can not enter a
//! namespace without `unsafe`, and because no server that every machine has takes a thousand connections at once
//! and also tells the client which address it came from.

pub mod http;
pub mod load;
pub mod meet;
pub mod memcached;
pub mod udp;

use std::io;

/// What every page begins with.
pub const GREETING: &str = "natgate lab page";

/// Runs a future on a runtime of its own.
///
/// # Errors
/// When the runtime can not be made, and what the future fails with.
pub fn block_on<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// An endless stream of bytes that looks random and is the same everywhere.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
}

impl Default for Noise {
    fn default() -> Self {
        Noise { state: 0x9E37_79B9_7F4A_7C15 }
    }
}

impl Noise {
    /// The next bytes of the stream. The stream moves on in whole words of eight bytes, so that everybody must
    /// ask for a multiple of eight, except for the last time.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // xorshift64 (Marsaglia 2003): any lost, repeated or swapped segment changes the checksum.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            chunk.iter_mut().zip(self.state.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
    }
}

/// Writes the first `count` bytes of [`Noise`] to `out`.
///
/// # Errors
/// When `out` can not be written.
pub fn write_noise(out: &mut impl io::Write, count: u64) -> io::Result<()> {
    let mut noise = Noise::default();
    let mut buffer = vec![0; 65_536];
    let mut left = count;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let (now, _) = buffer.split_at_mut(length);
        noise.fill(now);
        out.write_all(now)?;
        left -= u64::try_from(length).unwrap_or(left);
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_whatever_the_sizes_it_is_asked_in() {
        let mut whole = vec![0; 200_003];
        Noise::default().fill(&mut whole);
        let mut written = Vec::new();
        write_noise(&mut written, 200_003).unwrap();
        assert!(whole == written);
        assert!(whole.chunks(8).collect::<std::collections::HashSet<_>>().len() > 24_000);
    }
}
