//! Services that do what a test asks of them, and count it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bailiwick::{Bytes, CallError, Context, MethodId, Unavailable, rpc_service, service::Service};
use tokio::{sync::Semaphore, task::yield_now};

#[rpc_service(verb = "read", object = "probe")]
pub(crate) trait Probe {
    #[rpc(readonly)]
    async fn echo(&self, cx: &Context, value: Bytes) -> Result<Bytes, CallError>;

    /// At most once. A key named `full` is the service's own error.
    #[rpc(verb = "write", object = "table/{key}")]
    async fn increment(&self, cx: &Context, key: String) -> Result<u64, CallError<String>>;

    #[rpc(verb = "write", object = "table/{key}", idempotent)]
    async fn touch(&self, cx: &Context, key: String) -> Result<(), CallError>;

    /// Runs until a test lets it go.
    async fn hang(&self, cx: &Context) -> Result<(), CallError>;

    /// The same, and changes nothing.
    #[rpc(readonly)]
    async fn stare(&self, cx: &Context) -> Result<(), CallError>;

    /// The same, and may run twice.
    #[rpc(idempotent)]
    async fn linger(&self, cx: &Context) -> Result<(), CallError>;

    /// Would run for ever.
    #[rpc(timeout = "100ms")]
    async fn brief(&self, cx: &Context) -> Result<(), CallError>;

    /// Microseconds left at the server, which lets no call take two hours.
    #[rpc(timeout = "2h")]
    async fn patient(&self, cx: &Context) -> Result<u64, CallError>;

    /// Microseconds left at the server.
    async fn remaining(&self, cx: &Context) -> Result<u64, CallError>;

    /// Microseconds left at the server behind this one.
    async fn relay(&self, cx: &Context) -> Result<u64, CallError>;

    async fn panic_at_once(&self, cx: &Context) -> Result<(), CallError>;
    async fn panic_later(&self, cx: &Context) -> Result<(), CallError>;

    /// Fails as if the policy or a server further down had refused.
    async fn fail_as_refused(&self, cx: &Context) -> Result<(), CallError>;

    async fn produce(&self, cx: &Context, size: u32) -> Result<Bytes, CallError>;
    async fn produce_later(&self, cx: &Context, size: u32) -> Result<Bytes, CallError>;

    /// The caller's principal, and what it says in its metadata to be.
    async fn who(&self, cx: &Context) -> Result<(String, Option<String>), CallError>;

    /// The trace that has come with the call.
    async fn traceparent(&self, cx: &Context) -> Result<Option<String>, CallError>;
}

/// A second service on the same port.
#[rpc_service(verb = "greet", object = "people/{name}")]
pub(crate) trait Greeter {
    async fn greet(&self, cx: &Context, name: String) -> Result<String, CallError>;
}

/// What the handlers have done.
#[derive(Debug)]
pub(crate) struct State {
    /// Handlers that have begun, of all methods.
    pub(crate) begun: AtomicUsize,
    /// Handlers of `hang` and `brief` that have neither ended nor been dropped.
    pub(crate) hanging: AtomicUsize,
    pub(crate) counter: AtomicU64,
    /// How often `increment` has run for each key.
    pub(crate) increments: Mutex<HashMap<String, u64>>,
    /// Results that `produce` and `produce_later` have given.
    pub(crate) produced: AtomicUsize,
    /// A permit lets one `hang` go.
    pub(crate) go: Semaphore,
    /// Where `relay` calls.
    pub(crate) behind: OnceLock<ProbeClient>,
}

impl State {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicUsize::new(0),
            hanging: AtomicUsize::new(0),
            counter: AtomicU64::new(0),
            increments: Mutex::default(),
            produced: AtomicUsize::new(0),
            go: Semaphore::new(0),
            behind: OnceLock::new(),
        })
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    pub(crate) fn counter(&self) -> u64 {
        self.counter.load(Ordering::SeqCst)
    }

    pub(crate) fn produced(&self) -> usize {
        self.produced.load(Ordering::SeqCst)
    }

    pub(crate) fn increments(&self, key: &str) -> u64 {
        self.increments.lock().unwrap().get(key).copied().unwrap_or(0)
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
pub(crate) struct Counting(pub(crate) Arc<State>);

/// Counts a handler as hanging until it is dropped, however that comes about.
struct Hanging<'a>(&'a AtomicUsize);

