//! The responder's side of the handshake: read INIT, send RESP, read FIN, then admit or refuse.
//!
//! Up to [`AwaitingFin::read_fin`] every failure is silent: the caller closes or drops, and answers
//! nothing. Then the caller looks the peer up, and only then are its parameters read.

use std::time::Instant;

use rand_core::CryptoRng;
use thiserror::Error;

use crate::handshake::message::{self, Body, ConnectionId, FIN_CLEAR, Init, RESP_CLEAR};
use crate::handshake::share::Ephemeral;
use crate::handshake::{HandshakeError, Psk, Transport};
use crate::identity::{self, Identity, PublicKey};
use crate::params::{self, Params, ParamsError, Sender};
use crate::record::{Alert, RecordLimits, Records, Role};
use crate::schedule::{self, HandshakeSecret, Transcript};
use crate::secret::{Secret, equal};
use crate::session::{Exporter, Session};

/// Who answers, and what it accepts; shared by all connections.
#[derive(Debug, Clone)]
pub struct Config {
    /// What carries the handshake; the initiator must think the same.
    pub transport: Transport,
    /// The keys we answer for, each with its pre-shared key if it has one. Each is tried.
    pub identities: Vec<(Identity, Option<Psk>)>,
    /// What we accept.
    pub params: Params,
    /// When record keys are changed.
    pub records: RecordLimits,
}

impl Config {
    /// One identity, no pre-shared key, default record limits.
    pub fn new(transport: Transport, identity: Identity, params: Params) -> Self {
        Self {
            transport,
            identities: vec![(identity, None)],
            params,
            records: RecordLimits::default(),
        }
    }
}

/// Reads INIT and makes RESP. Draws from `rng` 32 bytes for the share, then 8 for the connection id.
///
/// # Errors
///
/// [`HandshakeError`] if INIT is not well formed or not addressed to any of our keys. Answer
/// nothing.
pub fn accept(
    config: &Config,
    init: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<AwaitingFin, HandshakeError> {
    config.params.check().map_err(HandshakeError::OwnParams)?;
    let parsed = message::parse_init(config.transport, init)?;
    let (identity, psk) = addressed(&config.identities, &parsed)?;
    let local = identity.public_key();

    let ephemeral = Ephemeral::draw(rng);
    let mut scid = [0; 8];
    rng.fill_bytes(&mut scid);
    let params = params::encode(&config.params, Sender::Responder);
    let mut resp = message::write_resp(params.len(), &parsed.scid, &scid, ephemeral.public());
    debug_assert_eq!(resp.len(), RESP_CLEAR);

    let shared = ephemeral.agree(&parsed.share)?;
    let th1 = Transcript::start(config.transport).absorb(&[init, &resp]);
    let secret = HandshakeSecret::extract(psk, shared.as_bytes());

    let id = *local.as_bytes();
    let th2 = th1.absorb(&[&id, &params]);
    let signed = schedule::to_be_signed(schedule::RESPONDER_SIGNATURE, &th2);
    let signature = identity.sign(&signed);
    let th3 = th2.append(&signature);
    let finished = schedule::finished(&secret.handshake_key("fin r", &th1), &th3);
    let th4 = th3.append(&finished);
    let hk_r = secret.handshake_key("hs key r", &th1);
    message::seal_box(&mut resp, &Body { id, params, signature, finished }, &hk_r, &th1);

    let hk_i = secret.handshake_key("hs key i", &th1);
    let fk_i = secret.handshake_key("fin i", &th1);
    Ok(AwaitingFin { resp, scid, local, secret, hk_i, fk_i, th4, records: config.records })
}

/// RESP is on its way; one FIN is awaited.
pub struct AwaitingFin {
    resp: Vec<u8>,
    scid: ConnectionId,
    local: PublicKey,
    secret: HandshakeSecret,
    hk_i: Secret,
    fk_i: Secret,
    th4: Transcript,
    records: RecordLimits,
}

impl AwaitingFin {
    /// The bytes to send.
    pub fn resp(&self) -> &[u8] {
        &self.resp
    }

    /// Checks FIN: lengths, ids and reserved bytes, the box, plen, the key, the signature, the
    /// Finished MAC, in this order.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if anything is not as it must be. Answer nothing.
    pub fn read_fin(self, fin: &[u8], now: Instant) -> Result<Authenticated, HandshakeError> {
        let dcid = message::parse_fin(fin)?;
        if dcid != self.scid {
            return Err(HandshakeError::WrongConnection);
        }
        let clear = fin.get(..FIN_CLEAR).ok_or(HandshakeError::Length)?;
        let body = message::open_box(fin, FIN_CLEAR, &self.hk_i, &self.th4)?;
        let (peer, point) = identity::load(&body.id).map_err(HandshakeError::Key)?;

        let th5 = self.th4.absorb(&[clear, &body.id, &body.params]);
        let signed = schedule::to_be_signed(schedule::INITIATOR_SIGNATURE, &th5);
        identity::verify_with(&point, &signed, &body.signature)
            .map_err(|_| HandshakeError::Signature)?;
        let th6 = th5.append(&body.signature);
        if !equal(&body.finished, &schedule::finished(&self.fk_i, &th6)) {
            return Err(HandshakeError::Finished);
        }
        let th7 = th6.append(&body.finished);
        let traffic = self.secret.traffic(&th7);
        Ok(Authenticated {
            peer,
            local: self.local,
            params: body.params,
            channel_id: *th7.as_bytes(),
            records: Records::new(Role::Responder, &traffic, self.records, now),
            exporter: Exporter { secret: traffic.exporter },
        })
    }
}

impl std::fmt::Debug for AwaitingFin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitingFin").field("local", &self.local).finish_non_exhaustive()
    }
}

