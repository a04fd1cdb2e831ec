//! Each key and each form of a type, in one service.

use std::collections::BTreeMap;

use bailiwick::{CallError, Context, rpc_service};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An error of the service.
#[derive(Debug, Serialize, Deserialize)]
pub enum StoreError {
    /// No room.
    Full,
}

/// A value of the user's.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its text.
    pub text: String,
}

/// A store.
///
/// It has a longer description too.
#[rpc_service(verb = "read", object = "store", rename = "OldStore")]
#[allow(clippy::too_many_arguments)]
pub trait Store: std::fmt::Debug {
    /// By the trait's defaults.
    async fn size(&self, cx: &Context) -> Result<u64, CallError<StoreError>>;

    /// One segment, and a readonly method.
    #[rpc(object = "store/{key}", readonly)]
    async fn get(&self, cx: &Context, key: String) -> Result<Option<Bytes>, CallError<StoreError>>;

    /// Several segments, a timeout, and all kinds of bytes.
    #[rpc(verb = "write", object = "a/b/{shelf}/c/{path..}", idempotent, timeout = "500ms")]
    async fn put(
        &self,
        cx: &Context,
        shelf: u32,
        path: String,
        bytes: Bytes,
        vector: Vec<u8>,
    ) -> Result<(), CallError<StoreError>>;

    /// An argument twice in a template, and first in it.
    #[rpc(object = "{name}/is/{name}")]
    async fn twice(&self, cx: &Context, name: String) -> Result<bool, CallError<StoreError>>;

    /// Objects by a list.
    #[rpc(objects = keys)]
    async fn move_all(&self, cx: &Context, keys: Vec<String>) -> Result<(), CallError<StoreError>>;

    /// An id of its own.
    #[rpc(id = 7)]
    async fn numbered(&self, cx: &Context) -> Result<(), CallError<StoreError>>;

    /// An old name.
    #[rpc(rename = "dump")]
    async fn snapshot(&self, cx: &Context) -> Result<Vec<u8>, CallError<StoreError>>;

    /// Keys in two attributes.
    #[rpc(verb = "admin")]
    #[rpc(timeout = "2m")]
    async fn compact(&self, cx: &Context) -> Result<(), CallError>;

    /// Types with paths, generics and arrays, and an attribute on an argument.
    #[deprecated = "use `size`"]
    #[allow(non_snake_case)]
    async fn types(
        &self,
        cx: &bailiwick::Context,
        #[allow(unused)] Map: BTreeMap<String, (u8, [Entry; 2])>,
        boxed: Box<Entry>,
        option: Option<std::time::Duration>,
    ) -> std::result::Result<BTreeMap<String, Vec<Entry>>, bailiwick::CallError<StoreError>>;
}

/// An implementation that keeps nothing.
#[derive(Debug)]
pub struct Memory;

impl Store for Memory {
    async fn size(&self, _: &Context) -> Result<u64, CallError<StoreError>> {
        Ok(0)
    }

    async fn get(&self, _: &Context, _: String) -> Result<Option<Bytes>, CallError<StoreError>> {
        Ok(None)
    }

    async fn put(
        &self,
        _: &Context,
        _: u32,
        _: String,
        _: Bytes,
        _: Vec<u8>,
    ) -> Result<(), CallError<StoreError>> {
        Err(StoreError::Full)?
    }

    async fn twice(&self, _: &Context, _: String) -> Result<bool, CallError<StoreError>> {
        Ok(true)
    }

    async fn move_all(&self, _: &Context, _: Vec<String>) -> Result<(), CallError<StoreError>> {
        Ok(())
    }

    async fn numbered(&self, _: &Context) -> Result<(), CallError<StoreError>> {
        Ok(())
    }

    async fn snapshot(&self, _: &Context) -> Result<Vec<u8>, CallError<StoreError>> {
        Ok(Vec::new())
    }

    async fn compact(&self, _: &Context) -> Result<(), CallError> {
        Ok(())
    }

    async fn types(
        &self,
        _: &Context,
        _: BTreeMap<String, (u8, [Entry; 2])>,
        _: Box<Entry>,
        _: Option<std::time::Duration>,
    ) -> Result<BTreeMap<String, Vec<Entry>>, CallError<StoreError>> {
        Ok(BTreeMap::new())
    }
}
