//! The structs that carry arguments: what a request's body is.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;

use crate::ast::{Argument, Method, Service};
use crate::check::types;

/// A struct for each method.
pub(super) fn expand(service: &Service) -> TokenStream {
    let methods = service.methods.iter();
    methods.map(|method| expand_struct(&service.runtime, method)).collect()
}

fn expand_struct(runtime: &Path, method: &Method) -> TokenStream {
    let Method { lints, arguments_struct: name, .. } = method;
    let serde = quote!(#runtime::__private::serde);
    let serde_path = path_text(&quote!(#serde));
    let fields = method.arguments.iter().map(|argument| expand_field(runtime, argument));
    quote_spanned! {Span::mixed_site()=>
        #[derive(#serde::Serialize, #serde::Deserialize)]
        #[serde(crate = #serde_path)]
        #(#lints)*
        struct #name {
            #(#fields),*
        }
    }
}

fn expand_field(runtime: &Path, argument: &Argument) -> TokenStream {
    let Argument { attributes, name, ty, .. } = argument;
    let with = if types::is_bytes(ty) {
        Some(quote!(#runtime::marshal::shared_bytes))
    } else if types::is_byte_vec(ty) {
        Some(quote!(#runtime::marshal::byte_vec))
    } else {
        None
    };
    let with = with.map(|module| {
        let module = path_text(&module);
        quote!(#[serde(with = #module)])
    });
    quote!(#(#attributes)* #with #name: #ty)
}

/// A path as serde's attributes take it: a string.
fn path_text(path: &impl ToTokens) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}
