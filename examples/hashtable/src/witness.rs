//! `hashtable witness`: keeps the checkpoints of other servers' audit logs, so that a tail that is cut
//! off there is missed here.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use bailiwick::{
    Health,
    witness::{CheckpointArchive, WitnessServer},
};
use miette::miette;
use rustix::fs::{Access, access};

use crate::{
    args::WitnessArgs,
    exit::{Exit, Failure},
    process::{self, Signals, refused, refused_with_help},
    settings::Start,
};

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(args: WitnessArgs) -> Result<(), Failure> {
    let WitnessArgs { listen, identity, policy, principals, audit, folder, log } = args;
    process::log(log);
    let signals = Signals::listen().map_err(refused)?;
    let _taken = take(&folder)?;
    let server = Start::Options { identity, policy, principals, audit }
        .builder(&listen)?
        .service(WitnessServer::new(CheckpointArchive::in_folder(&folder)))
        .service(Health::default())
        .bind()
        .await
        .map_err(refused_with_help)?;
    process::introduce(&server, &listen);
    process::ended(server.serve_until(signals.shutdown()).await)
}

/// Takes the folder for this process alone, for as long as what is returned lives; makes it, for this
/// user only, if it is not there.
fn take(folder: &Path) -> Result<File, Failure> {
    let lock = || {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !folder.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // Found out now, and not by the first checkpoint that cannot be kept.
        access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?;
        let folder = File::open(folder)?;
        folder.try_lock()?;
        Ok(folder)
    };
    lock().map_err(|error: io::Error| {
        let help = "name a directory that this user may write to and no other process serves; its \
                    parent must be there";
        let name = folder.display();
        Failure::new(
            Exit::Service,
            miette!(help = help, "cannot keep checkpoints in {name}: {error}"),
        )
    })
}
