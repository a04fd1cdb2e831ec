//! Rules for the trait itself and for what stands in it beside methods.

use syn::{ItemTrait, TraitItem};

use crate::errors::Errors;

/// Adds an error for each part of `definition` that a service cannot have.
pub(crate) fn check(definition: &ItemTrait, errors: &mut Errors) {
    if let Some(unsafety) = &definition.unsafety {
        errors.at(unsafety, "a service is a safe trait: remove `unsafe`");
    }
    if let Some(auto) = &definition.modifiers.auto_token {
        errors.at(auto, "a service has methods: remove `auto`");
    }
    if !definition.generics.params.is_empty() {
        errors.at(
            &definition.generics,
            "a service has one form on the wire: remove the trait's generics and name the types, \
             or write one trait for each",
        );
    }
    if let Some(clause) = &definition.generics.where_clause {
        errors.at(clause, "a service has one form on the wire: remove the `where` clause");
    }
    for item in &definition.items {
        check_item(item, errors);
    }
    if definition.items.is_empty() {
        errors.at(
            &definition.ident,
            "a service has at least one method: `async fn name(&self, cx: &Context) -> Result<T, \
             CallError<E>>`",
        );
    }
}

fn check_item(item: &TraitItem, errors: &mut Errors) {
    match item {
        TraitItem::Fn(_) => {}
        TraitItem::Type(item) => errors.at(
            item,
            "a service has one form on the wire: remove the associated type and name a type in \
             the methods",
        ),
        TraitItem::Const(item) => errors.at(
            item,
            "a client cannot know an implementation's constant: move it out of the trait, or make \
             it a `readonly` method",
        ),
        other => errors.at(other, "a service holds methods only: write this one out, or move it"),
    }
}
