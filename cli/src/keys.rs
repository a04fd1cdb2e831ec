//! `keygen`, `pubkey` and `fingerprint`: identities on disk.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bailiwick_crypto::key_file::{self, KeyFileError};
use bailiwick_crypto::{Identity, PublicKey};
use clap::Args;

use crate::output::{Failure, Outcome};

/// Make a new identity: a secret key file that only you can read.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the public key, for the policy, and its fingerprint, to compare by \
                        voice. An existing file is never overwritten.\n\n\
                        Example:\n  bailiwick keygen -o alice.key --comment 'alice at her laptop'"
)]
pub(crate) struct Keygen {
    /// Where to write the secret key.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A note to yourself, kept in the file.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
}

/// Print the public key of a secret key file, as the policy wants it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  echo \"principal alice = $(bailiwick pubkey alice.key)\" >> policy.acl"
)]
pub(crate) struct Pubkey {
    /// A secret key file.
    file: PathBuf,
}

/// Print the fingerprint of a key, as the audit log shows it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bailiwick fingerprint alice.key\n  bailiwick fingerprint ed25519:<64 hex digits>"
)]
pub(crate) struct Fingerprint {
    /// A secret key file, or a public key `ed25519:…`.
    #[arg(value_name = "FILE")]
    key: PathBuf,
}

impl Keygen {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let identity = Identity::generate(&mut rand::rng());
        key_file::create(&self.output, &identity, &self.comment, None).map_err(|e| told(&e))?;
        let key = identity.public_key();
        writeln!(out, "public key   {key}\nfingerprint  {}", key.fingerprint())?;
        Ok(Outcome::Good)
    }
}

impl Pubkey {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let identity = Identity::read(&self.file).map_err(|error| told(&error))?;
        writeln!(out, "{}", identity.public_key())?;
        Ok(Outcome::Good)
    }
}

impl Fingerprint {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        writeln!(out, "{}", public_key(&self.key)?.fingerprint())?;
        Ok(Outcome::Good)
    }
}

/// The public key that is written out as `ed25519:…`, or that of a secret key file.
pub(crate) fn public_key(key: &Path) -> Result<PublicKey, Failure> {
    let text = key.to_string_lossy();
    if !text.starts_with("ed25519:") {
        return Ok(Identity::read(key).map_err(|error| told(&error))?.public_key());
    }
    text.parse().map_err(|error| {
        let help = "a public key is `ed25519:` and 64 hex digits, as `pubkey` prints it";
        Failure::new(format!("{text}: {error}"), help)
    })
}

/// The library's message already says what to do; the system's own reason goes below it.
fn told(error: &KeyFileError) -> Failure {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let help = source.map_or_else(
        || "a key file is made by `bailiwick keygen -o FILE`".to_owned(),
        ToString::to_string,
    );
    Failure::new(error.to_string(), help)
}
