//! Real directories: one process at a time, and each refusal says which and why.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::{Opening, Options, Record, Rejected, Replay};

struct Records(Vec<Vec<u8>>);

impl Replay for Records {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        self.0.push(item.to_vec());
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        self.0.push(record.payload.to_vec());
        Ok(())
    }
}

#[test]
fn a_store_in_real_files_is_found_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("made");
    for boot in 1..=5_u8 {
        let opening = Opening::new(FileStorage::open(&dir).unwrap(), Options::default()).unwrap();
        let mut records = Records(Vec::new());
        let (mut store, _) = opening.recover(&mut records, &mut |_| ()).unwrap();
        assert_eq!(records.0, (1..boot).map(|boot| vec![boot]).collect::<Vec<_>>());
        store.append(0, &[boot]).unwrap();
        store.sync().unwrap();
        if boot == 3 {
            let mut writer = store.begin_checkpoint().unwrap();
            (1..=3).for_each(|boot| writer.item(&[boot]).unwrap());
            let written = writer.finish().unwrap();
            store.finish_checkpoint(written).unwrap();
        }
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600, "for this user only");
    }
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = FileStorage::open(dir.path()).unwrap();
    let error = FileStorage::open(dir.path()).unwrap_err();
    let us = std::process::id();
    assert!(matches!(error, OpenDirError::Locked { pid: Some(pid), .. } if pid == us));
    let text = error.to_string();
    assert!(text.contains(&dir.path().display().to_string()) && text.contains(&us.to_string()));
    drop(first);
    FileStorage::open(dir.path()).unwrap();
}

#[test]
fn what_is_no_directory_for_a_store_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(FileStorage::open(&file), Err(OpenDirError::NotADirectory { .. })));
    let deep = parent.path().join("not").join("there");
    assert!(matches!(FileStorage::open(&deep), Err(OpenDirError::NoParent { .. })));
    let error = describe(&file, io::ErrorKind::PermissionDenied.into());
    assert!(matches!(error, OpenDirError::Permission { .. }));
}

#[test]
fn a_directory_without_permission_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let opened = FileStorage::open(dir.path());
    if rustix::process::geteuid().is_root() {
        // Who may everything is refused nothing.
        assert!(opened.is_ok());
    } else {
        assert!(matches!(opened, Err(OpenDirError::Permission { .. })));
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn names_do_not_lead_out_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(dir.path()).unwrap();
    for name in ["", ".", "..", "../log", "a/b", "/etc/passwd", "a\0b", LOCK] {
        let error = storage.create(name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(storage.list().unwrap(), Vec::<String>::new());
}

#[test]
fn files_grow_at_their_end_also_behind_a_cut() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(dir.path()).unwrap();
    let mut file = storage.create("f").unwrap();
    assert_eq!(storage.create("f").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    file.append(b"123456").unwrap();
    file.truncate(2).unwrap();
    storage.open("f").unwrap().append(b"ab").unwrap();
    let mut bytes = [0; 8];
    assert_eq!((file.read_at(1, &mut bytes).unwrap(), &bytes[..3]), (3, &b"2ab"[..]));
    assert_eq!((file.size().unwrap(), file.read_at(9, &mut bytes).unwrap()), (4, 0));
}
