//! The table of crash points (durability.md), and where in a run each of them is.

use two_phase_commit::coordinator::{Coordinator, Request};
use two_phase_commit::machine::{Input, Outputs};
use two_phase_commit::message::{Address, Body, Message};
use two_phase_commit::participant::Participant;
use two_phase_commit::record::{CoordinatorRecord, ParticipantRecord};

use crate::machines::host::{Cut, records};
use crate::machines::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// Nothing fails but the network.
    Calm,
    C1BeforePrepare,
    C1SomeSent,
    C1VotesIncomplete,
    C2,
    C3NoneSent,
    C3SomeSent,
    C4,
    C5,
    C6,
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    N1,
    N2,
    N3,
    N4,
    X1,
    /// The coordinator dies when one participant has the decision: the others learn it from that one.
    Peers,
    /// Anything, anywhere, many times.
    Storm,
}

impl Row {
    pub(crate) const ALL: [Self; 23] = [
        Self::Calm,
        Self::C1BeforePrepare,
        Self::C1SomeSent,
        Self::C1VotesIncomplete,
        Self::C2,
        Self::C3NoneSent,
        Self::C3SomeSent,
        Self::C4,
        Self::C5,
        Self::C6,
        Self::P1,
        Self::P2,
        Self::P3,
        Self::P4,
        Self::P5,
        Self::P6,
        Self::N1,
        Self::N2,
        Self::N3,
        Self::N4,
        Self::X1,
        Self::Peers,
        Self::Storm,
    ];

    /// Where the coordinator is cut short, if this is the place.
    pub(crate) fn cut_coordinator(
        self,
        input: Option<&Input<Request>>,
        out: &Outputs<Coordinator>,
        undecided: u64,
        random: &mut Random,
    ) -> Option<Cut> {
        let runs = matches!(input, Some(Input::Request { request: Request::Run { .. }, .. }))
            && out.len() > 1;
        let votes = matches!(
            input,
            Some(Input::Message { message: Message { body: Body::Vote { .. }, .. }, .. })
        );
        let commits = records(out).any(|it| matches!(it, CoordinatorRecord::Commit { .. }));
        let ends = records(out).any(|it| matches!(it, CoordinatorRecord::End { .. }));
        let some = 1 + usize::try_from(random.below(out.len().max(3) as u64 - 2)).unwrap();
        match self {
            Self::C1BeforePrepare if runs => Some(Cut::After(0)),
            Self::C1SomeSent if runs => Some(Cut::After(1)),
            Self::C1VotesIncomplete if votes && undecided > 0 && out.is_empty() => {
                Some(Cut::After(0))
            }
            Self::C2 if commits => Some(Cut::InDisk(random.below(2))),
            Self::C5 if commits => Some(Cut::FailedSync),
            // So that somebody is left to be asked.
            Self::X1 if records(out).any(is_wide) => Some(Cut::InDisk(random.below(2))),
            Self::C3NoneSent | Self::C6 if commits => Some(Cut::After(0)),
            Self::C3SomeSent if commits => Some(Cut::After(some)),
            Self::Peers if commits => Some(Cut::After(1)),
            Self::C4 if ends => Some(Cut::After(out.len())),
            Self::Storm if random.percent(3) => Some(any(random)),
            _ => None,
        }
    }

    /// Where a participant is.
    pub(crate) fn cut_participant(
        self,
        out: &Outputs<Participant>,
        random: &mut Random,
    ) -> Option<Cut> {
        let prepares = records(out).any(|it| matches!(it, ParticipantRecord::Prepared { .. }));
        let commits = records(out).any(|it| matches!(it, ParticipantRecord::Commit { .. }));
        match self {
            Self::P1 if prepares => Some(Cut::InDisk(random.below(2))),
            Self::P2 if prepares => Some(Cut::After(0)),
            Self::P3 if prepares => Some(Cut::After(out.len())),
            Self::P4 if commits => Some(Cut::InDisk(random.below(2))),
            Self::P5 if commits => Some(Cut::After(0)),
            Self::P6 if prepares => Some(Cut::InCheckpoint(random.below(18))),
            Self::Storm if random.percent(3) => Some(any(random)),
            _ => None,
        }
    }

    /// How often the place may be passed by before something happens there.
    pub(crate) fn passes(self) -> u64 {
        if self == Self::X1 { 1 } else { 4 } // X1 is rare enough
    }

    /// True for a message that gets lost here.
    pub(crate) fn loses(self, body: &Body) -> bool {
        match self {
            Self::N1 => matches!(body, Body::Prepare { .. } | Body::Vote { .. }),
            Self::N2 => {
                matches!(body, Body::Commit | Body::Abort | Body::Decision(_) | Body::Ack { .. })
            }
            _ => false,
        }
    }

    /// True for a message whose sender is cut off from all others from then on.
    pub(crate) fn isolates(self, from: Address, body: &Body) -> bool {
        self == Self::N3 && from != Address::Coordinator && matches!(body, Body::Vote { .. })
    }
}

fn is_wide(record: &CoordinatorRecord) -> bool {
    matches!(record, CoordinatorRecord::Commit { participants, .. } if participants.len() > 2)
}

fn any(random: &mut Random) -> Cut {
    match random.below(5) {
        0 => Cut::Before,
        1 => Cut::InDisk(random.below(2)),
        2 => Cut::FailedSync,
        3 => Cut::After(usize::try_from(random.below(3)).unwrap()),
        _ => Cut::InCheckpoint(random.below(18)),
    }
}
