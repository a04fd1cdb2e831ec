//! `two-phase-commit demo`: a story in real processes. Each scene checks what it shows.

mod stage;

use std::time::Duration;

use miette::{Report, miette};
use tokio::time;

use crate::{
    cluster::Process,
    exit::{Exit, Failure},
    nodes::COORDINATOR,
};
use stage::{Answer, Said, Stage};

/// What is allowed.
const COORDINATOR_POLICY: &str = include_str!("../policy/coordinator.acl");
const PARTICIPANT_POLICY: &str = include_str!("../policy/participant.acl");

/// The most time that the whole story may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Tells the story.
pub(crate) async fn run() -> Result<(), Failure> {
    let stage = Stage::build().map_err(|error| Failure::of(Exit::Refused, error))?;
    match time::timeout(LIMIT, tell(&stage)).await {
        Ok(told) => told.map_err(|report| Failure::new(Exit::Refused, report)),
        Err(_) => Err(Failure::new(
            Exit::Refused,
            miette!(
                help = "is this machine very busy? Try again",
                "the story was not over after {LIMIT:?}"
            ),
        )),
    }
}

async fn tell(stage: &Stage) -> Result<(), Report> {
    stage
        .say("Three participants keep accounts, a coordinator decides. Each has a key of its own.");
    stage.say("Lines after `$` are commands that you could type.");
    prepare(stage)?;
    let (mut coordinator, mut participants) = open(stage).await?;
    allowed_and_denied(stage).await?;
    a_participant_is_away(stage, &mut participants[1]).await?;
    killed_before_the_decision(stage, &mut coordinator).await?;
    killed_after_the_decision(stage, &mut coordinator).await?;
    forced_by_hand(stage, &mut coordinator).await?;
    stage.say("\nAll went as it should.");
    Ok(())
}

fn prepare(stage: &Stage) -> Result<(), Report> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let participants = names(&["p1", "p2", "p3"]);
    let everyone = [&names(&[COORDINATOR, "operator", "alice", "bob"])[..], &participants].concat();

    stage.scene("Keys: each party has one, and is known by its public half");
    stage.keygen(&everyone)?;
    stage.bind_principals(&everyone)?;
    stage.name_nodes(&participants)?;

    stage.scene("The policies: who may prepare, decide, transfer, read and resolve");
    stage.file("coordinator.acl", COORDINATOR_POLICY)?;
    stage.file("participant.acl", PARTICIPANT_POLICY)
}

async fn open(stage: &Stage) -> Result<(Process, Vec<Process>), Report> {
    stage.scene("The nodes");
    let mut participants = Vec::new();
    for (name, account) in [("p1", "alice=100"), ("p2", "bob=50"), ("p3", "carol=0")] {
        participants.push(stage.start(name, &["--open", account]).await?);
    }
    Ok((stage.start(COORDINATOR, &[]).await?, participants))
}

async fn allowed_and_denied(stage: &Stage) -> Result<(), Report> {
    stage.scene("A transfer happens at both participants or at neither");
    stage.run("alice", "transfer p1/alice p2/bob 30", Answer::done(&["committed"])).await?;
    balances(stage, 70, 80).await?;
    stage.remark("Alice does not have so much: aborted at both.");
    let poor = Answer::failed(1, "not enough");
    stage.run("alice", "transfer p1/alice p2/bob 1000", poor).await?;
    stage.remark("Bob may give to any account, and take from his own alone.");
    let denied = Answer::failed(3, "denied");
    stage.run("bob", "transfer p1/alice p2/bob 10", denied).await?;
    balances(stage, 70, 80).await
}

async fn a_participant_is_away(stage: &Stage, p2: &mut Process) -> Result<(), Report> {
    stage.scene("A participant is killed: its accounts wait, all others go on");
    stage.show_command("kill -9 %p2");
    p2.kill().await?;
    let silent = Answer::failed(1, "no answer in time from p2");
    stage.run("alice", "transfer --timeout 3s p1/alice p2/bob 10", silent).await?;
    stage.run("alice", "transfer p1/alice p3/carol 10", Answer::done(&["committed"])).await?;
    *p2 = stage.start("p2", &[]).await?;
    stage.run("bob", "transfer p2/bob p1/alice 10", Answer::done(&["committed"])).await?;
    balances(stage, 70, 70).await
}

