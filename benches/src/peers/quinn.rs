//! quinn as its users call over it: a bidirectional stream for each call, and its defaults.
//!
//! Three things are not defaults. 256 streams may be open at once, since the default of 100 would make
//! callers wait; the cipher is ChaCha20-Poly1305, as in ours; and sessions are not resumed, so that
//! every connection is a whole handshake. All connections of a client share a socket, as quinn's
//! documentation asks for. The server proves itself with a self-signed certificate that the client
//! knows; the client proves nothing.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use quinn::{
    ClosedStream, ConnectError, Connection, ConnectionError, Endpoint, ReadToEndError, RecvStream,
    SendStream, TransportConfig, WriteError,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
    rustls::{
        self, RootCertStore,
        client::Resumption,
        crypto::{
            CryptoProvider, ring,
            ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256},
        },
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
        quic::Suite,
        version::TLS13,
    },
};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::peer::{Caller, Peer, PeerError};

/// The name in the certificate.
const NAME: &str = "localhost";

/// The file with the certificate, within the site.
const CERTIFICATE: &str = "server.der";

/// As many streams as the comparison ever has calls outstanding.
const STREAMS: u32 = 256;

/// The longest payload, in bytes. Bounds what one stream can make us buffer.
const PAYLOAD_MAX: usize = 1 << 20;

/// quinn with a stream for each call.
#[derive(Debug, Default)]
pub(crate) struct Quinn {
    /// The client's socket.
    client: OnceCell<Endpoint>,
}

impl Peer for Quinn {
    type Caller = QuinnCaller;

    async fn serve(&self, site: &Path) -> Result<SocketAddr, PeerError> {
        let server = Endpoint::server(server_config(site)?, loopback())?;
        let address = server.local_addr()?;
        tokio::spawn(accept(server));
        Ok(address)
    }

    async fn connect(&self, site: &Path, address: SocketAddr) -> Result<QuinnCaller, PeerError> {
        let client = self.client.get_or_try_init(async || client(site)).await?;
        let connection = client.connect(address, NAME).map_err(QuinnError::from)?.await;
        Ok(QuinnCaller(connection.map_err(QuinnError::from)?))
    }
}

/// A connection; all of a client share a socket.
#[derive(Clone)]
pub(crate) struct QuinnCaller(Connection);

impl Caller for QuinnCaller {
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        Ok(call(&self.0, payload).await?)
    }
}

async fn call(connection: &Connection, payload: &[u8]) -> Result<Bytes, QuinnError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(payload).await?;
    send.finish()?;
    Ok(receive.read_to_end(PAYLOAD_MAX).await?.into())
}

async fn accept(server: Endpoint) {
    while let Some(incoming) = server.accept().await {
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => serve_connection(&connection).await,
                Err(error) => eprintln!("quinn: a connection was not accepted: {error}"),
            }
        });
    }
}

async fn serve_connection(connection: &Connection) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        tokio::spawn(async move {
            // The callers that are cut off at the end of a run reset their streams.
            let _ = echo(send, receive).await;
        });
    }
}

async fn echo(mut send: SendStream, mut receive: RecvStream) -> Result<(), QuinnError> {
    let payload = receive.read_to_end(PAYLOAD_MAX).await?;
    send.write_all(&payload).await?;
    Ok(send.finish()?)
}

/// Makes the certificate, and leaves it where the clients look.
fn server_config(site: &Path) -> Result<quinn::ServerConfig, QuinnError> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    fs::write(site.join(CERTIFICATE), made.cert.der())?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.into()], PrivateKeyDer::from(key))?;
    // Nobody resumes a session.
    tls.send_tls13_tickets = 0;
    let crypto = QuicServerConfig::with_initial(Arc::new(tls), initial_suite()?)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// A socket to connect from, with the settings of every connection.
fn client(site: &Path) -> Result<Endpoint, QuinnError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(fs::read(site.join(CERTIFICATE))?))?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.resumption = Resumption::disabled();
    let crypto = QuicClientConfig::with_initial(Arc::new(tls), initial_suite()?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    let mut client = Endpoint::client(loopback())?;
    client.set_default_client_config(config);
    Ok(client)
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(STREAMS.into());
    transport
}

/// ring with the one cipher that ours uses, too.
fn provider() -> Arc<CryptoProvider> {
    let suites = vec![TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(CryptoProvider { cipher_suites: suites, ..ring::default_provider() })
}

/// QUIC's first packets are AES-128 whatever follows (RFC 9001, 5).
fn initial_suite() -> Result<Suite, QuinnError> {
    TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(rustls::Tls13CipherSuite::quic_suite)
        .ok_or(QuinnError::NoQuicSuite)
}

/// Why quinn did not serve, connect or answer.
#[derive(Debug, Error)]
pub(crate) enum QuinnError {
    /// The site cannot be written or read, or the socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    /// TLS does not take the certificate or the cipher.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The provider has no cipher for QUIC's first packets.
    #[error("ring has no AES-128 for QUIC")]
    NoQuicSuite,
    /// As before, found by quinn.
    #[error(transparent)]
    Initial(#[from] NoInitialCipherSuite),
    /// The client's settings do not let it connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended, or did not come to be.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The call could not be sent.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The stream was closed before its end was sent.
    #[error(transparent)]
    Finish(#[from] ClosedStream),
    /// The reply could not be read.
    #[error(transparent)]
    Read(#[from] ReadToEndError),
}

impl From<QuinnError> for PeerError {
    fn from(error: QuinnError) -> Self {
        Self::of("quinn")(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quinn_answers_and_only_with_its_own_certificate() {
        let site = tempfile::tempdir().unwrap();
        let address = Quinn::default().serve(site.path()).await.unwrap();
        let caller = Quinn::default().connect(site.path(), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64]);
        assert_eq!(caller.echo(&payload).await.unwrap(), payload);

        let other = tempfile::tempdir().unwrap();
        Quinn::default().serve(other.path()).await.unwrap();
        let stranger = client(other.path()).unwrap();
        let refused = stranger.connect(address, NAME).unwrap().await.unwrap_err();
        assert!(matches!(refused, ConnectionError::TransportError(_)), "{refused}");
    }
}
