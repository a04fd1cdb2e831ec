//! The server: hands each request to the runtime with its objects and its handler.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use crate::ast::{Argument, Method, Object, Segment, Service, Shown, Template};

use super::description::constant_name;

/// The server and how to make one.
pub(super) fn expand(service: &Service) -> TokenStream {
    let definition = &service.definition;
    let shared = super::shared_attributes(definition);
    let visibility = &definition.vis;
    let name = &definition.ident;
    let server = super::server_name(definition);
    let served = super::served_bounds(service);
    let server_text = server.to_string();
    let doc = format!(
        "A server of [`{name}`] over an implementation of it. Clones share the implementation."
    );
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #shared
        #visibility struct #server<T> {
            implementation: ::std::sync::Arc<T>,
        }

        #shared
        impl<T: #served> #server<T> {
            /// A server of `implementation`.
            #[must_use]
            #visibility fn new(implementation: T) -> Self {
                Self::from_arc(::std::sync::Arc::new(implementation))
            }

            /// A server of an `implementation` that others hold too.
            #[must_use]
            #visibility fn from_arc(implementation: ::std::sync::Arc<T>) -> Self {
                Self { implementation }
            }
        }

        #shared
        impl<T> ::core::clone::Clone for #server<T> {
            fn clone(&self) -> Self {
                Self { implementation: ::std::sync::Arc::clone(&self.implementation) }
            }
        }

        #shared
        impl<T> ::core::fmt::Debug for #server<T> {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                formatter.debug_struct(#server_text).finish_non_exhaustive()
            }
        }
    }
}

/// The runtime's view of the server: one arm for each method.
pub(super) fn expand_handle(service: &Service) -> TokenStream {
    let Service { runtime, definition, .. } = service;
    let name = &definition.ident;
    let server = super::server_name(definition);
    let constant = constant_name(definition);
    let served = super::served_bounds(service);
    let durable = service.is_durable().then(|| {
        quote_spanned! {Span::mixed_site()=>
            fn durable(&self) -> ::core::option::Option<&#runtime::durable::Completions> {
                #runtime::durable::Durable::completions(&*self.implementation)
            }
        }
    });
    let arms = service
        .methods
        .iter()
        .enumerate()
        .map(|(position, method)| expand_arm(runtime, name, position, method));
    quote_spanned! {Span::mixed_site()=>
        impl<T: #served> #runtime::service::Service for #server<T> {
            fn description(&self) -> &'static #runtime::service::ServiceDescription {
                &#constant
            }

            fn handle(
                &self,
                method: usize,
                request: #runtime::service::Request<'_>,
            ) -> #runtime::service::Handled {
                match method {
                    #(#arms)*
                    _ => request.unimplemented(),
                }
            }

            #durable
        }
    }
}

/// The call of the implementation names the trait, lest a method of `Arc` or of a supertrait is
/// meant.
fn expand_arm(runtime: &Path, service: &Ident, position: usize, method: &Method) -> TokenStream {
    let Method { name, arguments, .. } = method;
    let [result, error] = super::wire_types(runtime, method);
    let position = Literal::usize_unsuffixed(position);
    let values = arguments.iter().map(|argument| {
        let name = &argument.name;
        quote_spanned!(Span::mixed_site()=> arguments.#name)
    });
    let authorize = expand_authorize(method);
    let bytes = super::wrapper(runtime, method)
        .map(|wrapper| quote_spanned!(Span::mixed_site()=> .map(#wrapper)));
    let all = if arguments.is_empty() { quote!(_) } else { mixed_site("arguments") };
    quote_spanned! {Span::mixed_site()=>
        #position => {
            let implementation = ::std::sync::Arc::clone(&self.implementation);
            request
                #authorize
                .dispatch::<_, _, #result, #error>(move |cx, #all| async move {
                    <T as #service>::#name(&implementation, &cx, #(#values),*).await #bytes
                })
        }
    }
}

/// `.authorize(objects)`, with what the audit log shows of the arguments if that is anything.
fn expand_authorize(method: &Method) -> TokenStream {
    let objects = expand_objects(method);
    let parts = method.arguments.iter().filter_map(|argument| {
        let part = match argument.shown {
            Shown::Nothing => return None,
            Shown::Value => "value",
            Shown::Hmac => "hmac",
        };
        let span = Span::mixed_site().located_at(argument.ty.span());
        let (part, name) = (Ident::new(part, span), &argument.name);
        let text = name.unraw().to_string();
        Some(quote_spanned!(span=> .#part(#text, &arguments.#name)))
    });
    let parts = parts.collect::<TokenStream>();
    if parts.is_empty() {
        return quote_spanned!(Span::mixed_site()=> .authorize(#objects));
    }
    let Method { arguments_struct, .. } = method;
    quote_spanned! {Span::mixed_site()=>
        .authorize_showing(#objects, |shown, arguments: &#arguments_struct| {
            shown #parts;
        })
    }
}

/// The closure that names the objects of a call, from the arguments as they were decoded.
fn expand_objects(method: &Method) -> TokenStream {
    let Method { arguments_struct, .. } = method;
    let (parts, reads) = match &method.object {
        Object::Template(template) => (
            expand_template(template, &method.arguments),
            template.segments.iter().any(|segment| !matches!(segment, Segment::Literal(_))),
        ),
        Object::Listed(list) => {
            let argument = method.arguments.iter().find(|argument| argument.name == *list);
            (argument.map(|argument| expand_part("listed", argument)).unwrap_or_default(), true)
        }
    };
    let all = if reads { mixed_site("arguments") } else { quote!(_) };
    quote_spanned! {Span::mixed_site()=>
        |objects, #all: &#arguments_struct| {
            objects #parts;
        }
    }
}

/// `.literal("table").segment(&arguments.key)`
fn expand_template(template: &Template, arguments: &[Argument]) -> TokenStream {
    let find = |name: &str| arguments.iter().find(|argument| argument.name.unraw() == name);
    let mut parts = TokenStream::new();
    for run in template.segments.chunk_by(|left, right| is_literal(left) && is_literal(right)) {
        let part = match &run[0] {
            Segment::Literal(_) => {
                let text = run.iter().filter_map(literal).collect::<Vec<_>>().join("/");
                Some(quote_spanned!(Span::mixed_site()=> .literal(#text)))
            }
            Segment::One(name) => find(name).map(|argument| expand_part("segment", argument)),
            Segment::Many(name) => find(name).map(|argument| expand_part("segments", argument)),
        };
        parts.extend(part);
    }
    parts
}

/// `.segment(&arguments.key)`, placed at the argument's type for when that is no segment.
fn expand_part(part: &str, argument: &Argument) -> TokenStream {
    let span = Span::mixed_site().located_at(argument.ty.span());
    let part = Ident::new(part, span);
    let name = &argument.name;
    quote_spanned!(span=> .#part(&arguments.#name))
}

fn literal(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Literal(text) => Some(text),
        Segment::One(_) | Segment::Many(_) => None,
    }
}

fn is_literal(segment: &Segment) -> bool {
    literal(segment).is_some()
}

/// A variable of the expansion, which no argument of the user's can be.
fn mixed_site(name: &str) -> TokenStream {
    Ident::new(name, Span::mixed_site()).into_token_stream()
}
