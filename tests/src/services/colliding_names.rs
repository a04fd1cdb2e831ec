//! Names that an expansion might use itself: arguments, methods, types, and shadowed preludes.
#![allow(clippy::too_many_arguments, clippy::wrong_self_convention)]

use bailiwick::{CallError, Context, rpc_service};
use serde::{Deserialize, Serialize};

/// A type named as an arguments' struct might be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Get;

/// Another.
#[derive(Debug, Serialize, Deserialize)]
pub struct GetArguments;

/// A type named as the server's parameter is.
#[derive(Debug, Serialize, Deserialize)]
pub struct T;

/// What the expansion needs of the prelude it must name in full.
pub mod shadowed {
    use bailiwick::{CallError, Context, rpc_service};

    /// Not the prelude's.
    #[derive(Debug)]
    pub enum Option {}
    /// Not the prelude's.
    #[derive(Debug)]
    pub enum Some {}
    /// Not the prelude's.
    pub trait Send {}
    /// Not the prelude's.
    pub trait Sync {}
    /// Not the prelude's.
    pub trait Clone {}
    /// Not the prelude's.
    pub trait Debug {}
    /// Not the prelude's.
    pub mod core {}
    /// Not the prelude's.
    pub mod std {}
    /// Not the crate.
    pub mod serde {}

    /// A service among strangers.
    #[rpc_service(verb = "v", object = "o/{request}")]
    pub trait Shadowed {
        /// With a result of bytes.
        #[rpc(timeout = "1s")]
        async fn ask(&self, cx: &Context, request: String) -> Result<Vec<u8>, CallError>;

        /// Without a timeout, and `readonly`.
        #[rpc(readonly)]
        async fn tell(&self, cx: &Context, request: String) -> Result<(), CallError>;
    }
}

/// A service whose arguments have the names of the expansion's variables.
#[rpc_service(verb = "v", object = "o")]
pub trait Collider {
    /// Variables of the runtime's traits.
    #[rpc(object = "{request}/{object}/{objects}/{arguments}/{method}/{segment..}")]
    async fn variables(
        &self,
        context: &Context,
        request: String,
        object: String,
        objects: String,
        arguments: String,
        method: String,
        segment: String,
    ) -> Result<(), CallError>;

    /// Variables of the client and the server.
    async fn more(
        &self,
        _cx: &Context,
        cx: u8,
        req: u8,
        ctx: u8,
        self_: u8,
        params: u8,
        implementation: u8,
        channel: u8,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, CallError>;

    /// Types of the user's.
    async fn get(
        &self,
        cx: &Context,
        get: Get,
        arguments: GetArguments,
        t: T,
    ) -> Result<(), CallError>;

    /// Raw names.
    #[rpc(object = "o/{type}")]
    async fn r#match(&self, cx: &Context, r#type: String) -> Result<(), CallError>;

    /// A raw name as a list.
    #[rpc(objects = r#in)]
    async fn r#move(&self, cx: &Context, r#in: Vec<String>) -> Result<(), CallError>;

    /// Two names that differ only where a struct's name does not.
    async fn get_1(&self, cx: &Context, one: u8) -> Result<(), CallError>;

    /// The other.
    async fn get1(&self, cx: &Context) -> Result<(), CallError>;

    /// A method that `Arc` has too.
    async fn clone(&self, cx: &Context) -> Result<(), CallError>;

    /// A method that the client has too, without a receiver.
    async fn new(&self, cx: &Context) -> Result<(), CallError>;

    /// Methods of the runtime.
    async fn call(&self, cx: &Context) -> Result<(), CallError>;

    /// Methods of the runtime.
    async fn handle(&self, cx: &Context, method: u8) -> Result<(), CallError>;
}

/// A client's own methods, and `Arc`'s and `Clone`'s, hide none of these.
///
/// # Errors
///
/// Those of the calls.
pub async fn uses(client: &ColliderClient, cx: &Context) -> Result<(), CallError> {
    client.new(cx).await?;
    Collider::clone(client, cx).await?;
    client.get1(cx).await
}
