//! The trait as written, with `Send` futures.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{
    FnArg, ImplItem, Item, ItemTrait, Pat, ReturnType, TraitItem, TraitItemFn, Type, parse_quote,
};

use crate::attr::{is_audit, is_rpc};

/// The trait of a sound service.
pub(super) fn expand(mut definition: ItemTrait) -> TokenStream {
    definition.colon_token = Some(definition.colon_token.unwrap_or_default());
    definition.supertraits.push(parse_quote!(::core::marker::Send));
    definition.supertraits.push(parse_quote!(::core::marker::Sync));
    definition.supertraits.push(parse_quote!('static));
    for item in &mut definition.items {
        match item {
            TraitItem::Fn(method) => {
                method.attrs.retain(|attribute| !is_rpc(attribute));
                for input in &mut method.sig.inputs {
                    if let FnArg::Typed(input) = input {
                        input.attrs.retain(|attribute| !is_audit(attribute));
                    }
                }
                return_send_future(method);
            }
            // Mistakes that have been reported.
            TraitItem::Type(item) => item.attrs.retain(|attribute| !is_rpc(attribute)),
            TraitItem::Const(item) => item.attrs.retain(|attribute| !is_rpc(attribute)),
            _ => {}
        }
    }
    definition.into_token_stream()
}

/// The trait of a service with mistakes, without those of which the compiler would say again what
/// we have said.
pub(super) fn expand_unsound(mut definition: ItemTrait) -> TokenStream {
    definition.modifiers.auto_token = None;
    for item in &mut definition.items {
        let TraitItem::Fn(method) = item else { continue };
        method.sig.constness = None;
        for input in &mut method.sig.inputs {
            let FnArg::Typed(input) = input else { continue };
            match &mut *input.pat {
                Pat::Ident(name) => {
                    name.by_ref = None;
                    name.mutability = None;
                    name.subpat = None;
                }
                pattern => *pattern = parse_quote!(_),
            }
        }
    }
    let definition = expand(definition);
    quote!(#[allow(async_fn_in_trait)] #definition)
}

/// An item that is no trait, without the attributes that only a trait has.
pub(super) fn without_rpc(mut item: Item) -> Item {
    if let Item::Impl(item) = &mut item {
        for item in &mut item.items {
            if let ImplItem::Fn(method) = item {
                method.attrs.retain(|attribute| !is_rpc(attribute));
            }
        }
    }
    item
}

/// `async fn … -> T` → `fn … -> impl Future<Output = T> + Send`
fn return_send_future(method: &mut TraitItemFn) {
    if method.default.is_some() {
        return; // a mistake that has been reported; its body is `async` as it stands
    }
    if method.sig.asyncness.take().is_some() {
        let output: Type = match &method.sig.output {
            ReturnType::Type(_, ty) => (**ty).clone(),
            ReturnType::Default => parse_quote!(()),
        };
        method.sig.output = parse_quote! {
            -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
        };
    }
}
