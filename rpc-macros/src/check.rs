//! From syntax to the model: each rule of a service, and every breach of it at once.

use syn::ext::IdentExt as _;
use syn::{Ident, ItemTrait, LitStr, Path, TraitItem, TraitItemFn, parse_quote};

use crate::ast::{Delivery, Method, Recorded, Service, Template};
use crate::attr::{MethodKeys, ServiceKeys, is_lint_level};
use crate::errors::Errors;
use crate::method_id::method_id;

mod object;
mod signature;
mod trait_;
pub(crate) mod types;
mod words;

/// The model of `definition`, or `None` where a mistake leaves nothing to write out.
pub(crate) fn check(
    keys: &ServiceKeys,
    definition: &ItemTrait,
    errors: &mut Errors,
) -> Option<Service> {
    trait_::check(definition, errors);
    let runtime = match &keys.runtime {
        Some(path) => errors.keep(path.parse::<Path>()),
        None => Some(parse_quote!(::bailiwick)),
    };
    let wire_name = wire_name(keys.rename.as_ref(), &definition.ident, errors);
    let defaults = Defaults::check(keys, errors);
    let mut methods = Vec::new();
    for item in &definition.items {
        if let TraitItem::Fn(method) = item {
            methods.push(check_method(method, &wire_name, &defaults, errors));
        }
    }
    let mut methods = methods.into_iter().collect::<Option<Vec<_>>>()?;
    distinct_ids(&methods, errors);
    distinct_structs(&mut methods);
    Some(Service { runtime: runtime?, definition: definition.clone(), wire_name, methods })
}

/// What the trait says for methods that say nothing.
struct Defaults {
    verb: Option<LitStr>,
    object: Option<Template>,
    /// Whether a default may be meant that could not be read.
    unread: bool,
}

impl Defaults {
    fn check(keys: &ServiceKeys, errors: &mut Errors) -> Self {
        let verb = keys.verb.clone().filter(|verb| errors.keep(words::verb(verb)).is_some());
        let object = keys.object.as_ref().and_then(|object| object::parse(object, errors));
        let unread = keys.unread
            || keys.verb.is_some() != verb.is_some()
            || keys.object.is_some() != object.is_some();
        Self { verb, object, unread }
    }
}

fn check_method(
    method: &TraitItemFn,
    service: &str,
    defaults: &Defaults,
    errors: &mut Errors,
) -> Option<Method> {
    let name = &method.sig.ident;
    let keys = MethodKeys::read(&method.attrs, errors);
    let signature = signature::check(method, errors);
    require_verb_and_object(name, &keys, defaults, errors);
    let verb = match &keys.verb {
        Some(verb) => errors.keep(words::verb(verb)).map(|()| verb.value()),
        None => defaults.verb.as_ref().map(LitStr::value),
    };
    let delivery = delivery(&keys, errors);
    let timeout = match &keys.timeout {
        Some(timeout) => errors.keep(words::milliseconds(timeout)).map(Some),
        None => Some(None),
    };
    let explicit = match &keys.id {
        Some(id) => errors.keep(words::id(id)).map(Some),
        None => Some(None),
    };
    let wire_name = wire_name(keys.rename.as_ref(), name, errors);
    let parsed = keys.object.as_ref().map(|object| object::parse(object, errors));
    let signature = signature?;
    let object = match (&keys.objects, parsed) {
        (Some(list), Some(_)) => {
            let message = "`object` and `objects` exclude each other: keep `object` for one object \
                           built from arguments, `objects` for an argument that lists them all";
            errors.at(list, message);
            None
        }
        (Some(list), None) => object::listed(list, &signature.arguments, errors),
        (None, Some(own)) => own.and_then(|own| object::resolve(own, &signature.arguments, errors)),
        (None, None) => defaults.object.as_ref().and_then(|default| {
            object::resolve_default(default, name, &signature.arguments, errors)
        }),
    };
    Some(Method {
        id: method_id(service, &wire_name, explicit?),
        lints: method.attrs.iter().filter(|attribute| is_lint_level(attribute)).cloned().collect(),
        arguments_struct: arguments_struct(name),
        name: name.clone(),
        wire_name,
        verb: verb?,
        object: object?,
        delivery: delivery?,
        reserve: keys.reserve.is_some(),
        recorded: match keys.audit {
            Some(_) => Recorded::Always,
            None => Recorded::AsTheServerSays,
        },
        timeout: timeout?,
        context: signature.context,
        arguments: signature.arguments,
        output: signature.output,
        result: signature.result,
        error: signature.error,
    })
}

