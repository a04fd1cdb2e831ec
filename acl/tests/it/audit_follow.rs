//! Following a log: what is appended is given once, in order, whatever happens to the files.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bailiwick_acl::audit::{
    AuditLog, Batch, Event, Filter, Follow, MAX_BATCH, QueryError, Record, Start, Then, files,
};
use tempfile::TempDir;

use super::audit_world::{Place, denial, time};

/// A log that somebody writes; rotation is a rename, as the writer does it.
struct Log {
    _folder: TempDir,
    path: PathBuf,
    lines: Vec<String>,
    written: usize,
    rotated: u32,
}

impl Log {
    fn new(records: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let memory = AuditLog::memory();
        for second in 0..records as u64 {
            let at = UNIX_EPOCH + Duration::from_secs(second * 600);
            memory.append(&Record::of(Event::PolicyLoad), at).unwrap();
        }
        Self { _folder: folder, path, lines: memory.lines(), written: 0, rotated: 0 }
    }

    fn append(&mut self, bytes: &str) {
        let mut options = fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(&self.path).unwrap();
        file.write_all(bytes.as_bytes()).unwrap();
    }

    fn write(&mut self, records: usize) {
        for _ in 0..records {
            let line = format!("{}\n", self.lines[self.written]);
            self.written += 1;
            self.append(&line);
        }
    }

    fn rotate(&mut self) -> PathBuf {
        self.rotated += 1;
        let to = self.path.with_file_name(format!("audit.jsonl.{:06}", self.rotated));
        fs::rename(&self.path, &to).unwrap();
        to
    }

    fn follow(&self, start: Start) -> Follow {
        Follow::new(&self.path, Filter::default(), start)
    }
}

/// All that is there now: numbers of records, and errors.
fn take(follow: &mut Follow) -> (Vec<u64>, Vec<QueryError>) {
    let (mut seqs, mut errors) = (Vec::new(), Vec::new());
    loop {
        let Batch { found, then, .. } = follow.next_batch().unwrap();
        assert!(found.len() <= MAX_BATCH + 1);
        for entry in found {
            match entry {
                Ok(entry) => seqs.push(entry.seq),
                Err(error) => errors.push(error),
            }
        }
        if then != Then::GoOn {
            return (seqs, errors);
        }
    }
}

fn seqs(follow: &mut Follow) -> Vec<u64> {
    let (seqs, errors) = take(follow);
    assert!(errors.is_empty(), "{errors:?}");
    seqs
}

#[test]
fn what_is_appended_is_given_once() {
    let mut log = Log::new(1_000);
    let mut follow = log.follow(Start::Oldest);
    assert_eq!(seqs(&mut follow), [0; 0]);
    log.write(3);
    assert_eq!(seqs(&mut follow), [1, 2, 3]);
    assert_eq!(seqs(&mut follow), [0; 0]);
    log.write(997);
    assert_eq!(seqs(&mut follow), (4..=1_000).collect::<Vec<_>>());
}

#[test]
fn a_follower_from_the_end_gives_only_what_comes() {
    let mut log = Log::new(6);
    log.write(2);
    log.rotate();
    log.write(2);
    let mut follow = log.follow(Start::End);
    assert_eq!(seqs(&mut follow), [0; 0]);
    log.write(1);
    assert_eq!(seqs(&mut follow), [5]);
    log.rotate();
    log.write(1);
    assert_eq!(seqs(&mut follow), [6]);
}

#[test]
fn every_file_is_read_to_its_end_and_none_is_left_out() {
    let mut log = Log::new(12);
    log.write(2);
    log.rotate();
    log.write(2);
    let mut follow = log.follow(Start::Oldest);
    assert_eq!(seqs(&mut follow), [1, 2, 3, 4]);
    // Appended, and rotated three times before the next look.
    log.write(2);
    log.rotate();
    log.write(2);
    log.rotate();
    log.write(2);
    log.rotate();
    assert_eq!(seqs(&mut follow), [5, 6]);
    log.write(2);
    assert_eq!(seqs(&mut follow), [7, 8, 9, 10, 11, 12]);
}

#[test]
fn a_record_is_given_when_it_is_whole_and_a_torn_one_may_be_cut_back() {
    let mut log = Log::new(3);
    let mut follow = log.follow(Start::Oldest);
    log.write(1);
    let line = log.lines[1].clone();
    log.append(&line[..50]);
    let batch = follow.next_batch().unwrap();
    assert_eq!((batch.found.len(), batch.then), (1, Then::Wait { torn: 50 }));
    // A writer whose disk was full cuts back what it wrote of a record, and writes another.
    let whole = fs::read_to_string(&log.path).unwrap().find('\n').unwrap() as u64 + 1;
    fs::OpenOptions::new().write(true).open(&log.path).unwrap().set_len(whole).unwrap();
    assert_eq!(seqs(&mut follow), [0; 0]);
    log.written = 2;
    log.write(1);
    assert_eq!(seqs(&mut follow), [3]);
}

#[test]
fn a_file_that_was_cut_is_told_of_and_nothing_is_given_twice() {
    let mut log = Log::new(5);
    log.write(3);
    let mut follow = log.follow(Start::Oldest);
    assert_eq!(seqs(&mut follow), [1, 2, 3]);
    fs::write(&log.path, format!("{}\n", log.lines[0])).unwrap();
    let (none, errors) = take(&mut follow);
    assert!(none.is_empty() && matches!(errors[..], [QueryError::Cut { line: 3 }]), "{errors:?}");
    log.written = 4;
    log.write(1);
    let (given, errors) = take(&mut follow);
    assert_eq!(given, [5]);
    assert!(matches!(errors[..], [QueryError::Missing { line: 2 }]), "{errors:?}");
}

