//! Streams that a test makes, in place of TCP sockets: whole channels on a simulated network.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::socket::Socket;

/// What goes there and back in order, or ends.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

impl Socket for Box<dyn Stream> {
    /// It cannot say; reading finds out.
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Connects to the one server there is.
pub(crate) type Connector = Arc<dyn Fn() -> Boxed<io::Result<Box<dyn Stream>>> + Send + Sync>;

pub(crate) fn connector<F, S>(connect: impl Fn() -> F + Send + Sync + 'static) -> Connector
where
    F: Future<Output = io::Result<S>> + Send + 'static,
    S: Stream,
{
    Arc::new(move || {
        let connecting = connect();
        Box::pin(async move { Ok(Box::new(connecting.await?) as Box<dyn Stream>) })
    })
}
