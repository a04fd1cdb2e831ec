//! The responder's side of the handshake: read INIT, send RESP, read FIN, then admit or refuse.
//!
//! Up to [`AwaitingFin::read_fin`] and [`AwaitingFin::handle_fin`] every failure is silent: the caller
//! closes or drops, and answers nothing. Then the caller looks the peer up, and only then are its
//! parameters read.

mod admission;

use std::sync::Arc;
use std::time::Instant;

use ed25519_dalek::VerifyingKey;
use rand_core::CryptoRng;

use crate::handshake::message::{self, Body, FIN_CLEAR, Init, RESP_CLEAR};
use crate::handshake::share::{Ephemeral, Spare, is_low_order};
use crate::handshake::{ConnectionId, HandshakeError, Psk, Transport};
use crate::identity::{self, Identity, ProvenKeys, PublicKey};
use crate::packet::{Packets, PacketsConfig};
use crate::params::{self, Params, Sender};
use crate::record::{RecordLimits, Records, Role};
use crate::schedule::{self, HandshakeSecret, TrafficSecrets, Transcript};
use crate::secret::{Secret, equal};
use crate::session::Exporter;

pub use admission::{Authenticated, AuthenticatedDatagram, DatagramRefusal, Refusal};

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
    /// Keys that need no proof. Default: none; each peer that is let in is one from then on.
    pub proven: Arc<ProvenKeys>,
    /// The share of the next handshake, if [`Config::prepare`] has drawn it. Default: it has not.
    pub spare: Arc<Spare>,
}

impl Config {
    /// One identity, no pre-shared key, default record limits.
    pub fn new(transport: Transport, identity: Identity, params: Params) -> Self {
        Self {
            transport,
            identities: vec![(identity, None)],
            params,
            records: RecordLimits::default(),
            proven: Arc::default(),
            spare: Arc::default(),
        }
    }

    /// Draws the share of the next handshake, 32 bytes, unless that was done before: for a time when
    /// nobody waits.
    pub fn prepare(&self, rng: &mut impl CryptoRng) {
        self.spare.prepare(rng);
    }
}

/// Reads INIT and makes RESP, at once. Draws from `rng` 32 bytes for the share, unless it is
/// [prepared](Config::prepare), then 8 for the connection id.
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
    begin(config, init, rng)?.finish()
}

