//! The table against a `BTreeMap`, and what its copies share.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

type Model = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, Vec<u8>),
    Remove(u16),
    /// Removes all keys of a range, so that leaves become sparse.
    Clear(u16, u16),
    /// Takes a copy in place of the last.
    Copy,
    From(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..3000_u16;
    prop_oneof![
        200 => (key(), vec(any::<u8>(), 0..4)).prop_map(|(key, value)| Step::Insert(key, value)),
        40 => key().prop_map(Step::Remove),
        1 => (key(), 0..2000_u16).prop_map(|(from, length)| Step::Clear(from, length)),
        2 => Just(Step::Copy),
        10 => key().prop_map(Step::From),
    ]
}

fn key(number: u16) -> String {
    format!("{number:04}")
}

fn value(text: &str) -> Value {
    text.as_bytes().into()
}

fn check(table: &Entries, model: &Model) {
    let entries = table.iter().map(|(key, value)| (key.to_owned(), value.to_vec()));
    assert!(entries.eq(model.clone()), "the same entries in the same order");
    let bytes = model.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert_eq!(table.size(), Size { keys: model.len(), bytes });
    assert!(table.leaves.iter().all(|leaf| (1..=LEAF).contains(&leaf.0.len())));
    assert!(table.leaves.iter().all(|leaf| leaf.0.capacity() <= LEAF + GROWTH));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_is_the_map_that_it_stands_for_and_a_copy_stands_still(
        steps in vec(step(), 0..4000)
    ) {
        let (mut table, mut model) = (Entries::default(), Model::new());
        let (mut copy, mut copied) = (table.clone(), model.clone());
        for step in steps {
            match step {
                Step::Insert(number, value) => {
                    let old = table.insert(&key(number), value.as_slice().into());
                    prop_assert_eq!(old.map(|it| it.to_vec()), model.insert(key(number), value));
                }
                Step::Remove(number) => {
                    let old = table.remove(&key(number));
                    prop_assert_eq!(old.map(|it| it.to_vec()), model.remove(&key(number)));
                }
                Step::Clear(from, length) => for number in from..from + length {
                    prop_assert_eq!(
                        table.remove(&key(number)).is_some(),
                        model.remove(&key(number)).is_some()
                    );
                },
                Step::Copy => {
                    check(&copy, &copied);
                    (copy, copied) = (table.clone(), model.clone());
                }
                Step::From(number) => {
                    let key = key(number);
                    let range = (Bound::Excluded(&*key), Bound::Unbounded);
                    let expected = model.range::<str, _>(range).map(|(key, _)| key.as_str());
                    prop_assert!(table.from(range.0).map(|(key, _)| key).eq(expected));
                }
            }
        }
        check(&table, &model);
        check(&copy, &copied);
    }
}

#[test]
fn a_change_beside_a_copy_copies_one_leaf() {
    let mut table = Entries::default();
    for number in 0..9999 {
        table.insert(&key(number), value("v"));
    }
    let copy = table.clone();
    table.insert(&key(5000), value("w"));
    let shared = |(one, other): (&Arc<Leaf>, &Arc<Leaf>)| Arc::ptr_eq(one, other);
    let copied = table.leaves.iter().zip(&copy.leaves).filter(|pair| !shared(*pair)).count();
    assert_eq!((copied, table.leaves.len()), (1, copy.leaves.len()));
    assert_eq!(copy.get(&key(5000)), Some(&value("v")));
    // The leaf is copied, and the keys and values in it are not.
    let kept = key(5001);
    assert!(Arc::ptr_eq(table.get(&kept).unwrap(), copy.get(&kept).unwrap()));
}

#[test]
fn keys_in_order_fill_their_leaves_and_removed_keys_leave_no_empty_ones() {
    let mut table = Entries::default();
    for number in 0..9999 {
        table.insert(&key(number), value("v"));
    }
    assert!(table.leaves.len() <= 24, "{} leaves", table.leaves.len());
    for number in (0..9999).filter(|number| number % 100 != 0) {
        table.remove(&key(number));
    }
    assert_eq!(table.size().keys, 100);
    assert!(table.leaves.len() <= 4, "{} leaves", table.leaves.len());
}

#[test]
fn a_walk_begins_at_the_edges_of_leaves_too() {
    let mut table = Entries::default();
    for number in 0..2000 {
        table.insert(&key(number), value("v"));
    }
    let edges: Vec<String> =
        table.leaves.iter().map(|leaf| leaf.first().unwrap().to_owned()).collect();
    assert!(edges.len() > 3);
    for edge in &edges {
        let first = |start| table.from(start).next().map(|(key, _)| key);
        assert_eq!(first(Bound::Included(&**edge)), Some(&**edge));
        assert!(first(Bound::Excluded(&**edge)) > Some(&**edge));
    }
    assert_eq!(first_behind(&table, "9"), None);
    assert_eq!(first_behind(&Entries::default(), ""), None);
}

fn first_behind<'a>(table: &'a Entries, key: &str) -> Option<&'a str> {
    table.from(Bound::Excluded(key)).next().map(|(key, _)| key)
}
