//! `two-phase-commit participant`: recovers its books and its promises, and keeps accounts.

use std::{collections::BTreeMap, time::Duration};

use miette::miette;
use two_phase_commit::{
    machine::{Effect, Input, RequestId},
    message::Address,
    participant::{Answer, MAX_OPEN, Options, Participant, Request},
};

use crate::{
    args::ParticipantArgs,
    exit::{Exit, Failure},
    serve::{Checked, DiskNode, ParticipantService, of_participant},
    services::ParticipantServer,
    settings::{Role, Settings},
};

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(args: ParticipantArgs) -> Result<(), Failure> {
    let settings = Settings::of(args.node, Role::Participant(args.name))?;
    let Address::Participant(me) = settings.me else {
        return Err(Failure::new(Exit::Usage, miette!("a participant has a name such as p1")));
    };
    let fate = Default::default();
    let mut recovered =
        Checked::read(settings)?.recover(fate, |log, _| Participant::new(me, log, times()))?;
    let opened = open(&mut recovered.start.node, args.open)?;
    recovered.start.effects.extend(opened);
    let service = |engine| ParticipantServer::new(ParticipantService::new(engine));
    recovered.serve(service, of_participant).await
}

/// Opens those accounts that are not there yet.
fn open(
    node: &mut DiskNode<Participant>,
    accounts: Vec<(String, i64)>,
) -> Result<Vec<Effect<Answer>>, Failure> {
    let is_new = |(name, _): &(String, i64)| node.machine().ledger().book(name).is_none();
    let new: Vec<_> = accounts.into_iter().filter(is_new).collect();
    let mut others = Vec::new();
    for some in new.chunks(MAX_OPEN) {
        let accounts: BTreeMap<_, _> = some.iter().cloned().collect();
        let request =
            Input::Request { id: RequestId(u64::MAX), request: Request::Open { accounts } };
        let effects = node.step([request], Duration::ZERO);
        for effect in effects.map_err(|error| Failure::of(Exit::Refused, error))? {
            match effect {
                Effect::Reply { answer: Answer::Opened, .. } => {}
                Effect::Reply { answer, .. } => {
                    let why = miette!("the accounts cannot be opened: {answer:?}");
                    return Err(Failure::new(Exit::Refused, why));
                }
                other => others.push(other),
            }
        }
    }
    Ok(others)
}

/// Nodes of one site answer within milliseconds.
fn times() -> Options {
    Options {
        inquire: Duration::from_millis(100),
        inquire_most: Duration::from_secs(2),
        ..Options::default()
    }
}
