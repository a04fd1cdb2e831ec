//! The initiator's side of the handshake: send INIT, read RESP, send FIN.
//!
//! A stream has one chance: its states are consumed. A datagram may come from anyone, so what fails
//! changes nothing and the state goes on waiting.

use std::time::Instant;

use rand_core::CryptoRng;

use crate::handshake::message::{self, Body, FIN_CLEAR, RESP_CLEAR, Token};
use crate::handshake::share::Ephemeral;
use crate::handshake::{ConnectionId, HandshakeError, Psk, Transport};
use crate::identity::{self, Fingerprint, Identity, PublicKey};
use crate::packet::{Packets, PacketsConfig};
use crate::params::{self, Params, Sender};
use crate::record::{RecordLimits, Records, Role};
use crate::schedule::{self, HandshakeSecret, TrafficSecrets, Transcript};
use crate::secret::equal;
use crate::session::{DatagramSession, Exporter, Session};

/// Whom to call, and as whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// What carries the handshake; the responder must think the same.
    pub transport: Transport,
    /// Who we are. The responder learns it, encrypted, after it has proven itself.
    pub identity: Identity,
    /// Whose key must answer.
    pub server: PublicKey,
    /// What we accept.
    pub params: Params,
    /// The pre-shared key that belongs to `server`, if there is one. Default: none.
    pub psk: Option<Psk>,
    /// When record keys are changed.
    pub records: RecordLimits,
}

/// Begins a handshake. Draws from `rng` 32 bytes for the share, then 8 for the connection id.
pub fn start(config: Config, rng: &mut impl CryptoRng) -> AwaitingResp {
    let ephemeral = Ephemeral::draw(rng);
    let mut scid = [0; 8];
    rng.fill_bytes(&mut scid);
    let init = write_init(&config, &scid, &ephemeral, None);
    AwaitingResp { config, ephemeral: Some(ephemeral), scid, init, retries: 0 }
}

/// INIT is on its way; one RESP is awaited.
#[derive(Debug)]
pub struct AwaitingResp {
    config: Config,
    /// Erased as soon as a RESP has been accepted.
    ephemeral: Option<Ephemeral>,
    scid: ConnectionId,
    init: Vec<u8>,
    retries: u8,
}

impl AwaitingResp {
    /// The bytes to send.
    pub fn init(&self) -> &[u8] {
        &self.init
    }

    /// The id that messages and packets to us carry, on datagrams.
    pub fn scid(&self) -> ConnectionId {
        self.scid
    }

    /// On a stream: looks at what has come of RESP. Once its clear bytes are there our side of the
    /// agreement is computed, while the responder makes the rest. Nothing is judged yet.
    pub fn read_ahead(&mut self, begun: &[u8]) {
        if begun.len() >= RESP_CLEAR
            && let Ok(share) = message::resp_share(begun)
            && let Some(ephemeral) = &mut self.ephemeral
        {
            ephemeral.agree_ahead(&share);
        }
    }

    /// On a stream: checks RESP; the result is FIN, to be sent, and the session, whose records may
    /// follow it in the same write. The connection is made once the responder's first record opens.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if anything is not as it must be; the attempt is over and left no key.
    pub fn read_resp(
        self,
        resp: &[u8],
        now: Instant,
    ) -> Result<(Vec<u8>, Session), HandshakeError> {
        let Accepted { fin, traffic, peer_params, channel_id, .. } =
            self.check_resp(Transport::Tcp, resp)?;
        let session = Session {
            records: Records::new(Role::Initiator, &traffic, self.config.records, now),
            peer: self.config.server,
            peer_params,
            channel_id,
            exporter: Exporter { secret: traffic.exporter },
        };
        Ok((fin, session))
    }

    /// On datagrams: follows a RETRY. [`AwaitingResp::init`] then has the new INIT, of the same id
    /// and share; the old one is forgotten.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::TooManyRetries`] for the fifth, another one if this does not answer our last
    /// INIT. Nothing has changed then: drop it.
    pub fn handle_retry(&mut self, datagram: &[u8]) -> Result<(), HandshakeError> {
        if self.config.transport != Transport::Udp {
            return Err(HandshakeError::WrongTransport);
        }
        let ephemeral = self.ephemeral.as_ref().ok_or(HandshakeError::Complete)?;
        let retry = message::parse_retry(datagram)?;
        if retry.dcid != self.scid {
            return Err(HandshakeError::WrongConnection);
        }
        let server = self.config.server.as_bytes();
        if !equal(
            &retry.mac1,
            &schedule::retry_mac1(server, retry.covered, &schedule::hash(&self.init)),
        ) {
            return Err(HandshakeError::Retry);
        }
        if self.retries >= MAX_RETRIES {
            return Err(HandshakeError::TooManyRetries);
        }
        self.retries += 1;
        self.init = write_init(&self.config, &self.scid, ephemeral, Some(&retry.token));
        Ok(())
    }

