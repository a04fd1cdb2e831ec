//! For the tests of several examples: tools that may be missing, and real programs whose syncs fail.

use std::{env, io::Write as _, process::Command, thread};

/// Beyond the last sync of the longest start: strace counts those of each thread by themselves, and
/// `fsync` apart from `fdatasync`.
const LAST: u32 = 14;

/// Where a program failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    AtTheStart,
    InService,
}

/// What a test needs is not there: it is skipped, which cargo does not show. Where every test must
/// run, `BAILIWICK_REQUIRE_TOOLS=1` makes that a failure.
pub(crate) fn skip(why: &str) {
    let requires_tools = env::var("BAILIWICK_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    assert!(!requires_tools, "BAILIWICK_REQUIRE_TOOLS=1, and {why}");
    // Not by `eprintln`: that is shown of tests that fail alone.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Runs a test of this binary where no tool can be found; true if it passes.
pub(crate) fn passes_without_tools(test: &str, requires_tools: &str) -> bool {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test]).env("PATH", "").env("BAILIWICK_REQUIRE_TOOLS", requires_tools);
    let ran = command.output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("running 1 test"), "no test {test}: {said}");
    assert!(said.contains("apt-get install") || said.contains("--cap-add"), "{said}");
    ran.status.success()
}

/// Calls `fail` with the number of each sync that a start and some work come to, and counts where the
/// program failed: at the start, and in service. Skipped without strace.
pub(crate) fn each_sync_in_turn(fail: impl Fn(u32) -> Failed + Sync) -> Option<(usize, usize)> {
    if let Err(why) = strace_works() {
        skip(&format!(
            "strace must be there (apt-get install strace) and be allowed to trace (in a \
             container: --cap-add SYS_PTRACE): {why}"
        ));
        return None;
    }
    // Most of the time somebody waits for a program that is gone, so they do it together.
    let failed: Vec<_> = thread::scope(|scope| {
        let fail = &fail;
        let failing: Vec<_> = (1..=LAST).map(|nth| scope.spawn(move || fail(nth))).collect();
        failing.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let times = |place| failed.iter().filter(|it| **it == place).count();
    Some((times(Failed::AtTheStart), times(Failed::InService)))
}

/// The command that fails the `nth` sync of each thread of the program whose command line is behind it,
/// and leaves all of them in a file `trace`.
pub(crate) fn failing_sync(nth: u32) -> Vec<String> {
    // With -D the program is our child, and the tracer is its own.
    let tracer = "strace -D -f -qq -o trace -e trace=fdatasync,fsync -e";
    let inject = format!("inject=fdatasync,fsync:error=EIO:when={nth}");
    tracer.split(' ').map(str::to_owned).chain([inject]).collect()
}

fn strace_works() -> Result<(), String> {
    let traced = Command::new("strace").args(["-qq", "-e", "trace=fsync", "true"]).output();
    let traced = traced.map_err(|error| error.to_string())?;
    let stderr = || String::from_utf8_lossy(&traced.stderr).into_owned();
    traced.status.success().then_some(()).ok_or_else(stderr)
}
