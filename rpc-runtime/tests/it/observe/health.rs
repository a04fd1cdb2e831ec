//! What a server says about itself.

use bailiwick::{
    CallError, Health, HealthClient, Limits, Server, Status,
    health::NoSuchService,
    testing::{InMemory, test_identity},
};
use bailiwick_acl::audit::Memory;

use crate::{
    counter::{CounterServer, Life, Log},
    probe::Probe,
    world::{World, cx, eventually},
};

async fn health(world: &World, name: &str) -> HealthClient {
    HealthClient::new(world.channel(name, Limits::default()).await.unwrap())
}

#[tokio::test]
async fn health_is_a_service_under_the_policy_like_any_other() {
    let watched = InMemory::<HealthClient>::new(Health::default())
        .policy("watch | health | read | allow\nwatch | health/Table | read | allow");
    let watch = watched.as_principal("watch").await;
    assert_eq!(watch.server(&cx()).await, Ok(Status::Serving));
    assert_eq!(watch.check(&cx(), "Table").await, Err(CallError::App(NoSuchService)));
    let denied = watch.check(&cx(), "Health").await;
    assert!(matches!(denied, Err(CallError::Denied(_))), "{denied:?}");
    assert!(watched.audit().last().unwrap().contains(r#""object":"health/Health""#));
}

#[tokio::test]
async fn a_service_that_reads_its_log_is_recovering_and_the_others_serve() {
    let life = Life::recovering(&Log::default());
    let builder = Server::builder(test_identity("server"))
        .service(CounterServer::new(life.clone()))
        .service(Health::default());
    let world = World::watched(builder).await;
    let alice = health(&world, "alice").await;
    assert_eq!(alice.check(&cx(), "Counter").await, Ok(Status::Recovering));
    assert_eq!(alice.check(&cx(), "Probe").await, Ok(Status::Serving));
    assert_eq!(alice.server(&cx()).await, Ok(Status::Recovering));
    life.recover();
    assert_eq!(alice.check(&cx(), "Counter").await, Ok(Status::Serving));
    assert_eq!(alice.server(&cx()).await, Ok(Status::Serving));
    assert_eq!(world.status.service("Counter"), Some(Status::Serving));
    assert_eq!(world.status.service("Nobody's"), None);
}

#[tokio::test]
async fn a_server_without_its_audit_log_says_so() {
    let builder = Server::builder(test_identity("server")).service(Health::default());
    let world = World::watched(builder).await;
    let (alice, bob) = (health(&world, "alice").await, world.client("bob").await);
    let log = world.audit.clone().into_inner();
    log.set_memory(Memory::Full);
    bob.increment(&cx(), "alice".into()).await.unwrap_err();
    assert_eq!(alice.server(&cx()).await, Ok(Status::AuditUnavailable));
    assert_eq!(alice.check(&cx(), "Probe").await, Ok(Status::AuditUnavailable));
    assert_eq!(world.status.server(), Status::AuditUnavailable);
    log.set_memory(Memory::Free);
    assert_eq!(alice.server(&cx()).await, Ok(Status::Serving));
}

#[tokio::test]
async fn a_server_that_shuts_down_is_draining() {
    let builder = Server::builder(test_identity("server")).service(Health::default());
    let mut world = World::watched(builder).await;
    // A connection with nothing under way is closed at once, and nobody can dial any more.
    let alice = world.client_for_one_connection("alice").await;
    let watch = HealthClient::new(alice.channel().clone());
    let (state, status) = (world.state.clone(), world.status.clone());
    let hanging = tokio::spawn(async move { alice.hang(&cx()).await });
    eventually("it hangs", || state.hanging() == 1).await;
    world.stop();
    eventually("it drains", || status.server() == Status::Draining).await;
    assert_eq!(watch.server(&cx()).await, Ok(Status::Draining));
    state.go.add_permits(1);
    assert_eq!(hanging.await.unwrap(), Ok(()));
}
