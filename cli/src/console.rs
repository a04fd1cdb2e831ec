//! `console`: a small web page over an audit log and its policy.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use bailiwick_acl::audit::CheckpointKey;
use bailiwick_console::{Config, MetricsUrl, Reach, Token};
use clap::Args;

use crate::output::{Failure, Outcome, plain};

/// Show a page in the browser: live refusals, the rows that decided, whether the log is whole.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the URL to open, with a token that is new at each start. The console \
                        only reads. It is bound to this machine; come from another one by \
                        `ssh -L 7480:127.0.0.1:7480 HOST`. Ends with Ctrl+C.\n\n\
                        Examples:\n  bailiwick console --audit audit.jsonl --policy policy.acl\n  \
                        bailiwick console --audit audit.jsonl --policy policy.acl \
                        --metrics http://127.0.0.1:9464/metrics"
)]
pub(crate) struct Console {
    /// The audit log.
    #[arg(long, value_name = "FILE")]
    audit: PathBuf,
    /// The public key of its first checkpoint, as the server printed it when the log was new.
    #[arg(long, value_name = "KEY")]
    anchor: Option<CheckpointKey>,
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// A file of further `principal` lines.
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
    /// Plot calls and latency from the server's metrics on this machine.
    #[arg(long, value_name = "URL")]
    metrics: Option<MetricsUrl>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    listen: SocketAddr,
    /// Let --listen take an address that other machines can reach. The console speaks plain HTTP,
    /// so put a proxy with TLS before it.
    #[arg(long)]
    allow_remote: bool,
    /// A name under which the console may be asked for, beside its addresses and `localhost`.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Take the token from this file, which only its owner may read, and do not print it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Console {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let (token, query) = match &self.token_file {
            Some(path) => {
                let token = Token::read(path).map_err(|error| told(&error))?;
                (token, format!("?token=… (from {})", plain(&path.to_string_lossy())))
            }
            None => {
                let token = Token::random();
                let query = format!("?token={}", token.reveal());
                (token, query)
            }
        };
        let config = Config {
            audit: self.audit,
            anchor: self.anchor,
            policy: self.policy,
            principals: self.principals,
            metrics: self.metrics,
            listen: self.listen,
            reach: if self.allow_remote { Reach::Remote } else { Reach::Loopback },
            hosts: self.hosts,
            token,
        };
        // One thread for the pages; the files have threads of their own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut console =
                bailiwick_console::start(config).await.map_err(|error| told(&error))?;
            let address = console.address();
            if !address.ip().is_loopback() {
                eprintln!(
                    "warning: other machines can reach this console, and it speaks plain HTTP: \
                     whoever is on the way can read the token"
                );
            }
            writeln!(out, "console  http://{address}/{query}")?;
            out.flush()?;
            console.wait().await;
            Ok(Outcome::Good)
        })
    }
}

/// The library's message says what is wrong and what to do, with a semicolon or colon between.
fn told(error: &dyn std::error::Error) -> Failure {
    Failure::new(error.to_string(), "see `bailiwick console --help`")
}
