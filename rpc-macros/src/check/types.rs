//! Rules for the types that travel, and what the macro reads off a type's name.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{
    GenericArgument, Lifetime, PathArguments, PathSegment, Type, TypeImplTrait, TypeInfer,
    TypeReference,
};

use crate::errors::Errors;

/// The last segment of a path: `Bytes` of `bytes::Bytes`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// Whether this is `Bytes`, by its name.
pub(crate) fn is_bytes(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|last| last.ident == "Bytes" && last.arguments.is_none())
}

/// Whether this is `Vec<u8>`, by its name.
pub(crate) fn is_byte_vec(ty: &Type) -> bool {
    let Some([element]) = last_segment(ty).filter(|last| last.ident == "Vec").and_then(generics)
    else {
        return false;
    };
    last_segment(element).is_some_and(|last| last.ident == "u8" && last.arguments.is_none())
}

/// `T` and `E` of `Result<T, CallError<E>>`; no `E` where `CallError` stands alone.
///
/// # Errors
///
/// At the part that is something else.
pub(crate) fn result_and_error(ty: &Type) -> syn::Result<(Type, Option<Type>)> {
    let Some(last) = last_segment(ty).filter(|last| last.ident == "Result") else {
        let message = format!("any call can fail: return `Result<{}, CallError<E>>`", name(ty));
        return Err(syn::Error::new_spanned(ty, message));
    };
    let Some([result, error]) = generics(last) else {
        let message = "write both types out, as `Result<T, CallError<E>>`: the macro cannot look \
                       behind an alias";
        return Err(syn::Error::new_spanned(ty, message));
    };
    let Some(call_error) = last_segment(error).filter(|last| last.ident == "CallError") else {
        let message = format!(
            "a call can fail without your service: return `CallError<{}>`, whose variant `App` is \
             your error",
            name(error)
        );
        return Err(syn::Error::new_spanned(error, message));
    };
    match generics(call_error) {
        Some([error]) => Ok((result.clone(), Some(error.clone()))),
        None if call_error.arguments.is_none() => Ok((result.clone(), None)),
        None => {
            let message = "name one type as the error of your service: `CallError<E>`";
            Err(syn::Error::new_spanned(error, message))
        }
    }
}

/// Whether `ty` can travel as far as its form tells: owned, and one type.
pub(crate) fn check_owned(ty: &Type, errors: &mut Errors) -> bool {
    let mut visitor = Owned { errors, sound: true };
    visitor.visit_type(ty);
    visitor.sound
}

/// The type as its user would write it, without the spaces of a token stream: `Option<Bytes>`.
pub(crate) fn name(ty: &Type) -> String {
    let mut text = String::new();
    write_tokens(ty.to_token_stream(), &mut text);
    text
}

/// The types between `<` and `>`; `None` if there are none or if not all are types.
fn generics<const N: usize>(segment: &PathSegment) -> Option<[&Type; N]> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    let types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect::<Option<Vec<_>>>()?.try_into().ok()
}

struct Owned<'e> {
    errors: &'e mut Errors,
    sound: bool,
}

impl Owned<'_> {
    fn refuse(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.errors.at(tokens, message);
        self.sound = false;
    }
}

impl<'ast> Visit<'ast> for Owned<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let owned = match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
            Type::Slice(slice) if name(&slice.elem) == "u8" => "Bytes".to_owned(),
            Type::Slice(slice) => format!("Vec<{}>", name(&slice.elem)),
            elem => name(elem),
        };
        self.refuse(reference, format!("nothing borrows across a network: write `{owned}`"));
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.refuse(ty, "a method has one form on the wire: name the type in place of `impl …`");
    }

    fn visit_type_infer(&mut self, ty: &'ast TypeInfer) {
        self.refuse(ty, "a method has one form on the wire: name the type");
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.refuse(lifetime, "nothing borrows across a network: use a type that owns its data");
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        match path.segments.first() {
            Some(first) if first.ident == "Self" => self.refuse(
                path,
                "`Self` is another type in the client than in the server: name the type",
            ),
            _ => visit::visit_path(self, path),
        }
    }
}

fn write_tokens(tokens: TokenStream, text: &mut String) {
    let mut joint = false; // whether the last token sticks to the next
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_tokens(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => {
                let operator = !joint && matches!(punct.as_char(), '=' | '+' | '-');
                text.push_str(if operator { " " } else { "" });
                text.push(punct.as_char());
                joint = punct.spacing() == Spacing::Joint;
                let ends_arrow = text.ends_with("->");
                if !joint && (matches!(punct.as_char(), ',' | ';' | '=' | '+') || ends_arrow) {
                    text.push(' ');
                }
                continue;
            }
            word => {
                if text.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
        joint = false;
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_str;

    use super::*;

    #[test]
    fn a_type_is_named_as_its_user_writes_it() {
        for text in [
            "Option<Bytes>",
            "()",
            "(u8, Vec<String>)",
            "[u8; 32]",
            "std::collections::HashMap<String, Vec<u8>>",
            "Box<dyn Fn(u8) -> u8 + Send>",
            "Box<dyn Iterator<Item = u8>>",
        ] {
            assert_eq!(name(&parse_str(text).expect("a type")), text);
        }
    }

    #[test]
    fn bytes_are_known_by_name() {
        let ty = |text| parse_str::<Type>(text).expect("a type");
        assert!(is_byte_vec(&ty("Vec<u8>")) && is_byte_vec(&ty("std::vec::Vec<u8>")));
        assert!(!is_byte_vec(&ty("Vec<i8>")) && !is_byte_vec(&ty("Option<Vec<u8>>")));
        assert!(is_bytes(&ty("Bytes")) && is_bytes(&ty("bytes::Bytes")));
        assert!(!is_bytes(&ty("Bytes<u8>")) && !is_bytes(&ty("Vec<Bytes>")));
    }
}
