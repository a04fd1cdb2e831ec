//! The tables of a run.

use super::{
    Measured, System, WRITERS,
    checkpoint::Checkpointed,
    recovery::{PAYLOADS, Recovered},
    transactions::{Forced, PARTICIPANTS},
    updates::Window,
};
use crate::{
    goals::Verdict,
    report::{goals_table, show, table},
    stats::Spread,
};

/// All tables, as Markdown that also reads well on a terminal.
pub(crate) fn text(measured: &Measured, verdicts: &[Verdict]) -> String {
    let (machine, extent) = (&measured.machine, &measured.extent);
    let mut text = format!(
        "{}, files in {}; {} repetitions of {} s, {} of a recovery and of a checkpoint, median \
         (least–most)\n\n",
        machine.describe(),
        measured.dir.display(),
        extent.repetitions,
        extent.window_seconds,
        measured.amount.repetitions,
    );
    text += machine.warning();
    for table in
        [updates(measured), recoveries(measured), checkpoints(measured), transactions(measured)]
    {
        text += &table;
        text.push('\n');
    }
    text += "Goals, judged by the median\n\n";
    text + goals_table(verdicts).as_str()
}

fn updates(measured: &Measured) -> String {
    let mut systems = vec![(System::Fdatasync, 1)];
    for system in [System::Redb, System::StableStore] {
        systems.extend(WRITERS.map(|writers| (system, writers)));
    }
    let rows = systems.into_iter().map(|(system, writers)| {
        let each = |of: fn(&Window) -> f64| Spread::of(measured.each(system, writers, of));
        vec![
            system.name().to_owned(),
            writers.to_string(),
            show(each(Window::rate), 1.0, 0),
            show(each(|window| window.updates_per_sync), 1.0, 1),
        ]
    });
    table(&["durable updates", "writers", "updates/s", "updates a sync"], rows)
}

fn recoveries(measured: &Measured) -> String {
    let rows = PAYLOADS.into_iter().map(|payload| {
        let each = |of: fn(&Recovered) -> f64| {
            let recovered = measured.recoveries.iter().filter(|it| it.payload == payload);
            Spread::of(recovered.map(of))
        };
        vec![
            payload.to_string(),
            show(each(|it| it.records as f64), 1e3, 0),
            show(each(|it| it.bytes as f64), 1e6, 0),
            show(each(Recovered::megabytes_per_second), 1.0, 0),
            show(each(Recovered::records_per_second), 1e3, 0),
        ]
    });
    let head = ["recovery of payloads of, B", "1,000 records", "MB", "MB/s", "1,000 records/s"];
    table(&head, rows)
}

/// A figure of one checkpoint.
type Measure = fn(&Checkpointed) -> f64;

fn checkpoints(measured: &Measured) -> String {
    let each = |of: Measure| Spread::of(measured.checkpoints.iter().map(of));
    let rows: [(&str, Measure, usize); 9] = [
        ("1,000 keys", |it| it.keys as f64 / 1e3, 0),
        ("live memory, MB", |it| it.live_bytes as f64 / 1e6, 0),
        ("peak memory, MB", |it| it.peak_bytes as f64 / 1e6, 0),
        ("it took, s", |it| it.during.seconds, 2),
        ("updates/s meanwhile", |it| it.during.updates as f64 / it.during.seconds, 0),
        ("longest read, ms", |it| it.during.read_seconds * 1e3, 1),
        ("longest write, ms", |it| it.during.write_seconds * 1e3, 1),
        ("longest read without, ms", |it| it.after.read_seconds * 1e3, 1),
        ("longest write without, ms", |it| it.after.write_seconds * 1e3, 1),
    ];
    let rows =
        rows.map(|(what, of, decimals)| vec![what.to_owned(), show(each(of), 1.0, decimals)]);
    table(&["a checkpoint under writes", ""], rows)
}

fn transactions(measured: &Measured) -> String {
    let each = |of: fn(&Forced) -> f64| Spread::of(measured.transactions.iter().map(of));
    let row = vec![
        PARTICIPANTS.to_string(),
        show(each(|it| it.before_the_answer as f64), 1.0, 0),
        show(each(|it| it.in_all as f64), 1.0, 0),
    ];
    let head = [
        "two-phase commit, participants",
        "forced one after the other before the answer",
        "in all",
    ];
    table(&head, [row])
}
