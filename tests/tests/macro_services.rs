//! Services that `#[rpc_service]` wrote, called in memory with policy and audit in force.

use std::{collections::BTreeMap, time::Duration};

use bailiwick::service::{Delivery, ObjectDescription};
use bailiwick::{Bytes, CallError, Context, MethodId, rpc_service};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum ShelfError {
    Full { after: u32 },
}

/// Arguments and results of each kind that travels in a way of its own.
#[rpc_service(verb = "read", object = "shelf")]
trait Shelf {
    #[rpc(object = "shelf/{key}", readonly)]
    async fn echo(
        &self,
        cx: &Context,
        key: String,
        shared: Bytes,
        vector: Vec<u8>,
        map: BTreeMap<String, Option<i64>>,
    ) -> Result<(Bytes, BTreeMap<String, Option<i64>>), CallError<ShelfError>>;

    #[rpc(idempotent, timeout = "500ms")]
    async fn bytes(&self, cx: &Context) -> Result<Vec<u8>, CallError<ShelfError>>;

    #[rpc(verb = "write", id = 7)]
    async fn fail(&self, cx: &Context) -> Result<Vec<u8>, CallError<ShelfError>>;

    #[rpc(object = "files/{path..}")]
    async fn open(&self, cx: &Context, path: String) -> Result<String, CallError<ShelfError>>;

    #[rpc(objects = keys)]
    async fn count(&self, cx: &Context, keys: Vec<String>) -> Result<usize, CallError<ShelfError>>;
}

struct Memory;

impl Shelf for Memory {
    async fn echo(
        &self,
        _: &Context,
        key: String,
        shared: Bytes,
        vector: Vec<u8>,
        mut map: BTreeMap<String, Option<i64>>,
    ) -> Result<(Bytes, BTreeMap<String, Option<i64>>), CallError<ShelfError>> {
        map.insert(key, i64::try_from(vector.len()).ok());
        Ok((shared, map))
    }

    async fn bytes(&self, _: &Context) -> Result<Vec<u8>, CallError<ShelfError>> {
        Ok(vec![0, 200, 7])
    }

    async fn fail(&self, _: &Context) -> Result<Vec<u8>, CallError<ShelfError>> {
        Err(ShelfError::Full { after: 9 })?
    }

    async fn open(&self, _: &Context, path: String) -> Result<String, CallError<ShelfError>> {
        Ok(path)
    }

    async fn count(&self, _: &Context, keys: Vec<String>) -> Result<usize, CallError<ShelfError>> {
        Ok(keys.len())
    }
}

fn soon() -> Context {
    Context::within(Duration::from_secs(5))
}

#[tokio::test]
async fn arguments_and_results_arrive_as_they_were_sent() {
    let shelf = ShelfClient::in_memory(Memory).policy("alice | ** | * | allow");
    let alice = shelf.as_principal("alice").await;
    let map = BTreeMap::from([("a".to_owned(), None)]);

    // One value above the size from which arguments borrow the message, one below.
    for length in [3, 100_000] {
        let shared = Bytes::from(vec![7; length]);
        let cx = soon();
        let echoed = alice.echo(&cx, "k".into(), shared.clone(), vec![1; length], map.clone());
        let expected =
            BTreeMap::from([("a".to_owned(), None), ("k".to_owned(), i64::try_from(length).ok())]);
        assert_eq!(echoed.await, Ok((shared, expected)));
    }
    assert_eq!(alice.bytes(&soon()).await, Ok(vec![0, 200, 7]));
    assert_eq!(alice.fail(&soon()).await, Err(CallError::App(ShelfError::Full { after: 9 })));
}

#[tokio::test]
async fn an_argument_fills_one_segment_unless_the_template_says_more() {
    let shelf = ShelfClient::in_memory(Memory)
        .policy("alice | shelf/** | * | allow\nalice | files/** | * | allow");
    let alice = shelf.as_principal("alice").await;
    assert_eq!(alice.open(&soon(), "a/b/c".into()).await, Ok("a/b/c".into()));

    for key in ["a/b", "", "..", "a\\b", "a\u{202e}"] {
        let echoed = alice.echo(&soon(), key.into(), Bytes::new(), vec![], BTreeMap::new()).await;
        assert!(matches!(echoed, Err(CallError::Denied(_))), "{key:?}: {echoed:?}");
    }
    for path in ["", "/a", "a/", "a//b", "a/../b"] {
        let opened = alice.open(&soon(), path.into()).await;
        assert!(matches!(opened, Err(CallError::Denied(_))), "{path:?}: {opened:?}");
    }
}

