//! What the fuzz targets of `fuzz/` run on this crate: each function takes any bytes whatever, and
//! fails where a promise is broken. The seeds that are committed are run as a test.

mod handshake;
mod sealed;

pub(crate) use handshake::{fin, init, resp, retry};
pub(crate) use sealed::{packet, record};

use bailiwick_crypto::Transport;

/// An input, read from the front. What is missing at its end reads as zeros.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// As many bytes as the next two say, or as are left.
    fn bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.short()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn transport(&mut self) -> Transport {
        if self.byte().is_multiple_of(2) { Transport::Tcp } else { Transport::Udp }
    }

    /// Changes bytes of `message` as the rest of the input says: places and what is XORed there.
    fn spoil(&mut self, message: &mut [u8]) {
        while !self.is_empty() {
            let (at, change) = (usize::from(self.short()), self.byte());
            if let Some(byte) = message.get_mut(at) {
                *byte ^= change;
            }
        }
    }
}

#[cfg(test)]
mod seeds {
    use std::{fs, path::Path};

    fn run(target: &str, function: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
        let listed = fs::read_dir(&folder).expect("the seeds are in the repository");
        let mut seeds: Vec<_> = listed.map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{} has seeds", folder.display());
        for seed in seeds {
            println!("{}", seed.display());
            function(&fs::read(seed).unwrap());
        }
    }

    #[test]
    fn handshakes_keep_their_promises_for_all_seeds() {
        run("handshake_init", super::init);
        run("handshake_retry", super::retry);
        run("handshake_resp", super::resp);
        run("handshake_fin", super::fin);
    }

    #[test]
    fn records_and_packets_keep_their_promises_for_all_seeds() {
        run("record", super::record);
        run("packet", super::packet);
    }
}
