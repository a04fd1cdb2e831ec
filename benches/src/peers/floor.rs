//! The floor: the fastest plain echo we can write by hand, without security of any kind.
//!
//! A frame is a little-endian `u32` length, a `u64` call number and the payload. Many calls share
//! a connection, and all frames that wait leave in one write.

mod client;
mod sealed;
mod server;

use std::{net::SocketAddr, path::Path};

use bytes::{BufMut, BytesMut};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::{Peer, PeerError};

pub(crate) use client::Connection;

/// The shortest body a frame can have, in bytes: a call number and no payload.
pub(crate) const FRAME_MIN: usize = 8;

/// The longest body a frame can have, in bytes: a call number and 1 MiB. Bounds what one connection
/// can make us buffer.
pub(crate) const FRAME_MAX: usize = FRAME_MIN + (1 << 20);

/// Room made for each read, in bytes; a batch of 256 echoes is 20 KiB.
const READ_CAPACITY: usize = 32 * 1024;

const LENGTH_BYTES: usize = 4;

/// When a batch of waiting frames is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// As soon as the writer runs.
    AtOnce,
    /// After every other ready task ran once, so that their frames join the batch.
    AfterYield,
}

/// The echo, in one of its two ways of writing; plain, or each batch in a record of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    /// When a batch is written, on both sides.
    pub(crate) flush: Flush,
    /// Whether batches are encrypted.
    pub(crate) is_sealed: bool,
}

impl Peer for Floor {
    type Caller = Connection;

    async fn serve(&self, _site: &Path) -> Result<SocketAddr, PeerError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(server::accept(listener, *self));
        Ok(address)
    }

    async fn connect(&self, _site: &Path, address: SocketAddr) -> Result<Connection, PeerError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection::start(stream, *self))
    }
}

fn put_frame(outgoing: &mut BytesMut, id: u64, payload: &[u8]) {
    let body = FRAME_MIN + payload.len();
    outgoing.reserve(LENGTH_BYTES + body);
    outgoing.put_u32_le(u32::try_from(body).expect("payloads of this benchmark are small"));
    outgoing.put_u64_le(id);
    outgoing.put_slice(payload);
}

/// One whole frame at the front of a receive buffer.
struct Frame<'a> {
    id: u64,
    payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes to advance to pass it.
    fn len(&self) -> usize {
        LENGTH_BYTES + FRAME_MIN + self.payload.len()
    }
}

/// The frame at the front of `incoming`, or `None` while it is incomplete.
fn next_frame(incoming: &[u8]) -> Result<Option<Frame<'_>>, PeerError> {
    let Some((prefix, rest)) = incoming.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    if !(FRAME_MIN..=FRAME_MAX).contains(&length) {
        return Err(PeerError::FrameLength { length });
    }
    let frame = rest.get(..length).and_then(|body| body.split_first_chunk::<FRAME_MIN>());
    Ok(frame.map(|(id, payload)| Frame { id: u64::from_le_bytes(*id), payload }))
}

/// Makes room for the next read, moving a remainder to the front rather than allocating.
fn make_room(incoming: &mut BytesMut) {
    if incoming.capacity() - incoming.len() < READ_CAPACITY / 4 {
        incoming.reserve(READ_CAPACITY);
    }
}

#[cfg(test)]
mod tests;
