//! The macro as a function of tokens: what it writes, and what it says of mistakes.

use proc_macro2::TokenStream;
use quote::quote;

mod expansion;
mod messages;

/// The expansion as a file of Rust.
fn expanded(keys: TokenStream, item: &TokenStream) -> String {
    let tokens = crate::expand::rpc_service(keys, item);
    prettyplease::unparse(&syn::parse2(tokens).expect("an expansion is a file of items"))
}

/// What the macro says of `item`, in the order in which it found it.
fn messages(keys: TokenStream, item: TokenStream) -> Vec<String> {
    let mut errors = crate::errors::Errors::default();
    let keys = crate::attr::ServiceKeys::read(keys, &mut errors);
    let definition = syn::parse2(item).expect("a trait");
    let service = crate::check::check(&keys, &definition, &mut errors);
    let messages = errors.messages();
    assert!(service.is_some() || !messages.is_empty(), "a trait refused without a word");
    messages
}

/// The trait of the design's first example.
fn table() -> TokenStream {
    quote! {
        /// A table.
        pub trait Table {
            /// The value at `key`.
            #[rpc(verb = "read", object = "table/{key}", readonly)]
            async fn get(&self, cx: &Context, key: String) -> Result<Option<Bytes>, CallError<TableError>>;

            /// Adds `by` to the number at `key`.
            #[rpc(verb = "write", object = "table/{key}", durable)]
            async fn increment(&self, cx: &Context, key: String, by: i64) -> Result<i64, CallError<TableError>>;

            /// Puts `value` at `key`.
            #[rpc(verb = "write", object = "table/{key}", idempotent, timeout = "500ms")]
            async fn put(&self, cx: &Context, key: String, value: Bytes) -> Result<(), CallError<TableError>>;

            /// The keys.
            #[rpc(verb = "list", object = "table")]
            async fn dump(&self, cx: &Context) -> Result<Vec<u8>, CallError<TableError>>;
        }
    }
}
