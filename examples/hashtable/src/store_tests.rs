//! The store's promises, in process and, for the policy, over a channel in memory.

use std::time::Duration;

use bailiwick::testing::test_identity;

use super::*;
use crate::service::{KEYS_PER_PAGE, MAX_KEY, MAX_VALUE, TableClient};

fn cx() -> Context {
    Context::within(Duration::from_secs(5))
}

fn in_memory() -> Store {
    Store::in_memory(Bounds::default())
}

async fn put(store: &Store, key: &str, value: &str) -> Result<(), CallError<TableError>> {
    store.put(&cx(), key.into(), Bytes::copy_from_slice(value.as_bytes())).await
}

async fn size(store: &Store) -> u64 {
    let stats = store.stats(&cx()).await.unwrap();
    assert_eq!(stats.kept, None);
    stats.bytes
}

#[tokio::test]
async fn what_was_put_is_got_until_it_is_deleted() {
    let store = in_memory();
    assert_eq!(store.get(&cx(), "k".into()).await, Ok(None));
    put(&store, "k", "one").await.unwrap();
    put(&store, "k", "two").await.unwrap();
    assert_eq!(store.get(&cx(), "k".into()).await, Ok(Some("two".into())));
    assert_eq!(store.delete(&cx(), "k".into()).await, Ok(true));
    assert_eq!(store.delete(&cx(), "k".into()).await, Ok(false));
    assert_eq!(store.get(&cx(), "k".into()).await, Ok(None));
    assert_eq!(size(&store).await, 0);
}

#[tokio::test]
async fn an_increment_counts_from_zero_and_refuses_what_is_no_number() {
    let store = in_memory();
    assert_eq!(store.increment(&cx(), "n".into(), 5).await, Ok(5));
    assert_eq!(store.increment(&cx(), "n".into(), -7).await, Ok(-2));
    assert_eq!(store.get(&cx(), "n".into()).await, Ok(Some("-2".into())));
    for no_number in ["", " 1", "1.5", "seven", "9223372036854775808"] {
        put(&store, "text", no_number).await.unwrap();
        let refused = store.increment(&cx(), "text".into(), 1).await;
        assert_eq!(refused, Err(TableError::NotANumber.into()), "{no_number:?}");
        assert_eq!(store.get(&cx(), "text".into()).await, Ok(Some(no_number.into())));
    }
}

#[tokio::test]
async fn a_value_is_swapped_only_for_the_one_that_was_expected() {
    let store = in_memory();
    let swap = async |expected: Option<&'static str>, value: &'static str| {
        let expected = expected.map(|value| Bytes::from_static(value.as_bytes()));
        store.compare_and_swap(&cx(), "k".into(), expected, value.into()).await
    };
    assert_eq!(swap(Some(""), "one").await, Ok(false), "nothing is not an empty value");
    assert_eq!(store.get(&cx(), "k".into()).await, Ok(None));
    assert_eq!(swap(None, "one").await, Ok(true));
    assert_eq!(swap(None, "two").await, Ok(false));
    assert_eq!(swap(Some("two"), "three").await, Ok(false));
    assert_eq!(store.get(&cx(), "k".into()).await, Ok(Some("one".into())));
    assert_eq!(swap(Some("one"), "two").await, Ok(true));
    assert_eq!(store.get(&cx(), "k".into()).await, Ok(Some("two".into())));
    let long: &'static str = "v".repeat(MAX_VALUE + 1).leak();
    assert_eq!(swap(Some("two"), long).await, Err(TableError::ValueTooLong.into()));
}

#[tokio::test]
async fn a_sum_out_of_range_changes_nothing() {
    let store = in_memory();
    store.increment(&cx(), "n".into(), i64::MAX).await.unwrap();
    assert_eq!(store.increment(&cx(), "n".into(), 1).await, Err(TableError::Overflow.into()));
    store.increment(&cx(), "m".into(), i64::MIN).await.unwrap();
    assert_eq!(store.increment(&cx(), "m".into(), -1).await, Err(TableError::Overflow.into()));
    assert_eq!(store.increment(&cx(), "n".into(), 0).await, Ok(i64::MAX));
}

