//! The keys in `#[rpc_service(…)]` and `#[rpc(…)]`, read but not yet judged.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitInt, LitStr, Meta, Path, Token};

use crate::ast::Shown;
use crate::errors::Errors;
use crate::suggest::expected_one_of;

/// The keys of the trait.
#[derive(Debug, Default)]
pub(crate) struct ServiceKeys {
    pub(crate) verb: Option<LitStr>,
    pub(crate) object: Option<LitStr>,
    pub(crate) rename: Option<LitStr>,
    pub(crate) runtime: Option<LitStr>,
    /// Whether a key could not be read: what seems absent may only be misspelt.
    pub(crate) unread: bool,
}

/// The keys of a method.
#[derive(Debug, Default)]
pub(crate) struct MethodKeys {
    pub(crate) verb: Option<LitStr>,
    pub(crate) object: Option<LitStr>,
    pub(crate) objects: Option<Ident>,
    pub(crate) readonly: Option<Path>,
    pub(crate) idempotent: Option<Path>,
    pub(crate) durable: Option<Path>,
    pub(crate) audit: Option<Path>,
    pub(crate) reserve: Option<Path>,
    pub(crate) timeout: Option<LitStr>,
    pub(crate) id: Option<LitInt>,
    pub(crate) rename: Option<LitStr>,
    /// Whether a key could not be read: what seems absent may only be misspelt.
    pub(crate) unread: bool,
}

impl ServiceKeys {
    const KEYS: [&str; 4] = ["verb", "object", "rename", "crate"];

    /// Reads what stands between the parentheses of `#[rpc_service(…)]`.
    pub(crate) fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut keys = Self::default();
        let Some(entries) = errors.keep(entries.parse2(tokens)) else {
            return Self { unread: true, ..keys };
        };
        for entry in &entries {
            let read = match key(entry).as_str() {
                "verb" => text(entry, "read").and_then(|v| store(&mut keys.verb, v, entry)),
                "object" => text(entry, "table").and_then(|v| store(&mut keys.object, v, entry)),
                "rename" => text(entry, "Name").and_then(|v| store(&mut keys.rename, v, entry)),
                "crate" => {
                    text(entry, "::bailiwick").and_then(|v| store(&mut keys.runtime, v, entry))
                }
                other => Err(unknown(entry, other, &Self::KEYS)),
            };
            keys.unread |= errors.keep(read).is_none();
        }
        keys
    }
}

impl MethodKeys {
    const KEYS: [&str; 11] = [
        "verb",
        "object",
        "objects",
        "readonly",
        "idempotent",
        "durable",
        "audit",
        "reserve",
        "timeout",
        "id",
        "rename",
    ];

    /// Reads every `#[rpc(…)]` among the attributes of a method.
    pub(crate) fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut keys = Self::default();
        for attribute in attributes.iter().filter(|attribute| is_rpc(attribute)) {
            let list = match &attribute.meta {
                Meta::Path(_) => continue,
                Meta::List(list) => list.parse_args_with(entries),
                Meta::NameValue(pair) => Err(syn::Error::new_spanned(
                    pair,
                    "keys go in parentheses: `#[rpc(verb = \"…\", object = \"…\")]`",
                )),
            };
            match errors.keep(list) {
                Some(entries) => {
                    entries.iter().for_each(|entry| keys.read_entry(entry, errors));
                }
                None => keys.unread = true,
            }
        }
        keys
    }

    fn read_entry(&mut self, entry: &Meta, errors: &mut Errors) {
        let read = match key(entry).as_str() {
            "verb" => text(entry, "read").and_then(|v| store(&mut self.verb, v, entry)),
            "object" => text(entry, "table/{key}").and_then(|v| store(&mut self.object, v, entry)),
            "objects" => argument(entry).and_then(|v| store(&mut self.objects, v, entry)),
            "readonly" => flag(entry).and_then(|v| store(&mut self.readonly, v, entry)),
            "idempotent" => flag(entry).and_then(|v| store(&mut self.idempotent, v, entry)),
            "durable" => flag(entry).and_then(|v| store(&mut self.durable, v, entry)),
            "audit" => flag(entry).and_then(|v| store(&mut self.audit, v, entry)),
            "reserve" => flag(entry).and_then(|v| store(&mut self.reserve, v, entry)),
            "timeout" => text(entry, "500ms").and_then(|v| store(&mut self.timeout, v, entry)),
            "id" => number(entry).and_then(|v| store(&mut self.id, v, entry)),
            "rename" => text(entry, "name").and_then(|v| store(&mut self.rename, v, entry)),
            other => Err(unknown(entry, other, &Self::KEYS)),
        };
        self.unread |= errors.keep(read).is_none();
    }
}

