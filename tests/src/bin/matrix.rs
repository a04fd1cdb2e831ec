//! Runs the real client and server through every mixture of faults, in virtual time:
//! `cargo run --release -p bailiwick-tests --bin matrix -- [--seed N]`.

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use bailiwick_tests::lab::matrix;
use clap::Parser;

#[derive(Parser)]
#[command(
    about = "Runs client and server through every mixture of loss, duplication, reordering, \
                   message lengths and MTUs"
)]
struct Arguments {
    /// Decides all that is left to chance; a cell that fails says its own.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Arguments { seed } = Arguments::parse();
    let (cells, begun) = (matrix::all(), Instant::now());
    println!("{} cells, seed {seed}", cells.len());
    let mut failed = 0;
    for (number, cell) in cells.iter().enumerate() {
        let seed = seed.wrapping_add(number as u64);
        if panic::catch_unwind(|| cell.run(seed)).is_err() {
            failed += 1;
            println!("FAILED: {cell}, seed {seed}");
        }
        if (number + 1) % 100 == 0 {
            println!("{} cells in {:?}, {failed} failed", number + 1, begun.elapsed());
        }
    }
    println!("{} cells in {:?}, {failed} failed", cells.len(), begun.elapsed());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
