//! A server's monitor without its network: judges requests from standard input and audits them.
//!
//! ```sh
//! cargo run -p bailiwick-console --example refuse -- audit.jsonl policy.acl
//! ```
//!
//! Each line is a JSON object with `principal`, `verb`, `object` and, if it matters, `peer`; for
//! each the decision is printed. It ends with its input. The tests of the console in a browser are
//! made with it.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::{Duration, SystemTime};
use std::{env, fs, thread};

use bailiwick_acl::audit::AuditLog;
use bailiwick_acl::monitor::Recorded;
use bailiwick_acl::policy::{KeysRequired, LoadOptions, Policy, Source};
use bailiwick_acl::{Monitor, Request};

/// Bytes held ready on the disk; a server holds more.
const RESERVE: u64 = 64 * 1_024;

#[derive(serde::Deserialize)]
struct Line {
    principal: String,
    verb: String,
    object: String,
    #[serde(default)]
    peer: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [audit, policy] = &arguments[..] else {
        return Err("refuse AUDIT POLICY".into());
    };
    let text = fs::read(policy)?;
    let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
    let loaded = Policy::load(Source { name: policy, text: &text }, &options)?;
    let random = |bytes: &mut [u8]| rand::fill(bytes);
    let log = AuditLog::builder("example", random).file(audit).reserve(RESERVE).open()?;
    let monitor = Monitor::new(loaded.policy, log, SystemTime::now)?;

    thread::scope(|scope| {
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let monitor = &monitor;
        // As a server does: it writes checkpoints and summaries when they are due.
        scope.spawn(move || {
            while end.recv_timeout(Duration::from_secs(1))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                monitor.tick();
                monitor.audit().tick(SystemTime::now());
            }
        });
        let judged = judge(monitor);
        drop(ended);
        judged
    })
}

fn judge(monitor: &Monitor) -> Result<(), Box<dyn Error>> {
    for (line, call) in io::stdin().lock().lines().zip(1..) {
        let line: Line = serde_json::from_str(&line?)?;
        let caller = monitor.caller(&line.principal, [7; 8], &line.peer);
        let mut caller = caller.ok_or("the policy does not know this principal")?;
        let objects = [line.object.as_str()];
        let request = Request {
            service: "Example",
            method: "ask",
            verb: &line.verb,
            objects: &objects,
            mutating: false,
            recorded: Recorded::AsTheServerSays,
            arguments: &[],
            call,
        };
        match monitor.authorize(&mut caller, &request) {
            Ok(_) => println!("allow"),
            Err(denial) => println!("deny {denial}"),
        }
        io::stdout().flush()?;
    }
    Ok(())
}
