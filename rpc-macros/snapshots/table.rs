/// A table.
pub trait Table: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// The value at `key`.
    fn get(
        &self,
        cx: &Context,
        key: String,
    ) -> impl ::core::future::Future<
        Output = Result<Option<Bytes>, CallError<TableError>>,
    > + ::core::marker::Send;
    /// Adds `by` to the number at `key`.
    fn increment(
        &self,
        cx: &Context,
        key: String,
        by: i64,
    ) -> impl ::core::future::Future<
        Output = Result<i64, CallError<TableError>>,
    > + ::core::marker::Send;
    /// Puts `value` at `key`.
    fn put(
        &self,
        cx: &Context,
        key: String,
        value: Bytes,
    ) -> impl ::core::future::Future<
        Output = Result<(), CallError<TableError>>,
    > + ::core::marker::Send;
    /// The keys.
    fn dump(
        &self,
        cx: &Context,
    ) -> impl ::core::future::Future<
        Output = Result<Vec<u8>, CallError<TableError>>,
    > + ::core::marker::Send;
}
///The service [`Table`]: its name, and for each method the id on the wire, verb, object, delivery and types.
pub const TABLE: ::bailiwick::service::ServiceDescription = ::bailiwick::service::ServiceDescription {
    name: "Table",
    methods: &[
        ::bailiwick::service::MethodDescription {
            service: "Table",
            name: "get",
            id: ::bailiwick::MethodId::new(0xd70ceb7f_540ca757),
            verb: "read",
            object: ::bailiwick::service::ObjectDescription::Template("table/{key}"),
            delivery: ::bailiwick::service::Delivery::Readonly,
            recorded: ::bailiwick::service::Recorded::AsTheServerSays,
            timeout: ::core::option::Option::None,
            reserve: false,
            arguments: &[
                ::bailiwick::service::ArgumentDescription {
                    name: "key",
                    type_name: "String",
                    shown: ::bailiwick::service::Shown::Nothing,
                },
            ],
            result: "Option<Bytes>",
            error: "TableError",
        },
        ::bailiwick::service::MethodDescription {
            service: "Table",
            name: "increment",
            id: ::bailiwick::MethodId::new(0xd70ceb7f_3812e73e),
            verb: "write",
            object: ::bailiwick::service::ObjectDescription::Template("table/{key}"),
            delivery: ::bailiwick::service::Delivery::Durable,
            recorded: ::bailiwick::service::Recorded::AsTheServerSays,
            timeout: ::core::option::Option::None,
            reserve: false,
            arguments: &[
                ::bailiwick::service::ArgumentDescription {
                    name: "key",
                    type_name: "String",
                    shown: ::bailiwick::service::Shown::Nothing,
                },
                ::bailiwick::service::ArgumentDescription {
                    name: "by",
                    type_name: "i64",
                    shown: ::bailiwick::service::Shown::Nothing,
                },
            ],
            result: "i64",
            error: "TableError",
        },
        ::bailiwick::service::MethodDescription {
            service: "Table",
            name: "put",
            id: ::bailiwick::MethodId::new(0xd70ceb7f_697299ee),
            verb: "write",
            object: ::bailiwick::service::ObjectDescription::Template("table/{key}"),
            delivery: ::bailiwick::service::Delivery::Idempotent,
            recorded: ::bailiwick::service::Recorded::AsTheServerSays,
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::from_millis(500),
            ),
            reserve: false,
            arguments: &[
                ::bailiwick::service::ArgumentDescription {
                    name: "key",
                    type_name: "String",
                    shown: ::bailiwick::service::Shown::Nothing,
                },
                ::bailiwick::service::ArgumentDescription {
                    name: "value",
                    type_name: "Bytes",
                    shown: ::bailiwick::service::Shown::Nothing,
                },
            ],
            result: "()",
            error: "TableError",
        },
        ::bailiwick::service::MethodDescription {
            service: "Table",
            name: "dump",
            id: ::bailiwick::MethodId::new(0xd70ceb7f_da54f687),
            verb: "list",
            object: ::bailiwick::service::ObjectDescription::Template("table"),
            delivery: ::bailiwick::service::Delivery::AtMostOnce,
            recorded: ::bailiwick::service::Recorded::AsTheServerSays,
            timeout: ::core::option::Option::None,
            reserve: false,
            arguments: &[],
            result: "Vec<u8>",
            error: "TableError",
        },
    ],
};
///A client of [`Table`], which it implements by calling through a channel. Clones share the channel.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub struct TableClient {
    channel: ::bailiwick::Channel,
}
#[allow(dead_code)]
impl TableClient {
    /// A client that calls through `channel`.
    #[must_use]
    pub fn new(channel: ::bailiwick::Channel) -> Self {
        Self { channel }
    }
    /// The channel that this client calls through.
    #[must_use]
    pub fn channel(&self) -> &::bailiwick::Channel {
        &self.channel
    }
    /// A client of `implementation` over a channel in memory, with policy and audit in
    /// force, for tests.
    #[must_use]
    pub fn in_memory(
        implementation: impl Table + ::bailiwick::durable::Durable,
    ) -> ::bailiwick::testing::InMemory<Self> {
        ::bailiwick::testing::InMemory::new(TableServer::new(implementation))
    }
}
impl ::bailiwick::service::Stub for TableClient {
    fn from_channel(channel: ::bailiwick::Channel) -> Self {
        Self { channel }
    }
}
///A server of [`Table`] over an implementation of it. Clones share the implementation.
pub struct TableServer<T> {
    implementation: ::std::sync::Arc<T>,
}
impl<T: Table + ::bailiwick::durable::Durable> TableServer<T> {
    /// A server of `implementation`.
    #[must_use]
    pub fn new(implementation: T) -> Self {
        Self::from_arc(::std::sync::Arc::new(implementation))
    }
    /// A server of an `implementation` that others hold too.
    #[must_use]
    pub fn from_arc(implementation: ::std::sync::Arc<T>) -> Self {
        Self { implementation }
    }
}
impl<T> ::core::clone::Clone for TableServer<T> {
    fn clone(&self) -> Self {
        Self {
            implementation: ::std::sync::Arc::clone(&self.implementation),
        }
    }
}
impl<T> ::core::fmt::Debug for TableServer<T> {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("TableServer").finish_non_exhaustive()
    }
}
const _: () = {
    #[derive(
        ::bailiwick::__private::serde::Serialize,
        ::bailiwick::__private::serde::Deserialize
    )]
    #[serde(crate = "::bailiwick::__private::serde")]
    struct __GetArguments {
        key: String,
    }
    #[derive(
        ::bailiwick::__private::serde::Serialize,
        ::bailiwick::__private::serde::Deserialize
    )]
    #[serde(crate = "::bailiwick::__private::serde")]
    struct __IncrementArguments {
        key: String,
        by: i64,
    }
    #[derive(
        ::bailiwick::__private::serde::Serialize,
        ::bailiwick::__private::serde::Deserialize
    )]
    #[serde(crate = "::bailiwick::__private::serde")]
    struct __PutArguments {
        key: String,
        #[serde(with = "::bailiwick::marshal::shared_bytes")]
        value: Bytes,
    }
    #[derive(
        ::bailiwick::__private::serde::Serialize,
        ::bailiwick::__private::serde::Deserialize
    )]
    #[serde(crate = "::bailiwick::__private::serde")]
    struct __DumpArguments {}
    impl Table for TableClient {
        async fn get(
            &self,
            cx: &Context,
            key: String,
        ) -> Result<Option<Bytes>, CallError<TableError>> {
            self.channel
                .call::<
                    _,
                    Option<Bytes>,
                    TableError,
                >(&TABLE.methods[0], cx, &__GetArguments { key })
                .await
        }
        async fn increment(
            &self,
            cx: &Context,
            key: String,
            by: i64,
        ) -> Result<i64, CallError<TableError>> {
            self.channel
                .call::<
                    _,
                    i64,
                    TableError,
                >(&TABLE.methods[1], cx, &__IncrementArguments { key, by })
                .await
        }
        async fn put(
            &self,
            cx: &Context,
            key: String,
            value: Bytes,
        ) -> Result<(), CallError<TableError>> {
            self.channel
                .call::<
                    _,
                    (),
                    TableError,
                >(&TABLE.methods[2], cx, &__PutArguments { key, value })
                .await
        }
        async fn dump(&self, cx: &Context) -> Result<Vec<u8>, CallError<TableError>> {
            self.channel
                .call::<
                    _,
                    ::bailiwick::marshal::ByteVec,
                    TableError,
                >(&TABLE.methods[3], cx, &__DumpArguments {})
                .await
                .map(|::bailiwick::marshal::ByteVec(bytes)| bytes)
        }
    }
    impl ::bailiwick::durable::Durable for TableClient {
        fn completions(
            &self,
        ) -> ::core::option::Option<&::bailiwick::durable::Completions> {
            ::core::option::Option::None
        }
    }
    impl<T: Table + ::bailiwick::durable::Durable> ::bailiwick::service::Service
    for TableServer<T> {
        fn description(&self) -> &'static ::bailiwick::service::ServiceDescription {
            &TABLE
        }
        fn handle(
            &self,
            method: usize,
            request: ::bailiwick::service::Request<'_>,
        ) -> ::bailiwick::service::Handled {
            match method {
                0 => {
                    let implementation = ::std::sync::Arc::clone(&self.implementation);
                    request
                        .authorize(|objects, arguments: &__GetArguments| {
                            objects.literal("table").segment(&arguments.key);
                        })
                        .dispatch::<
                            _,
                            _,
                            Option<Bytes>,
                            TableError,
                        >(move |cx, arguments| async move {
                            <T as Table>::get(&implementation, &cx, arguments.key).await
                        })
                }
                1 => {
                    let implementation = ::std::sync::Arc::clone(&self.implementation);
                    request
                        .authorize(|objects, arguments: &__IncrementArguments| {
                            objects.literal("table").segment(&arguments.key);
                        })
                        .dispatch::<
                            _,
                            _,
                            i64,
                            TableError,
                        >(move |cx, arguments| async move {
                            <T as Table>::increment(
                                    &implementation,
                                    &cx,
                                    arguments.key,
                                    arguments.by,
                                )
                                .await
                        })
                }
                2 => {
                    let implementation = ::std::sync::Arc::clone(&self.implementation);
                    request
                        .authorize(|objects, arguments: &__PutArguments| {
                            objects.literal("table").segment(&arguments.key);
                        })
                        .dispatch::<
                            _,
                            _,
                            (),
                            TableError,
                        >(move |cx, arguments| async move {
                            <T as Table>::put(
                                    &implementation,
                                    &cx,
                                    arguments.key,
                                    arguments.value,
                                )
                                .await
                        })
                }
                3 => {
                    let implementation = ::std::sync::Arc::clone(&self.implementation);
                    request
                        .authorize(|objects, _: &__DumpArguments| {
                            objects.literal("table");
                        })
                        .dispatch::<
                            _,
                            _,
                            ::bailiwick::marshal::ByteVec,
                            TableError,
                        >(move |cx, _| async move {
                            <T as Table>::dump(&implementation, &cx)
                                .await
                                .map(::bailiwick::marshal::ByteVec)
                        })
                }
                _ => request.unimplemented(),
            }
        }
        fn durable(&self) -> ::core::option::Option<&::bailiwick::durable::Completions> {
            ::bailiwick::durable::Durable::completions(&*self.implementation)
        }
    }
};