    /// On datagrams: checks RESP; the result is FIN, to be sent and resent as it is, and the session,
    /// whose packets may follow. The connection is made once the responder's first packet opens.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if anything is not as it must be. Nothing has changed then, the share
    /// included: drop the RESP, unless [`HandshakeError::ends_attempt`]. Once one has been accepted
    /// all others are [`HandshakeError::Complete`]: FIN is never built twice.
    pub fn handle_resp(
        &mut self,
        resp: &[u8],
        now: Instant,
    ) -> Result<(Vec<u8>, DatagramSession), HandshakeError> {
        let Accepted { fin, traffic, peer_params, channel_id, remote_id } =
            self.check_resp(Transport::Udp, resp)?;
        self.ephemeral = None;
        let parts = PacketsConfig {
            limits: self.config.records,
            local_id: self.scid,
            remote_id,
            replay_slots: self.config.params.replay_slots,
        };
        let session = DatagramSession {
            packets: Packets::new(Role::Initiator, &traffic, parts, now),
            peer: self.config.server,
            peer_params,
            channel_id,
            exporter: Exporter { secret: traffic.exporter },
        };
        Ok((fin, session))
    }

    fn check_resp(&self, transport: Transport, resp: &[u8]) -> Result<Accepted, HandshakeError> {
        let Self { config, ephemeral, scid, init, .. } = self;
        if config.transport != transport {
            return Err(HandshakeError::WrongTransport);
        }
        let ephemeral = ephemeral.as_ref().ok_or(HandshakeError::Complete)?;
        config.params.check().map_err(HandshakeError::OwnParams)?;
        let header = message::parse_resp(transport, resp)?;
        if header.dcid != *scid {
            return Err(HandshakeError::WrongConnection);
        }
        let clear = resp.get(..RESP_CLEAR).ok_or(HandshakeError::Length)?;
        let shared = ephemeral.agree(&header.share)?;
        let th1 = Transcript::start(transport).absorb(&[init, clear]);
        let secret = HandshakeSecret::extract(config.psk.as_ref(), &shared);

        let hk_r = secret.handshake_key("hs key r", &th1);
        let body = message::open_box(resp, RESP_CLEAR, &hk_r, &th1)?;
        let th4 = authenticate(&config.server, &secret, th1, &body)?;
        let peer_params =
            params::parse(&body.params, Sender::Responder).map_err(HandshakeError::Params)?;

        let (fin, th7) = write_fin(config, &header.scid, &secret, &th1, th4);
        Ok(Accepted {
            fin,
            traffic: secret.traffic(&th7),
            peer_params,
            channel_id: *th7.as_bytes(),
            remote_id: header.scid,
        })
    }
}

/// What an accepted RESP gives.
struct Accepted {
    fin: Vec<u8>,
    traffic: TrafficSecrets,
    peer_params: Params,
    channel_id: [u8; 32],
    remote_id: ConnectionId,
}

/// RETRYs that are followed for one connection id.
const MAX_RETRIES: u8 = 4;

fn write_init(
    config: &Config,
    scid: &ConnectionId,
    ephemeral: &Ephemeral,
    token: Option<&Token>,
) -> Vec<u8> {
    let mut init = message::write_init(config.transport, scid, ephemeral.public(), token);
    let mac1 = schedule::mac1(config.server.as_bytes(), &init);
    init.extend_from_slice(&mac1);
    init
}

/// Checks that the server dialled signed this transcript; the result is TH4.
fn authenticate(
    server: &PublicKey,
    secret: &HandshakeSecret,
    th1: Transcript,
    body: &Body,
) -> Result<Transcript, HandshakeError> {
    // Before anything is verified: a key that was not dialled has no say.
    if body.id != *server.as_bytes() {
        let (expected, found) = (server.fingerprint(), Fingerprint::of(&body.id));
        return Err(HandshakeError::WrongServer { expected, found });
    }
    let th2 = th1.absorb(&[&body.id, &body.params]);
    let signed = schedule::to_be_signed(schedule::RESPONDER_SIGNATURE, &th2);
    let verified = identity::dialled(*server)
        .and_then(|point| identity::verify_with(&point, &signed, &body.signature));
    verified.map_err(|_| HandshakeError::Signature)?;
    let th3 = th2.append(&body.signature);
    let fk_r = secret.handshake_key("fin r", &th1);
    if !equal(&body.finished, &schedule::finished(&fk_r, &th3)) {
        return Err(HandshakeError::Finished);
    }
    Ok(th3.append(&body.finished))
}

/// Signs and seals FIN; the result is FIN and TH7.
fn write_fin(
    config: &Config,
    dcid: &ConnectionId,
    secret: &HandshakeSecret,
    th1: &Transcript,
    th4: Transcript,
) -> (Vec<u8>, Transcript) {
    let id = *config.identity.public_key().as_bytes();
    let params = params::encode(&config.params, Sender::Initiator);
    let mut fin = message::write_fin(params.len(), dcid);
    debug_assert_eq!(fin.len(), FIN_CLEAR);

    let th5 = th4.absorb(&[&fin, &id, &params]);
    let signed = schedule::to_be_signed(schedule::INITIATOR_SIGNATURE, &th5);
    let signature = config.identity.sign(&signed);
    let th6 = th5.append(&signature);
    let finished = schedule::finished(&secret.handshake_key("fin i", th1), &th6);
    let th7 = th6.append(&finished);

    let hk_i = secret.handshake_key("hs key i", th1);
    message::seal_box(&mut fin, &Body { id, params, signature, finished }, &hk_i, &th4);
    (fin, th7)
}
