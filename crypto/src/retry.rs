//! RETRY: proof of a sender's address before anything is kept or computed for it.
//!
//! ```text
//! token = t(8: 2 · unix s + parity of K_t's number)
//!         ‖ HMAC(K_t, "bailiwick/1 token" ‖ t ‖ ip16 ‖ port ‖ scid ‖ H(e_i))[..16]
//! ```
//!
//! The responder remembers nothing of a token but the keys, which change every minute.

use std::net::{IpAddr, SocketAddr};

use rand_core::CryptoRng;

use crate::handshake::message::{self, Token};
use crate::handshake::{ConnectionId, HandshakeError, Transport};
use crate::responder::{self, Config};
use crate::schedule;
use crate::secret::{Secret, equal};

/// How long a token is good, in seconds.
pub const TOKEN_LIFE: u64 = 15;

/// How long tokens are made with one key, in seconds; it counts as long again.
pub const KEY_LIFE: u64 = 60;

/// The keys of tokens: the current and the one before it.
pub struct RetryKeys {
    /// By the parity of their numbers.
    keys: [Secret; 2],
    /// The current one's.
    number: u64,
    /// Unix seconds.
    since: u64,
}

impl RetryKeys {
    /// Draws two keys from `rng`, 64 bytes.
    pub fn new(unix_seconds: u64, rng: &mut impl CryptoRng) -> Self {
        Self { keys: [draw(rng), draw(rng)], number: 0, since: unix_seconds }
    }

    /// Draws a new key, 32 bytes, once the current one has served [`KEY_LIFE`], and forgets the one
    /// before; else does nothing. A clock that went back by as much counts as well.
    pub fn rotate(&mut self, unix_seconds: u64, rng: &mut impl CryptoRng) {
        if unix_seconds.abs_diff(self.since) < KEY_LIFE {
            return;
        }
        let Self { keys: [even, odd], number, since } = self;
        *number = number.wrapping_add(1);
        *since = unix_seconds;
        let oldest = if number.is_multiple_of(2) { even } else { odd };
        *oldest = draw(rng);
    }

    /// The RETRY that answers an INIT, 56 bytes.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if INIT is not well formed or not addressed to any of our keys. Answer
    /// nothing.
    pub fn retry(
        &self,
        config: &Config,
        init: &[u8],
        from: SocketAddr,
        unix_seconds: u64,
    ) -> Result<Vec<u8>, HandshakeError> {
        Ok(self.answer(&check_init(config, init)?, from, unix_seconds))
    }

    /// The same for an INIT that has passed [`check_init`], at the cost of two HMACs over a hundred
    /// bytes: what a flood of INITs makes the responder compute.
    pub fn answer(&self, init: &InitSummary, from: SocketAddr, unix_seconds: u64) -> Vec<u8> {
        let t = (unix_seconds << 1) | (self.number % 2);
        let token = self.token(t, &init.scid, &init.share, from);
        let mut retry = message::write_retry(&init.scid, &token);
        let mac1 = schedule::retry_mac1(&init.server, &retry, &init.hash);
        retry.extend_from_slice(&mac1);
        retry
    }

    /// Whether an INIT carries a token that we gave to this address and port, for this id and share,
    /// at most [`TOKEN_LIFE`] ago. To be asked after [`check_init`]; a bad or stale token counts as
    /// none.
    pub fn is_valid(&self, init: &[u8], from: SocketAddr, unix_seconds: u64) -> bool {
        let Ok(parsed) = message::parse_init(Transport::Udp, init) else { return false };
        let Some(token) = parsed.token else { return false };
        let Some(t) = token.first_chunk().map(|t| u64::from_be_bytes(*t)) else { return false };
        let age = unix_seconds.checked_sub(t >> 1);
        age.is_some_and(|age| age <= TOKEN_LIFE)
            && equal(&token, &self.token(t, &parsed.scid, &parsed.share, from))
    }

    fn token(&self, t: u64, scid: &ConnectionId, share: &[u8; 32], from: SocketAddr) -> Token {
        let [even, odd] = &self.keys;
        let key = if t.is_multiple_of(2) { even } else { odd };
        let ip16 = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let (t, port) = (t.to_be_bytes(), from.port().to_be_bytes());
        let share = schedule::hash(share);
        let mac = schedule::token_mac(key, &[b"bailiwick/1 token", &t, &ip16, &port, scid, &share]);
        let mut token = Token::default();
        for (to, from) in token.iter_mut().zip(t.into_iter().chain(mac)) {
            *to = from;
        }
        token
    }
}

impl std::fmt::Debug for RetryKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetryKeys").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What an INIT says, as far as it costs nothing to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitSummary {
    /// The id that its sender drew.
    pub scid: ConnectionId,
    /// Whether it carries a token, good or bad.
    pub has_token: bool,
    /// H(INIT), to know the same INIT again.
    pub hash: [u8; 32],
    share: [u8; 32],
    /// Which of our keys it is addressed to.
    server: [u8; 32],
}

/// Checks an INIT's form and mac1, without any Diffie-Hellman: limits are applied to what passes.
///
/// # Errors
///
/// [`HandshakeError`] if it is not well formed or not addressed to any of our keys. Answer nothing.
pub fn check_init(config: &Config, init: &[u8]) -> Result<InitSummary, HandshakeError> {
    let parsed = message::parse_init(config.transport, init)?;
    let (identity, _) = responder::addressed(&config.identities, &parsed)?;
    Ok(InitSummary {
        scid: parsed.scid,
        has_token: parsed.token.is_some(),
        hash: schedule::hash(init),
        share: parsed.share,
        server: *identity.public_key().as_bytes(),
    })
}

fn draw(rng: &mut impl CryptoRng) -> Secret {
    let mut key = Secret::zero();
    rng.fill_bytes(key.as_mut_bytes());
    key
}