#[test]
fn a_file_that_was_removed_is_no_loss_if_it_had_been_read() {
    let mut log = Log::new(6);
    log.write(2);
    let mut follow = log.follow(Start::Oldest);
    assert_eq!(seqs(&mut follow), [1, 2]);
    let rotated = log.rotate();
    fs::remove_file(rotated).unwrap();
    log.write(1);
    assert_eq!(seqs(&mut follow), [3]);
    // This one is removed before it is read.
    let first = log.rotate();
    log.write(2);
    let second = log.rotate();
    fs::remove_file(first).unwrap();
    fs::remove_file(second).unwrap();
    log.write(1);
    let (given, errors) = take(&mut follow);
    assert_eq!(given, [6]);
    assert!(matches!(errors[..], [QueryError::Missing { line: 1 }]), "{errors:?}");
}

#[test]
fn records_that_are_missing_between_two_files_are_told_of() {
    let mut log = Log::new(6);
    log.write(2);
    log.rotate();
    log.write(2);
    let middle = log.rotate();
    log.write(2);
    assert_eq!(seqs(&mut log.follow(Start::Oldest)), [1, 2, 3, 4, 5, 6]);
    fs::remove_file(middle).unwrap();
    let (given, errors) = take(&mut log.follow(Start::Oldest));
    assert_eq!(given, [1, 2, 5, 6]);
    assert!(matches!(errors[..], [QueryError::Missing { line: 1 }]), "{errors:?}");
}

#[test]
fn an_error_on_the_way_loses_the_place_of_nobody() {
    let mut log = Log::new(4);
    log.write(2);
    let mut follow = log.follow(Start::Oldest);
    assert_eq!(seqs(&mut follow), [1, 2]);
    let rotated = log.rotate();
    // The next file cannot be opened: a folder has its name.
    fs::create_dir(&log.path).unwrap();
    let error = loop {
        match follow.next_batch() {
            Ok(batch) => assert_eq!((batch.found.len(), batch.then), (0, Then::GoOn)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, QueryError::Io { line: 2, .. }), "{error}");
    fs::remove_dir(&log.path).unwrap();
    log.write(2);
    assert!(rotated.exists());
    assert_eq!(seqs(&mut follow), [3, 4]);
}

#[test]
fn a_writer_whose_file_was_deleted_is_followed_until_it_makes_another() {
    let mut log = Log::new(3);
    log.write(1);
    let mut file = fs::OpenOptions::new().append(true).open(&log.path).unwrap();
    let mut follow = log.follow(Start::Oldest);
    assert_eq!(seqs(&mut follow), [1]);
    fs::remove_file(&log.path).unwrap();
    writeln!(file, "{}", log.lines[1]).unwrap();
    assert_eq!(seqs(&mut follow), [2]);
    log.written = 2;
    log.write(1);
    assert_eq!(seqs(&mut follow), [3]);
}

#[test]
fn files_that_are_too_old_are_not_opened() {
    let mut log = Log::new(60);
    log.write(20);
    let oldest = log.rotate();
    log.write(20);
    log.rotate();
    log.write(20);
    // Nonsense in a file that is read would be told of.
    let text = fs::read_to_string(&oldest).unwrap();
    fs::write(&oldest, format!("nonsense\n{text}")).unwrap();
    let since = UNIX_EPOCH + Duration::from_secs(600 * 30);
    let filter = Filter { since: Some(since), ..Filter::default() };
    let mut follow = Follow::new(&log.path, filter, Start::Oldest);
    assert_eq!(seqs(&mut follow), (31..=60).collect::<Vec<_>>());
    // An hour is allowed for a clock that was set back, so this one is read.
    let since = UNIX_EPOCH + Duration::from_secs(600 * 19 + 3_600);
    let filter = Filter { since: Some(since), ..Filter::default() };
    let (_, errors) = take(&mut Follow::new(&log.path, filter, Start::Oldest));
    assert!(matches!(errors[..], [QueryError::NotARecord { line: 1 }]), "{errors:?}");
}

#[test]
fn a_reader_beside_a_writer_that_rotates_loses_nothing_and_doubles_nothing() {
    const RECORDS: usize = 4_000;
    let mut log = Log::new(RECORDS);
    let path: &Path = &log.path.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while log.written < RECORDS {
                let line = format!("{}\n", log.lines[log.written]);
                log.written += 1;
                // In two writes, so that the reader meets torn lines.
                let (front, back) = line.split_at(log.written % line.len());
                log.append(front);
                log.append(back);
                if log.written.is_multiple_of(37) {
                    log.rotate();
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut follow = Follow::new(path, Filter::default(), Start::Oldest);
        let mut given = Vec::new();
        loop {
            let was_done = done.load(Ordering::Acquire);
            given.extend(seqs(&mut follow));
            if was_done {
                break;
            }
        }
        assert_eq!(given, (1..=RECORDS as u64).collect::<Vec<_>>());
    });
}

#[test]
fn our_own_writer_is_followed_across_its_rotations() {
    let place = Place::new();
    let mut follow = Follow::new(&place.path, Filter::default(), Start::Oldest);
    let log = place.builder().rotate_at(32 * 1_024).open().unwrap();
    let done = AtomicBool::new(false);
    let mut given = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for second in 0..1_000 {
                log.append(&denial("a/b"), time(second)).unwrap();
            }
            drop(log);
            done.store(true, Ordering::Release);
        });
        loop {
            let was_done = done.load(Ordering::Acquire);
            given.extend(seqs(&mut follow));
            if was_done {
                break;
            }
        }
    });
    let last = given.len() as u64;
    assert!(last > 1_000 && files(&place.path).unwrap().len() > 5, "{last}");
    assert_eq!(given, (1..=last).collect::<Vec<_>>());
}
