//! `hashtable demo`: a story in real processes. Each scene checks what it shows.

mod audit;
mod stage;

use std::{io, time::Duration};

use miette::{Report, miette};
use tokio::time;

use crate::{
    args::{DemoArgs, Transport},
    exit::{Exit, Failure},
};
use audit::Refusal;
use stage::{Answer, Stage};

/// What is allowed; see also the README, which tells the same story by hand.
const POLICY: &str = include_str!("../policy.acl");

/// The most time that the whole story may take.
const LIMIT: Duration = Duration::from_secs(25);

/// Tells the story.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let stage = Stage::build(args.transport).map_err(|error| Failure::of(Exit::Service, error))?;
    match time::timeout(LIMIT, tell(&stage)).await {
        Ok(told) => told.map_err(|report| Failure::new(Exit::Service, report)),
        Err(_) => Err(Failure::new(
            Exit::Service,
            miette!(
                help = "is this machine very busy? Try again",
                "the story was not over after {LIMIT:?}"
            ),
        )),
    }
}

async fn tell(stage: &Stage) -> Result<(), Report> {
    stage.say("A table, two people who may use it, a stranger and an impostor.");
    stage.say(
        "Lines after `$` are commands that you could type; the README tells the same by hand.",
    );
    let server = opening(stage).await?;
    allowed(stage, &server).await?;
    denied(stage, &server).await?;
    stranger_and_impostor(stage, &server).await?;
    killed(stage).await?;
    afterwards(stage, server).await?;
    stage.say("\nAll went as it should.");
    Ok(())
}

async fn opening(stage: &Stage) -> Result<stage::Server, Report> {
    stage.scene("Keys: each party has one, and is known by its public half");
    for name in ["server", "alice", "bob", "mallory", "impostor"] {
        stage.keygen(name)?;
    }

    stage.scene("The policy: whose key is whose, and who may do what");
    stage.bind_principals(&["alice", "bob"])?;
    stage.file("policy.acl", POLICY)?;

    stage.scene("The server: it refuses to start without key, policy and audit log");
    let server = stage.serve("server", "audit.jsonl").await?;
    stage.define_shell_variable(&server);
    Ok(server)
}

async fn allowed(stage: &Stage, server: &stage::Server) -> Result<(), Report> {
    stage.scene("What is allowed");
    let done = |value| Answer { code: 0, stdout: value, stderr: "" };
    stage.call(server, "alice", &["put", "greeting", "good morning"], done("")).await?;
    stage.call(server, "bob", &["get", "greeting"], done("good morning\n")).await?;
    stage.call(server, "alice", &["increment", "visitors", "1"], done("1\n")).await?;
    stage.call(server, "alice", &["increment", "visitors", "41"], done("42\n")).await?;
    stage.call(server, "bob", &["keys", ""], done("greeting\nvisitors\n")).await
}

async fn denied(stage: &Stage, server: &stage::Server) -> Result<(), Report> {
    stage.scene("What is denied: the caller learns a number, the audit log knows the reason");
    let denied = Answer { code: 3, stdout: "", stderr: "denied" };
    stage.remark("Bob may read and list; no row lets him write.");
    stage.call(server, "bob", &["put", "greeting", "boo"], denied).await?;
    stage.remark("Alice may write, but a deny wins over every allow.");
    stage.call(server, "alice", &["put", "salary", "1000000"], denied).await?;
    stage.remark("And a denied call has not run.");
    let unchanged = Answer { code: 0, stdout: "good morning\n", stderr: "" };
    stage.call(server, "alice", &["get", "greeting"], unchanged).await?;
    let absent = Answer { code: 1, stdout: "", stderr: "no such key" };
    stage.call(server, "alice", &["get", "salary"], absent).await
}

