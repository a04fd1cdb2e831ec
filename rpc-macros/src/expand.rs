//! From the model to code: the trait, its description, a client and a server.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Ident, Item, ItemTrait, Path};

use crate::ast::{Method, Service};
use crate::attr::{ServiceKeys, is_lint_level};
use crate::check::{self, types};
use crate::errors::Errors;

mod arguments;
mod client;
mod description;
mod server;
mod trait_;

/// The whole macro: what takes the place of `item` under `#[rpc_service(keys)]`.
pub(crate) fn rpc_service(keys: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let definition = match syn::parse2(item.clone()) {
        Ok(Item::Trait(definition)) => definition,
        Ok(other) => {
            errors.at(keyword(&other), "`#[rpc_service]` goes on a trait: write the methods there");
            let errors = errors.into_compile_errors();
            let other = trait_::without_rpc(other);
            return quote!(#other #errors);
        }
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#item #error);
        }
    };
    let keys = ServiceKeys::read(keys, &mut errors);
    match check::check(&keys, &definition, &mut errors) {
        Some(service) if errors.is_empty() => expand(&service),
        // The trait stays, so that a mistake in it is not followed by others wherever it is used.
        _ => {
            let definition = trait_::expand_unsound(definition);
            let errors = errors.into_compile_errors();
            quote!(#definition #errors)
        }
    }
}

fn expand(service: &Service) -> TokenStream {
    let definition = trait_::expand(service.definition.clone());
    let description = description::expand(service);
    let client = client::expand(service);
    let server = server::expand(service);
    let shared = shared_attributes(&service.definition);
    let arguments = arguments::expand(service);
    let calls = client::expand_calls(service);
    let handle = server::expand_handle(service);
    quote! {
        #definition
        #description
        #client
        #server

        // Apart, so that the names of the arguments' structs are nobody else's.
        #shared
        const _: () = {
            #arguments
            #calls
            #handle
        };
    }
}

/// What an implementation has to be in order to be served.
fn served_bounds(service: &Service) -> TokenStream {
    let Service { runtime, definition, .. } = service;
    let name = &definition.ident;
    let durable = service.is_durable().then(|| quote!(+ #runtime::durable::Durable));
    quote!(#name #durable)
}

/// The attributes that every item of an expansion shares: lint levels.
fn shared_attributes(definition: &ItemTrait) -> TokenStream {
    let lints = definition.attrs.iter().filter(|attribute| is_lint_level(attribute));
    let deprecated = is_deprecated(definition).then(|| quote!(#[allow(deprecated)]));
    quote!(#(#lints)* #deprecated)
}

fn is_deprecated(definition: &ItemTrait) -> bool {
    let methods = definition.items.iter().filter_map(|item| match item {
        syn::TraitItem::Fn(method) => Some(&method.attrs),
        _ => None,
    });
    std::iter::once(&definition.attrs)
        .chain(methods)
        .flatten()
        .any(|attribute| attribute.path().is_ident("deprecated"))
}

/// `Table` → `TableClient`
fn client_name(definition: &ItemTrait) -> Ident {
    quote::format_ident!("{}Client", definition.ident)
}

/// `Table` → `TableServer`
fn server_name(definition: &ItemTrait) -> Ident {
    quote::format_ident!("{}Server", definition.ident)
}

/// The types that a method's result and error travel as. They are named in the expansion so that
/// the compiler points at the user's own type when that cannot be marshalled.
fn wire_types(runtime: &Path, method: &Method) -> [TokenStream; 2] {
    let result = &method.result;
    let result = wrapper(runtime, method).unwrap_or_else(|| quote!(#result));
    let error = method.error.as_ref().map_or_else(|| quote!(_), ToTokens::to_token_stream);
    [result, error]
}

/// What a result travels in if it is nothing but bytes.
fn wrapper(runtime: &Path, method: &Method) -> Option<TokenStream> {
    if types::is_byte_vec(&method.result) {
        Some(quote!(#runtime::marshal::ByteVec))
    } else if types::is_bytes(&method.result) {
        Some(quote!(#runtime::marshal::SharedBytes))
    } else {
        None
    }
}

/// The word that begins an item: where a reader looks to see that it is no trait.
fn keyword(item: &Item) -> TokenStream {
    match item {
        Item::Struct(item) => item.struct_token.to_token_stream(),
        Item::Enum(item) => item.enum_token.to_token_stream(),
        Item::Impl(item) => item.impl_token.to_token_stream(),
        Item::Fn(item) => item.sig.fn_token.to_token_stream(),
        Item::Mod(item) => item.mod_token.to_token_stream(),
        other => other.to_token_stream(),
    }
}
