//! CRC32c (RFC 9260 appendix A), as far as a translation needs it: what a change of the first four bytes does to it.
//!
//! A CRC is linear: how those of two messages of the same length differ depends only on how the messages differ. With
//! a difference `d` in the first four of `len` bytes it is `d` times x to the power of 8 `len`, modulo the polynomial.
//! So the update costs the same for every packet, none of whose other bytes is read, and a packet that was damaged
//! before stays damaged by the same amount, as with [`super::checksum`].
//!
//! Libraries for CRC32c compute whole messages, and put two together at a cost of thousands of steps; the tests compare
//! with one.

/// Castagnoli's polynomial without its highest power. Bits are reflected: the highest bit of a word is the power 0.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;
/// The polynomial x to the power of 8: one byte further.
const BYTE: u32 = 1 << 23;

/// Powers of x for 0 to 255 bytes, and for 0 to 255 times 256 bytes.
static SHIFTS: [[u32; 256]; 2] = {
    let bytes = powers(BYTE);
    [bytes, powers(multiply(bytes[255], BYTE))]
};

const fn powers(of: u32) -> [u32; 256] {
    let mut powers = [ONE; 256];
    let mut n = 1;
    while n < 256 {
        powers[n] = multiply(powers[n - 1], of);
        n += 1;
    }
    powers
}

/// The product modulo the polynomial; 32 steps without a branch that depends on the factors.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut power = 0;
    while power < 32 {
        product ^= b & 0u32.wrapping_sub(a << power >> 31);
        b = b >> 1 ^ POLYNOMIAL & 0u32.wrapping_sub(b & 1);
        power += 1;
    }
    product
}

/// What has to be xored onto the CRC32c of a message of `len` bytes when its first four bytes change.
#[inline]
pub fn change_of_first_word(old: [u8; 4], new: [u8; 4], len: u16) -> u32 {
    let difference = u32::from_le_bytes(old) ^ u32::from_le_bytes(new);
    if difference == 0 {
        return 0;
    }
    let [bytes, pages] = &SHIFTS;
    let [page, byte] = len.to_be_bytes();
    let change = multiply(difference, bytes[usize::from(byte)]);
    if page == 0 { change } else { multiply(change, pages[usize::from(page)]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_is_what_computing_both_anew_gives_for_every_length() {
        let mut message: Vec<u8> = (0..=u16::MAX).map(|n| n.wrapping_mul(0x9e37).to_be_bytes()[0]).collect();
        for len in (4u16..70).chain([255, 256, 257, 1448, 1480, 4095, 4096, 8980, 32_768, u16::MAX]) {
            let bytes = &mut message[..usize::from(len)];
            let old = *bytes.first_chunk::<4>().unwrap();
            let before = crc32c_oracle::crc32c(bytes);
            for new in [[0, 0, 0, 1], [0x80, 0, 0, 0], [0xff; 4], [0x0b, 0x59, 0xc3, 0x50], old] {
                bytes[..4].copy_from_slice(&new);
                let change = change_of_first_word(old, new, len);
                assert_eq!(before ^ change, crc32c_oracle::crc32c(bytes), "{len} bytes, {new:?}");
            }
            bytes[..4].copy_from_slice(&old);
        }
    }
}