/// As [`accept`], as far as RESP's clear bytes, which a stream may carry ahead of the rest: the initiator
/// then works with our share while we work with its own.
///
/// # Errors
///
/// As [`accept`].
pub fn begin(
    config: &Config,
    init: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Answering, HandshakeError> {
    config.params.check().map_err(HandshakeError::OwnParams)?;
    let parsed = message::parse_init(config.transport, init)?;
    let (identity, psk) = addressed(&config.identities, &parsed)?;
    // Before a byte leaves: who sends such a share is met by silence, as others are who are refused.
    if is_low_order(&parsed.share) {
        return Err(HandshakeError::LowOrderShare);
    }
    let ephemeral = config.spare.take().unwrap_or_else(|| Ephemeral::draw(rng));
    let mut scid = [0; 8];
    rng.fill_bytes(&mut scid);
    let params = params::encode(&config.params, Sender::Responder);
    let resp = message::write_resp(params.len(), &parsed.scid, &scid, ephemeral.public());
    debug_assert_eq!(resp.len(), RESP_CLEAR);
    Ok(Answering {
        identity: identity.clone(),
        psk: psk.cloned(),
        ephemeral,
        share: parsed.share,
        th1: Transcript::start(config.transport).absorb(&[init, &resp]),
        resp,
        params,
        transport: config.transport,
        scid,
        peer_id: parsed.scid,
        records: config.records,
        replay_slots: config.params.replay_slots,
        proven: Arc::clone(&config.proven),
    })
}

/// INIT is good, and RESP has its clear bytes.
pub struct Answering {
    identity: Identity,
    psk: Option<Psk>,
    ephemeral: Ephemeral,
    /// The initiator's.
    share: [u8; 32],
    th1: Transcript,
    resp: Vec<u8>,
    params: Vec<u8>,
    transport: Transport,
    scid: ConnectionId,
    peer_id: ConnectionId,
    records: RecordLimits,
    replay_slots: u32,
    proven: Arc<ProvenKeys>,
}

impl Answering {
    /// RESP's clear bytes: the first of what [`AwaitingFin::resp`] will be.
    pub fn clear(&self) -> &[u8] {
        &self.resp
    }

    /// Makes the rest of RESP.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::LowOrderShare`], which [`begin`] has looked for already. Answer nothing more.
    pub fn finish(self) -> Result<AwaitingFin, HandshakeError> {
        let Self { identity, th1, mut resp, params, .. } = self;
        let local = identity.public_key();
        let shared = self.ephemeral.agree(&self.share)?;
        let secret = HandshakeSecret::extract(self.psk.as_ref(), &shared);

        let id = *local.as_bytes();
        let th2 = th1.absorb(&[&id, &params]);
        let signed = schedule::to_be_signed(schedule::RESPONDER_SIGNATURE, &th2);
        let signature = identity.sign(&signed);
        let th3 = th2.append(&signature);
        let finished = schedule::finished(&secret.handshake_key("fin r", &th1), &th3);
        let th4 = th3.append(&finished);
        let hk_r = secret.handshake_key("hs key r", &th1);
        message::seal_box(&mut resp, &Body { id, params, signature, finished }, &hk_r, &th1);

        let keys = FinKeys {
            hk_i: secret.handshake_key("hs key i", &th1),
            fk_i: secret.handshake_key("fin i", &th1),
            secret,
            th4,
        };
        Ok(AwaitingFin {
            transport: self.transport,
            resp,
            scid: self.scid,
            peer_id: self.peer_id,
            local,
            keys: Some(keys),
            records: self.records,
            replay_slots: self.replay_slots,
            proven: self.proven,
        })
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answering")
            .field("local", &self.identity.public_key())
            .finish_non_exhaustive()
    }
}

/// RESP is on its way; one FIN is awaited.
pub struct AwaitingFin {
    transport: Transport,
    resp: Vec<u8>,
    scid: ConnectionId,
    peer_id: ConnectionId,
    local: PublicKey,
    /// Erased as soon as a FIN has been accepted.
    keys: Option<FinKeys>,
    records: RecordLimits,
    replay_slots: u32,
    proven: Arc<ProvenKeys>,
}

impl AwaitingFin {
    /// The bytes to send; on datagrams to be resent as they are, never built again.
    pub fn resp(&self) -> &[u8] {
        &self.resp
    }

    /// The id that FIN and packets to us carry, on datagrams.
    pub fn scid(&self) -> ConnectionId {
        self.scid
    }

    /// The id that INIT came with, and packets to the peer will carry, on datagrams.
    pub fn peer_id(&self) -> ConnectionId {
        self.peer_id
    }

    /// On a stream: checks FIN: lengths, ids and reserved bytes, the box, plen, the key, the
    /// signature, the Finished MAC, in this order.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if anything is not as it must be. Answer nothing.
    pub fn read_fin(self, fin: &[u8], now: Instant) -> Result<Authenticated, HandshakeError> {
        let Proven { peer, point, params, channel_id, traffic } =
            self.check_fin(Transport::Tcp, fin)?;
        Ok(Authenticated {
            peer,
            local: self.local,
            point,
            proven: self.proven,
            params,
            channel_id,
            channel: Records::new(Role::Responder, &traffic, self.records, now),
            exporter: Exporter { secret: traffic.exporter },
        })
    }

    /// On datagrams: checks FIN as [`AwaitingFin::read_fin`] does. That it comes from the address and
    /// port of INIT is for the caller to see to.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if anything is not as it must be. Nothing has changed then: drop it. Once
    /// one has been accepted all others are [`HandshakeError::Complete`].
    pub fn handle_fin(
        &mut self,
        fin: &[u8],
        now: Instant,
    ) -> Result<AuthenticatedDatagram, HandshakeError> {
        let Proven { peer, point, params, channel_id, traffic } =
            self.check_fin(Transport::Udp, fin)?;
        self.keys = None;
        let parts = PacketsConfig {
            limits: self.records,
            local_id: self.scid,
            remote_id: self.peer_id,
            replay_slots: self.replay_slots,
        };
        Ok(Authenticated {
            peer,
            local: self.local,
            point,
            proven: Arc::clone(&self.proven),
            params,
            channel_id,
            channel: Packets::new(Role::Responder, &traffic, parts, now),
            exporter: Exporter { secret: traffic.exporter },
        })
    }

    fn check_fin(&self, transport: Transport, fin: &[u8]) -> Result<Proven, HandshakeError> {
        if self.transport != transport {
            return Err(HandshakeError::WrongTransport);
        }
        let keys = self.keys.as_ref().ok_or(HandshakeError::Complete)?;
        let dcid = message::parse_fin(transport, fin)?;
        if dcid != self.scid {
            return Err(HandshakeError::WrongConnection);
        }
        let clear = fin.get(..FIN_CLEAR).ok_or(HandshakeError::Length)?;
        let body = message::open_box(fin, FIN_CLEAR, &keys.hk_i, &keys.th4)?;
        let (peer, point) = self.proven.load(&body.id).map_err(HandshakeError::Key)?;

        let th5 = keys.th4.absorb(&[clear, &body.id, &body.params]);
        let signed = schedule::to_be_signed(schedule::INITIATOR_SIGNATURE, &th5);
        identity::verify_with(&point, &signed, &body.signature)
            .map_err(|_| HandshakeError::Signature)?;
        let th6 = th5.append(&body.signature);
        if !equal(&body.finished, &schedule::finished(&keys.fk_i, &th6)) {
            return Err(HandshakeError::Finished);
        }
        let th7 = th6.append(&body.finished);
        let traffic = keys.secret.traffic(&th7);
        Ok(Proven { peer, point, params: body.params, channel_id: *th7.as_bytes(), traffic })
    }
}

impl std::fmt::Debug for AwaitingFin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitingFin").field("local", &self.local).finish_non_exhaustive()
    }
}

/// What a FIN is checked by.
struct FinKeys {
    secret: HandshakeSecret,
    hk_i: Secret,
    fk_i: Secret,
    th4: Transcript,
}

/// What an acceptable FIN gives.
struct Proven {
    peer: PublicKey,
    point: VerifyingKey,
    params: Vec<u8>,
    channel_id: [u8; 32],
    traffic: TrafficSecrets,
}

/// The identity whose key the sender of INIT knows.
pub(crate) fn addressed<'a>(
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
