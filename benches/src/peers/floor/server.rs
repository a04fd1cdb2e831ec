//! The serving side of the floor: read what is there, answer it in place, write once.

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task,
};

use super::{
    Floor, Flush, next_frame, put_frame,
    sealed::{Incoming, Outgoing, Side},
};
use crate::peer::PeerError;

/// Serves every connection in a task of its own, until the listener fails.
pub(super) async fn accept(listener: TcpListener, floor: Floor) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, floor).await {
                        eprintln!("floor: a connection ended: {error}");
                    }
                });
            }
            Err(error) => return eprintln!("floor: no more connections: {error}"),
        }
    }
}

async fn answer(mut stream: TcpStream, floor: Floor) -> Result<(), PeerError> {
    stream.set_nodelay(true)?;
    let mut incoming = Incoming::from(Side::Client, floor.is_sealed);
    let mut outgoing = Outgoing::of(Side::Server, floor.is_sealed);
    loop {
        if stream.read_buf(incoming.room()).await? == 0 {
            return Ok(());
        }
        incoming.open()?;
        echo_all(&mut incoming.frames, &mut outgoing.frames)?;
        if floor.flush == Flush::AfterYield {
            task::yield_now().await;
            read_more(&stream, &mut incoming)?;
            echo_all(&mut incoming.frames, &mut outgoing.frames)?;
        }
        stream.write_all(outgoing.bytes()).await?;
        outgoing.clear();
    }
}

fn echo_all(incoming: &mut BytesMut, outgoing: &mut BytesMut) -> Result<(), PeerError> {
    let mut passed = 0;
    while let Some(frame) = next_frame(&incoming[passed..])? {
        put_frame(outgoing, frame.id, frame.payload);
        passed += frame.len();
    }
    incoming.advance(passed);
    Ok(())
}

/// Reads what arrived during the yield. An end of stream is left for the next read to find.
fn read_more(stream: &TcpStream, incoming: &mut Incoming) -> Result<(), PeerError> {
    match stream.try_read_buf(incoming.room()) {
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(error.into()),
        Ok(_) | Err(_) => incoming.open(),
    }
}
