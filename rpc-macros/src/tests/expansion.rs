//! What the macro writes for a sound trait.

use super::*;

#[test]
fn a_table_expands_to_what_we_would_have_written() {
    let expanded = expanded(quote!(), &table());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/table.rs");
    // To accept a change: SNAPSHOTS=overwrite cargo test, and read the difference.
    if std::env::var_os("SNAPSHOTS").is_some_and(|wish| wish == "overwrite") {
        std::fs::write(path, &expanded).expect("the snapshot is writable");
    }
    let accepted = std::fs::read_to_string(path).expect("the snapshot is there");
    assert!(expanded == accepted, "the expansion is no longer snapshots/table.rs:\n{expanded}");
}

#[test]
fn ids_stay_as_they_are_for_ever() {
    // Computed apart from this crate; a change here is a wire break.
    let expected = [
        "0xd70ceb7f_540ca757",
        "0xd70ceb7f_3812e73e",
        "0xd70ceb7f_697299ee",
        "0xd70ceb7f_da54f687",
    ];
    assert_eq!(ids(quote!(), &table()), expected);
}

#[test]
fn the_order_of_methods_means_nothing_on_the_wire() {
    let one = quote! {
        trait Table {
            #[rpc(verb = "v", object = "o")]
            async fn a(&self, cx: &Context) -> Result<(), CallError<E>>;
            #[rpc(verb = "v", object = "o")]
            async fn b(&self, cx: &Context) -> Result<(), CallError<E>>;
        }
    };
    let other = quote! {
        trait Table {
            #[rpc(verb = "v", object = "o")]
            async fn b(&self, cx: &Context) -> Result<(), CallError<E>>;
            #[rpc(verb = "v", object = "o")]
            async fn a(&self, cx: &Context) -> Result<(), CallError<E>>;
        }
    };
    let mut reversed = ids(quote!(), &other);
    reversed.reverse();
    assert_eq!(ids(quote!(), &one), reversed);
}

#[test]
fn a_renamed_method_of_a_renamed_service_keeps_its_id() {
    let before = quote! {
        trait Table {
            #[rpc(verb = "v", object = "o")]
            async fn get(&self, cx: &Context) -> Result<(), CallError<E>>;
        }
    };
    let after = quote! {
        trait Store {
            #[rpc(verb = "v", object = "o", rename = "get")]
            async fn fetch(&self, cx: &Context) -> Result<(), CallError<E>>;
        }
    };
    assert_eq!(ids(quote!(), &before), ids(quote!(rename = "Table"), &after));
}

#[test]
fn an_explicit_id_takes_the_place_of_the_hash() {
    let service = quote! {
        trait Table {
            #[rpc(verb = "v", object = "o", id = 7)]
            async fn get(&self, cx: &Context) -> Result<(), CallError<E>>;
        }
    };
    assert!(ids(quote!(), &service)[0].ends_with("_00000007"));
}

#[test]
fn each_part_of_an_object_is_judged_as_what_it_is() {
    let objects = |keys: TokenStream| {
        let service = quote! {
            trait Table {
                #[rpc(verb = "v", #keys)]
                async fn f(&self, cx: &Context, key: String, path: String, keys: Vec<String>)
                -> Result<(), CallError<E>>;
            }
        };
        let expanded = expanded(quote!(), &service).replace(char::is_whitespace, "");
        let after = expanded.split("&__FArguments|{").nth(1).expect("an authorization");
        after.split('}').next().map(str::to_owned)
    };
    assert_eq!(
        objects(quote!(object = "a/b/{key}/c/{path..}/{key}")).as_deref(),
        Some(
            "objects.literal(\"a/b\").segment(&arguments.key).literal(\"c\")\
             .segments(&arguments.path).segment(&arguments.key);"
        )
    );
    assert_eq!(
        objects(quote!(object = "{path..}")).as_deref(),
        Some("objects.segments(&arguments.path);")
    );
    assert_eq!(
        objects(quote!(objects = keys)).as_deref(),
        Some("objects.listed(&arguments.keys);")
    );
}

#[test]
fn a_trait_with_mistakes_stays_usable() {
    let broken = quote! {
        trait Table: Clone {
            async fn get(&self, cx: &Context) -> Result<(), CallError<E>>;
        }
    };
    let expanded = expanded(quote!(), &broken);
    assert!(expanded.contains("trait Table: Clone"), "{expanded}");
    assert!(expanded.contains("impl ::core::future::Future"), "{expanded}");
    assert!(expanded.contains("compile_error"), "{expanded}");
}

#[test]
fn the_runtime_may_be_elsewhere() {
    let expanded = expanded(quote!(crate = "my::rpc"), &table());
    assert!(expanded.contains("channel: my::rpc::Channel"), "{expanded}");
    assert!(!expanded.contains("bailiwick"), "{expanded}");
}

#[test]
fn only_a_service_with_a_durable_method_asks_for_completions() {
    let service = |keys: TokenStream| {
        quote! {
            trait Table {
                #[rpc(verb = "v", object = "o", #keys)]
                async fn f(&self, cx: &Context) -> Result<(), CallError<E>>;
            }
        }
    };
    for plain in [quote!(), quote!(readonly), quote!(idempotent)] {
        assert!(!expanded(quote!(), &service(plain)).contains("durable"));
    }
    let durable = expanded(quote!(), &service(quote!(durable)));
    assert!(durable.contains("impl<T: Table + ::bailiwick::durable::Durable>"), "{durable}");
    assert!(durable.contains("impl ::bailiwick::durable::Durable for TableClient"), "{durable}");
}

#[test]
fn a_const_is_named_as_consts_are() {
    for (name, constant) in [
        ("Table", "TABLE"),
        ("HashTable", "HASH_TABLE"),
        ("HTTPStore", "HTTP_STORE"),
        ("Sha256Sum", "SHA256_SUM"),
        ("T", "T"),
    ] {
        let name = syn::Ident::new(name, proc_macro2::Span::call_site());
        let service = quote! {
            trait #name {
                #[rpc(verb = "v", object = "o")]
                async fn get(&self, cx: &Context) -> Result<(), CallError<E>>;
            }
        };
        let expanded = expanded(quote!(), &service);
        assert!(expanded.contains(&format!("const {constant}:")), "{expanded}");
    }
}

/// The ids in the description, in its order.
fn ids(keys: TokenStream, item: &TokenStream) -> Vec<String> {
    let expanded = expanded(keys, item);
    let ids = expanded.split("MethodId::new(").skip(1);
    ids.filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}
