//! Sinks that are slow, full, deleted or replaced: no caller waits, nothing is lost unsaid.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bailiwick_acl::Monitor;
use bailiwick_acl::audit::{
    AuditError, AuditLog, Event, Expected, Health, Record, Sink, SinkError, Space, Syncer,
    Witnessed, verify, verify_files,
};
use bailiwick_acl::policy::{Effect, Reason};

use super::audit_world::{Place, denial, field, lines, random, time, wait_until};
use super::policy;

/// A sink that blocks while its gate is shut, as a disk that hangs does.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Held>, Condvar)>);

#[derive(Default)]
struct Held {
    shut: bool,
    /// Whether a sync hangs, in place of a write.
    syncs_hang: bool,
    syncs_fail: bool,
    /// Whether only the reserve is left.
    tight: bool,
    lines: Vec<u8>,
}

impl Held {
    fn space(&self) -> Space {
        if self.tight { Space::Reserve } else { Space::Free }
    }
}

impl Gate {
    fn shut(&self) {
        self.0.0.lock().unwrap().shut = true;
    }

    fn open(&self) {
        let mut held = self.0.0.lock().unwrap();
        (held.shut, held.syncs_hang) = (false, false);
        drop(held);
        self.0.1.notify_all();
    }

    fn lines(&self) -> Vec<String> {
        let text = self.0.0.lock().unwrap().lines.clone();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Sink for Gate {
    fn name(&self) -> &Path {
        Path::new("gate")
    }

    fn write(&mut self, lines: &[u8]) -> Result<Space, SinkError> {
        let held = self.0.0.lock().unwrap();
        let mut held = self.0.1.wait_while(held, |held| held.shut).unwrap();
        held.lines.extend_from_slice(lines);
        Ok(held.space())
    }

    fn space(&mut self) -> Result<Space, SinkError> {
        Ok(self.0.0.lock().unwrap().space())
    }

    fn syncer(&self) -> Result<Syncer, SinkError> {
        let gate = self.clone();
        Ok(Box::new(move || {
            let held = gate.0.0.lock().unwrap();
            let held = gate.0.1.wait_while(held, |held| held.syncs_hang).unwrap();
            let failed = SinkError::io("sync", "check the disk");
            if held.syncs_fail { Err(failed(std::io::Error::other("EIO"))) } else { Ok(()) }
        }))
    }
}

fn allowed(object: &str) -> Record<'_> {
    denial(object).judged(Effect::Allow, Reason::Row)
}

#[test]
fn a_sink_that_hangs_holds_no_caller_beyond_the_deadline() {
    let (place, gate) = (Place::new(), Gate::default());
    let log = place.builder().sink(Box::new(gate.clone())).open().unwrap();
    log.append(&denial("before"), time(1)).unwrap();
    wait_until(|| gate.lines().len() == 2);
    // From now on there is only the other sink.
    fs::remove_file(&place.path).unwrap();
    gate.shut();
    let begun = Instant::now();
    let error = log.append(&denial("hangs"), time(2)).unwrap_err();
    let first = begun.elapsed();
    assert!(matches!(&error, AuditError::Io { .. } | AuditError::Late { .. }), "{error}");
    assert!(!log.is_healthy());
    // All others are refused without waiting for it again.
    for _ in 0..5 {
        log.append(&denial("refused"), time(2)).unwrap_err();
    }
    assert!(first >= Duration::from_millis(250), "{first:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    gate.open();
    wait_until(|| log.is_healthy());
    log.append(&denial("after"), time(3)).unwrap();
    let found = gate.lines();
    assert_eq!(field(&found[2], "object"), "hangs");
    assert_eq!(field(&found[3], "event"), "gap");
    assert_eq!(field(&found[3], "count"), 5);
    assert!(found[3].contains("1 records came too late: their calls were refused"), "{}", found[3]);
    assert_eq!(field(&found[4], "object"), "after");
    let text = found.join("\n") + "\n";
    assert_eq!(verify(text.as_bytes()).unwrap().missing, 5);
}

#[test]
fn a_server_starts_on_a_disk_that_is_busy_for_longer_than_a_caller_waits() {
    let (place, gate) = (Place::new(), Gate::default());
    let deadline = Duration::from_millis(1);
    let log = place.builder().sink(Box::new(gate.clone())).deadline(deadline).open().unwrap();
    fs::remove_file(&place.path).unwrap();
    let busy = || {
        gate.shut();
        let gate = gate.clone();
        thread::spawn(move || {
            thread::sleep(50 * deadline);
            gate.open();
        })
    };
    let disk = busy();
    let monitor = Monitor::new(policy("alice | a | read | allow"), log, || time(1)).unwrap();
    disk.join().unwrap();
    let disk = busy();
    let monitor = monitor.permissive("alice", time(2)).unwrap();
    disk.join().unwrap();
    let disk = busy();
    monitor.shadow(policy("alice | b | read | allow")).unwrap();
    disk.join().unwrap();
}

#[test]
fn the_reserve_is_for_what_is_refused_and_not_for_what_is_forgiven() {
    let (place, gate) = (Place::new(), Gate::default());
    let log = place.builder().sink(Box::new(gate.clone())).open().unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    fs::remove_file(&place.path).unwrap();
    gate.0.0.lock().unwrap().tight = true;
    log.append(&denial("b"), time(1)).unwrap();
    wait_until(|| matches!(log.sinks()[0].health, Health::Failed(_)));
    let in_mode = |mode| Record { mode: Some(mode), ..denial("c") };
    log.append(&in_mode("enforce"), time(1)).unwrap();
    for record in [in_mode("permissive"), in_mode("shadow"), allowed("d")] {
        let error = log.append(&record, time(1)).unwrap_err();
        assert!(matches!(error, AuditError::Reserved), "{error}");
    }
    log.append(&Record { mode: Some("permissive"), ..Record::of(Event::ModeChange) }, time(1))
        .unwrap();
}

#[test]
fn a_disk_that_is_slow_to_sync_holds_up_nobody() {
    let (place, gate) = (Place::new(), Gate::default());
    let log = place.builder().sink(Box::new(gate.clone())).open().unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    fs::remove_file(&place.path).unwrap();
    gate.0.0.lock().unwrap().syncs_hang = true;
    for number in 0..1_500 {
        log.append(&denial(&number.to_string()), time(1)).unwrap();
    }
    assert!(gate.lines().len() > 1_500);
    gate.open();
}

#[test]
fn a_sync_that_fails_is_the_last_of_its_sink() {
    let (place, gate) = (Place::new(), Gate::default());
    let log = place.builder().sink(Box::new(gate.clone())).open().unwrap();
    gate.0.0.lock().unwrap().syncs_fail = true;
    log.append(&denial("a"), time(1)).unwrap();
    wait_until(|| matches!(log.sinks()[1].health, Health::Failed(_)));
    gate.0.0.lock().unwrap().syncs_fail = false;
    log.tick(time(2));
    log.append(&denial("b"), time(2)).unwrap();
    fs::remove_file(&place.path).unwrap();
    let error = log.append(&denial("c"), time(2)).unwrap_err();
    assert!(matches!(error, AuditError::Io { .. }), "{error}");
    assert!(log.recover(time(3)).is_err());
}

#[test]
fn one_sink_that_works_is_enough_and_one_that_misses_too_much_is_lost() {
    let (place, gate) = (Place::new(), Gate::default());
    let log = place.builder().sink(Box::new(gate.clone())).open().unwrap();
    gate.shut();
    let object = "x".repeat(1_000);
    let mut appended = 0;
    while !matches!(log.sinks()[1].health, Health::Lost) {
        log.append(&denial(&object), time(1)).unwrap();
        appended += 1;
        assert!(appended < 20_000 && log.is_healthy());
        assert!(log.sinks()[1].queued <= bailiwick_acl::audit::RING);
    }
    assert!(appended > 5_000, "{appended}");
    log.append(&denial("after"), time(1)).unwrap();
    gate.open();
    drop(log);
    assert_eq!(place.verify().unwrap().denials, appended + 1);
}

#[test]
fn a_file_that_is_deleted_replaced_cut_or_written_by_others_is_noticed() {
    type Harm = fn(&Path);
    let harms: [(Harm, &str); 4] = [
        (|path| fs::remove_file(path).unwrap(), "it was deleted or moved"),
        (
            |path| {
                fs::rename(path, path.with_extension("old")).unwrap();
                fs::write(path, "").unwrap();
            },
            "another file was put in its place",
        ),
        (|path| File::options().write(true).open(path).unwrap().set_len(100).unwrap(), "cut off"),
        (
            |path| File::options().append(true).open(path).unwrap().write_all(b"x\n").unwrap(),
            "somebody else writes to it",
        ),
    ];
    for (harm, message) in harms {
        let place = Place::new();
        let log = place.open();
        log.append(&denial("a"), time(1)).unwrap();
        harm(&place.path);
        let error = log.append(&denial("b"), time(1)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.to_string().contains("evidence"), "{error}");
        assert!(!log.is_healthy());
        assert!(log.recover(time(2)).is_err());
    }
}

#[test]
fn a_reader_that_tails_the_file_has_no_effect() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("0"), time(1)).unwrap();
    let mut tail = File::open(&place.path).unwrap();
    let mut seen = String::new();
    for number in 1..50 {
        tail.read_to_string(&mut seen).unwrap();
        log.append(&denial(&number.to_string()), time(1)).unwrap();
    }
    tail.read_to_string(&mut seen).unwrap();
    assert_eq!(seen.lines().count(), 51);
    drop(log);
    assert_eq!(place.verify().unwrap().denials, 50);
}

