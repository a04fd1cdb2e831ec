//! tarpc as its users get it: the service macro, its serde transport with bincode, its defaults.
//!
//! `TCP_NODELAY` stays off over plain TCP because tarpc leaves it off: switched on, every one of its
//! small writes is a segment, and it loses about a quarter of its throughput. The argument is `Bytes`,
//! which bincode copies whole where a `Vec<u8>` goes byte by byte.

mod tls;

use std::{future, net::SocketAddr, path::Path};

use bytes::Bytes;
use futures_util::StreamExt;
use tarpc::{
    ClientMessage, Response, Transport, client, context,
    serde_transport::tcp,
    server::{BaseChannel, Channel},
    tokio_serde::formats::Bincode,
};

pub(crate) use self::tls::TarpcTls;
use crate::peer::{Caller, Peer, PeerError};

#[tarpc::service]
trait Echo {
    async fn echo(payload: Bytes) -> Bytes;
}

/// tarpc over plain TCP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tarpc;

impl Peer for Tarpc {
    type Caller = TarpcCaller;

    async fn serve(&self, _site: &Path) -> Result<SocketAddr, PeerError> {
        let listener = tcp::listen("127.0.0.1:0", Bincode::default).await?;
        let address = listener.local_addr();
        tokio::spawn(listener.for_each(|accepted| {
            match accepted {
                Ok(transport) => drop(tokio::spawn(answer(transport))),
                Err(error) => eprintln!("tarpc: a connection was not accepted: {error}"),
            }
            future::ready(())
        }));
        Ok(address)
    }

    async fn connect(&self, _site: &Path, address: SocketAddr) -> Result<TarpcCaller, PeerError> {
        let transport = tcp::connect(address, Bincode::default).await?;
        Ok(TarpcCaller(EchoClient::new(client::Config::default(), transport).spawn()))
    }
}

/// Answers what comes by `transport` until it ends, each call in a task of its own.
async fn answer<T>(transport: T)
where
    T: Transport<Response<EchoResponse>, ClientMessage<EchoRequest>> + Send + 'static,
    T::Error: Send + Sync,
{
    let requests = BaseChannel::with_defaults(transport).execute(Server.serve());
    requests
        .for_each(|call| {
            tokio::spawn(call);
            future::ready(())
        })
        .await;
}

/// A generated client on one connection.
#[derive(Clone)]
pub(crate) struct TarpcCaller(EchoClient);

impl Caller for TarpcCaller {
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        let echoed = self.0.echo(context::current(), payload.clone()).await;
        echoed.map_err(PeerError::of("tarpc"))
    }
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tarpc_answers_through_its_own_stack() {
        let address = Tarpc.serve(Path::new("")).await.unwrap();
        let caller = Tarpc.connect(Path::new(""), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64]);
        assert_eq!(caller.echo(&payload).await.unwrap(), payload);
    }
}