/// Whether an attribute is ours, to be read here and then taken away.
pub(crate) fn is_rpc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("rpc")
}

/// Whether an attribute of an argument is ours, to be read here and then taken away.
pub(crate) fn is_audit(attribute: &Attribute) -> bool {
    attribute.path().is_ident("audit")
}

/// Reads `#[audit(show)]` or `#[audit(hmac)]` among the attributes of an argument.
pub(crate) fn shown(attributes: &[Attribute], errors: &mut Errors) -> Shown {
    let mut shown = Shown::Nothing;
    for attribute in attributes.iter().filter(|attribute| is_audit(attribute)) {
        let read = match attribute.parse_args::<Ident>() {
            Ok(word) if word == "show" => Ok(Shown::Value),
            Ok(word) if word == "hmac" => Ok(Shown::Hmac),
            _ => Err(syn::Error::new_spanned(
                attribute,
                "the audit log has `#[audit(show)]`, the value itself, or `#[audit(hmac)]`, a mark \
                 by which equal values are known: write one of them",
            )),
        };
        let read = read.and_then(|read| match shown {
            Shown::Nothing => Ok(read),
            _ => Err(syn::Error::new_spanned(attribute, "`audit` is given twice: keep one")),
        });
        shown = errors.keep(read).unwrap_or(shown);
    }
    shown
}

/// Whether an attribute sets a level that holds for an expansion too. `expect` is not among them: it
/// asks for a lint, and what was expected of the trait need not happen in its client.
pub(crate) fn is_lint_level(attribute: &Attribute) -> bool {
    ["allow", "warn", "deny"].iter().any(|level| attribute.path().is_ident(level))
}

fn entries(input: syn::parse::ParseStream<'_>) -> syn::Result<Punctuated<Meta, Token![,]>> {
    Punctuated::parse_terminated(input)
}

fn key(entry: &Meta) -> String {
    entry.path().get_ident().map(Ident::to_string).unwrap_or_default()
}

/// `key = "…"`
fn text(entry: &Meta, example: &str) -> syn::Result<LitStr> {
    match literal(entry) {
        Some(Lit::Str(text)) => Ok(text.clone()),
        _ => {
            let message = format!("expected a string: `{} = \"{example}\"`", key(entry));
            Err(syn::Error::new_spanned(entry, message))
        }
    }
}

/// `id = 7`
fn number(entry: &Meta) -> syn::Result<LitInt> {
    match literal(entry) {
        Some(Lit::Int(number)) => Ok(number.clone()),
        _ => Err(syn::Error::new_spanned(entry, "expected a number: `id = 7`")),
    }
}

/// `objects = keys`
fn argument(entry: &Meta) -> syn::Result<Ident> {
    let name = match entry {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Path(path) => path.path.get_ident(),
            _ => None,
        },
        _ => None,
    };
    let message = "expected the name of an argument, without quotes: `objects = keys`";
    name.cloned().ok_or_else(|| syn::Error::new_spanned(entry, message))
}

/// `readonly`
fn flag(entry: &Meta) -> syn::Result<Path> {
    match entry {
        Meta::Path(path) => Ok(path.clone()),
        _ => {
            let message = format!("`{0}` takes no value: write `{0}` alone", key(entry));
            Err(syn::Error::new_spanned(entry, message))
        }
    }
}

fn literal(entry: &Meta) -> Option<&Lit> {
    match entry {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit, .. }) => Some(lit),
            _ => None,
        },
        _ => None,
    }
}

fn store<T>(slot: &mut Option<T>, value: T, entry: &Meta) -> syn::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => {
            let message = format!("`{}` is given twice: keep one", key(entry));
            Err(syn::Error::new_spanned(entry, message))
        }
    }
}

fn unknown(entry: &Meta, given: &str, possible: &[&str]) -> syn::Error {
    let path = entry.path();
    let shown = if given.is_empty() { path.to_token_stream().to_string() } else { given.into() };
    let message = format!("unknown key `{shown}`: {}", expected_one_of(given, possible));
    syn::Error::new_spanned(path, message)
}
