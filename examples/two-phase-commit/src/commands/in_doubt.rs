//! `two-phase-commit in-doubt`: what is undecided, where, for how long, and what it holds.

use std::{collections::BTreeMap, time::Duration};

use bailiwick::Channel;
use serde::Serialize;
use serde_json::{Value, json};
use two_phase_commit::{
    participant::{InDoubt, State},
    record::Verdict,
    txid::NodeId,
};

use super::client::{Client, failure};
use crate::{
    args::InDoubtArgs,
    exit::{Exit, Failure},
    nodes::COORDINATOR,
    output,
    services::{
        Coordinator as _, CoordinatorClient, Doubts, Participant as _, ParticipantClient, UnderWay,
        Unfinished,
    },
};

/// What each node says, or why it cannot be asked.
struct Survey {
    coordinator: Result<UnderWay, Failure>,
    participants: BTreeMap<NodeId, Result<Doubts, Failure>>,
}

/// Asks all nodes. One that is away is part of the answer, and no failure, if any answers.
pub(crate) async fn run(args: InDoubtArgs) -> Result<(), Failure> {
    let client = Client::read(&args.client)?;
    let mut survey =
        Survey { coordinator: coordinator(&client).await, participants: BTreeMap::new() };
    for id in client.nodes.participants.keys() {
        survey.participants.insert(*id, participant(&client, *id).await);
    }
    if let Some(denied) = survey.denied() {
        return Err(denied);
    }
    if args.json { output::line(survey.to_json()) } else { survey.print() }
}

async fn coordinator(client: &Client) -> Result<UnderWay, Failure> {
    let channel = client.connect(&client.nodes.coordinator).await?;
    let asked = CoordinatorClient::new(channel.clone()).unfinished(&client.cx).await;
    close(channel).await;
    asked.map_err(|error| failure(&error))
}

async fn participant(client: &Client, id: NodeId) -> Result<Doubts, Failure> {
    let node = client.nodes.participant(id);
    let channel = client.connect(node.map_err(|it| Failure::new(Exit::Usage, it))?).await?;
    let asked = ParticipantClient::new(channel.clone()).in_doubt(&client.cx).await;
    close(channel).await;
    asked.map_err(|error| failure(&error))
}

async fn close(channel: Channel) {
    channel.close().await;
}

impl Survey {
    /// Who may not observe is told so, and not that all nodes are away.
    fn denied(&mut self) -> Option<Failure> {
        let is_denied = |failure: &Failure| failure.exit == Exit::Denied;
        if self.coordinator.as_ref().is_err_and(is_denied) {
            return std::mem::replace(&mut self.coordinator, Ok(UnderWay::default())).err();
        }
        let denied = self.participants.iter().find(|(_, it)| it.as_ref().is_err_and(is_denied));
        let id = *denied?.0;
        self.participants.remove(&id)?.err()
    }

    fn print(&self) -> Result<(), Failure> {
        match &self.coordinator {
            Ok(under_way) => print_under_way(under_way)?,
            Err(failure) => output::line(format_args!("{COORDINATOR}  away: {failure}"))?,
        }
        self.participants.iter().try_for_each(|(id, doubts)| match doubts {
            Ok(doubts) => print_doubts(*id, doubts),
            Err(failure) => output::line(format_args!("{id}  away: {failure}")),
        })
    }