impl<'a> Hanging<'a> {
    fn count(hanging: &'a AtomicUsize) -> Self {
        hanging.fetch_add(1, Ordering::SeqCst);
        Self(hanging)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn micros(cx: &Context) -> u64 {
    u64::try_from(cx.remaining().as_micros()).unwrap()
}

impl Probe for Counting {
    async fn echo(&self, _: &Context, value: Bytes) -> Result<Bytes, CallError> {
        self.0.begin();
        Ok(value)
    }

    async fn increment(&self, _: &Context, key: String) -> Result<u64, CallError<String>> {
        self.0.begin();
        if key == "full" {
            return Err("no room".to_owned())?;
        }
        *self.0.increments.lock().unwrap().entry(key).or_default() += 1;
        Ok(self.0.counter.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn touch(&self, _: &Context, _: String) -> Result<(), CallError> {
        self.0.begin();
        Ok(())
    }

    async fn hang(&self, _: &Context) -> Result<(), CallError> {
        self.0.begin();
        let _hanging = Hanging::count(&self.0.hanging);
        self.0.go.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn stare(&self, cx: &Context) -> Result<(), CallError> {
        self.hang(cx).await
    }

    async fn linger(&self, cx: &Context) -> Result<(), CallError> {
        self.hang(cx).await
    }

    async fn brief(&self, _: &Context) -> Result<(), CallError> {
        self.0.begin();
        let _hanging = Hanging::count(&self.0.hanging);
        std::future::pending().await
    }

    async fn patient(&self, cx: &Context) -> Result<u64, CallError> {
        self.0.begin();
        Ok(micros(cx))
    }

    async fn remaining(&self, cx: &Context) -> Result<u64, CallError> {
        self.0.begin();
        Ok(micros(cx))
    }

    async fn relay(&self, cx: &Context) -> Result<u64, CallError> {
        self.0.begin();
        self.0.behind.get().unwrap().remaining(cx).await
    }

    async fn panic_at_once(&self, _: &Context) -> Result<(), CallError> {
        self.0.begin();
        panic!("a handler's bug");
    }

    async fn panic_later(&self, _: &Context) -> Result<(), CallError> {
        self.0.begin();
        yield_now().await;
        panic!("a handler's bug");
    }

    async fn fail_as_refused(&self, _: &Context) -> Result<(), CallError> {
        self.0.begin();
        Err(CallError::Unavailable(Unavailable::Audit))
    }

    async fn produce(&self, _: &Context, size: u32) -> Result<Bytes, CallError> {
        self.0.begin();
        self.0.produced.fetch_add(1, Ordering::SeqCst);
        Ok(vec![7; size as usize].into())
    }

    async fn produce_later(&self, _: &Context, size: u32) -> Result<Bytes, CallError> {
        self.0.begin();
        yield_now().await;
        self.0.produced.fetch_add(1, Ordering::SeqCst);
        Ok(vec![7; size as usize].into())
    }

    async fn who(&self, cx: &Context) -> Result<(String, Option<String>), CallError> {
        self.0.begin();
        let said = cx.metadata().get("principal").map(str::to_owned);
        Ok((cx.principal().unwrap().to_owned(), said))
    }

    async fn traceparent(&self, cx: &Context) -> Result<Option<String>, CallError> {
        self.0.begin();
        Ok(cx.metadata().get("traceparent").map(str::to_owned))
    }
}

impl Greeter for Counting {
    async fn greet(&self, _: &Context, name: String) -> Result<String, CallError> {
        self.0.begin();
        Ok(format!("Good day, {name}."))
    }
}

/// A method's id on the wire.
pub(crate) fn method(name: &str) -> MethodId {
    let described = ProbeServer::new(Counting(State::new())).description();
    described.methods.iter().find(|method| method.name == name).unwrap().id
}