#[tokio::test]
async fn keys_and_values_have_a_longest_length() {
    let store = in_memory();
    let longest = "k".repeat(MAX_KEY);
    put(&store, &longest, "v").await.unwrap();
    let longer = longest + "k";
    assert_eq!(put(&store, &longer, "v").await, Err(TableError::KeyTooLong.into()));
    let incremented = store.increment(&cx(), longer, 1).await;
    assert_eq!(incremented, Err(TableError::KeyTooLong.into()));

    let longest = "v".repeat(MAX_VALUE);
    put(&store, "k", &longest).await.unwrap();
    assert_eq!(put(&store, "k", &(longest + "v")).await, Err(TableError::ValueTooLong.into()));
}

#[tokio::test]
async fn a_table_full_of_keys_takes_no_new_one_and_still_changes_the_old() {
    let store = Store::in_memory(Bounds { keys: 2, bytes: 1000 });
    put(&store, "a", "1").await.unwrap();
    put(&store, "b", "1").await.unwrap();
    assert_eq!(put(&store, "c", "1").await, Err(TableError::Full.into()));
    assert_eq!(store.increment(&cx(), "c".into(), 1).await, Err(TableError::Full.into()));
    assert_eq!(store.increment(&cx(), "a".into(), 1).await, Ok(2));
    store.delete(&cx(), "b".into()).await.unwrap();
    put(&store, "c", "1").await.unwrap();
}

#[tokio::test]
async fn the_bytes_of_all_entries_are_bounded_and_counted_right() {
    let store = Store::in_memory(Bounds { keys: 100, bytes: 20 });
    put(&store, "a", "123456789").await.unwrap();
    put(&store, "b", "123456789").await.unwrap();
    assert_eq!(size(&store).await, 20);
    assert_eq!(put(&store, "a", "1234567890").await, Err(TableError::Full.into()));
    assert_eq!(put(&store, "c", "").await, Err(TableError::Full.into()));
    put(&store, "a", "1").await.unwrap();
    put(&store, "c", "1234567").await.unwrap();
    assert_eq!(size(&store).await, 20);
}

#[tokio::test]
async fn a_stored_value_does_not_hold_the_message_it_came_in() {
    let store = in_memory();
    let message = Bytes::from(vec![7; 1000]);
    let value = message.slice(10..20);
    store.put(&cx(), "k".into(), value.clone()).await.unwrap();
    let stored = store.get(&cx(), "k".into()).await.unwrap().unwrap();
    assert_eq!(stored, value);
    assert!(!message.as_ptr_range().contains(&stored.as_ptr()));
}

#[tokio::test]
async fn keys_come_in_order_and_page_by_page() {
    let store = in_memory();
    for number in (0..KEYS_PER_PAGE + 10).rev() {
        put(&store, &format!("n{number:05}"), "").await.unwrap();
    }
    put(&store, "m", "").await.unwrap();
    put(&store, "o", "").await.unwrap();
    let page = async |prefix: &str, after: Option<&str>| {
        store.keys(&cx(), prefix.into(), after.map(Into::into)).await.unwrap()
    };

    let first = page("n", None).await;
    assert_eq!((first.len(), &*first[0]), (KEYS_PER_PAGE, "n00000"));
    let second = page("n", first.last().map(String::as_str)).await;
    assert_eq!((second.len(), &*second[9]), (10, "n01033"));
    assert!(page("n", Some("n01033")).await.is_empty());

    assert!(page("x", None).await.is_empty());
    assert_eq!(page("", Some("n01033")).await, ["o"]);
    // A place outside the prefix is no way round it.
    assert_eq!(page("m", Some("a")).await, ["m"]);
    assert!(page("m", Some("z")).await.is_empty());
}

