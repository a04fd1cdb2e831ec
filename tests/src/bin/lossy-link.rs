//! The command `lossy-link`: a UDP relay that loses, duplicates, reorders and corrupts by a seed.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bailiwick_tests::relay::{self, RelayConfig, RelayCounts};
use bailiwick_tests::sim::{Counts, LinkConfig};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Relay UDP over a bad link, the same in both directions.
///
/// Rates are chances from 0 to 1. SIGINT or SIGTERM ends it, and it prints what it did. Exit codes:
/// 0 ended so; 2 not started.
#[derive(Debug, Parser)]
#[command(
    name = "lossy-link",
    arg_required_else_help = true,
    after_help = "Example:\n  lossy-link --listen 127.0.0.1:7001 --to 127.0.0.1:7000 --loss 0.3 \
                  --dup 0.1 --reorder 0.1 --corrupt 0.01 --seed 7"
)]
struct Arguments {
    /// Where clients send to; port 0 takes a free one, which is printed.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// The server.
    #[arg(long, value_name = "ADDR")]
    to: SocketAddr,
    /// The chance that a datagram is lost.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    loss: f64,
    /// The chance that one arrives twice.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    dup: f64,
    /// The chance that one is held back for up to 10 ms, so that later ones overtake it.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    reorder: f64,
    /// The chance that a bit of one flips.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    corrupt: f64,
    /// How long each is under way, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u32,
    /// Decides what is left to chance.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let delay = Duration::from_millis(arguments.delay.into());
    let link = LinkConfig {
        loss: arguments.loss,
        duplicate: arguments.dup,
        reorder: arguments.reorder,
        corrupt: arguments.corrupt,
        delay: delay..delay,
        ..LinkConfig::default()
    };
    let config = RelayConfig {
        listen: arguments.listen,
        ..RelayConfig::new(arguments.to, link, arguments.seed)
    };
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let relay = relay::start(config).await?;
    say(&format!("listening on {}", relay.address()));
    say(&format!("relaying to {} with the seed {}", arguments.to, arguments.seed));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    print_counts(&relay.counts());
    Ok(())
}

fn print_counts(counts: &RelayCounts) {
    for (
        direction,
        Counts { sent, over_mtu, lost, duplicated, reordered, corrupted, arriving, .. },
    ) in [("to the server", counts.to_server), ("to clients", counts.to_clients)]
    {
        say(&format!(
            "{direction}: {sent} came, {lost} lost, {over_mtu} too long, {duplicated} doubled, \
             {reordered} held back, {corrupted} corrupted, {arriving} sent on"
        ));
    }
    let RelayCounts { clients, turned_away, unsent, .. } = counts;
    say(&format!("{clients} clients, {turned_away} datagrams without room, {unsent} not sent"));
}

/// Prints a line; a reader that has gone does not end the relay.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number from 0 to 1 (30 % is 0.3)".to_owned()),
    }
}

/// An error and its causes, in one line.
fn chain(mut error: &dyn Error) -> String {
    let mut text = error.to_string();
    while let Some(source) = error.source() {
        text = format!("{text}: {source}");
        error = source;
    }
    text
}