fn require_verb_and_object(
    name: &Ident,
    keys: &MethodKeys,
    defaults: &Defaults,
    errors: &mut Errors,
) {
    if keys.unread || defaults.unread {
        return; // what seems absent may be what could not be read
    }
    let verb = keys.verb.is_some() || defaults.verb.is_some();
    let object = keys.object.is_some() || keys.objects.is_some() || defaults.object.is_some();
    let message = match (verb, object) {
        (true, true) => return,
        (false, false) => format!(
            "`{name}` must say what it does and to what, so that a policy can judge it: add \
             `#[rpc(verb = \"…\", object = \"…\")]`"
        ),
        (false, true) => format!(
            "`{name}` does not say what it does: add `verb = \"read\"` (or another verb of your \
             policy) to its `#[rpc(…)]`, or to `#[rpc_service(…)]` for every method"
        ),
        (true, false) => format!(
            "`{name}` does not say what it touches: add `object = \"…\"` (such as \
             `\"table/{{key}}\"`, with `key` an argument) to its `#[rpc(…)]`, or to \
             `#[rpc_service(…)]` for every method"
        ),
    };
    errors.at(name, message);
}

fn delivery(keys: &MethodKeys, errors: &mut Errors) -> Option<Delivery> {
    match (&keys.readonly, &keys.idempotent, &keys.durable) {
        (None, None, None) => Some(Delivery::AtMostOnce),
        (Some(_), None, None) => Some(Delivery::Readonly),
        (None, Some(_), None) => Some(Delivery::Idempotent),
        (None, None, Some(_)) => Some(Delivery::Durable),
        (Some(_), _, Some(durable)) => {
            let message = "`readonly` and `durable` exclude each other: a method that changes \
                           nothing has nothing to keep, and is `readonly` alone";
            errors.at(durable, message);
            None
        }
        (None, Some(_), Some(durable)) => {
            let message = "`idempotent` and `durable` exclude each other: a call of a durable method \
                           finds its answer and does not run again";
            errors.at(durable, message);
            None
        }
        (Some(_), Some(idempotent), None) => {
            let message = "`readonly` and `idempotent` exclude each other: a method that changes \
                           nothing is `readonly` alone";
            errors.at(idempotent, message);
            None
        }
    }
}

/// The name on the wire: `rename`, or else the name in the trait.
fn wire_name(rename: Option<&LitStr>, name: &Ident, errors: &mut Errors) -> String {
    match rename {
        Some(rename) => {
            errors.keep(words::wire_name(rename));
            rename.value()
        }
        None => name.unraw().to_string(),
    }
}

fn distinct_ids(methods: &[Method], errors: &mut Errors) {
    for (position, method) in methods.iter().enumerate() {
        let earlier = &methods[..position];
        if let Some(first) = earlier.iter().find(|earlier| earlier.id == method.id) {
            let message = format!(
                "`{}` has the same id on the wire as `{}`, {}: give it another with `id = …` in \
                 its `#[rpc(…)]`",
                method.name,
                first.name,
                method.id & u64::from(u32::MAX),
            );
            errors.at(&method.name, message);
        }
    }
}

/// `get_all` → `__GetAllArguments`; the underscores keep it apart from the user's types.
fn arguments_struct(method: &Ident) -> Ident {
    let words = method.unraw().to_string();
    let camel = words.split('_').flat_map(|word| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters)
    });
    Ident::new(&format!("__{}Arguments", camel.collect::<String>()), method.span())
}

/// Tells apart `get_1` and `get1`, whose structs would have one name.
fn distinct_structs(methods: &mut [Method]) {
    for position in 1..methods.len() {
        let (earlier, rest) = methods.split_at_mut(position);
        let name = &mut rest[0].arguments_struct;
        if earlier.iter().any(|earlier| earlier.arguments_struct == *name) {
            *name = Ident::new(&format!("{name}{position}"), name.span());
        }
    }
}
