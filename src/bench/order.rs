//! Flows in random order: each number below `n` once a round, without a list of them.
//!
//! A linear congruential generator modulo the next power of two goes through every number once (Hull and Dobell: the
//! increment is odd, the multiplier one more than a multiple of four). Folding the upper half of the bits into the lower one
//! hides that its lowest bits have short periods. Numbers from `n` on are skipped: fewer than half.

/// An endless walk, a round after the other.
#[derive(Clone, Debug)]
pub struct Order {
    n: u64,
    mask: u64,
    shift: u32,
    at: u64,
    increment: u64,
}

const MULTIPLIER: u64 = 0xd134_2543_de82_ef95;

impl Order {
    /// The numbers below `n`, which is at least 1. Each seed gives another order.
    pub fn new(n: u32, seed: u64) -> Order {
        let n = u64::from(n.max(1));
        let bits = n.next_power_of_two().trailing_zeros();
        Order {
            n,
            mask: (1 << bits) - 1,
            shift: bits / 2 + 1,
            at: seed,
            increment: seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// The next number.
    #[inline]
    pub fn next_flow(&mut self) -> u32 {
        loop {
            self.at = self.at.wrapping_mul(MULTIPLIER).wrapping_add(self.increment) & self.mask;
            let number = self.at ^ (self.at >> self.shift);
            if number < self.n {
                return u32::try_from(number).unwrap_or(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_every_number_once_and_so_has_the_next() {
        for n in [1, 2, 3, 7, 64, 1000, 4096, 65_537] {
            let mut order = Order::new(n, 5);
            for _ in 0..2 {
                let mut round: Vec<u32> = (0..n).map(|_| order.next_flow()).collect();
                round.sort_unstable();
                assert_eq!(round, (0..n).collect::<Vec<_>>(), "{n}");
            }
        }
    }

    #[test]
    fn neighbours_in_the_order_are_no_neighbours_in_number() {
        let mut order = Order::new(1 << 16, 1);
        let walk: Vec<u32> = (0..1000).map(|_| order.next_flow()).collect();
        let near = walk.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 64).count();
        assert!(near < 20, "{near}");
        let other: Vec<u32> = {
            let mut order = Order::new(1 << 16, 2);
            (0..1000).map(|_| order.next_flow()).collect()
        };
        assert_ne!(walk, other);
    }
}
