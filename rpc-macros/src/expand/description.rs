//! The const description of a service.

use proc_macro2::{Literal, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{Ident, ItemTrait, Path};

use crate::ast::{Argument, Delivery, Method, Object, Recorded, Service, Shown};
use crate::check::types;

pub(super) fn expand(service: &Service) -> TokenStream {
    let Service { runtime, definition, wire_name, .. } = service;
    let shared = super::shared_attributes(definition);
    let visibility = &definition.vis;
    let constant = constant_name(definition);
    let methods = service.methods.iter().map(|method| expand_method(runtime, wire_name, method));
    let doc = format!(
        "The service [`{}`]: its name, and for each method the id on the wire, verb, object, \
         delivery and types.",
        definition.ident
    );
    quote! {
        #[doc = #doc]
        #shared
        #visibility const #constant: #runtime::service::ServiceDescription =
            #runtime::service::ServiceDescription {
                name: #wire_name,
                methods: &[#(#methods),*],
            };
    }
}

/// `HashTable` → `HASH_TABLE`, `HTTPStore` → `HTTP_STORE`
pub(super) fn constant_name(definition: &ItemTrait) -> Ident {
    let letters = definition.ident.unraw().to_string().chars().collect::<Vec<_>>();
    let mut name = String::new();
    for (position, letter) in letters.iter().enumerate() {
        let before = position.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(position + 1);
        let begins_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                before != '_'
                    && (!before.is_uppercase() || after.is_some_and(|after| after.is_lowercase()))
            });
        name.push_str(if begins_word { "_" } else { "" });
        name.extend(letter.to_uppercase());
    }
    Ident::new(&name, definition.ident.span())
}

fn expand_method(runtime: &Path, service: &str, method: &Method) -> TokenStream {
    let Method { wire_name, verb, .. } = method;
    let id = hexadecimal(method.id);
    let object = match &method.object {
        Object::Template(template) => {
            let text = &template.text;
            quote!(#runtime::service::ObjectDescription::Template(#text))
        }
        Object::Listed(argument) => {
            let argument = argument.unraw().to_string();
            quote!(#runtime::service::ObjectDescription::Listed(#argument))
        }
    };
    let delivery = match method.delivery {
        Delivery::Readonly => quote!(#runtime::service::Delivery::Readonly),
        Delivery::Idempotent => quote!(#runtime::service::Delivery::Idempotent),
        Delivery::AtMostOnce => quote!(#runtime::service::Delivery::AtMostOnce),
        Delivery::Durable => quote!(#runtime::service::Delivery::Durable),
    };
    let recorded = match method.recorded {
        Recorded::AsTheServerSays => quote!(#runtime::service::Recorded::AsTheServerSays),
        Recorded::Always => quote!(#runtime::service::Recorded::Always),
    };
    let timeout = match method.timeout {
        Some(milliseconds) => {
            let milliseconds = Literal::u64_unsuffixed(milliseconds);
            let timeout = quote!(::core::time::Duration::from_millis(#milliseconds));
            quote!(::core::option::Option::Some(#timeout))
        }
        None => quote!(::core::option::Option::None),
    };
    let reserve = method.reserve;
    let arguments = method.arguments.iter().map(|argument| expand_argument(runtime, argument));
    let result = types::name(&method.result);
    let error = method.error.as_ref().map_or_else(|| "Never".to_owned(), types::name);
    quote! {
        #runtime::service::MethodDescription {
            service: #service,
            name: #wire_name,
            id: #runtime::MethodId::new(#id),
            verb: #verb,
            object: #object,
            delivery: #delivery,
            recorded: #recorded,
            timeout: #timeout,
            reserve: #reserve,
            arguments: &[#(#arguments),*],
            result: #result,
            error: #error,
        }
    }
}

fn expand_argument(runtime: &Path, argument: &Argument) -> TokenStream {
    let name = argument.name.unraw().to_string();
    let type_name = types::name(&argument.ty);
    let shown = match argument.shown {
        Shown::Nothing => quote!(#runtime::service::Shown::Nothing),
        Shown::Value => quote!(#runtime::service::Shown::Value),
        Shown::Hmac => quote!(#runtime::service::Shown::Hmac),
    };
    quote! {
        #runtime::service::ArgumentDescription {
            name: #name,
            type_name: #type_name,
            shown: #shown,
        }
    }
}

/// Halves apart, for the upper one is the service and the lower one the method.
fn hexadecimal(id: u64) -> Literal {
    let text = format!("0x{:08x}_{:08x}", id >> 32, id & u64::from(u32::MAX));
    let mut literal: Literal = text.parse().expect("digits with a prefix are a literal");
    literal.set_span(Span::mixed_site());
    literal
}
