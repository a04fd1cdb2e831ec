//! `acl verify`: whether a policy is signed as a server asks.

use std::io::{self, Write};

use bailiwick_crypto::PublicKey;
use bailiwick_crypto::detached::{self, Detached};
use clap::Args;

use crate::acl_sign::Signed;
use crate::files;
use crate::output::{Failure, Outcome, Style, plain};

/// Check that a policy is signed by a key, as a server that asks for its signature does.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 if it is, 1 if it is not, or has errors, 2 if a file cannot be \
                        read.\n\n\
                        Example:\n  bailiwick acl verify --signer $(bailiwick pubkey signer.key) policy.acl"
)]
pub(crate) struct Verify {
    /// Who must have signed, as `bailiwick pubkey` prints it.
    #[arg(long, value_name = "KEY")]
    signer: PublicKey,
    #[command(flatten)]
    signed: Signed,
}

impl Verify {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let (texts, path) = (self.signed.read()?, self.signed.beside());
        let name = plain(&path.display().to_string());
        let style = Style::of(&io::stdout());
        let refused = style.red("refused");
        if !path.exists() {
            writeln!(out, "{name}: {refused}: there is none; sign by `bailiwick acl sign`")?;
            return Ok(Outcome::Bad);
        }
        let text = files::read(&path, "a signature", detached::MAX_FILE)?;
        let verified = Detached::parse(&text)
            .and_then(|found| found.verify(&self.signer, detached::POLICY, &texts.parts()));
        if let Err(error) = verified {
            writeln!(out, "{name}: {refused}: {error}")?;
            return Ok(Outcome::Bad);
        }
        match texts.serial()? {
            Some(serial) => {
                writeln!(out, "{name}: {} (serial {serial})", style.green("ok"))?;
                Ok(Outcome::Good)
            }
            None => {
                writeln!(out, "{name}: {refused}: a signed policy needs a line `serial 1`")?;
                Ok(Outcome::Bad)
            }
        }
    }
}
