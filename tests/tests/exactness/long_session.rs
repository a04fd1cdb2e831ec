//! Sessions that carry answers of all sizes without a pause.

use std::time::Duration;

use bailiwick_tests::lab::{Kind, Lab, Plan, lab_limits};
use bailiwick_tests::sim::{LinkConfig, datagram_limit};

const MS: Duration = Duration::from_millis(1);

/// Answers that fill much of a packet, for a path with this MTU.
fn answers(mtu: usize, count: usize) -> Vec<Kind> {
    let limit = datagram_limit(mtu, bailiwick_tests::lab::server_address());
    let near = |index: usize| limit.saturating_sub(40 + 17 * (index % 30));
    (0..count).map(|index| Kind::Fill(u32::try_from(near(index)).unwrap())).collect()
}

/// Nobody acknowledges an answer that fits a packet: it must not count against the window for ever.
#[test]
fn answers_that_fill_packets_never_silence_a_server() {
    for (seed, mtu) in [(61, 1_500), (62, 9_000), (63, 65_535)] {
        println!("seed {seed}, MTU {mtu}");
        let mut lab = Lab::new(seed, &lab_limits(), vec![Plan::calls(answers(mtu, 600), 8)]);
        lab.set_links(&LinkConfig { delay: MS..MS, mtu, ..LinkConfig::default() });
        lab.run(Duration::from_secs(60)).unwrap();
        assert_eq!(lab.verify().answered, 600);
        let slowest = lab.caller(0).ended().iter().map(|ended| ended.took).max().unwrap();
        assert!(slowest < 100 * MS, "a call without loss took {slowest:?}");
        assert_eq!(lab.host().most().connections, 1);
    }
}

#[test]
fn answers_arrive_though_the_path_becomes_narrower_under_way() {
    let seed = 64;
    println!("seed {seed}");
    let mut lab = Lab::new(seed, &lab_limits(), vec![Plan::calls(answers(1_500, 400), 8)]);
    let wide = LinkConfig { delay: MS..MS, mtu: 1_500, ..LinkConfig::default() };
    lab.set_links(&wide);
    let caller = lab.callers()[0];
    lab.world
        .run_until(Duration::from_secs(10), |world| world.node(caller).caller().ended().len() > 200)
        .unwrap();
    lab.set_links(&LinkConfig { mtu: 1_280, ..wide });
    lab.run(Duration::from_secs(60)).unwrap();
    assert_eq!(lab.verify().answered, 400);
    let slowest = lab.caller(0).ended().iter().map(|ended| ended.took).max().unwrap();
    println!("the slowest took {slowest:?}");
    assert!(slowest < Duration::from_secs(10));
}
