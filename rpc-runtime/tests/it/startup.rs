//! What keeps a server from starting, and a channel from being tried: each by its own error.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use bailiwick::{
    AuditLog, Channel, ChannelConfig, ConnectError, Endpoint, Limits, PolicyFile, ServeError,
    Server, ServerBuilder, testing::test_identity,
};

use crate::{
    probe::{Counting, GreeterServer, State},
    world::World,
};

const ROW: &str = "alice | people/* | greet | allow\n";

fn policy(rows: &str) -> PolicyFile {
    let key = test_identity("alice").public_key();
    PolicyFile::from_text("policy.acl", format!("principal alice = {key}\n{rows}"))
}

fn builder() -> ServerBuilder {
    Server::builder(test_identity("server"))
}

fn greeter() -> GreeterServer<Counting> {
    GreeterServer::new(Counting(State::new()))
}

fn anywhere() -> Endpoint {
    Endpoint::tcp("127.0.0.1:0")
}

async fn refused(builder: ServerBuilder) -> ServeError {
    builder.bind().await.unwrap_err()
}

#[tokio::test]
async fn a_server_without_a_policy_an_audit_log_a_service_or_a_port_does_not_start() {
    let whole = || builder().policy(policy(ROW)).audit(AuditLog::memory());
    let without_port = whole().service(greeter());
    assert!(matches!(refused(without_port).await, ServeError::NothingToListenAt));
    let without_service = whole().listen(anywhere());
    assert!(matches!(refused(without_service).await, ServeError::NoService));
    let base = || builder().service(greeter()).listen(anywhere());
    let without_policy = base().audit(AuditLog::memory());
    assert!(matches!(refused(without_policy).await, ServeError::NoPolicy));
    assert!(matches!(refused(base().policy(policy(ROW))).await, ServeError::NoAudit));
    assert!(whole().service(greeter()).listen(anywhere()).bind().await.is_ok());
}

#[tokio::test]
async fn a_policy_with_any_error_keeps_a_server_from_starting_and_says_where() {
    for (rows, line, column) in [
        ("alice | people/* | greet | alow\n", 2, 28),
        ("alice | people/* | greet\n", 2, 25),
        ("alise | people/* | greet | allow\n", 2, 1),
        ("alice | people/* | great | allow\n", 2, 20),
        ("alice | person/* | greet | allow\n", 2, 9),
    ] {
        let server = builder()
            .policy(policy(rows))
            .audit(AuditLog::memory())
            .service(greeter())
            .listen(anywhere());
        let ServeError::Policy(errors) = refused(server).await else { panic!("{rows}") };
        let text = format!("{:?}", miette::Report::new(errors));
        assert!(text.contains(&format!("policy.acl:{line}:{column}")), "{line}:{column} in {text}");
    }
}

#[tokio::test]
async fn two_services_with_the_same_methods_do_not_share_a_server() {
    let twice = builder()
        .policy(policy(ROW))
        .audit(AuditLog::memory())
        .service(greeter())
        .service(greeter())
        .listen(anywhere());
    let error = refused(twice).await;
    assert!(matches!(error, ServeError::DuplicateMethod(_)), "{error:?}");
}

#[tokio::test]
async fn limits_out_of_range_are_refused_at_both_ends() {
    let limits = Limits { max_frame: 100, ..Limits::default() };
    let server = builder()
        .policy(policy(ROW))
        .audit(AuditLog::memory())
        .service(greeter())
        .listen(anywhere())
        .limits(limits.clone());
    assert!(matches!(refused(server).await, ServeError::Limits(_)));

    let world = World::start().await;
    let config = ChannelConfig { limits, ..ChannelConfig::default() };
    let alice = test_identity("alice");
    let dialled = Channel::connect_with(world.endpoint(), world.server, alice, config).await;
    assert!(matches!(dialled, Err(ConnectError::Limits(_))), "{dialled:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_what_to_do() {
    let world = World::start().await;
    let taken = builder()
        .policy(policy(ROW))
        .audit(AuditLog::memory())
        .service(greeter())
        .listen(world.endpoint());
    let error = refused(taken).await;
    assert!(matches!(&error, ServeError::Bind { endpoint, .. } if *endpoint == world.endpoint()));
    assert!(format!("{:?}", miette::Report::new(error)).contains("another process has this port"));
}

#[tokio::test]
async fn an_audit_file_that_is_not_safe_to_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    assert!(AuditLog::open(folder.path()).is_err(), "a folder");
    assert!(AuditLog::open(folder.path().join("no/such/folder")).is_err());
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(AuditLog::open(&path).is_err(), "others may write it");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let held = AuditLog::open(&path).unwrap();
    assert!(AuditLog::open(&path).is_err(), "somebody writes it");
    drop(held);
    std::fs::write(&path, "{\"v\":1}\n").unwrap();
    assert!(AuditLog::open(&path).is_err(), "it has been tampered with");
}

#[tokio::test]
async fn a_stopped_server_frees_its_port_for_the_next() {
    let mut world = World::start().await;
    let endpoint = world.endpoint();
    world.stop();
    world.drained().await;
    let next = builder()
        .policy(policy(ROW))
        .audit(AuditLog::memory())
        .service(greeter())
        .listen(endpoint)
        .bind();
    let next = tokio::time::timeout(Duration::from_secs(5), next).await.unwrap();
    assert!(next.is_ok(), "{next:?}");
}
