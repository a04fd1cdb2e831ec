//! The attribute `#[rpc_service]`: a trait becomes a client, a server and a description.
//!
//! Use it through the crate `bailiwick`, which exports it beside what its expansion calls. A file
//! is a phase: `attr` reads the keys, `check` turns the syntax into the model in `ast` or
//! into errors at the user's tokens, `expand` writes the model out. An expansion describes; the
//! runtime does.

use proc_macro::TokenStream;

mod ast;
mod attr;
mod check;
mod errors;
mod expand;
mod method_id;
mod suggest;
#[cfg(test)]
mod tests;

/// Turns a trait into an RPC service.
///
/// The trait stays as written, except that its methods return `Send` futures and that it asks its
/// implementations to be `Send + Sync + 'static`. Beside a trait `Table` stand then:
///
/// * `TableClient`, which implements `Table` by calling through a channel;
/// * `TableServer<T>`, which serves an implementation `T` of `Table`;
/// * `TABLE`, the const description of what travels and of what each call touches.
///
/// A method is `async fn name(&self, cx: &Context, …) -> Result<T, CallError<E>>`, or
/// `Result<T, CallError>` if the service has no error of its own; its arguments
/// are owned values that serde can write and read.
///
/// # Keys of `#[rpc_service(…)]`
///
/// | key | meaning |
/// |---|---|
/// | `verb = "…"`, `object = "…"` | what methods that say no other do, and to what |
/// | `rename = "…"` | the service's name on the wire; the trait's name if absent |
/// | `crate = "…"` | where the runtime is; `::bailiwick` if absent |
///
/// # Keys of `#[rpc(…)]` on a method
///
/// | key | meaning |
/// |---|---|
/// | `verb = "read"` | what the method does, for the policy; compulsory here or on the trait |
/// | `object = "table/{key}"` | what it does it to: `{key}` fills one segment from an argument, `{path..}` one or more; compulsory here or on the trait |
/// | `objects = keys` | in place of `object`: the argument that lists all objects; each must be allowed |
/// | `readonly` | changes nothing: may be run again at will |
/// | `idempotent` | running it twice is the same as once: may be retried |
/// | `durable` | runs exactly once, also across crashes of the server, which keeps a log: `TableServer<T>` then asks `T` for `bailiwick::durable::Durable` |
/// | none of these | runs at most once |
/// | `reserve` | may use the places at work that a server keeps for such methods: those by which others get on, such as the end of a transaction |
/// | `timeout = "500ms"` | the longest time a call gets (`ms`, `s`, `m` or `h`); the caller's deadline alone if absent |
/// | `id = 7` | the method's number on the wire; a hash of its name if absent |
/// | `rename = "…"` | the method's name on the wire; its name in the trait if absent |
///
/// Ids depend on names alone: the order of methods means nothing on the wire.
#[proc_macro_attribute]
pub fn rpc_service(keys: TokenStream, item: TokenStream) -> TokenStream {
    expand::rpc_service(keys.into(), &item.into()).into()
}
