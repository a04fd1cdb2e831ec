//! Our echo among other services on the same port.

use std::{fs, io, net::SocketAddr, path::Path};

use bailiwick::ServerBuilder;

use crate::{
    ours::{Bailiwick, EchoClient},
    peer::{Peer, PeerError},
};

/// The file that says how many services the server has, the echo among them.
const COUNT: &str = "services";

/// Services of four methods each, which nobody calls.
macro_rules! others {
    ($($module:ident $name:tt)*) => {
        $(mod $module {
            use bailiwick::{CallError, Context, rpc_service};

            #[rpc_service(rename = $name)]
            pub(super) trait Other {
                #[rpc(verb = "read", object = "other/{key}", readonly)]
                async fn get(&self, cx: &Context, key: String) -> Result<u64, CallError>;
                #[rpc(verb = "write", object = "other/{key}")]
                async fn put(&self, cx: &Context, key: String) -> Result<u64, CallError>;
                #[rpc(verb = "write", object = "other/{key}")]
                async fn add(&self, cx: &Context, key: String) -> Result<u64, CallError>;
                #[rpc(verb = "write", object = "other/{key}")]
                async fn delete(&self, cx: &Context, key: String) -> Result<u64, CallError>;
            }

            pub(super) struct Silent;

            impl Other for Silent {
                async fn get(&self, _: &Context, _: String) -> Result<u64, CallError> {
                    Ok(0)
                }
                async fn put(&self, _: &Context, _: String) -> Result<u64, CallError> {
                    Ok(0)
                }
                async fn add(&self, _: &Context, _: String) -> Result<u64, CallError> {
                    Ok(0)
                }
                async fn delete(&self, _: &Context, _: String) -> Result<u64, CallError> {
                    Ok(0)
                }
            }
        })*

        /// Each adds one of them.
        const OTHERS: &[fn(ServerBuilder) -> ServerBuilder] =
            &[$(|server| server.service($module::OtherServer::new($module::Silent))),*];
    };
}

others! {
    a0 "A0" a1 "A1" a2 "A2" a3 "A3" a4 "A4" a5 "A5" a6 "A6" a7 "A7"
    b0 "B0" b1 "B1" b2 "B2" b3 "B3" b4 "B4" b5 "B5" b6 "B6" b7 "B7"
    c0 "C0" c1 "C1" c2 "C2" c3 "C3" c4 "C4" c5 "C5" c6 "C6" c7 "C7"
    d0 "D0" d1 "D1" d2 "D2" d3 "D3" d4 "D4" d5 "D5" d6 "D6"
}

/// Has a server in `site` offer so many services.
///
/// # Errors
///
/// What the disk said.
pub(super) fn prepare(site: &Path, services: u32) -> io::Result<()> {
    fs::write(site.join(COUNT), services.to_string())
}

/// Bailiwick with as many services as its site says.
pub(crate) struct Crowded(Bailiwick);

impl Crowded {
    pub(crate) fn new() -> Self {
        Self(Bailiwick::tcp())
    }
}

impl Peer for Crowded {
    type Caller = EchoClient;

    async fn serve(&self, site: &Path) -> Result<SocketAddr, PeerError> {
        let count = fs::read_to_string(site.join(COUNT))?;
        let others = count.parse::<usize>().map_err(io::Error::other)?.saturating_sub(1);
        let chosen = OTHERS.get(..others).ok_or_else(|| io::Error::other("no so many services"))?;
        self.0
            .serve_with(site, |server| chosen.iter().fold(server, |server, add| add(server)))
            .await
    }

    async fn connect(&self, site: &Path, address: SocketAddr) -> Result<EchoClient, PeerError> {
        self.0.connect(site, address).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{growth::Axis, peer::Caller};

    #[tokio::test]
    async fn the_echo_answers_among_as_many_others_as_are_asked_for() {
        let most = *Axis::Services.steps().last().unwrap();
        assert_eq!(OTHERS.len() + 1, most as usize);
        let site = tempfile::tempdir().unwrap();
        prepare(site.path(), most).unwrap();
        let address = Crowded::new().serve(site.path()).await.unwrap();
        let caller = Crowded::new().connect(site.path(), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64]);
        assert_eq!(Caller::echo(&caller, &payload).await.unwrap(), payload);
    }
}
