//! The ways to other nodes: a message goes as a call, and what the call answers comes back as a
//! message.
//!
//! A message may get lost, so nothing is kept for a node that is away: the machines send again what
//! matters.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick::{CallError, Channel, ChannelConfig, Context, Identity, Limits};
use tokio::{
    sync::{Semaphore, mpsc},
    time,
};
use two_phase_commit::message::{Address, Body, Message};

use crate::{
    nodes::{self, Nodes},
    services::{Coordinator as _, CoordinatorClient, Participant as _, ParticipantClient, Refusal},
};

/// Messages that wait for a way; further ones are lost.
const QUEUE: usize = 1024;

/// Calls under way to one node; further ones wait in the queue.
const CALLS: usize = 256;

/// How long a message waits for a first connection. The coordinator gives up a vote by then.
const STALE: Duration = Duration::from_secs(1);

/// How long a node may take to answer a message.
const DEADLINE: Duration = Duration::from_secs(2);

/// The longest pause between two attempts to reach a node.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// A queue for each node.
pub(crate) struct Links(BTreeMap<Address, mpsc::Sender<Queued>>);

/// A message, and since when it waits.
type Queued = (Instant, Message);

/// Takes what another node has answered.
pub(crate) type Heard = Arc<dyn Fn(Address, Message) + Send + Sync>;

impl Links {
    /// Begins to connect to every node but `me`.
    pub(crate) fn open(nodes: &Nodes, me: Address, identity: &Identity, heard: &Heard) -> Self {
        let coordinator = (Address::Coordinator, &nodes.coordinator);
        let participants = nodes.participants.iter();
        let all = participants.map(|(id, address)| (Address::Participant(*id), address));
        let link = |(node, address): (Address, &nodes::Address)| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let dial = (address.clone(), identity.clone());
            tokio::spawn(run(node, dial, queue, Arc::clone(heard)));
            (node, sender)
        };
        let others = all.chain([coordinator]).filter(|(node, _)| {
            // Participants are the coordinator's; peers ask one another.
            *node != me
        });
        Self(others.map(link).collect())
    }

    /// No way to anybody.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Sends a message, or loses it.
    pub(crate) fn send(&self, to: Address, message: Message) {
        if let Some(queue) = self.0.get(&to) {
            let _ = queue.try_send((Instant::now(), message));
        }
    }
}

async fn run(
    node: Address,
    dial: (nodes::Address, Identity),
    mut queue: mpsc::Receiver<Queued>,
    heard: Heard,
) {
    let Some((channel, mut waiting)) = connect(dial, &mut queue).await else { return };
    let places = Arc::new(Semaphore::new(CALLS));
    loop {
        let next = match waiting.pop_front() {
            None => queue.recv().await,
            first => first,
        };
        let Some((_, message)) = next else { return };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (channel, heard) = (channel.clone(), Arc::clone(&heard));
        tokio::spawn(async move {
            match call(node, channel, message).await {
                Ok(Some(answer)) => heard(node, answer),
                Ok(None) => {}
                Err(error) => tracing::info!("no answer from {node:?}: {error}"),
            }
            drop(place);
        });
    }
}

/// Connects, however long it takes, and returns what waits to be sent; what has become stale is
/// lost. Later the channel reconnects by itself.
async fn connect(
    (address, identity): (nodes::Address, Identity),
    queue: &mut mpsc::Receiver<Queued>,
) -> Option<(Channel, VecDeque<Queued>)> {
    let mut waiting = VecDeque::new();
    let limits = Limits { max_reconnect_pause: MAX_PAUSE, ..Limits::default() };
    loop {
        let config = ChannelConfig { limits: limits.clone(), ..ChannelConfig::default() };
        let (endpoint, identity) = (address.endpoint.clone(), identity.clone());
        match Channel::connect_with(endpoint, address.key, identity, config).await {
            Ok(channel) => return Some((channel, waiting)),
            Err(error) => tracing::info!("cannot reach a node yet: {error}"),
        }
        time::sleep(MAX_PAUSE).await;
        waiting.extend(std::iter::from_fn(|| queue.try_recv().ok()));
        waiting.retain(|(since, _): &Queued| since.elapsed() < STALE);
        waiting.truncate(QUEUE);
        if queue.is_closed() {
            return None;
        }
    }
}

/// Makes a call of a message, and a message of its answer.
async fn call(
    node: Address,
    channel: Channel,
    Message { txid, body }: Message,
) -> Result<Option<Message>, CallError<Refusal>> {
    let cx = &Context::within(DEADLINE);
    let answer = match node {
        Address::Coordinator => match body {
            Body::Inquire => {
                Body::Decision(CoordinatorClient::new(channel).inquire(cx, txid).await?)
            }
            _ => return Ok(None),
        },
        Address::Participant(_) => {
            let participant = ParticipantClient::new(channel);
            match body {
                Body::Execute { ops } => {
                    let (log, result) = participant.execute(cx, txid, ops).await?;
                    Body::Executed { log, result }
                }
                Body::Prepare { work, peers } => {
                    let (log, vote) = participant.prepare(cx, txid, work, peers).await?;
                    Body::Vote { log, vote }
                }
                Body::Commit => Body::Ack { log: participant.commit(cx, txid).await? },
                Body::Abort => {
                    participant.abort(cx, txid).await?;
                    return Ok(None);
                }
                Body::AskPeer => Body::PeerState(participant.ask(cx, txid).await?),
                _ => return Ok(None),
            }
        }
    };
    Ok(Some(Message { txid, body: answer }))
}
