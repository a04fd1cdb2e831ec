//! What clients are told, and how their commands end.

use crate::programs::support::World;

#[test]
fn a_transfer_is_in_both_books_and_a_refused_one_in_neither() {
    let (world, _nodes) = World::opened();
    world.call("alice", "transfer p1/alice p2/bob 30").done("committed ");
    let balances = || {
        world.call("alice", "balance p1/alice").done("p1/alice 70\n");
        world.call("bob", "balance p2/bob").done("p2/bob 80\n");
    };
    balances();
    let refused = [
        ("transfer p1/alice p2/bob 71", "not enough in account `alice`"),
        ("transfer p1/alice p2/nobody 1", "no account `nobody`"),
        ("transfer p1/alice p9/bob 1", "there is no participant p9"),
    ];
    for (command, words) in refused {
        world.call("alice", command).failed(1, &[words]);
    }
    balances();
}

#[test]
fn what_is_no_transfer_is_usage_and_nothing_is_sent() {
    // There is no node to send it to.
    let world = World::new();
    let wrong = [
        ("transfer p1/alice p2/bob 0", "0"),
        ("transfer p1/alice p2/bob -5", "-5"),
        ("transfer p1/alice p2/bob 1.5", "1.5"),
        ("transfer p1/alice p2/bob 9223372036854775808", "9223372036854775808"),
        ("transfer p1/alice p1/alice 5", "named twice"),
        ("transfer alice p2/bob 5", "alice"),
        ("transfer p1/../bob p2/bob 5", "p1/../bob"),
        ("balance p1/alice p1/alice", "named twice"),
        ("balance", "ACCOUNTS"),
        ("outcome 12", "12"),
        ("resolve --at p7 00000000000000000000000000000000.1.1 abort", "no participant p7"),
    ];
    for (command, words) in wrong {
        world.call("alice", command).failed(2, &[words]);
    }
    world.call("nobody", "balance p1/alice").failed(2, &["nobody.key"]);
    world.write("nodes", "coordinator nowhere\n");
    world.call("alice", "balance p1/alice").failed(2, &["nodes:1"]);
}

#[test]
fn each_may_do_what_the_policy_says_and_nothing_else() {
    let (world, _nodes) = World::opened();
    let name = "00000000000000000000000000000000.1.1";
    let denied = [
        ("bob", "transfer p1/alice p2/bob 10".to_owned()),
        ("bob", "balance p1/alice".to_owned()),
        ("alice", "balance p1/alice p2/bob".to_owned()),
        ("alice", "in-doubt".to_owned()),
        ("alice", format!("resolve --at p1 {name} commit")),
        ("coordinator", "transfer p1/alice p2/bob 10".to_owned()),
        ("operator", "transfer p1/alice p2/bob 10".to_owned()),
        ("p1", "transfer p1/alice p2/bob 10".to_owned()),
    ];
    for (who, command) in denied {
        let ran = world.call(who, &command);
        // Whom the coordinator's policy does not name at all it does not admit.
        assert_eq!(ran.code, Some(3), "{who} {command}: {ran:?}");
    }
    world.call("mallory", "balance p1/alice").failed(3, &["does not admit the key"]);
    world.call("alice", "balance p1/alice").done("p1/alice 100\n");
    let not_there = format!("resolve --at p1 {name} commit");
    world.call("operator", &not_there).failed(1, &["is not in doubt here"]);
}

#[test]
fn a_coordinator_with_another_key_is_told_nothing() {
    let (world, _nodes) = World::opened();
    let other = world.key("mallory").to_string();
    let nodes = world.read("nodes").replace(&world.key("coordinator").to_string(), &other);
    world.write("nodes", &nodes);
    world.call("alice", "transfer p1/alice p2/bob 5").failed(5, &["not the server with this key"]);
}

#[test]
fn without_a_coordinator_nothing_is_begun() {
    let world = World::new();
    world.call("alice", "transfer p1/alice p2/bob 5").failed(5, &["cannot reach tcp://"]);
}
