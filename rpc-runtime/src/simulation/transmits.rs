//! Datagrams that leave together, one by one.

use std::{collections::VecDeque, net::SocketAddr};

use crate::proto::udp::link::Transmit;

/// Datagrams in a batch, as a socket with segmentation offload takes them.
pub(super) const SEGMENTS: usize = 16;

#[derive(Default)]
pub(super) struct Transmits {
    batch: Vec<u8>,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Transmits {
    /// The next datagram of the batches that `poll` puts into its buffer.
    pub(super) fn next(
        &mut self,
        poll: impl FnOnce(&mut Vec<u8>) -> Option<Transmit>,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        if self.waiting.is_empty() {
            self.batch.clear();
            let Transmit { to, segment } = poll(&mut self.batch)?;
            self.waiting.extend(self.batch.chunks(segment).map(|datagram| (to, datagram.to_vec())));
        }
        self.waiting.pop_front()
    }
}
