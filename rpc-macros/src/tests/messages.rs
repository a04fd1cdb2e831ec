//! What the macro says of mistakes. Where it points is in the UI tests of the package `tests`.

use super::*;

/// The messages for a trait of one method, from its attribute on.
fn of_method(method: &TokenStream) -> Vec<String> {
    messages(quote!(), quote!(trait Table { #method }))
}

#[track_caller]
fn assert_says(messages: &[String], expected: &[&str]) {
    assert_eq!(messages.len(), expected.len(), "{messages:#?}");
    for (message, expected) in messages.iter().zip(expected) {
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
}

#[test]
fn a_sound_trait_is_met_with_silence() {
    assert_says(&messages(quote!(), table()), &[]);
}

#[test]
fn one_mistake_gives_one_message() {
    let cases: &[(TokenStream, &str)] = &[
        (
            quote!(
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "must say what",
        ),
        (
            quote!(
                #[rpc(verbs = "v", object = "o")]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "did you mean `verb`?",
        ),
        (
            quote!(
                #[rpc(object = "o")]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "add `verb",
        ),
        (
            quote!(
                #[rpc(verb = "v")]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "add `object",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o/{ky}")]
                async fn f(&self, cx: &Context, key: u8) -> Result<(), CallError<E>>;
            ),
            "did you mean `key`?",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(cx: &Context) -> Result<(), CallError<E>>;
            ),
            "begin the arguments with",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f() -> Result<(), CallError<E>>;
            ),
            "begin the arguments with",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self) -> Result<(), CallError<E>>;
            ),
            "`cx: &Context`",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, key: u8) -> Result<(), CallError<E>>;
            ),
            "`cx: &Context`",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: Context) -> Result<(), CallError<E>>;
            ),
            "borrows its context",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &mut Context) -> Result<(), CallError<E>>;
            ),
            "borrows its context",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context, key: &str) -> Result<(), CallError<E>>;
            ),
            "write `String`",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context, key: &[u8]) -> Result<(), CallError<E>>;
            ),
            "write `Bytes`",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context) -> Result<Self, CallError<E>>;
            ),
            "`Self`",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context) -> Result<u8>;
            ),
            "both types",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context) -> Result<u8, E>;
            ),
            "`CallError<E>`",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context) -> Result<u8, CallError<A, B>>;
            ),
            "name one type",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context) -> u8;
            ),
            "`Result<u8, CallError<E>>`",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context);
            ),
            "any call can fail",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o", readonly, idempotent)]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "exclude each other",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o", durable, readonly)]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "`readonly` and `durable` exclude each other",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o", idempotent, durable)]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "`idempotent` and `durable` exclude each other",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o", objects = keys)]
                async fn f(&self, cx: &Context, keys: Vec<String>) -> Result<(), CallError<E>>;
            ),
            "exclude each other",
        ),
        (
            quote!(
                #[rpc(verb = "v", objects = kesy)]
                async fn f(&self, cx: &Context, keys: Vec<String>) -> Result<(), CallError<E>>;
            ),
            "did you mean `keys`?",
        ),
        (
            quote!(
                #[rpc(verb = "v", objects = "keys")]
                async fn f(&self, cx: &Context, keys: Vec<String>) -> Result<(), CallError<E>>;
            ),
            "without quotes",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o", verb = "w")]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "given twice",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o", id = 4294967296)]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "no method id",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o", readonly = true)]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "takes no value",
        ),
        (
            quote!(
                #[cfg(unix)]
                #[rpc(verb = "v", object = "o")]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "only sometimes",
        ),
        (
            quote!(
                #[rpc(verb = "v", object = "o")]
                async fn channel(&self, cx: &Context) -> Result<(), CallError<E>>;
            ),
            "of its own",
        ),
    ];
    for (method, expected) in cases {
        let messages = of_method(method);
        assert_eq!(messages.len(), 1, "{method}: {messages:#?}");
        assert!(messages[0].contains(expected), "{method}: {messages:#?}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let messages = messages(
        quote!(verb = "Read", objct = "o"),
        quote! {
            trait Table<T> {
                type Item;
                #[rpc(object = "../{x}")]
                fn f(&mut self, cx: &Context, key: &str) -> u8;
            }
        },
    );
    assert_says(
        &messages,
        &[
            "unknown key `objct`",
            "generics",
            "associated type",
            "`Read` cannot be a verb",
            "async",
            "&self",
            "`String`",
            "`Result<u8, CallError<E>>`",
            "`..` is not allowed",
        ],
    );
}

#[test]
fn methods_with_one_id_are_told_apart_or_refused() {
    let twice = |first: TokenStream, second: TokenStream| {
        messages(
            quote!(verb = "v", object = "o"),
            quote! {
                trait Table {
                    #[rpc(#first)] async fn a(&self, cx: &Context) -> Result<(), CallError<E>>;
                    #[rpc(#second)] async fn b(&self, cx: &Context) -> Result<(), CallError<E>>;
                }
            },
        )
    };
    assert_says(
        &twice(quote!(id = 1), quote!(id = 1)),
        &["`b` has the same id on the wire as `a`, 1"],
    );
    assert_says(&twice(quote!(rename = "x"), quote!(rename = "x")), &["`b` has the same id"]);
    // fnv1a("costarring") == fnv1a("liquid"): a collision known for this hash.
    assert_says(
        &twice(quote!(rename = "costarring"), quote!(rename = "liquid")),
        &["`b` has the same id"],
    );
    assert_says(&twice(quote!(rename = "costarring"), quote!(rename = "liquid", id = 2)), &[]);
}

#[test]
fn a_default_object_that_does_not_fit_is_said_at_the_method() {
    let messages = messages(
        quote!(verb = "v", object = "o/{key}"),
        quote! {
            trait Table {
                async fn a(&self, cx: &Context, key: String) -> Result<(), CallError<E>>;
                async fn b(&self, cx: &Context) -> Result<(), CallError<E>>;
            }
        },
    );
    assert_says(&messages, &["`b` needs an `object` of its own"]);
}
