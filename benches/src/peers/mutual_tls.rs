//! TLS in which both sides prove themselves: a CA of this run's own, a certificate for each, rustls
//! over ring.
//!
//! The client does not resume sessions: every connection is a whole handshake, as every one of ours
//! is. All else is rustls's default.

use std::{fs, io, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use thiserror::Error;
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, VerifierBuilderError},
    crypto::{CryptoProvider, ring, ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::peer::PeerError;

/// The name in the server's certificate.
pub(super) const SERVER: &str = "localhost";

/// The name in the client's certificate.
const CLIENT: &str = "bench";

/// Which ciphers the client offers; the server takes any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ciphers {
    /// ring's, in its own order: AES-256-GCM comes first.
    Default,
    /// ChaCha20-Poly1305 alone.
    ChaCha20Poly1305,
}

/// What one side shows the other, and by whose signature it knows the other; all in PEM.
pub(super) struct Credentials {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Credentials {
    /// Makes a CA and both sides' certificates, leaves the client's in `site`, and returns the
    /// server's.
    pub(super) fn create(site: &Path) -> Result<Self, TlsError> {
        let ca_key = KeyPair::generate()?;
        let mut ca_params = CertificateParams::new([])?;
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = ca_params.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca_params, ca_key);
        Self::signed(&ca, CLIENT, &issuer)?.write(site)?;
        Self::signed(&ca, SERVER, &issuer)
    }

    fn signed(ca: &str, name: &str, issuer: &Issuer<'_, KeyPair>) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new([name.to_owned()])?;
        let certificate = params.signed_by(&key, issuer)?.pem();
        Ok(Self { ca: ca.to_owned(), certificate, key: key.serialize_pem() })
    }

    fn write(&self, site: &Path) -> io::Result<()> {
        fs::write(site.join("ca.pem"), &self.ca)?;
        fs::write(site.join("client.pem"), &self.certificate)?;
        fs::write(site.join("client.key"), &self.key)
    }

    /// The client's, from `site`.
    fn read(site: &Path) -> io::Result<Self> {
        Ok(Self {
            ca: fs::read_to_string(site.join("ca.pem"))?,
            certificate: fs::read_to_string(site.join("client.pem"))?,
            key: fs::read_to_string(site.join("client.key"))?,
        })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes())?)?;
        Ok(roots)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        Ok(vec![CertificateDer::from_pem_slice(self.certificate.as_bytes())?])
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        Ok(PrivateKeyDer::from_pem_slice(self.key.as_bytes())?)
    }
}

/// What a server that lets in nobody without a certificate is configured with.
pub(super) fn server_config(site: &Path) -> Result<ServerConfig, TlsError> {
    let credentials = Credentials::create(site)?;
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(credentials.roots()?);
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(credentials.chain()?, credentials.private_key()?)?;
    // Nobody resumes a session.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What a client with the certificate in `site` is configured with.
pub(super) fn client_config(site: &Path, ciphers: Ciphers) -> Result<ClientConfig, TlsError> {
    let credentials = Credentials::read(site)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider(ciphers)))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(credentials.roots()?)
        .with_client_auth_cert(credentials.chain()?, credentials.private_key()?)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn provider(ciphers: Ciphers) -> CryptoProvider {
    let provider = ring::default_provider();
    match ciphers {
        Ciphers::Default => provider,
        Ciphers::ChaCha20Poly1305 => {
            CryptoProvider { cipher_suites: vec![TLS13_CHACHA20_POLY1305_SHA256], ..provider }
        }
    }
}

/// Why there is no TLS.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    /// The site cannot be written or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    /// What was made is not what rustls reads.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// rustls does not take the certificate or the cipher.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// rustls does not take the CA.
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
}

impl From<TlsError> for PeerError {
    fn from(error: TlsError) -> Self {
        Self::of("rustls")(error)
    }
}
