//! `acl sign`: a signature beside a policy, for servers that ask for one.

use std::io::Write;
use std::path::{Path, PathBuf};

use bailiwick_acl::Policy;
use bailiwick_acl::policy::{KeysRequired, LoadOptions, MAX_FILE, Source};
use bailiwick_crypto::Identity;
use bailiwick_crypto::detached::{self, Detached};
use clap::Args;

use crate::files;
use crate::keys;
use crate::output::{Failure, Outcome, plain};

/// Sign a policy, for servers that take none without your signature.
///
/// Writes the signature beside the policy, with `.sig` behind its name. It is over every byte of the
/// policy and of its file of principals; give that, if the server has one.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 if it is signed, 1 if the policy has errors, 2 if that is not \
                        possible.\n\n\
                        Each policy needs a `serial` that is higher than in the one before: it keeps \
                        old ones, whose signatures still hold, from coming back.\n\n\
                        Examples:\n  bailiwick acl sign --key signer.key policy.acl\n  \
                        bailiwick acl sign --key signer.key policy.acl --principals principals.acl"
)]
pub(crate) struct Sign {
    /// The signer's secret key file, from `bailiwick keygen -o FILE`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    signed: Signed,
}

/// What a signature is over.
#[derive(Debug, Args)]
pub(crate) struct Signed {
    /// The policy file.
    policy: PathBuf,
    /// The file of `principal` lines that the server has beside it, if it has one.
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
}

/// Those files, read.
pub(crate) struct Texts {
    policy: (String, Vec<u8>),
    principals: Option<(String, Vec<u8>)>,
}

impl Signed {
    pub(crate) fn read(&self) -> Result<Texts, Failure> {
        let read = |path: &Path, what| {
            files::read(path, what, MAX_FILE).map(|text| (path.display().to_string(), text))
        };
        let policy = read(&self.policy, "a policy file")?;
        let principals = self.principals.as_deref();
        let principals = principals.map(|path| read(path, "a file of `principal` lines"));
        Ok(Texts { policy, principals: principals.transpose()? })
    }

    /// Where the signature is.
    pub(crate) fn beside(&self) -> PathBuf {
        detached::path_of(&self.policy)
    }
}

impl Texts {
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        let all = [Some(&self.policy), self.principals.as_ref()];
        all.into_iter().flatten().map(|(_, text)| &text[..]).collect()
    }

    /// The policy's serial.
    ///
    /// # Errors
    ///
    /// Those of the policy.
    pub(crate) fn serial(&self) -> Result<Option<u64>, Failure> {
        fn source((name, text): &(String, Vec<u8>)) -> Source<'_> {
            Source { name, text }
        }
        let options = LoadOptions {
            principals: self.principals.as_ref().map(source),
            keys: KeysRequired::Tool,
            ..LoadOptions::default()
        };
        let loaded = Policy::load(source(&self.policy), &options).map_err(Failure::Policy)?;
        Ok(loaded.policy.serial())
    }
}

impl Sign {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let texts = self.signed.read()?;
        let Some(serial) = texts.serial()? else {
            let policy = self.signed.policy.display();
            return Err(Failure::new(
                format!("{policy}: no serial, and servers take no signed policy without one"),
                "add a line `serial 1`, and raise it with every change",
            ));
        };
        let key = Identity::read(&self.key).map_err(|error| keys::told(&error))?;
        let path = self.signed.beside();
        let signature = Detached::sign(&key, detached::POLICY, &texts.parts());
        signature.write(&path).map_err(|error| {
            Failure::new(
                format!("{}: cannot be written: {error}", path.display()),
                "check the folder and the space that is left",
            )
        })?;
        let (path, signer) = (plain(&path.display().to_string()), signature.signer());
        writeln!(out, "{path}: serial {serial}, signed by {signer}")?;
        Ok(Outcome::Good)
    }
}
