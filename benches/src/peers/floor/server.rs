//! The serving side of the floor: read what is there, answer it in place, write once.

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task,
};

use super::{Flush, make_room, next_frame, put_frame};
use crate::peer::PeerError;

/// Serves every connection in a task of its own, until the listener fails.
pub(super) async fn accept(listener: TcpListener, flush: Flush) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, flush).await {
                        eprintln!("floor: a connection ended: {error}");
                    }
                });
            }
            Err(error) => return eprintln!("floor: no more connections: {error}"),
        }
    }
}

async fn answer(mut stream: TcpStream, flush: Flush) -> Result<(), PeerError> {
    stream.set_nodelay(true)?;
    let mut incoming = BytesMut::new();
    let mut outgoing = BytesMut::new();
    loop {
        make_room(&mut incoming);
        if stream.read_buf(&mut incoming).await? == 0 {
            return Ok(());
        }
        echo_all(&mut incoming, &mut outgoing)?;
        if flush == Flush::AfterYield {
            task::yield_now().await;
            read_more(&stream, &mut incoming)?;
            echo_all(&mut incoming, &mut outgoing)?;
        }
        stream.write_all(&outgoing).await?;
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
fn read_more(stream: &TcpStream, incoming: &mut BytesMut) -> Result<(), PeerError> {
    make_room(incoming);
    match stream.try_read_buf(incoming) {
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}
