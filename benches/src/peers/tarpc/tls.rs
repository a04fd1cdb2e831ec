//! tarpc over rustls with client certificates: the way tarpc's own example of TLS goes.

use std::{net::SocketAddr, path::Path, sync::Arc};

use tarpc::{client, serde_transport, tokio_serde::formats::Bincode};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OnceCell,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, rustls::pki_types::ServerName};

use super::{EchoClient, TarpcCaller, answer};
use crate::{
    peer::{Peer, PeerError},
    peers::mutual_tls::{Ciphers, SERVER, TlsError, client_config, server_config},
};

/// tarpc over mutual TLS with ChaCha20-Poly1305.
#[derive(Default)]
pub(crate) struct TarpcTls {
    client: OnceCell<TlsConnector>,
}

impl Peer for TarpcTls {
    type Caller = TarpcCaller;

    async fn serve(&self, site: &Path) -> Result<SocketAddr, PeerError> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(site)?));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(accept(listener, acceptor));
        Ok(address)
    }

    async fn connect(&self, site: &Path, address: SocketAddr) -> Result<TarpcCaller, PeerError> {
        let connector = self.client.get_or_try_init(async || connector(site)).await?;
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(SERVER).map_err(PeerError::of("rustls"))?;
        let stream = connector.connect(name, stream).await?;
        let transport = serde_transport::Transport::from((stream, Bincode::default()));
        Ok(TarpcCaller(EchoClient::new(client::Config::default(), transport).spawn()))
    }
}

fn connector(site: &Path) -> Result<TlsConnector, TlsError> {
    Ok(TlsConnector::from(Arc::new(client_config(site, Ciphers::ChaCha20Poly1305)?)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return eprintln!("tarpc-tls: no more connections: {error}"),
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor.accept(stream).await {
                Ok(stream) => {
                    answer(serde_transport::Transport::from((stream, Bincode::default()))).await;
                }
                Err(error) => eprintln!("tarpc-tls: a connection was not accepted: {error}"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::peer::Caller;

    #[tokio::test]
    async fn tarpc_answers_over_tls_and_only_who_has_a_certificate_of_its_ca() {
        let site = tempfile::tempdir().unwrap();
        let address = TarpcTls::default().serve(site.path()).await.unwrap();
        let caller = TarpcTls::default().connect(site.path(), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64]);
        assert_eq!(caller.echo(&payload).await.unwrap(), payload);

        let other = tempfile::tempdir().unwrap();
        TarpcTls::default().serve(other.path()).await.unwrap();
        assert!(TarpcTls::default().connect(other.path(), address).await.is_err());
    }
}
