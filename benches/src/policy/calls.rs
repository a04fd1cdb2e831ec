//! Our server under a policy of ten rows and under one of a million: the same calls, of which each
//! names another object.

use std::{
    fs,
    future::pending,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bailiwick::{
    AuditLog, Bytes, CallError, Channel, Context, Endpoint, Identity, PolicyFile, Server, key_file,
    rpc_service,
};

use super::{PolicyBenchError, rows, rows::Request};
use crate::{
    ours::SetupError,
    peer::{Caller, Peer, PeerError},
};

/// As for the echo that the peers' comparison calls.
const DEADLINE: Duration = Duration::from_secs(10);

/// Who calls; its only row allows it to read every document.
const CALLER: &str = "bench";

#[rpc_service]
pub(crate) trait Documents {
    #[rpc(verb = "read", object = "tenant/{tenant}/docs/{document}")]
    async fn read(
        &self,
        cx: &Context,
        tenant: String,
        document: String,
        payload: Bytes,
    ) -> Result<Bytes, CallError>;

    #[rpc(verb = "write", object = "tenant/{tenant}/docs/{document}")]
    async fn write(
        &self,
        cx: &Context,
        tenant: String,
        document: String,
        payload: Bytes,
    ) -> Result<Bytes, CallError>;
}

struct Echoing;

impl Documents for Echoing {
    async fn read(
        &self,
        _: &Context,
        _: String,
        _: String,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        Ok(payload)
    }

    async fn write(
        &self,
        _: &Context,
        _: String,
        _: String,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        Ok(payload)
    }
}

/// Makes keys and a policy of `rows` rows in `site`, for calls on `objects`.
///
/// # Errors
///
/// What the disk said.
pub(super) fn prepare(
    site: &Path,
    rows: usize,
    objects: &[Request],
) -> Result<(), PolicyBenchError> {
    let generate = || Identity::generate(&mut rand::rng());
    let caller = generate();
    let keys = [("server.key", &generate()), ("caller.key", &caller)];
    for (file, key) in keys {
        key_file::create(site.join(file), key, "", None).map_err(SetupError::from)?;
    }
    let head = format!(
        "principal {CALLER} = {}\n{CALLER} | tenant/*/docs/* | read | allow",
        caller.public_key()
    );
    rows::write(site, rows, &head)?;
    fs::write(site.join("objects.json"), serde_json::to_vec(objects)?)?;
    Ok(())
}

/// Bailiwick with the `Documents` of a prepared site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Documented;

impl Peer for Documented {
    type Caller = Reading;

    async fn serve(&self, site: &Path) -> Result<SocketAddr, PeerError> {
        let server = bind(site).await.map_err(Box::new)?;
        let address = server.addresses().first().copied().ok_or(PeerError::Closed)?;
        tokio::spawn(server.serve_until(pending()));
        Ok(address)
    }

    async fn connect(&self, site: &Path, address: SocketAddr) -> Result<Reading, PeerError> {
        let channel = dial(site, address).await.map_err(Box::new)?;
        let requests: Vec<Request> = serde_json::from_slice(&fs::read(site.join("objects.json"))?)
            .map_err(std::io::Error::from)?;
        let objects = requests.iter().filter_map(|request| {
            let mut names = request.object.split('/').skip(1);
            Some((names.next()?.to_owned(), names.nth(1)?.to_owned()))
        });
        Ok(Reading {
            client: DocumentsClient::new(channel),
            objects: objects.collect(),
            next: Arc::default(),
        })
    }
}

async fn bind(site: &Path) -> Result<Server, SetupError> {
    let server = Server::builder(Identity::read(site.join("server.key"))?)
        .policy(PolicyFile::read(site.join("policy.acl"))?)
        .audit(AuditLog::open(site.join("audit.jsonl"))?)
        .service(DocumentsServer::new(Echoing))
        .listen(Endpoint::tcp("127.0.0.1:0".to_owned()));
    Ok(server.bind().await?)
}

async fn dial(site: &Path, address: SocketAddr) -> Result<Channel, SetupError> {
    let server = Identity::read(site.join("server.key"))?.public_key();
    let caller = Identity::read(site.join("caller.key"))?;
    Ok(Channel::connect(Endpoint::tcp(address.to_string()), server, caller).await?)
}

/// Reads one document after the other.
#[derive(Clone)]
pub(crate) struct Reading {
    client: DocumentsClient,
    objects: Arc<[(String, String)]>,
    next: Arc<AtomicUsize>,
}

impl Caller for Reading {
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.objects.len().max(1);
        let (tenant, document) = self.objects.get(at).cloned().ok_or(PeerError::Closed)?;
        let cx = Context::within(DEADLINE);
        Ok(Documents::read(&self.client, &cx, tenant, document, payload.clone()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documents_are_read_under_few_rows_and_many_without_a_warning() {
        let [site, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let object = "tenant/t1/docs/d5".to_owned();
        let asked = [Request { user: CALLER.to_owned(), verb: "read".to_owned(), object }];
        prepare(site.path(), 200, &asked).unwrap();
        prepare(other.path(), 200, &asked).unwrap();
        let address = Documented.serve(site.path()).await.unwrap();
        let caller = Documented.connect(site.path(), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64]);
        assert_eq!(Caller::echo(&caller, &payload).await.unwrap(), payload);
        let server = bind(other.path()).await.unwrap();
        assert_eq!(server.policy_warnings().len(), 0, "{:?}", server.policy_warnings());
    }
}