    fn to_json(&self) -> Value {
        let away = |failure: &Failure| json!({ "away": failure.to_string() });
        let coordinator = match &self.coordinator {
            Ok(UnderWay { gauges, listed }) => json!({
                "undecided": gauges.undecided,
                "unfinished_total": gauges.unfinished,
                "oldest_ms": millis(gauges.oldest),
                "unfinished": listed.iter().map(|it| json!({
                    "transaction": it.txid.to_string(),
                    "missing": it.missing.iter().map(NodeId::to_string).collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
            }),
            Err(failure) => away(failure),
        };
        let participant = |(id, doubts): (&NodeId, &Result<Doubts, Failure>)| {
            let value = doubts.as_ref().map_or_else(away, |doubts| json!(Figures::of(doubts)));
            (id.to_string(), value)
        };
        let participants: BTreeMap<_, _> = self.participants.iter().map(participant).collect();
        json!({ "coordinator": coordinator, "participants": participants })
    }
}

fn print_under_way(UnderWay { gauges, listed }: &UnderWay) -> Result<(), Failure> {
    let (unfinished, undecided) = (gauges.unfinished, gauges.undecided);
    output::line(format_args!(
        "{COORDINATOR}  {unfinished} committed, not yet everywhere; {undecided} undecided{}",
        oldest(gauges.oldest)
    ))?;
    for Unfinished { txid, missing } in listed {
        output::line(format_args!("  {txid}  awaits {}", names(missing)))?;
    }
    print_rest(listed.len(), unfinished)
}

fn print_doubts(id: NodeId, Doubts { gauges, listed, total }: &Doubts) -> Result<(), Failure> {
    output::line(format_args!(
        "{id}  {} in doubt, {} blocked, {} accounts locked, {} damaged{}",
        gauges.in_doubt,
        gauges.blocked,
        gauges.locked,
        gauges.damaged,
        oldest(gauges.oldest)
    ))?;
    for InDoubt { txid, state, age, peers, accounts } in listed {
        let mut line = format!("  {txid}  {}, for {:.1} s", describe(*state), age.as_secs_f64());
        if !accounts.is_empty() {
            line += &format!(", holds {}", accounts.join(" "));
        }
        if !peers.is_empty() {
            line += &format!(", with {}", names(peers));
        }
        output::line(line)?;
    }
    print_rest(listed.len(), *total)
}

/// A node lists only the first of many.
fn print_rest(listed: usize, total: u64) -> Result<(), Failure> {
    match total.saturating_sub(listed as u64) {
        0 => Ok(()),
        more => output::line(format_args!("  and {more} more")),
    }
}

fn oldest(age: Duration) -> String {
    match age {
        Duration::ZERO => String::new(),
        age => format!("; the oldest for {:.1} s", age.as_secs_f64()),
    }
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ")
}

fn describe(state: State) -> &'static str {
    match state {
        State::Ready => "READY",
        State::Blocked => "READY and blocked",
        State::Heuristic(Verdict::Commit) => "committed by hand",
        State::Heuristic(Verdict::Abort) => "aborted by hand",
        State::Damaged { here: Verdict::Commit } => "DAMAGED: committed by hand, decided otherwise",
        State::Damaged { here: Verdict::Abort } => "DAMAGED: aborted by hand, decided otherwise",
        State::Tombstone => "aborted for a peer",
    }
}

/// A participant's figures, for machines to read.
#[derive(Serialize)]
struct Figures {
    in_doubt: u64,
    blocked: u64,
    oldest_ms: u64,
    locked_accounts: u64,
    heuristic_damage: u64,
    /// How many there are to list; `transactions` are the first of them.
    transactions_total: u64,
    transactions: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    transaction: String,
    state: &'static str,
    age_ms: u64,
    peers: Vec<String>,
    accounts: Vec<String>,
}

impl Figures {
    fn of(Doubts { gauges, listed, total }: &Doubts) -> Self {
        let line = |it: &InDoubt| Line {
            transaction: it.txid.to_string(),
            state: describe(it.state),
            age_ms: millis(it.age),
            peers: it.peers.iter().map(NodeId::to_string).collect(),
            accounts: it.accounts.clone(),
        };
        Self {
            in_doubt: gauges.in_doubt,
            blocked: gauges.blocked,
            oldest_ms: millis(gauges.oldest),
            locked_accounts: gauges.locked,
            heuristic_damage: gauges.damaged,
            transactions_total: *total,
            transactions: listed.iter().map(line).collect(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