/// A peer that has proven its key; whether that key may come in is for the caller to say.
#[derive(Debug)]
#[must_use = "admit the peer or refuse it"]
pub struct Authenticated {
    peer: PublicKey,
    local: PublicKey,
    params: Vec<u8>,
    channel_id: [u8; 32],
    records: Records,
    exporter: Exporter,
}

impl Authenticated {
    /// Whose key signed at the other end, to be looked up.
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// Which of our keys the peer dialled.
    pub fn local(&self) -> PublicKey {
        self.local
    }

    /// TH7: the same 32 bytes at both ends and in no other connection. Not secret.
    pub fn channel_id(&self) -> [u8; 32] {
        self.channel_id
    }

    /// Lets a known peer in. Send a record at once, a ping if nothing else: the peer waits for it.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if its parameters are malformed or out of range: send what it holds and close.
    pub fn admit(self) -> Result<Session, Refusal> {
        match params::parse(&self.params, Sender::Initiator) {
            Ok(peer_params) => Ok(Session {
                records: self.records,
                peer: self.peer,
                peer_params,
                channel_id: self.channel_id,
                exporter: self.exporter,
            }),
            Err(error) => {
                Err(Refusal { error, records: Box::new(self.refuse(Alert::ProtocolError)) })
            }
        }
    }

    /// Turns an unknown, revoked or expired peer away. The records can do one thing:
    /// [`Records::poll_transmit`] writes the alert, as record 0.
    pub fn refuse(self, alert: Alert) -> Records {
        let mut records = self.records;
        records.end_with(alert);
        records
    }
}

/// A peer was known, but its parameters are not acceptable.
#[derive(Debug, Error)]
#[error("the peer's parameters are refused")]
#[non_exhaustive]
pub struct Refusal {
    /// What is wrong with them.
    #[source]
    pub error: ParamsError,
    /// [`Records::poll_transmit`] writes the alert for the peer; nothing else can be sent or read.
    pub records: Box<Records>,
}

/// The identity whose key the sender of INIT knows.
fn addressed<'a>(
    identities: &'a [(Identity, Option<Psk>)],
    init: &Init<'_>,
) -> Result<(&'a Identity, Option<&'a Psk>), HandshakeError> {
    let mut found = None;
    // All are tried, so that time does not tell which one answered.
    for (identity, psk) in identities {
        let mac1 = schedule::mac1(identity.public_key().as_bytes(), init.covered);
        if equal(&mac1, &init.mac1) {
            found = found.or(Some((identity, psk.as_ref())));
        }
    }
    found.ok_or(HandshakeError::NotAddressed)
}
