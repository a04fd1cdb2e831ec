//! The hashtable's calls that the conversation has; its own crate is a program and lends none.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bailiwick::{Bytes, CallError, Context, rpc_service};

/// Ids on the wire come from the names.
#[rpc_service(object = "table/{key}")]
pub(crate) trait Table {
    #[rpc(verb = "read", readonly)]
    async fn get(&self, cx: &Context, key: String) -> Result<Option<Bytes>, CallError>;

    #[rpc(verb = "write", idempotent)]
    async fn put(&self, cx: &Context, key: String, value: Bytes) -> Result<(), CallError>;

    #[rpc(verb = "write")]
    async fn increment(&self, cx: &Context, key: String, by: i64) -> Result<i64, CallError>;
}

#[derive(Default)]
pub(crate) struct Store(Mutex<BTreeMap<String, Bytes>>);

impl Table for Store {
    async fn get(&self, _: &Context, key: String) -> Result<Option<Bytes>, CallError> {
        Ok(self.0.lock().unwrap().get(&key).cloned())
    }

    async fn put(&self, _: &Context, key: String, value: Bytes) -> Result<(), CallError> {
        self.0.lock().unwrap().insert(key, value);
        Ok(())
    }

    async fn increment(&self, _: &Context, key: String, by: i64) -> Result<i64, CallError> {
        let mut values = self.0.lock().unwrap();
        let before = values.get(&key).map_or("0", |value| str::from_utf8(value).unwrap());
        let sum = before.parse::<i64>().unwrap() + by;
        values.insert(key, sum.to_string().into_bytes().into());
        Ok(sum)
    }
}
