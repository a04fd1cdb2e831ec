//! What a connection runs over: TCP, or a pipe in memory.

use std::{
    io,
    pin::pin,
    task::{Context, Poll, ready},
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
}

impl Socket for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
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
