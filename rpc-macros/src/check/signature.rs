//! Rules for a method's signature: `async fn name(&self, cx: &Context, …) -> Result<T, CallError<E>>`.

use syn::ext::IdentExt as _;
use syn::{
    Attribute, FnArg, Generics, Ident, Pat, PatType, Receiver, ReceiverKind, ReturnType, Safety,
    Signature, TraitItemFn, Type,
};

use crate::ast::{Argument, Shown};
use crate::attr::{is_audit, is_lint_level, shown};
use crate::errors::Errors;

use super::types;

/// The monitor's `MAX_ARGUMENTS`.
const MOST_SHOWN: usize = 16;

/// What a call carries, and what it gives back.
pub(crate) struct Checked {
    pub(crate) context: Type,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: Type,
    pub(crate) result: Type,
    pub(crate) error: Option<Type>,
}

/// The parts of the signature of `method`, if all of them could be read.
pub(crate) fn check(method: &TraitItemFn, errors: &mut Errors) -> Option<Checked> {
    let signature = &method.sig;
    check_attributes(&method.attrs, errors);
    check_qualifiers(signature, errors);
    check_name(&signature.ident, errors);
    if let Some(body) = &method.default {
        errors.at(
            body,
            "a client has no default to run: remove the body and let each implementation write it",
        );
    }
    let inputs = check_receiver(signature, errors);
    let (context, inputs) = check_context(signature, inputs, errors);
    let arguments = inputs.iter().map(|input| check_argument(input, errors)).collect::<Vec<_>>();
    let output = check_output(signature, errors);
    let (output, result, error) = output?;
    let arguments = arguments.into_iter().collect::<Option<Vec<_>>>()?;
    if arguments.iter().filter(|argument| argument.shown != Shown::Nothing).count() > MOST_SHOWN {
        let message = format!("a record shows {MOST_SHOWN} arguments at most: mark fewer");
        errors.at(&signature.ident, message);
    }
    Some(Checked { context: context?, arguments, output, result, error })
}

fn check_attributes(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes {
        if ["cfg", "cfg_attr"].iter().any(|name| attribute.path().is_ident(name)) {
            errors.at(
                attribute,
                "a method that is there only sometimes gives one service two forms on the wire: \
                 put the condition on the trait, or write two traits",
            );
        }
    }
}

fn check_qualifiers(signature: &Signature, errors: &mut Errors) {
    match &signature.safety {
        Safety::Unsafe(token) => {
            errors.at(token, "no caller can uphold a contract over a network: remove `unsafe`");
        }
        Safety::Safe(token) => errors.at(token, "every RPC method is safe: remove `safe`"),
        Safety::Default => {}
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi, "RPC methods travel by their own protocol: remove the ABI");
    }
    if let Some(constness) = &signature.constness {
        errors.at(constness, "a call waits for the network: write `async fn`, not `const fn`");
    } else if signature.asyncness.is_none() {
        errors.at(signature.fn_token, "a call waits for the network: write `async fn`");
    }
    if !signature.generics.params.is_empty() {
        errors.at(
            &signature.generics,
            "a method has one form on the wire: remove its generics and name the types",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        errors.at(clause, "a method has one form on the wire: remove its `where` clause");
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(variadic, "a method has a fixed list of arguments: pass a `Vec` instead");
    }
}

/// The client's own method would hide a service's method of the same name.
fn check_name(name: &Ident, errors: &mut Errors) {
    if name == "channel" {
        errors.at(
            name,
            "a client has a method `channel` of its own: choose another name here; \
             `rename = \"channel\"` keeps the name on the wire",
        );
    }
}

/// The inputs that follow `&self`.
fn check_receiver<'a>(signature: &'a Signature, errors: &mut Errors) -> Vec<&'a PatType> {
    match signature.receiver() {
        None => errors.at(
            &signature.ident,
            "a call goes to a service: begin the arguments with `&self, cx: &Context`",
        ),
        Some(receiver) => check_receiver_kind(receiver, &signature.generics, errors),
    }
    let typed = |input: &'a FnArg| match input {
        FnArg::Typed(input) => Some(input),
        FnArg::Receiver(_) => None,
    };
    signature.inputs.iter().filter_map(typed).collect()
}

