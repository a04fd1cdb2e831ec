//! A port on a simulated network: its connections are streams that a test makes.

use std::{io, net::SocketAddr, sync::Arc};

use super::{
    admission::Admission,
    drain::Drain,
    listener::{self, Accept},
    server_driver::Common,
    simulated::{Boxed, Stream},
};

/// A port, once it is told whose.
pub(crate) type Accepting = Box<dyn FnOnce(Arc<Common>, Admission, Drain) -> Boxed<()> + Send>;

pub(crate) fn accepting<F, S>(accept: impl FnMut() -> F + Send + 'static) -> Accepting
where
    F: Future<Output = io::Result<(S, SocketAddr)>> + Send + 'static,
    S: Stream,
{
    Box::new(move |common, admission, drain| {
        Box::pin(listener::serve(AcceptBy(accept), common, admission, drain))
    })
}

struct AcceptBy<A>(A);

impl<A, F, S> Accept for AcceptBy<A>
where
    A: FnMut() -> F + Send + 'static,
    F: Future<Output = io::Result<(S, SocketAddr)>> + Send + 'static,
    S: Stream,
{
    type Socket = Box<dyn Stream>;

    async fn accept(&mut self) -> io::Result<(Self::Socket, SocketAddr)> {
        let (stream, peer) = (self.0)().await?;
        Ok((Box::new(stream), peer))
    }
}
