//! Cap'n Proto RPC as its users get it: a generated client and server on two-party networks.
//!
//! `echo_capnp.rs` is what capnpc 0.27 makes of `echo.capnp` with the schema compiler `capnp` 0.9.2,
//! through `CompilerCommand` with `default_parent_module(["peers", "capnp"])`; it is kept here so that
//! no build needs either. Its values must not leave their thread, so both sides run on a runtime of
//! one thread, where a [`SendWrapper`] never meets another.

#[allow(clippy::all, clippy::pedantic, clippy::restriction, missing_docs, unreachable_pub, unused)]
mod echo_capnp;

use std::{net::SocketAddr, path::Path};

use bytes::Bytes;
use capnp::{capability::Rc, message::ReaderOptions};
use capnp_rpc::{RpcSystem, new_client, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use futures_util::AsyncReadExt;
use send_wrapper::SendWrapper;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

use self::echo_capnp::echo::{Client, EchoParams, EchoResults, Server, echo_results};
use crate::peer::{Caller, Flavor, Peer, PeerError};

/// capnp-rpc over plain TCP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capnp;

impl Peer for Capnp {
    type Caller = CapnpCaller;

    const FLAVOR: Flavor = Flavor::CurrentThread;

    async fn serve(&self, _site: &Path) -> Result<SocketAddr, PeerError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(SendWrapper::new(accept(listener)));
        Ok(address)
    }

    async fn connect(&self, _site: &Path, address: SocketAddr) -> Result<CapnpCaller, PeerError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut system = RpcSystem::new(network(stream, Side::Client), None);
        let client = system.bootstrap(Side::Server);
        tokio::spawn(SendWrapper::new(system));
        Ok(CapnpCaller(SendWrapper::new(client)))
    }
}

fn network(stream: TcpStream, side: Side) -> Box<VatNetwork<impl futures_util::AsyncRead>> {
    let (read, write) = stream.compat().split();
    Box::new(VatNetwork::new(read, write, side, ReaderOptions::new()))
}

async fn accept(listener: TcpListener) {
    let echo: Client = new_client(Echoing);
    loop {
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match accepted {
            Ok(stream) => {
                let network = network(stream, Side::Server);
                let system = RpcSystem::new(network, Some(echo.client.clone()));
                tokio::spawn(SendWrapper::new(system));
            }
            Err(error) => return eprintln!("capnp: no more connections: {error}"),
        }
    }
}

/// A bootstrapped client on one connection.
#[derive(Clone)]
pub(crate) struct CapnpCaller(SendWrapper<Client>);

impl Caller for CapnpCaller {
    fn echo(&self, payload: &Bytes) -> impl Future<Output = Result<Bytes, PeerError>> + Send {
        let mut request = self.0.echo_request();
        request.get().set_payload(payload);
        SendWrapper::new(async move {
            let reply = request.send().promise.await.map_err(PeerError::of("capnp"))?;
            let payload = reply.get().and_then(echo_results::Reader::get_payload);
            Ok(Bytes::copy_from_slice(payload.map_err(PeerError::of("capnp"))?))
        })
    }
}

struct Echoing;

impl Server for Echoing {
    async fn echo(
        self: Rc<Self>,
        params: EchoParams,
        mut results: EchoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_payload(params.get()?.get_payload()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn capnp_answers_through_its_own_stack() {
        let address = Capnp.serve(Path::new("")).await.unwrap();
        let caller = Capnp.connect(Path::new(""), address).await.unwrap();
        for length in [64, 1 << 20] {
            let payload = Bytes::from(vec![5; length]);
            assert_eq!(caller.echo(&payload).await.unwrap(), payload);
        }
    }
}