#[tokio::test]
async fn a_page_of_the_longest_keys_fits_a_frame() {
    let table = TableClient::in_memory(in_memory())
        .policy("alice | table/* | write | allow\nalice | table | list | allow");
    let alice = table.as_principal("alice").await;
    for number in 0..KEYS_PER_PAGE {
        let key = format!("{number:0>MAX_KEY$}");
        alice.put(&cx(), key, Bytes::new()).await.unwrap();
    }
    let page = alice.keys(&cx(), String::new(), None).await.unwrap();
    assert_eq!(page.len(), KEYS_PER_PAGE);
}

#[tokio::test]
async fn each_method_is_judged_by_its_verb_and_its_key() {
    let table = TableClient::in_memory(in_memory()).policy(
        "writer | table/** | write | allow\n\
         reader | table/open | read | allow\n\
         lister | table | list | allow",
    );
    let (writer, reader, lister) = (
        table.as_principal("writer").await,
        table.as_principal("reader").await,
        table.as_principal("lister").await,
    );
    let key = || "open".to_owned();

    writer.put(&cx(), key(), "v".into()).await.unwrap();
    writer.increment(&cx(), "count".into(), 1).await.unwrap();
    writer.delete(&cx(), "count".into()).await.unwrap();
    assert!(matches!(writer.get(&cx(), key()).await, Err(CallError::Denied(_))));
    assert!(matches!(writer.keys(&cx(), key(), None).await, Err(CallError::Denied(_))));

    assert_eq!(reader.get(&cx(), key()).await, Ok(Some("v".into())));
    assert!(matches!(reader.get(&cx(), "shut".into()).await, Err(CallError::Denied(_))));
    assert!(matches!(reader.put(&cx(), key(), "w".into()).await, Err(CallError::Denied(_))));
    assert!(matches!(reader.delete(&cx(), key()).await, Err(CallError::Denied(_))));
    assert!(matches!(reader.increment(&cx(), key(), 1).await, Err(CallError::Denied(_))));
    let swapped = reader.compare_and_swap(&cx(), key(), Some("v".into()), "w".into()).await;
    assert!(matches!(swapped, Err(CallError::Denied(_))));
    assert!(matches!(reader.stats(&cx()).await, Err(CallError::Denied(_))));

    assert_eq!(lister.keys(&cx(), String::new(), None).await, Ok(vec![key()]));
    assert_eq!(lister.stats(&cx()).await, Ok(Stats { keys: 1, bytes: 5, kept: None }));
    assert!(matches!(lister.get(&cx(), key()).await, Err(CallError::Denied(_))));
    assert_eq!(reader.get(&cx(), key()).await, Ok(Some("v".into())), "nothing denied has run");
}

#[tokio::test]
async fn a_key_that_is_no_segment_is_denied_even_to_who_may_everything() {
    let table = TableClient::in_memory(in_memory()).policy("root | ** | * | allow");
    let root = table.as_principal("root").await;
    for key in ["", "a/b", "..", "a\\b", "a\u{202e}b"] {
        let denied = root.put(&cx(), key.into(), Bytes::new()).await;
        assert!(matches!(denied, Err(CallError::Denied(_))), "{key:?}");
        assert!(table.audit().last().unwrap().contains(r#""reason":"bad_object""#), "{key:?}");
    }
    assert_eq!(root.keys(&cx(), String::new(), None).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_stranger_gets_no_session() {
    let table = TableClient::in_memory(in_memory()).policy("root | ** | * | allow");
    let refused = table.connect(test_identity("stranger")).await;
    assert!(matches!(refused, Err(bailiwick::ConnectError::AccessDenied { .. })), "{refused:?}");
}

#[test]
fn hundred_threads_lose_no_increment() {
    let store = in_memory();
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..100 {
                        store.increment(&cx(), "n".into(), 1).await.unwrap();
                    }
                });
            });
        }
    });
    let total = store.read(|machine| machine.entries().get("n").cloned()).unwrap();
    assert_eq!(total.as_deref(), Some(&b"10000"[..]));
}
