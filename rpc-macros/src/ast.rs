//! Our own model of a service: what is left once every check has passed.

use proc_macro2::Span;
use syn::{Attribute, Ident, ItemTrait, Path, Type};

/// A service, ready to be written out.
#[derive(Debug)]
pub(crate) struct Service {
    /// Where the runtime is: `::bailiwick`, unless `crate = "…"` says otherwise.
    pub(crate) runtime: Path,
    /// The trait as the user wrote it.
    pub(crate) definition: ItemTrait,
    /// The service's name on the wire.
    pub(crate) wire_name: String,
    /// The methods, in the order of the trait.
    pub(crate) methods: Vec<Method>,
}

impl Service {
    /// Whether a method of it has to outlive crashes.
    pub(crate) fn is_durable(&self) -> bool {
        self.methods.iter().any(|method| method.delivery == Delivery::Durable)
    }
}

/// One method of a service.
#[derive(Debug)]
pub(crate) struct Method {
    /// Lint levels that the user set on it.
    pub(crate) lints: Vec<Attribute>,
    /// The method's name in the trait.
    pub(crate) name: Ident,
    /// The method's name on the wire.
    pub(crate) wire_name: String,
    /// The method's number on the wire.
    pub(crate) id: u64,
    /// What it does.
    pub(crate) verb: String,
    /// What it does it to.
    pub(crate) object: Object,
    /// How often it may run.
    pub(crate) delivery: Delivery,
    /// Whether each call of it goes on record, also one that is allowed.
    pub(crate) recorded: Recorded,
    /// The longest time that a call gets, in milliseconds.
    pub(crate) timeout: Option<u64>,
    /// The type of `cx`, as the user wrote it.
    pub(crate) context: Type,
    /// Whether it may use the places that a server keeps.
    pub(crate) reserve: bool,
    /// What follows `cx`.
    pub(crate) arguments: Vec<Argument>,
    /// The struct that carries the arguments.
    pub(crate) arguments_struct: Ident,
    /// The whole `Result<T, CallError<E>>`.
    pub(crate) output: Type,
    /// The `T` of it.
    pub(crate) result: Type,
    /// The `E` of it; the runtime's default, `Never`, if absent.
    pub(crate) error: Option<Type>,
}

/// One argument of a method.
#[derive(Debug)]
pub(crate) struct Argument {
    /// Lint levels that the user set on it.
    pub(crate) attributes: Vec<Attribute>,
    /// What the audit log shows of its value.
    pub(crate) shown: Shown,
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// Which calls of a method go on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// Those that are refused, and others if the server asks for it.
    AsTheServerSays,
    /// All.
    Always,
}

/// What the audit log shows of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    /// `#[audit(show)]`
    Value,
    /// `#[audit(hmac)]`
    Hmac,
}

/// The objects that a call touches.
#[derive(Debug)]
pub(crate) enum Object {
    /// Built from a template; each name in it is an argument's.
    Template(Template),
    /// Listed by the argument of this name.
    Listed(Ident),
}

/// A template of an object, such as `table/{key}`.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// The template as the user wrote it.
    pub(crate) text: String,
    /// Where the user wrote it.
    pub(crate) span: Span,
    pub(crate) segments: Vec<Segment>,
}

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// `table`
    Literal(String),
    /// `{key}`: exactly one segment, from the argument of this name.
    One(String),
    /// `{path..}`: one or more segments, from the argument of this name.
    Many(String),
}

/// How often a method may run for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Readonly,
    Idempotent,
    AtMostOnce,
    Durable,
}
