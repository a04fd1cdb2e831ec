//! A client that holds its keys and says what it likes.

use std::time::Instant;

use crate::{
    CallKey, CallNumber, Identity, Incarnation, PublicKey,
    fuzzing::frames::each_frame,
    proto::{
        frame::{Frame, MemoryId},
        input::Input,
    },
    service::Delivery,
};
use bailiwick_crypto::{
    Params, RecordLimits, Records, Transport,
    initiator::{self, AwaitingResp},
    record::{MAX_CONTENT, Opened},
};
use rand::rngs::StdRng;

use super::{ledger::Ledger, service::METHODS};

/// The longest frame that the server accepts.
pub(super) const MAX_FRAME: u32 = 8192;

/// One life of a client's process.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) identity: Identity,
    pub(super) incarnation: Incarnation,
}

impl Client {
    fn key(&self, number: u64) -> CallKey {
        CallKey {
            client: self.identity.public_key(),
            incarnation: self.incarnation,
            number: CallNumber::new(number),
        }
    }
}

/// The client's end of one connection.
pub(super) struct Peer {
    pub(super) client: Client,
    records: Records,
    /// What has come and is no whole record yet.
    input: Vec<u8>,
    frames: Input,
    /// What was sent, as the server joins it.
    sent: Input,
    is_over: bool,
    memory: Option<MemoryId>,
}

/// INIT of a client.
pub(super) fn begin(client: &Client, server: PublicKey, rng: &mut StdRng) -> AwaitingResp {
    let mut params = Params::new(*client.incarnation.as_bytes());
    params.max_frame = 1 << 17;
    let config = initiator::Config {
        transport: Transport::Tcp,
        identity: client.identity.clone(),
        server,
        params,
        psk: None,
        records: RecordLimits { records: 64, ..RecordLimits::default() },
    };
    initiator::start(config, rng)
}

impl Peer {
    pub(super) fn new(client: Client, records: Records) -> Self {
        Self {
            client,
            records,
            input: Vec::new(),
            frames: Input::default(),
            sent: Input::default(),
            is_over: false,
            memory: None,
        }
    }

    /// The records that carry `stream`, and notes what it asks for.
    pub(super) fn seal(&mut self, stream: &[u8], ledger: &mut Ledger, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        for content in stream.chunks(MAX_CONTENT) {
            if self.records.seal_data(content, now, &mut out).is_err() {
                return out;
            }
        }
        let client = &self.client;
        // What is refused ends the connection at the server.
        let _ = each_frame(&mut self.sent, stream, MAX_FRAME as usize, |frame| {
            if let Ok(Frame::Request(request)) = Frame::parse(frame, usize::MAX) {
                ledger.asks(client.key(request.call), &request);
            }
        });
        out
    }

    pub(super) fn seal_close(&mut self, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        // A second close is refused, and nothing is sent.
        let _ = self.records.seal_close(now, &mut out);
        out
    }

    /// Reads what the server has sent; returns what the record layer owes it.
    pub(super) fn receive(&mut self, bytes: &[u8], ledger: &mut Ledger, now: Instant) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while !self.is_over
            && let Some(size) =
                Records::record_len(&input[at..]).expect("the server's records have lengths")
            && let Some(record) = input.get_mut(at..at + size)
        {
            at += size;
            match self.records.open(record, now).expect("the server's records open") {
                Opened::Data(content) => {
                    let (client, memory) = (&self.client, &mut self.memory);
                    each_frame(&mut self.frames, content, 1 << 17, |frame| {
                        take(client, memory, frame, ledger);
                    })
                    .expect("the server's frames have lengths");
                }
                Opened::Close | Opened::Alert(_) => self.is_over = true,
                Opened::Ping | Opened::KeyUpdate => {}
            }
        }
        input.drain(..at);
        self.input = input;
        let mut out = Vec::new();
        // One that has closed owes nothing.
        let _ = self.records.poll_transmit(now, &mut out);
        out
    }
}

/// Holds what a frame of the server says against the ledger.
fn take(client: &Client, memory: &mut Option<MemoryId>, frame: &[u8], ledger: &mut Ledger) {
    match Frame::parse(frame, 0).expect("the server's frames are well formed") {
        Frame::Reply(reply) => {
            let key = client.key(reply.call);
            let method = ledger.method(&key).and_then(|id| usize::try_from(id).ok());
            let described = method.and_then(|method| METHODS.get(method));
            let is_readonly = described.is_some_and(|it| it.delivery == Delivery::Readonly);
            ledger.answers(key, &reply, is_readonly);
        }
        Frame::Outcome { call, outcome } => ledger.tells(client.key(call), outcome),
        Frame::Memory(told) => {
            assert!(memory.is_none_or(|before| before == told), "two memories on one connection");
            *memory = Some(told);
        }
        Frame::Working { .. } | Frame::Pong { .. } | Frame::GoAway => {}
        other => panic!("no server sends {other:?}"),
    }
}
