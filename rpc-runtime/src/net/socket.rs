//! What a connection runs over: TCP, or a pipe in memory.

use std::{
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
    },
    pin::pin,
    task::{Context, Poll, ready},
};

use rustix::{
    buffer::spare_capacity,
    net::{RecvFlags, recv},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream},
    net::TcpStream,
};

use crate::proto::{input::Input, output::Output};

/// A stream that can say whether there is something to read, so that an idle connection holds no
/// buffer for it.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Appends to `into`, which has room, what has come that the reactor has not seen yet; how many bytes, 0 at
    /// the end of the stream.
    ///
    /// # Errors
    ///
    /// The system's; [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing has come, or if the stream cannot say.
    fn read_at_once(&self, _into: &mut Vec<u8>) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Socket for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    /// If the reactor is told of the same bytes later, one more read finds nothing.
    fn read_at_once(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        Ok(recv(self, spare_capacity(into), RecvFlags::DONTWAIT)?.1)
    }
}

impl Socket for DuplexStream {
    /// A pipe in memory cannot say; reading finds out.
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Appends to `input` what has come; how many bytes, 0 at the end of the stream.
pub(crate) fn poll_read(
    socket: &mut impl Socket,
    input: &mut Input,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    ready!(socket.poll_readable(cx))?;
    let read = ready!(pin!(socket.read_buf(&mut input.room())).poll(cx));
    if let Ok(count) = read {
        input.arrived(count);
    }
    Poll::Ready(read)
}

/// Looks `times` for something to read, without the reactor. Who looks has a buffer meanwhile, also one to whom nothing
/// comes, and takes as much at once as that has room for.
pub(crate) fn look(socket: &impl Socket, input: &mut Input, times: u32) -> Poll<io::Result<usize>> {
    for _ in 0..times {
        match socket.read_at_once(input.room().get_mut()) {
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
            read => {
                if let Ok(count) = read {
                    input.arrived(count);
                }
                return Poll::Ready(read);
            }
        }
    }
    Poll::Pending
}

/// Writes until `output` is empty.
pub(crate) fn poll_write(
    socket: &mut impl Socket,
    output: &mut Output,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !output.is_empty() {
        match ready!(pin!(&mut *socket).poll_write(cx, output.unsent()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => output.sent(count),
        }
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    /// Nothing here waits for the reactor once the connection is made.
    #[tokio::test]
    async fn what_the_reactor_has_not_seen_is_found_by_who_looks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut there, _) = listener.accept().await.unwrap();
        let mut input = Input::default();
        assert!(look(&here, &mut input, 3).is_pending());
        assert!(there.write_all(b"abc").now_or_never().is_some());
        assert!(look(&here, &mut input, 0).is_pending(), "who does not look");
        assert!(matches!(look(&here, &mut input, 1), Poll::Ready(Ok(3))));
        assert_eq!(input.unread(), b"abc");
        drop(there);
        assert!(matches!(look(&here, &mut input, 1), Poll::Ready(Ok(0))));
    }
}
