//! From the command line to a client: whom to call, and as whom.

use bailiwick::{Channel, ChannelConfig, Context, Endpoint, Identity, Limits, PublicKey};
use hashtable::service::TableClient;

use crate::{
    args::DialArgs,
    exit::{Exit, Failure},
};

/// What it takes to connect, any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    endpoint: Endpoint,
    server: PublicKey,
    identity: Identity,
}

impl Dial {
    /// Reads the key file.
    pub(crate) fn read(args: &DialArgs) -> Result<Self, Failure> {
        let identity =
            Identity::read(&args.identity).map_err(|error| Failure::of(Exit::Usage, error))?;
        Ok(Self { endpoint: args.connect.clone(), server: args.server, identity })
    }

    /// Connects before the deadline of `cx`. A connection that is lost later is made anew.
    pub(crate) async fn connect(&self, cx: &Context) -> Result<TableClient, Failure> {
        let (defaults, left) = (Limits::default(), cx.remaining());
        let limits = Limits {
            handshake_timeout: defaults.handshake_timeout.min(left),
            handshake_timeout_udp: defaults.handshake_timeout_udp.min(left),
            ..defaults
        };
        let config = ChannelConfig { limits, ..ChannelConfig::default() };
        let (endpoint, identity) = (self.endpoint.clone(), self.identity.clone());
        let channel = Channel::connect_with(endpoint, self.server, identity, config).await?;
        Ok(TableClient::new(channel))
    }
}
