//! `two-phase-commit coordinator`: recovers what was decided, and goes on deciding.

use std::time::Duration;

use two_phase_commit::coordinator::{Coordinator, Options};

use crate::{
    args::CoordinatorArgs,
    exit::Failure,
    serve::{Checked, CoordinatorFate, CoordinatorService, of_coordinator},
    services::CoordinatorServer,
    settings::{Role, Settings},
};

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(args: CoordinatorArgs) -> Result<(), Failure> {
    let fate = CoordinatorFate::default();
    let settings = Settings::of(args.node, Role::Coordinator)?;
    let recovered = Checked::read(settings)?.recover(fate.clone(), |log, nodes| {
        Coordinator::new(log, nodes.participants.keys().copied(), times())
    })?;
    // From here on the first record is that of a decision.
    if let Some(die) = args.die {
        fate.seal(die);
    }
    let epoch = recovered.recovery.epoch.0;
    let service = |engine| CoordinatorServer::new(CoordinatorService::new(engine, epoch));
    recovered.serve(service, of_coordinator).await
}

/// Nodes of one site answer within milliseconds: who does not within these is away.
fn times() -> Options {
    Options {
        vote_timeout: Duration::from_secs(1),
        resend: Duration::from_millis(100),
        resend_most: Duration::from_secs(2),
        ..Options::default()
    }
}