async fn killed_before_the_decision(
    stage: &Stage,
    coordinator: &mut Process,
) -> Result<(), Report> {
    stage.scene("The coordinator is killed between prepare and commit");
    stage.remark("Both participants have promised; the decision is not in the log.");
    let txid = kill_coordinator_at(stage, coordinator, "before-commit").await?;
    stage.remark("They may not commit and may not abort alone: they wait, visibly, with locked");
    stage.remark("accounts. Without its coordinator nothing new begins either.");
    blocked(stage, &txid).await?;

    stage.scene("It comes back: of what its log does not know it presumes that it aborted");
    *coordinator = stage.start(COORDINATOR, &[]).await?;
    clear(stage).await?;
    stage.run("alice", &format!("outcome {txid}"), Answer::done(&["aborted"])).await?;
    balances(stage, 70, 70).await
}

async fn killed_after_the_decision(stage: &Stage, coordinator: &mut Process) -> Result<(), Report> {
    stage.scene("The coordinator is killed right after it has decided");
    stage.remark("The decision is in its log, and nobody has been told. From outside it looks the");
    stage.remark("same: that is why nobody may guess.");
    let txid = kill_coordinator_at(stage, coordinator, "after-commit").await?;
    blocked(stage, &txid).await?;

    stage.scene("It comes back, and sees to it that what it decided happens");
    *coordinator = stage.start(COORDINATOR, &[]).await?;
    clear(stage).await?;
    stage.run("alice", &format!("outcome {txid}"), Answer::done(&["committed"])).await?;
    balances(stage, 50, 90).await
}

async fn forced_by_hand(stage: &Stage, coordinator: &mut Process) -> Result<(), Report> {
    stage.scene("The last resort: an operator guesses, and guesses wrong");
    let txid = kill_coordinator_at(stage, coordinator, "after-commit").await?;
    blocked(stage, &txid).await?;
    let not_hers = Answer::failed(3, "denied");
    stage.run("alice", &format!("resolve --at p1 {txid} abort"), not_hers).await?;
    let forced = Answer::done(&["forced at p1"]);
    stage.run("operator", &format!("resolve --at p1 {txid} abort"), forced).await?;
    *coordinator = stage.start(COORDINATOR, &[]).await?;
    stage.remark("It had committed. The damage is reported and stays on record: 20 were made.");
    stage.wait("operator", "in-doubt", Answer::done(&["DAMAGED", "0 committed"])).await?;
    balances(stage, 50, 110).await
}

/// Restarts the coordinator so that it dies at `point` of the next transfer, which it is given;
/// the transfer's name.
async fn kill_coordinator_at(
    stage: &Stage,
    coordinator: &mut Process,
    point: &str,
) -> Result<String, Report> {
    stage.show_command("kill %coordinator");
    coordinator.stop().await?;
    *coordinator = stage.start(COORDINATOR, &["--die", point]).await?;
    let unknown = Answer::failed(4, "outcome unknown");
    let said = stage.run("alice", "transfer --timeout 2s p1/alice p2/bob 20", unknown).await?;
    coordinator.killed().await?;
    name_in(&said)
}

/// The name of a transaction in a message.
fn name_in(said: &Said) -> Result<String, Report> {
    let words = said.stderr.split_whitespace();
    let mut names = words.filter(|word| word.split('.').count() == 3 && word.len() > 32);
    names.next().map(str::to_owned).ok_or_else(|| miette!("the message names no transaction"))
}

async fn blocked(stage: &Stage, txid: &str) -> Result<(), Report> {
    let lines = [
        "coordinator  away".to_owned(),
        "p1  1 in doubt, 1 blocked, 1 accounts locked".to_owned(),
        "p2  1 in doubt, 1 blocked, 1 accounts locked".to_owned(),
        "p3  0 in doubt".to_owned(),
        txid.to_owned(),
    ];
    let expected = Answer { code: 0, stdout: lines.into(), stderr: "" };
    stage.wait("operator", "in-doubt", expected).await.map(drop)
}

async fn clear(stage: &Stage) -> Result<(), Report> {
    let nothing =
        ["coordinator  0 committed", "p1  0 in doubt", "p2  0 in doubt", "p3  0 in doubt"];
    stage.wait("operator", "in-doubt", Answer::done(&nothing)).await.map(drop)
}

async fn balances(stage: &Stage, alice: i64, bob: i64) -> Result<(), Report> {
    let (alice, bob) = (format!("p1/alice {alice}\n"), format!("p2/bob {bob}\n"));
    stage.run("alice", "balance p1/alice", Answer::done(&[&alice])).await?;
    stage.run("bob", "balance p2/bob", Answer::done(&[&bob])).await.map(drop)
}
