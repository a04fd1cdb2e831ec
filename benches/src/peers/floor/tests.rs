//! The floor answers its callers, and refuses frames that no caller sends.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    FRAME_MAX, Floor, Flush, next_frame, put_frame,
    sealed::{Incoming, Outgoing, Side},
};
use crate::peer::{Caller, Peer, PeerError};

#[tokio::test]
async fn every_caller_gets_its_own_payload_back() {
    let ways = [(Flush::AtOnce, false), (Flush::AfterYield, false), (Flush::AfterYield, true)];
    for (flush, is_sealed) in ways {
        let floor = Floor { flush, is_sealed };
        let site = tempfile::tempdir().unwrap();
        let address = floor.serve(site.path()).await.unwrap();
        let connection = floor.connect(site.path(), address).await.unwrap();
        let callers: Vec<_> = (0..100u8)
            .map(|number| {
                let connection = connection.clone();
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let payload = Bytes::from(vec![number; 64]);
                        assert_eq!(connection.echo(&payload).await.unwrap(), payload);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    }
}

#[test]
fn a_frame_cut_anywhere_waits_for_its_rest() {
    let mut whole = BytesMut::new();
    put_frame(&mut whole, 7, b"payload");
    for cut in 0..whole.len() {
        assert!(next_frame(&whole[..cut]).unwrap().is_none(), "cut at {cut}");
    }
    let frame = next_frame(&whole).unwrap().unwrap();
    assert_eq!((frame.id, frame.payload), (7, &b"payload"[..]));
    assert_eq!(frame.len(), whole.len());
}

#[test]
fn sealed_frames_come_out_whole_and_changed_ones_not_at_all() {
    let mut outgoing = Outgoing::of(Side::Client, true);
    put_frame(&mut outgoing.frames, 7, &[9; 40_000]);
    let frames = outgoing.frames.clone();
    let mut wire = outgoing.bytes().to_vec();
    assert_eq!(wire.len(), frames.len() + 3 * (4 + 16), "three records");
    assert!(!wire.windows(8).any(|bytes| bytes == [9; 8]), "nothing is in the clear");
    let mut incoming = Incoming::from(Side::Client, true);
    for piece in wire.chunks(1_000) {
        incoming.room().extend_from_slice(piece);
        incoming.open().unwrap();
    }
    assert_eq!(incoming.frames, frames);
    wire[100] ^= 1;
    let mut incoming = Incoming::from(Side::Client, true);
    incoming.room().extend_from_slice(&wire);
    assert!(matches!(incoming.open(), Err(PeerError::NotAuthentic)));
}

#[test]
fn a_length_outside_the_bounds_is_refused_before_its_body_comes() {
    for length in [0, 7, FRAME_MAX + 1, usize::try_from(u32::MAX).unwrap()] {
        let prefix = u32::try_from(length).unwrap().to_le_bytes();
        let Err(PeerError::FrameLength { length: claimed }) = next_frame(&prefix) else {
            panic!("a frame of {length} bytes was not refused");
        };
        assert_eq!(claimed, length);
    }
}

#[tokio::test]
async fn a_reply_to_nobody_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let floor = Floor { flush: Flush::AtOnce, is_sealed: false };
    let connection = floor.connect(Path::new(""), address).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let caller = tokio::spawn(async move { connection.echo(&Bytes::from_static(b"x")).await });
    server.read_u8().await.unwrap();
    let mut stray = BytesMut::new();
    put_frame(&mut stray, 99, b"x");
    server.write_all(&stray).await.unwrap();
    assert!(matches!(caller.await.unwrap(), Err(PeerError::Closed)));
}
