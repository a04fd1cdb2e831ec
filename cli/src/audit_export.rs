//! `audit export`: an audit log for other systems.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::SystemTime;

use bailiwick_acl::audit::ocsf;
use clap::Args;

use crate::audit_filter::FilterArgs;
use crate::audit_log;
use crate::output::{Failure, Outcome};

/// Write records of an audit log in the form that other systems read.
#[derive(Debug, Args)]
#[command(after_help = "--ocsf, one JSON object a line by https://schema.ocsf.io/1.6.0:\n  \
                        decision                    API Activity 6003; Success 1 if it ran, else Failure 2\n  \
                        handshake.refused           Authentication 3002, Logon 1, Failure\n  \
                        session.revoked             Authentication 3002, Logoff 2\n  \
                        session.broken              Network Activity 4001, Reset 3\n  \
                        packets.refused             Network Activity 4001, Traffic 6\n  \
                        policy.load, policy.reject, mode.change\n                              \
                        Entity Management 3004, Update 3\n  \
                        rotate, checkpoint, gap     Event Log Activity 1008\n  \
                        summary                     the class of what it stands for, and its count\n  \
                        anything else               Base Event 0\n\n\
                        What has no place in a class is under `unmapped`; nothing is left out.\n\n\
                        Examples:\n  bailiwick audit export --ocsf audit.jsonl > events.jsonl\n  \
                        bailiwick audit export --ocsf audit.jsonl --denied --since 1d")]
pub(crate) struct Export {
    /// Events of the Open Cybersecurity Schema Framework.
    #[arg(long, required = true)]
    ocsf: bool,
    /// The audit log; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Export {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let filter = self.filter.filter(SystemTime::now())?;
        audit_log::each(&self.file, filter, |entry| {
            writeln!(out, "{}", ocsf(&entry))?;
            Ok(ControlFlow::Continue(()))
        })
    }
}