async fn stranger_and_impostor(stage: &Stage, server: &stage::Server) -> Result<(), Report> {
    stage.scene("A stranger: mallory has a key, but the policy binds it to nobody");
    let refused = Answer { code: 3, stdout: "", stderr: "does not admit the key" };
    stage.call(server, "mallory", &["get", "greeting"], refused).await?;

    stage.scene("An impostor: another server, where alice expects the real one");
    let mut impostor = stage.serve("impostor", "impostor.jsonl").await?;
    stage.remark("It does not hold the key that alice asks for, so her call is never sent.");
    let dialled = impostor.with_the_key_of(server);
    let mut secret = vec!["put", "password", "hunter2"];
    let stderr = match stage.transport() {
        Transport::Tcp => "did not answer the handshake",
        Transport::Udp => {
            stage.remark("Over UDP that looks as if nobody were there; she waits a second for it.");
            secret.splice(0..0, ["--timeout", "1s"]);
            "nobody answers"
        }
    };
    let not_trusted = Answer { code: 5, stdout: "", stderr };
    stage.call_at(&dialled, "alice", &secret, not_trusted).await?;
    impostor.stop().await
}

async fn killed(stage: &Stage) -> Result<(), Report> {
    stage.scene("A table that is kept: what was answered stays, also after kill -9");
    let done = |value| Answer { code: 0, stdout: value, stderr: "" };
    let server = stage.serve_kept("server", "table").await?;
    let dial = server.dial();
    stage.call_at(&dial, "alice", &["put", "greeting", "good night"], done("")).await?;
    stage.call_at(&dial, "alice", &["increment", "visitors", "1"], done("1\n")).await?;
    stage.command("kill -9 $!");
    server.kill().await?;
    let mut server = stage.serve_kept("server", "table").await?;
    let dial = server.dial();
    stage.call_at(&dial, "bob", &["get", "greeting"], done("good night\n")).await?;
    stage.call_at(&dial, "alice", &["increment", "visitors", "1"], done("2\n")).await?;
    server.stop().await
}

async fn afterwards(stage: &Stage, mut server: stage::Server) -> Result<(), Report> {
    stage.scene("The audit log: every refusal, with its reason");
    server.stop().await?;
    let log = stage.read("audit.jsonl").map_err(Report::from_err)?;
    stage.command("bailiwick audit query --denied audit.jsonl");
    let refusals = audit::refusals(&log)?;
    for refusal in &refusals {
        stage.output(&refusal.to_string());
    }
    expect_refusals(&refusals)?;

    stage.command("bailiwick audit verify audit.jsonl");
    let report = bailiwick_acl::audit::verify(&log[..]).map_err(Report::from_err)?;
    let (records, denials) = (report.records, report.denials);
    stage.output(&format!("{records} records, {denials} of them denials: the chain is whole"));

    stage.remark("Who edits the log is found out:");
    stage.command("sed s/bob/eve/ audit.jsonl > edited.jsonl; bailiwick audit verify edited.jsonl");
    let edited = String::from_utf8_lossy(&log).replace("\"bob\"", "\"eve\"");
    match bailiwick_acl::audit::verify(edited.as_bytes()) {
        Err(tampered) => stage.output(&tampered.to_string()),
        Ok(_) => return Err(miette!("the edit went unnoticed")),
    }
    Ok(())
}

/// The log holds what the story did, and nothing else.
fn expect_refusals(found: &[Refusal]) -> Result<(), Report> {
    let row = POLICY.lines().position(|line| line.starts_with("* ")).unwrap_or_default() + 1;
    let expected = [
        ("bob", "write", "table/greeting", "default".to_owned()),
        ("alice", "write", "table/salary", format!("row policy.acl:{row}")),
        ("", "", "", "unknown_principal".to_owned()),
    ];
    let as_expected = found.len() == expected.len()
        && found.iter().zip(&expected).all(|(refusal, (principal, verb, object, reason))| {
            refusal.principal == *principal
                && refusal.verb == *verb
                && refusal.object == *object
                && refusal.reason == *reason
        });
    if as_expected { Ok(()) } else { Err(miette!("the log should hold {expected:?}")) }
}

/// What a scene could not do; the story ends there.
fn broken(doing: &str, error: io::Error) -> Report {
    Report::from_err(error).wrap_err(format!("cannot {doing}"))
}
