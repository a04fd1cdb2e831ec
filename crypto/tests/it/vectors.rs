//! Published test vectors, run against this crate.
//!
//! They are read from the folder named by `BAILIWICK_VECTORS` if it is set, else from the
//! project's own `crypto/vectors`. A file that a named folder lacks is taken from the project's own,
//! and a line says so. Each test counts what it ran and fails if that is nothing.

mod ed25519_edges;
mod replay_window;
mod rfc;
mod wycheproof;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Reads one vector file.
pub(crate) fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = find(name);
    let text = std::fs::read_to_string(&path).expect("the file was found");
    let parsed = serde_json::from_str(&text);
    parsed.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The project's own vectors.
pub(crate) fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn find(name: &str) -> PathBuf {
    let own = own_folder().join(name);
    let Some(folder) = std::env::var_os("BAILIWICK_VECTORS") else { return own };
    let named = named_folder(Path::new(&folder)).join(name);
    if named.exists() {
        return named;
    }
    eprintln!("{}: not there; taking {}", named.display(), own.display());
    own
}

/// The folder as named, from this package or from the workspace: tests run in the former, people
/// in the latter.
fn named_folder(folder: &Path) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let found = [folder.to_owned(), workspace].into_iter().find(|folder| folder.is_dir());
    // To fall back here would let a mistyped name pass for a run of somebody's vectors.
    found.unwrap_or_else(|| panic!("BAILIWICK_VECTORS: {} is not a folder", folder.display()))
}

/// States how many vectors of a file ran.
fn ran(name: &str, count: usize) {
    eprintln!("{name}: {count} vectors");
    assert!(count > 0, "{name} holds no vectors: the test proves nothing");
}

/// A byte string in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    /// The bytes, if there are just `N`.
    fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.as_slice().try_into().ok()
    }
}

impl std::ops::Deref for Hex {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        crate::support::unhex(&digits)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("not hexadecimal: {digits}")))
    }
}
