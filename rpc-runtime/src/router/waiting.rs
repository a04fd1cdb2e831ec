//! Requests that find all places at work taken: how they begin to wait, and what becomes of them then.
//! Nothing of their bodies is looked at before it is their turn.

use std::mem;

use bytes::Bytes;

use super::{Connection, Found, Received, Router, overloaded};
use crate::{
    dispatch::{self, News, Part},
    error::Executed,
    observe::meters::ServerMeter,
    overload::{Summons, Verdict, Waiting},
    proto::{
        claim::{Claim, Refused},
        frame::{self, Frame},
        frames::Frames,
        joined::Joined,
    },
    reply::{self, Refusal},
};

impl Router {
    /// A request that is to wait, as it came.
    fn to_wait(
        &self,
        found: &Found<'_>,
        claim: Claim,
        frame: &frame::Request<'_>,
        whole: &Joined<'_>,
        connection: &Connection<'_>,
    ) -> Waiting {
        let message = match whole {
            Joined::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Joined::Owned(message) => Bytes::clone(message),
        };
        let arrived = connection.arrived;
        let deadline =
            dispatch::deadline(arrived, frame.remaining, found.described, self.limits.max_deadline);
        let header = connection.reply_to(frame);
        let client = connection.session.client;
        let times = (arrived, deadline);
        Waiting::new(message, claim, client, header, times, connection.origin)
    }

    /// Has a request wait until a call of its service ends, if there is room for it.
    #[cold]
    pub(super) fn wait(
        &self,
        found: &Found<'_>,
        claim: Claim,
        frame: &frame::Request<'_>,
        whole: &Joined<'_>,
        connection: &mut Connection<'_>,
        out: &mut Frames,
    ) -> Received {
        let waiting = self.to_wait(found, claim, frame, whole, connection);
        let header = waiting.header;
        match connection.parked.park(found.gate, found.class(), waiting) {
            Ok(more) => {
                if connection.news == News::AtOnce {
                    dispatch::put_first_estimate(header, out.tail());
                }
                Received::Parked { more }
            }
            Err(waiting) => {
                let meter = self.meters.get(Some(found.index));
                refuse_waiting(waiting, &overloaded(Some(found)), meter, out.tail());
                Received::Done
            }
        }
    }

    /// A call waits no more: it is its turn, or it is refused.
    #[inline(never)]
    pub(crate) fn resume(
        &self,
        Summons { waiting, verdict }: Summons,
        connection: &mut Connection<'_>,
        out: &mut Frames,
    ) -> Received {
        let slot = match verdict {
            Verdict::Run(slot) => slot,
            Verdict::Refuse(refusal) => {
                self.refuse_waiting(waiting, &refusal, out.tail());
                return Received::Done;
            }
        };
        if waiting.deadline <= connection.now {
            self.refuse_waiting(waiting, &Refusal::DeadlineExceeded(Executed::No), out.tail());
            return Received::Done;
        }
        let arrived = waiting.arrived;
        let (message, claim) = waiting.into_parts();
        // It was parsed before, by the same bounds.
        if let (Ok(Frame::Request(mut frame)), Some(claim)) =
            (Frame::parse(&message, self.limits.max_metadata), claim)
            && let Some(found) = self.find(frame.method)
        {
            let (message, slot) = (Some(&message), Some(slot));
            let turn = (Part::Run(claim), slot, arrived);
            let metadata = mem::take(&mut frame.metadata);
            return self.run(&found, (&frame, metadata), message, turn, connection, out);
        }
        Received::Done
    }

    /// Answers a call that does not wait any more, and did not run.
    pub(crate) fn refuse_waiting(&self, waiting: Waiting, refusal: &Refusal, out: &mut Vec<u8>) {
        let method = Frame::parse(waiting.message(), self.limits.max_metadata);
        let found = match method {
            Ok(Frame::Request(frame)) => self.find(frame.method),
            _ => None,
        };
        let meter = self.meters.get(found.map(|found| found.index));
        refuse_waiting(waiting, refusal, meter, out);
    }
}

/// Refuses what has waited, and has it remembered.
fn refuse_waiting(waiting: Waiting, refusal: &Refusal, meter: &ServerMeter, out: &mut Vec<u8>) {
    meter.refused(refusal);
    let header = waiting.header;
    let answer = match waiting.refuse(refusal) {
        Refused::DidNotRun => refusal.into(),
        Refused::Stale => reply::IS_STALE,
    };
    reply::write_short(header, answer, out);
}
