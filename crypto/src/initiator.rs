//! The initiator's side of the handshake: send INIT, read RESP, send FIN.

use std::time::Instant;

use rand_core::CryptoRng;

use crate::handshake::message::{self, Body, ConnectionId, FIN_CLEAR, RESP_CLEAR};
use crate::handshake::share::Ephemeral;
use crate::handshake::{HandshakeError, Psk, Transport};
use crate::identity::{Fingerprint, Identity, PublicKey};
use crate::params::{self, Params, Sender};
use crate::record::{RecordLimits, Records, Role};
use crate::schedule::{self, HandshakeSecret, Transcript};
use crate::secret::equal;
use crate::session::{Exporter, Session};

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
    let mut init = message::write_init(config.transport, &scid, ephemeral.public());
    let mac1 = schedule::mac1(config.server.as_bytes(), &init);
    init.extend_from_slice(&mac1);
    AwaitingResp { config, ephemeral, scid, init }
}

/// INIT is on its way; one RESP is awaited.
#[derive(Debug)]
pub struct AwaitingResp {
    config: Config,
    ephemeral: Ephemeral,
    scid: ConnectionId,
    init: Vec<u8>,
}

impl AwaitingResp {
    /// The bytes to send.
    pub fn init(&self) -> &[u8] {
        &self.init
    }

    /// Checks RESP; the result is FIN, to be sent, and the session, whose records may follow it in
    /// the same write. The connection is made once the responder's first record opens.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if anything is not as it must be; the attempt is over and left no key.
    pub fn read_resp(
        self,
        resp: &[u8],
        now: Instant,
    ) -> Result<(Vec<u8>, Session), HandshakeError> {
        let Self { config, ephemeral, scid, init } = self;
        config.params.check().map_err(HandshakeError::OwnParams)?;
        let header = message::parse_resp(resp)?;
        if header.dcid != scid {
            return Err(HandshakeError::WrongConnection);
        }
        let clear = resp.get(..RESP_CLEAR).ok_or(HandshakeError::Length)?;
        let shared = ephemeral.agree(&header.share)?;
        let th1 = Transcript::start(config.transport).absorb(&[&init, clear]);
        let secret = HandshakeSecret::extract(config.psk.as_ref(), shared.as_bytes());

        let hk_r = secret.handshake_key("hs key r", &th1);
        let body = message::open_box(resp, RESP_CLEAR, &hk_r, &th1)?;
        let th4 = authenticate(&config.server, &secret, th1, &body)?;
        let peer_params =
            params::parse(&body.params, Sender::Responder).map_err(HandshakeError::Params)?;

        let (fin, th7) = write_fin(&config, &header.scid, &secret, &th1, th4);
        let traffic = secret.traffic(&th7);
        let session = Session {
            records: Records::new(Role::Initiator, &traffic, config.records, now),
            peer: config.server,
            peer_params,
            channel_id: *th7.as_bytes(),
            exporter: Exporter { secret: traffic.exporter },
        };
        Ok((fin, session))
    }
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
    server.verify(&signed, &body.signature).map_err(|_| HandshakeError::Signature)?;
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