fn check_receiver_kind(receiver: &Receiver, generics: &Generics, errors: &mut Errors) {
    match &receiver.kind {
        ReceiverKind::Reference(_, None, None) => {}
        ReceiverKind::Reference(_, _, Some(_)) => errors.at(
            receiver,
            "RPC methods run concurrently: take `&self` and put shared state behind a lock",
        ),
        // A lifetime that the method declares has its own message.
        ReceiverKind::Reference(_, Some(_), None) if !generics.params.is_empty() => {}
        ReceiverKind::Reference(_, Some(lifetime), None) => {
            errors.at(lifetime, "nothing borrows across a network: take plain `&self`");
        }
        _ => errors.at(receiver, "one service answers many calls: take `&self`"),
    }
}

/// The type of `cx`, and the inputs that follow it.
fn check_context<'a>(
    signature: &Signature,
    inputs: Vec<&'a PatType>,
    errors: &mut Errors,
) -> (Option<Type>, Vec<&'a PatType>) {
    let Some(first) = inputs.first().copied() else {
        if signature.receiver().is_some() {
            errors.at(&signature.ident, MISSING_CONTEXT);
        }
        return (None, inputs);
    };
    match named_context(&first.ty) {
        Some(Context::Shared) => (Some((*first.ty).clone()), inputs[1..].to_vec()),
        Some(Context::Otherwise) => {
            errors.at(&first.ty, "a method borrows its context: write `cx: &Context`");
            (None, inputs[1..].to_vec())
        }
        None => {
            // Without a receiver its own message has said this already.
            if signature.receiver().is_some() {
                errors.at(first, MISSING_CONTEXT);
            }
            (None, inputs)
        }
    }
}

const MISSING_CONTEXT: &str = "a call has a deadline and, on the server, a caller: write `cx: \
                               &Context` after `&self`";

/// How an argument's type speaks of a `Context`.
enum Context {
    /// `&Context`
    Shared,
    /// `Context`, `&mut Context`, `&'a Context`
    Otherwise,
}

fn named_context(ty: &Type) -> Option<Context> {
    let is_context =
        |ty: &Type| types::last_segment(ty).is_some_and(|last| last.ident == "Context");
    match ty {
        Type::Reference(reference) if is_context(&reference.elem) => {
            let plain = reference.lifetime.is_none() && reference.mutability.is_none();
            Some(if plain { Context::Shared } else { Context::Otherwise })
        }
        ty if is_context(ty) => Some(Context::Otherwise),
        _ => None,
    }
}

fn check_argument(input: &PatType, errors: &mut Errors) -> Option<Argument> {
    for attribute in &input.attrs {
        if !is_lint_level(attribute) && !is_audit(attribute) {
            errors.at(
                attribute,
                "an argument carries no attributes but lint levels and `audit`: remove this",
            );
        }
    }
    let shown = shown(&input.attrs, errors);
    let sound = types::check_owned(&input.ty, errors);
    let name = argument_name(&input.pat);
    if name.is_none() {
        errors.at(
            &input.pat,
            "an argument needs a plain name: patterns and `mut` belong in the implementation",
        );
    }
    let name = name?;
    let attributes = input.attrs.iter().filter(|attribute| is_lint_level(attribute));
    let attributes = attributes.cloned().collect();
    sound.then(|| Argument { attributes, shown, name, ty: (*input.ty).clone() })
}

fn argument_name(pattern: &Pat) -> Option<Ident> {
    match pattern {
        Pat::Ident(name)
            if name.by_ref.is_none() && name.mutability.is_none() && name.subpat.is_none() =>
        {
            Some(name.ident.clone())
        }
        _ => None,
    }
}

fn check_output(signature: &Signature, errors: &mut Errors) -> Option<(Type, Type, Option<Type>)> {
    let ty = match &signature.output {
        ReturnType::Type(_, ty) => ty,
        ReturnType::Default => {
            let name = signature.ident.unraw();
            let message = format!(
                "any call can fail: give `{name}` the return type `Result<(), CallError<E>>`, with \
                 `E` the error of your service"
            );
            errors.at(&signature.ident, message);
            return None;
        }
    };
    let (result, error) = errors.keep(types::result_and_error(ty))?;
    let mut sound = types::check_owned(&result, errors);
    if let Some(error) = &error {
        sound &= types::check_owned(error, errors);
    }
    sound.then(|| ((**ty).clone(), result, error))
}
