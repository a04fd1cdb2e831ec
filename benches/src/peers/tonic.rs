//! tonic as its users get it: prost messages with `bytes` as `Bytes`, its own server and channel.
//!
//! `echo_grpc.rs` is what tonic-prost-build 0.14 makes of `echo.proto`, read by protox 0.10, with
//! `configure().bytes(".").compile_fds(…)`; it is kept here so that no build needs either.

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
mod echo_grpc;

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tonic::{
    Request, Response, Status,
    codegen::http::Uri,
    transport::{
        Certificate, Channel, Endpoint, Identity, Server, ServerTlsConfig, server::TcpIncoming,
    },
};
use tower::service_fn;

use self::echo_grpc::{
    Payload,
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};
use crate::{
    peer::{Caller, Peer, PeerError},
    peers::mutual_tls::{Credentials, SERVER, TlsError, client_config},
};

pub(crate) use crate::peers::mutual_tls::Ciphers;

/// Calls open at once on a connection, above hyper's 200, so that no caller has to wait.
const STREAMS: u32 = 1024;

/// Room for eight calls of 1 MiB on a connection, so that none waits for a window.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Room for a call of 1 MiB on its stream.
const STREAM_WINDOW: u32 = 2 << 20;

/// tonic over plain TCP, or with mutual TLS.
pub(crate) struct Tonic {
    /// `None` is h2c.
    ciphers: Option<Ciphers>,
    client: OnceCell<TlsConnector>,
}

impl Tonic {
    /// HTTP/2 without TLS.
    pub(crate) fn plain() -> Self {
        Self { ciphers: None, client: OnceCell::new() }
    }

    /// With client certificates and these ciphers.
    pub(crate) fn tls(ciphers: Ciphers) -> Self {
        Self { ciphers: Some(ciphers), client: OnceCell::new() }
    }
}

impl Peer for Tonic {
    type Caller = TonicCaller;

    async fn serve(&self, site: &Path) -> Result<SocketAddr, PeerError> {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = incoming.local_addr()?;
        let mut server = Server::builder()
            .max_concurrent_streams(STREAMS)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW);
        if self.ciphers.is_some() {
            let tls = server_tls(&Credentials::create(site)?);
            server = server.tls_config(tls).map_err(PeerError::of("tonic"))?;
        }
        let router = server.add_service(EchoServer::new(Echoing));
        tokio::spawn(async move {
            let incoming = incoming.with_nodelay(Some(true));
            if let Err(error) = router.serve_with_incoming(incoming).await {
                eprintln!("tonic: no more connections: {error}");
            }
        });
        Ok(address)
    }

    async fn connect(&self, site: &Path, address: SocketAddr) -> Result<TonicCaller, PeerError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(PeerError::of("tonic"))?
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW);
        let channel = match self.ciphers {
            None => endpoint.connect().await.map_err(PeerError::of("tonic"))?,
            Some(ciphers) => {
                let tls = self.client.get_or_try_init(async || connector(site, ciphers)).await?;
                connect_by(tls.clone(), &endpoint, address).await?
            }
        };
        Ok(TonicCaller(EchoClient::new(channel)))
    }
}

/// tonic's own TLS, which asks for a certificate of the CA.
fn server_tls(credentials: &Credentials) -> ServerTlsConfig {
    ServerTlsConfig::new()
        .identity(Identity::from_pem(&credentials.certificate, &credentials.key))
        .client_ca_root(Certificate::from_pem(&credentials.ca))
}

/// The client's TLS: tonic takes a connector, and this one resumes no session (see `mutual_tls`).
fn connector(site: &Path, ciphers: Ciphers) -> Result<TlsConnector, TlsError> {
    let mut config = client_config(site, ciphers)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect_by(
    tls: TlsConnector,
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Result<Channel, PeerError> {
    let connect = service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(SERVER).map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    endpoint.connect_with_connector(connect).await.map_err(PeerError::of("tonic"))
}

/// A generated client on one channel.
#[derive(Clone)]
pub(crate) struct TonicCaller(EchoClient<Channel>);

impl Caller for TonicCaller {
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        let mut client = self.0.clone();
        let reply = client.echo(Payload { payload: payload.clone() }).await;
        Ok(reply.map_err(PeerError::of("tonic"))?.into_inner().payload)
    }
}

struct Echoing;

#[tonic::async_trait]
impl Echo for Echoing {
    async fn echo(&self, call: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(call.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tonic_answers_with_and_without_tls() {
        for peer in [
            Tonic::plain,
            || Tonic::tls(Ciphers::Default),
            || Tonic::tls(Ciphers::ChaCha20Poly1305),
        ] {
            let site = tempfile::tempdir().unwrap();
            let address = peer().serve(site.path()).await.unwrap();
            let caller = peer().connect(site.path(), address).await.unwrap();
            let payload = Bytes::from(vec![5; 1 << 20]);
            assert_eq!(caller.echo(&payload).await.unwrap(), payload);
        }
    }

    #[tokio::test]
    async fn tonic_answers_nobody_without_a_certificate_of_its_ca() {
        let (site, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let address = Tonic::tls(Ciphers::Default).serve(site.path()).await.unwrap();
        Tonic::tls(Ciphers::Default).serve(other.path()).await.unwrap();
        let stranger = Tonic::tls(Ciphers::Default).connect(other.path(), address).await;
        assert!(stranger.is_err());
    }
}