/// A file system of one MiB in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    /// Writes a file until nothing is left.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_refuses_recorded_allows_first_then_all_and_confesses_when_it_heals() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        println!("not tested: this user may not mount a small file system");
        return;
    };
    let path = disk.0.join("audit.jsonl");
    let log = AuditLog::builder("n1", random(9)).file(&path).reserve(256 * 1_024).open().unwrap();
    log.append(&allowed("a"), time(1)).unwrap();
    disk.fill();
    let object = "x".repeat(900);
    // Denials go on within the reserve, and once it is touched no recorded allow does.
    let mut denied = 0;
    while log.append(&denial(&object), time(1)).is_ok() {
        denied += 1;
        assert!(denied < 2_000);
        if denied == 100 {
            assert!(matches!(log.append(&allowed("b"), time(1)), Err(AuditError::Reserved)));
            assert!(log.is_healthy());
        }
    }
    assert!(denied > 150, "{denied}");
    assert!(!log.is_healthy());
    assert!(matches!(
        log.append(&denial("no"), time(1)),
        Err(AuditError::Io { doing: "write", .. })
    ));
    assert!(log.append(&allowed("no"), time(1)).is_err());
    disk.free();
    log.recover(time(200)).unwrap();
    assert!(log.is_healthy());
    // What it could not seal in time is sealed at once.
    let expected = Expected { at: Some(time(200)), ..Expected::default() };
    assert_eq!(verify_files(&path, &expected).unwrap().unsealed, 0);
    log.append(&allowed("c"), time(200)).unwrap();
    drop(log);
    let report = verify_files(&path, &Expected::default()).unwrap();
    // One allow in the reserve, one denial and one allow afterwards; the first denial that found
    // no room came late and is in the log.
    assert_eq!((report.missing, report.denials), (3, denied + 1));
    assert!(lines(&path).iter().any(|line| line.contains("1 records came too late")));
}

