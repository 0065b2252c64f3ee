//! Chance, by name: one seed gives any number of independent streams of random numbers.
//!
//! A part asks for the stream of its own name, so that a part which throws more often than before does not disturb the
//! throws of the others.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A stream of random numbers; implements `rand::Rng`.
pub type Stream = ChaCha8Rng;

/// A seed from which named streams are drawn. The same name always gives the same stream.
#[derive(Clone, Debug)]
pub struct Dice {
    seed: u64,
}

impl Dice {
    /// Dice whose throws are known beforehand.
    pub fn from_seed(seed: u64) -> Self {
        Self { seed }
    }

    /// Dice seeded by the operating system.
    pub fn from_os() -> Self {
        Self { seed: os_random_u64() }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream of this name, from its beginning.
    pub fn stream(&self, name: &str) -> Stream {
        ChaCha8Rng::seed_from_u64(self.derived(name))
    }

    /// Dice of their own for a part that draws several streams, for example one node of many.
    pub fn fork(&self, name: &str) -> Self {
        Self {
            seed: self.derived(name),
        }
    }

    fn derived(&self, name: &str) -> u64 {
        // FNV-1a over the name, then a finalizer, so that neighbouring seeds and names give unrelated streams.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

/// Eight bytes from the operating system's generator.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where chance comes from in the real world"
)]
pub(crate) fn os_random_u64() -> u64 {
    let mut bytes = [0_u8; 8];
    loop {
        // Up to 256 bytes come whole; only a signal before the pool is ready can interrupt.
        match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(8) => return u64::from_ne_bytes(bytes),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the system has no random numbers: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn the_same_name_gives_the_same_stream() {
        let dice = Dice::from_seed(7);
        assert_eq!(dice.stream("a").next_u64(), dice.stream("a").next_u64());
    }

    #[test]
    fn names_seeds_and_forks_give_different_streams() {
        let dice = Dice::from_seed(7);
        let throws = [
            dice.stream("a").next_u64(),
            dice.stream("b").next_u64(),
            dice.fork("a").stream("a").next_u64(),
            Dice::from_seed(8).stream("a").next_u64(),
        ];
        for (at, throw) in throws.iter().enumerate() {
            assert!(!throws[at + 1..].contains(throw));
        }
    }

    #[test]
    fn the_system_gives_different_seeds() {
        assert_ne!(Dice::from_os().seed(), Dice::from_os().seed());
    }
}