#[tokio::test]
async fn every_listed_object_must_be_allowed() {
    let shelf = ShelfClient::in_memory(Memory)
        .policy("alice | a | read | allow\nalice | b/* | read | allow");
    let alice = shelf.as_principal("alice").await;
    let count = async |keys: &[&str]| {
        alice.count(&soon(), keys.iter().map(|key| (*key).to_owned()).collect()).await
    };

    assert_eq!(count(&["a", "b/1"]).await, Ok(2));
    for keys in [&["a", "c"][..], &["c", "a"], &["a", "b"], &["a", "b/../a"], &["a", ""], &[]] {
        let counted = count(keys).await;
        assert!(matches!(counted, Err(CallError::Denied(_))), "{keys:?}: {counted:?}");
    }
}

#[test]
fn the_description_says_what_the_trait_says() {
    let ids = SHELF.methods.iter().map(|method| method.id).collect::<Vec<_>>();
    // FNV-1a of "Shelf", then of the method's name or its own number.
    assert_eq!(ids, EXPECTED_IDS.map(MethodId::new));
    let [echo, bytes, fail, open, count] = SHELF.methods else { panic!("five methods") };
    assert_eq!((echo.service, echo.name, echo.verb), ("Shelf", "echo", "read"));
    assert_eq!(echo.object, ObjectDescription::Template("shelf/{key}"));
    assert_eq!(open.object, ObjectDescription::Template("files/{path..}"));
    assert_eq!(count.object, ObjectDescription::Listed("keys"));
    assert_eq!((bytes.object, fail.verb), (ObjectDescription::Template("shelf"), "write"));
    assert_eq!(
        [echo.delivery, bytes.delivery, fail.delivery],
        [Delivery::Readonly, Delivery::Idempotent, Delivery::AtMostOnce]
    );
    assert_eq!((bytes.timeout, fail.timeout), (Some(Duration::from_millis(500)), None));
    let argument = echo.arguments[3];
    assert_eq!((argument.name, argument.type_name), ("map", "BTreeMap<String, Option<i64>>"));
    assert_eq!((bytes.result, bytes.error), ("Vec<u8>", "ShelfError"));
}

const EXPECTED_IDS: [u64; 5] = [
    0xb01959e3_d49dd484,
    0xb01959e3_65b1d004,
    0xb01959e3_00000007,
    0xb01959e3_d35ec4c9,
    0xb01959e3_39b1ddf4,
];

#[test]
fn names_of_the_users_are_nobody_elses() {
    use bailiwick_tests::services::{colliding_names::COLLIDER, every_feature::STORE, visibility};

    let name = |position: usize| COLLIDER.methods[position].name;
    assert_eq!((name(3), name(4)), ("match", "move"));
    assert_eq!(COLLIDER.methods[3].arguments[0].name, "type");
    assert_eq!((STORE.name, STORE.methods[6].name), ("OldStore", "dump"));
    assert_eq!(STORE.methods[7].verb, "admin");
    assert_eq!(STORE.methods[7].error, "Never");
    assert_eq!(visibility::hidden_methods(), 4);
}

mod before {
    use super::*;

    #[rpc_service(verb = "read", object = "o")]
    pub(super) trait Register {
        async fn first(&self, cx: &Context, number: u32) -> Result<u32, CallError>;
        async fn second(&self, cx: &Context, number: u32) -> Result<u32, CallError>;
        async fn third(&self, cx: &Context, number: u32) -> Result<u32, CallError>;
    }
}

mod after {
    use super::*;

    /// `Register`, its methods in another order, one with another name, and one gone.
    #[rpc_service(verb = "read", object = "o", rename = "Register")]
    pub(super) trait Ledger {
        async fn second(&self, cx: &Context, number: u32) -> Result<u32, CallError>;
        #[rpc(rename = "first")]
        async fn opening(&self, cx: &Context, number: u32) -> Result<u32, CallError>;
    }
}

struct Book;

impl after::Ledger for Book {
    async fn second(&self, _: &Context, number: u32) -> Result<u32, CallError> {
        Ok(number + 2)
    }

    async fn opening(&self, _: &Context, number: u32) -> Result<u32, CallError> {
        Ok(number + 1)
    }
}

#[tokio::test]
async fn a_client_of_the_trait_before_a_rename_and_a_reordering_is_understood() {
    use before::Register;

    let book = after::LedgerClient::in_memory(Book).policy("alice | o | read | allow");
    let alice =
        book.connect(bailiwick::testing::test_identity("alice")).await.expect("alice is known");
    let alice = before::RegisterClient::new(alice);

    assert_eq!(alice.first(&soon(), 10).await, Ok(11));
    assert_eq!(alice.second(&soon(), 10).await, Ok(12));
    let gone = alice.third(&soon(), 10).await;
    assert!(matches!(gone, Err(CallError::Unimplemented(_))), "{gone:?}");
}