#[test]
fn a_second_file_that_missed_records_is_completed_from_the_first() {
    let place = Place::new();
    let other = place.file("other.jsonl");
    let open = || place.builder().file(&other).open().unwrap();
    let log = open();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    let behind = fs::read(&other).unwrap();
    let log = open();
    log.append(&denial("b"), time(1)).unwrap();
    log.rotate(time(2)).unwrap();
    log.append(&denial("c"), time(3)).unwrap();
    drop(log);
    let whole = place.verify().unwrap();
    assert_eq!(verify_files(&other, &Expected::default()).unwrap(), whole);
    // As after a crash: the second file has only the beginning.
    fs::remove_file(place.file("other.jsonl.000001")).unwrap();
    fs::write(&other, behind).unwrap();
    drop(open());
    assert_eq!(verify_files(&other, &Expected::default()).unwrap(), whole);
    // A file with another history is not completed.
    let stranger = Place::new();
    stranger.open().append(&denial("x"), time(1)).unwrap();
    fs::remove_file(place.file("other.jsonl.000001")).unwrap();
    fs::copy(&stranger.path, &other).unwrap();
    let error = place.builder().file(&other).open().unwrap_err();
    assert!(matches!(error, AuditError::Broken { .. }), "{error}");
}

#[test]
fn a_witness_gets_the_checkpoints_and_they_find_a_cut_tail() {
    let place = Place::new();
    let kept = place.file("elsewhere.jsonl");
    let log = place.builder().checkpoints(&kept).open().unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    log.append(&denial("b"), time(20)).unwrap();
    drop(log);
    let checkpoints = lines(&kept);
    assert!(checkpoints.iter().all(|line| field(line, "event") == "checkpoint"));
    assert_eq!(checkpoints.len(), 3);
    let witnessed = Witnessed::read(&*fs::read(&kept).unwrap()).unwrap();
    let expected = Expected { checkpoints: witnessed, ..Expected::default() };
    assert_eq!(verify_files(&place.path, &expected).unwrap().witnessed, Some(5));
}

#[test]
fn a_witness_on_its_disk_does_not_stand_for_the_log() {
    let (place, gate) = (Place::new(), Gate::default());
    let log = place.builder().witness(Box::new(gate.clone())).open().unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    log.sync().unwrap();
    fs::remove_file(&place.path).unwrap();
    log.append(&denial("b"), time(1)).unwrap_err();
    let error = log.sync().unwrap_err();
    assert!(matches!(error, AuditError::Io { .. }), "{error}");
}

#[test]
fn there_is_a_checkpoint_every_thousand_records_ten_seconds_and_idle_minute() {
    let place = Place::new();
    let log = place.open();
    for _ in 0..1_000 {
        log.append(&denial("a"), time(100)).unwrap();
    }
    let seals = || -> Vec<u64> {
        let is_seal = |line: &&String| line.contains("\"event\":\"checkpoint\"");
        lines(&place.path)
            .iter()
            .filter(is_seal)
            .map(|line| field(line, "size").as_u64().unwrap())
            .collect()
    };
    log.sync().unwrap();
    assert_eq!(seals(), [0, 1_001]);
    log.append(&denial("b"), time(101)).unwrap();
    for (second, count) in [(110, 2), (111, 3), (170, 3), (171, 4), (200, 4), (231, 5)] {
        // A checkpoint that is due waits until there is a key for the one after it.
        wait_until(|| {
            log.tick(time(second));
            log.sync().unwrap();
            seals().len() >= count
        });
        assert_eq!(seals().len(), count, "at {second}");
    }
}

#[test]
fn a_log_needs_a_file() {
    assert!(matches!(AuditLog::builder("n1", random(1)).open(), Err(AuditError::NoFile)));
}
