//! What is decided and not yet durable: the next call counts on it, a reader does not see it.

use super::*;

fn at(lsn: u64) -> Lsn {
    Lsn(lsn)
}

fn value(text: &str) -> Value {
    text.as_bytes().into()
}

fn machine() -> Machine {
    Machine::new(Bounds { keys: 2, bytes: 20 })
}

/// Decides to put, and counts on it as the record at `lsn`.
fn put(machine: &mut Machine, key: &str, text: &str, lsn: u64) -> Result<(), TableError> {
    let decision = machine.put(key.into(), value(text))?;
    machine.expect(decision, at(lsn));
    Ok(())
}

fn read(machine: &Machine, key: &str) -> Option<String> {
    machine.entries().get(key).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn a_decision_counts_on_those_before_it_and_no_reader_sees_them() {
    let mut machine = machine();
    for lsn in 1..=3 {
        let (sum, decision) = machine.increment("n".into(), 1).unwrap();
        assert_eq!(sum, i64::try_from(lsn).unwrap());
        machine.expect(decision, at(lsn));
    }
    assert_eq!(read(&machine, "n"), None);
    assert!(machine.page("", None).is_empty());
    machine.apply("n", Some(value("1")), at(1));
    assert_eq!(read(&machine, "n").as_deref(), Some("1"), "the first alone is durable");
    assert_eq!(machine.increment("n".into(), 1).unwrap().0, 4);
    machine.apply("n", Some(value("2")), at(2));
    machine.apply("n", Some(value("3")), at(3));
    assert_eq!(machine.increment("n".into(), 1).unwrap().0, 4);
    assert!(machine.pending.is_empty(), "what is durable is pending no more");
}

#[test]
fn a_key_whose_end_is_decided_is_there_for_readers_only() {
    let mut machine = machine();
    machine.apply("k", Some(value("v")), at(1));
    let decision = machine.delete("k".into()).unwrap();
    machine.expect(decision, at(2));
    assert_eq!(read(&machine, "k").as_deref(), Some("v"));
    assert_eq!(machine.delete("k".into()), None);
    assert_eq!(machine.compare_and_swap("k".into(), Some(b"v"), value("w")), Ok(None));
    let again = machine.compare_and_swap("k".into(), None, value("w")).unwrap();
    machine.expect(again.unwrap(), at(3));
    machine.apply("k", None, at(2));
    assert_eq!(read(&machine, "k"), None);
    assert_eq!(machine.increment("k".into(), 1), Err(TableError::NotANumber), "3 is pending still");
}

#[test]
fn the_bounds_count_what_is_decided() {
    let mut machine = machine();
    put(&mut machine, "a", "123456789", 1).unwrap();
    put(&mut machine, "b", "123456789", 2).unwrap();
    assert_eq!(put(&mut machine, "a", "1234567890", 3), Err(TableError::Full));
    assert_eq!(put(&mut machine, "c", "", 3), Err(TableError::Full));
    let decision = machine.delete("a".into()).unwrap();
    machine.expect(decision, at(3));
    put(&mut machine, "c", "123456789", 4).unwrap();
    assert_eq!(put(&mut machine, "a", "1", 5), Err(TableError::Full));

    machine.apply("a", Some(value("123456789")), at(1));
    machine.apply("b", Some(value("123456789")), at(2));
    assert_eq!(put(&mut machine, "a", "1", 5), Err(TableError::Full), "by what will be");
    machine.apply("a", None, at(3));
    machine.apply("c", Some(value("123456789")), at(4));
    assert_eq!(machine.planned, machine.entries.size());
    assert_eq!(machine.planned, Size { keys: 2, bytes: 20 });
}

#[test]
fn a_table_that_holds_more_than_it_may_can_still_become_smaller() {
    let mut machine = Machine::new(Bounds { keys: 1, bytes: 5 });
    // As it was kept when the bounds were wider.
    machine.apply("a", Some(value("123456")), at(1));
    machine.apply("b", Some(value("123456")), at(2));
    assert!(machine.put("a".into(), value("12345")).is_ok());
    assert_eq!(machine.put("a".into(), value("1234567")), Err(TableError::Full));
    assert_eq!(machine.put("c".into(), value("")), Err(TableError::Full));
    assert!(machine.delete("a".into()).is_some());
}
