//! A durable counter, whose log is a list in memory that outlives its servers.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bailiwick::{
    CallError, Context, MethodId, Server, ServerBuilder,
    durable::{Completion, Completions, Durable},
    rpc_service,
    service::Service as _,
    testing::test_identity,
};

#[rpc_service(verb = "write", object = "counter")]
pub(crate) trait Counter {
    /// Adds `by` and gives the sum. Zero is the service's own error, and leaves nothing behind.
    #[rpc(durable)]
    async fn add(&self, cx: &Context, by: u64) -> Result<u64, CallError<String>>;

    /// Adds one, has it in the log, and never answers.
    #[rpc(durable)]
    async fn add_and_hang(&self, cx: &Context) -> Result<u64, CallError<String>>;

    #[rpc(verb = "read", readonly)]
    async fn value(&self, cx: &Context) -> Result<u64, CallError>;

    async fn at_most_once(&self, cx: &Context) -> Result<(), CallError>;
}

/// What a crash leaves: each effect with its completion, as bytes.
pub(crate) type Log = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

/// One life of the counter's server.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) completions: Completions,
    /// Handlers that have begun.
    pub(crate) begun: Arc<AtomicUsize>,
    log: Log,
    sum: Arc<Mutex<u64>>,
}

impl Life {
    /// A server that has yet to read the log.
    pub(crate) fn recovering(log: &Log) -> Self {
        Self::of_store([7; 16], log)
    }

    pub(crate) fn of_store(store: [u8; 16], log: &Log) -> Self {
        let (completions, begun) = (Completions::recovering(store), Arc::default());
        Self { completions, begun, log: Arc::clone(log), sum: Arc::default() }
    }

    /// One that has read it.
    pub(crate) fn recovered(log: &Log) -> Self {
        let life = Self::recovering(log);
        life.recover();
        life
    }

    pub(crate) fn recover(&self) {
        for (by, completion) in &*self.log.lock().unwrap() {
            self.apply(*by, postcard::from_bytes(completion).unwrap());
        }
        self.completions.open();
    }

    /// The one path of a record, at recovery and in service.
    fn apply(&self, by: u64, completion: Completion) {
        *self.sum.lock().unwrap() += by;
        self.completions.insert(completion);
    }

    pub(crate) fn builder(&self) -> ServerBuilder {
        Server::builder(test_identity("server")).service(CounterServer::new(self.clone()))
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn commit(&self, cx: &Context, by: u64) -> u64 {
        let sum = *self.sum.lock().unwrap() + by;
        let completion = cx.completion(&Ok::<_, String>(sum)).unwrap();
        self.log.lock().unwrap().push((by, postcard::to_allocvec(&completion).unwrap()));
        self.apply(by, completion);
        sum
    }
}

impl Counter for Life {
    async fn add(&self, cx: &Context, by: u64) -> Result<u64, CallError<String>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if by == 0 {
            return Err("nothing to add".to_owned())?;
        }
        Ok(self.commit(cx, by))
    }

    async fn add_and_hang(&self, cx: &Context) -> Result<u64, CallError<String>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.commit(cx, 1);
        std::future::pending().await
    }

    async fn value(&self, cx: &Context) -> Result<u64, CallError> {
        assert!(cx.completion(&Ok::<_, String>(())).is_none(), "a readonly call leaves nothing");
        Ok(*self.sum.lock().unwrap())
    }

    async fn at_most_once(&self, cx: &Context) -> Result<(), CallError> {
        assert!(cx.completion(&Ok::<_, String>(())).is_none(), "only durable calls are recorded");
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Durable for Life {
    fn completions(&self) -> Option<&Completions> {
        Some(&self.completions)
    }
}

/// The same service with nothing kept.
pub(crate) struct Forgetful(pub(crate) AtomicUsize);

impl Counter for Forgetful {
    async fn add(&self, cx: &Context, by: u64) -> Result<u64, CallError<String>> {
        assert!(cx.completion(&Ok::<_, String>(by)).is_none(), "nothing is kept");
        Ok(self.0.fetch_add(1, Ordering::Relaxed) as u64 + 1)
    }

    async fn add_and_hang(&self, _: &Context) -> Result<u64, CallError<String>> {
        std::future::pending().await
    }

    async fn value(&self, _: &Context) -> Result<u64, CallError> {
        Ok(0)
    }

    async fn at_most_once(&self, _: &Context) -> Result<(), CallError> {
        Ok(())
    }
}

impl Durable for Forgetful {
    fn completions(&self) -> Option<&Completions> {
        None
    }
}

pub(crate) fn method(name: &str) -> MethodId {
    let found = COUNTER.methods.iter().find(|method| method.name == name);
    found.unwrap().id
}

/// What a proxy serves.
pub(crate) fn proxy(client: CounterClient) -> ServerBuilder {
    let server = CounterServer::new(client);
    assert!(server.durable().is_none());
    Server::builder(test_identity("server")).service(server)
}
