//! What follows a proven key: the caller looks it up, then lets its owner in or turns it away.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use thiserror::Error;

use crate::identity::{ProvenKeys, PublicKey};
use crate::packet::Packets;
use crate::params::{self, ParamsError, Sender};
use crate::record::{Alert, Records};
use crate::session::{DatagramSession, Exporter, Session};

/// A peer that has proven its key; whether that key may come in is for the caller to say.
#[derive(Debug)]
#[must_use = "admit the peer or refuse it"]
pub struct Authenticated<C = Records> {
    pub(super) peer: PublicKey,
    pub(super) local: PublicKey,
    /// The peer's key, decoded.
    pub(super) point: VerifyingKey,
    pub(super) proven: Arc<ProvenKeys>,
    pub(super) params: Vec<u8>,
    pub(super) channel_id: [u8; 32],
    pub(super) channel: C,
    pub(super) exporter: Exporter,
}

/// The same on datagrams.
pub type AuthenticatedDatagram = Authenticated<Packets>;

impl<C> Authenticated<C> {
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
}

impl Authenticated<Records> {
    /// Lets a known peer in. Send a record at once, a ping if nothing else: the peer waits for it.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if its parameters are malformed or out of range: send what it holds and close.
    pub fn admit(self) -> Result<Session, Refusal> {
        match params::parse(&self.params, Sender::Initiator) {
            Ok(peer_params) => {
                self.proven.remember(self.peer, self.point);
                Ok(Session {
                    records: self.channel,
                    peer: self.peer,
                    peer_params,
                    channel_id: self.channel_id,
                    exporter: self.exporter,
                })
            }
            Err(error) => {
                Err(Refusal { error, records: Box::new(self.refuse(Alert::ProtocolError)) })
            }
        }
    }

    /// Turns an unknown, revoked or expired peer away. The records can do one thing:
    /// [`Records::poll_transmit`] writes the alert, as record 0.
    pub fn refuse(self, alert: Alert) -> Records {
        let mut records = self.channel;
        records.end_with(alert);
        records
    }
}

impl Authenticated<Packets> {
    /// Lets a known peer in. Send a packet at once, a ping if nothing else: the peer waits for it.
    ///
    /// # Errors
    ///
    /// [`DatagramRefusal`] if its parameters are malformed or out of range.
    pub fn admit(self) -> Result<DatagramSession, DatagramRefusal> {
        match params::parse(&self.params, Sender::Initiator) {
            Ok(peer_params) => {
                self.proven.remember(self.peer, self.point);
                Ok(DatagramSession {
                    packets: self.channel,
                    peer: self.peer,
                    peer_params,
                    channel_id: self.channel_id,
                    exporter: self.exporter,
                })
            }
            Err(error) => {
                let packets = Box::new(self.refuse(Alert::ProtocolError));
                Err(DatagramRefusal { error, packets })
            }
        }
    }

    /// Turns an unknown, revoked or expired peer away. The packets can do one thing:
    /// [`Packets::seal_refusal`] writes the alert, as packet 0, and again for a FIN that is repeated.
    pub fn refuse(self, alert: Alert) -> Packets {
        let mut packets = self.channel;
        packets.end_with(alert);
        packets
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

/// The same on datagrams.
#[derive(Debug, Error)]
#[error("the peer's parameters are refused")]
#[non_exhaustive]
pub struct DatagramRefusal {
    /// What is wrong with them.
    #[source]
    pub error: ParamsError,
    /// [`Packets::seal_refusal`] writes the alert for the peer; nothing else can be sent or read.
    pub packets: Box<Packets>,
}
