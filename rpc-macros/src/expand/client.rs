//! The client: the trait, implemented by calling through a channel.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, Path};

use crate::ast::{Argument, Method, Service};

use super::description::constant_name;

/// The client and how to make one.
pub(super) fn expand(service: &Service) -> TokenStream {
    let Service { runtime, definition, .. } = service;
    let shared = super::shared_attributes(definition);
    let visibility = &definition.vis;
    let name = &definition.ident;
    let client = super::client_name(definition);
    let server = super::server_name(definition);
    let served = super::served_bounds(service);
    let doc = format!(
        "A client of [`{name}`], which it implements by calling through a channel. Clones share \
         the channel."
    );
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #shared
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #visibility struct #client {
            channel: #runtime::Channel,
        }

        // Lets a program use the client alone, the server alone or the description alone.
        #shared
        #[allow(dead_code)]
        impl #client {
            /// A client that calls through `channel`.
            #[must_use]
            #visibility fn new(channel: #runtime::Channel) -> Self {
                Self { channel }
            }

            /// The channel that this client calls through.
            #[must_use]
            #visibility fn channel(&self) -> &#runtime::Channel {
                &self.channel
            }

            /// A client of `implementation` over a channel in memory, with policy and audit in
            /// force, for tests.
            #[must_use]
            #visibility fn in_memory(implementation: impl #served) -> #runtime::testing::InMemory<Self> {
                #runtime::testing::InMemory::new(#server::new(implementation))
            }
        }

        #shared
        impl #runtime::service::Stub for #client {
            fn from_channel(channel: #runtime::Channel) -> Self {
                Self { channel }
            }
        }
    }
}

/// The trait for the client: each method is a call.
pub(super) fn expand_calls(service: &Service) -> TokenStream {
    let Service { runtime, definition, .. } = service;
    let name = &definition.ident;
    let client = super::client_name(definition);
    let constant = constant_name(definition);
    // A client can be served too: what it passes on is kept elsewhere.
    let durable = service.is_durable().then(|| {
        quote_spanned! {Span::mixed_site()=>
            impl #runtime::durable::Durable for #client {
                fn completions(&self) -> ::core::option::Option<&#runtime::durable::Completions> {
                    ::core::option::Option::None
                }
            }
        }
    });
    let methods = service
        .methods
        .iter()
        .enumerate()
        .map(|(position, method)| expand_call(runtime, &constant, position, method));
    quote_spanned! {Span::mixed_site()=>
        impl #name for #client {
            #(#methods)*
        }

        #durable
    }
}

fn expand_call(runtime: &Path, constant: &Ident, position: usize, method: &Method) -> TokenStream {
    let Method { lints, name, context, arguments_struct, output, .. } = method;
    let position = Literal::usize_unsuffixed(position);
    let inputs = method.arguments.iter().map(|argument| {
        let Argument { attributes, name, ty, .. } = argument;
        quote!(#(#attributes)* #name: #ty)
    });
    let names = method.arguments.iter().map(|argument| &argument.name);
    let bytes = super::wrapper(runtime, method)
        .map(|wrapper| quote_spanned!(Span::mixed_site()=> .map(|#wrapper(bytes)| bytes)));
    let [result, error] = super::wire_types(runtime, method);
    quote_spanned! {Span::mixed_site()=>
        #(#lints)*
        async fn #name(&self, cx: #context, #(#inputs),*) -> #output {
            self.channel
                .call::<_, #result, #error>(&#constant.methods[#position], cx, &#arguments_struct { #(#names),* })
                .await
                #bytes
        }
    }
}
