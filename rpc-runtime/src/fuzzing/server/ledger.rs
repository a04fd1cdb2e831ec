//! What ran, what clients were told, and that the one does not contradict the other.

use std::collections::HashMap;

use crate::{
    CallKey, Incarnation, PublicKey,
    error::Outcome,
    proto::{
        frame::{Reply, Request, WireOutcome},
        status::{self, APP, OK},
    },
};

#[derive(Default)]
pub(super) struct Ledger {
    calls: HashMap<CallKey, Call>,
    /// What handlers did that they must not: where they run, a panic is theirs alone.
    broken: Vec<String>,
}

#[derive(Default)]
struct Call {
    /// How often a handler has begun.
    runs: u32,
    /// The client was told that it did not run, and never will.
    is_fenced: bool,
    /// What it was first asked as: method and arguments.
    asked: Option<(u64, Vec<u8>)>,
    /// It was asked as something else too, so that an answer may be to either.
    is_mixed: bool,
    /// The first answer with a result: status and body.
    answer: Option<(u8, Vec<u8>)>,
}

impl Ledger {
    /// A handler begins.
    pub(super) fn runs(&mut self, key: CallKey, is_readonly: bool) {
        let call = self.calls.entry(key).or_default();
        if call.is_fenced {
            self.broken.push(format!("{key} runs after its client was told that it never will"));
        }
        call.runs += 1;
        if call.runs > 1 && !is_readonly {
            self.broken.push(format!("{key} runs {} times", call.runs));
        }
    }

    /// Whether handlers ran as they must.
    pub(super) fn check(&self) {
        assert!(self.broken.is_empty(), "{:?}", self.broken);
    }

    /// A request leaves its client.
    pub(super) fn asks(&mut self, key: CallKey, request: &Request<'_>) {
        let call = self.calls.entry(key).or_default();
        let asked = (request.method.get(), request.arguments.to_vec());
        // Flags change what the server makes of the same bytes.
        call.is_mixed |= request.flags != 0;
        call.is_mixed |= *call.asked.get_or_insert_with(|| asked.clone()) != asked;
    }

    /// A reply has reached its client.
    pub(super) fn answers(&mut self, key: CallKey, reply: &Reply<'_>, is_readonly: bool) {
        let call = self.calls.entry(key).or_default();
        assert!(call.asked.is_some(), "{key} is answered unasked");
        if call.is_mixed {
            return;
        }
        match status::outcome(reply.status, reply.body) {
            Outcome::DidNotRun => {
                assert_eq!(call.runs, 0, "{key} ran, and status {} denies it", reply.status);
                call.is_fenced = true;
            }
            Outcome::Ran => {
                assert!(call.runs > 0, "{key} did not run, and status {} says so", reply.status);
            }
            _ => {}
        }
        if !is_readonly && matches!(reply.status, OK | APP) {
            let answer = (reply.status, reply.body.to_vec());
            let first = call.answer.get_or_insert_with(|| answer.clone());
            assert!(*first == answer, "{key} has two answers");
        }
    }

    /// What the server says has become of a call has reached its client.
    pub(super) fn tells(&mut self, key: CallKey, outcome: WireOutcome) {
        let call = self.calls.entry(key).or_default();
        match outcome {
            WireOutcome::Fenced => {
                assert_eq!(call.runs, 0, "{key} ran, and is said to be fenced");
                call.is_fenced = true;
            }
            WireOutcome::Ran => assert!(call.runs > 0, "{key} is said to have run"),
            WireOutcome::AtWork | WireOutcome::NotKnown => {}
        }
    }

    /// The method that a call was asked as.
    pub(super) fn method(&self, key: &CallKey) -> Option<u64> {
        Some(self.calls.get(key)?.asked.as_ref()?.0)
    }

    /// The server knows nothing of this client's calls any more, and says so.
    pub(super) fn forget(&mut self, client: PublicKey, incarnation: Incarnation) {
        self.calls.retain(|key, _| key.client != client || key.incarnation != incarnation);
    }
}
