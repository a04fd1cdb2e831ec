//! A link does what its configuration says, measured.

use std::net::SocketAddr;
use std::time::Duration;

use super::link::{Counts, Fate, Link, LinkConfig, LinkConfigError, datagram_limit};

const SEEDS: [u64; 3] = [1, 2, 3];
const SENT: u32 = 100_000;
const LENGTH: usize = 100;
const MS: Duration = Duration::from_millis(1);

fn v4() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1000))
}

fn v6() -> SocketAddr {
    SocketAddr::from(([1, 2, 3, 4, 5, 6, 7, 8], 1000))
}

/// Sends `SENT` datagrams, a millisecond apart, and returns when each copy arrived.
fn run(config: LinkConfig, seed: u64) -> (Vec<Fate>, Counts) {
    let mut link = Link::new(config, seed).unwrap();
    let fates = (0..SENT).map(|number| link.judge(LENGTH, v4(), MS * number)).collect();
    (fates, link.counts())
}

/// Whether `hits` of `of` are within three standard deviations of what `rate` lets expect.
fn within_three_sigma(hits: u64, of: u64, rate: f64) -> bool {
    let (hits, of) =
        (f64::from(u32::try_from(hits).unwrap()), f64::from(u32::try_from(of).unwrap()));
    let sigma = (of * rate * (1.0 - rate)).sqrt();
    (hits - of * rate).abs() <= 3.0 * sigma
}

#[test]
fn every_rate_is_met_within_three_sigma() {
    let config = LinkConfig {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.2,
        corrupt: 0.01,
        ..LinkConfig::default()
    };
    for seed in SEEDS {
        let (fates, counts) = run(config.clone(), seed);
        let lost = fates.iter().filter(|fate| **fate == Fate::Lost).count() as u64;
        assert_eq!((counts.sent, counts.lost), (u64::from(SENT), lost), "seed {seed}");
        assert!(within_three_sigma(counts.lost, counts.sent, 0.3), "seed {seed}: {counts:?}");
        let arrived = counts.sent - counts.lost;
        assert!(within_three_sigma(counts.duplicated, arrived, 0.1), "seed {seed}: {counts:?}");
        assert_eq!(counts.arriving, arrived + counts.duplicated, "seed {seed}");
        assert!(
            within_three_sigma(counts.reordered, counts.arriving, 0.2),
            "seed {seed}: {counts:?}"
        );
        assert!(
            within_three_sigma(counts.corrupted, counts.arriving, 0.01),
            "seed {seed}: {counts:?}"
        );
    }
}

#[test]
fn losses_come_independently_of_each_other() {
    for seed in SEEDS {
        let (fates, _) = run(LinkConfig { loss: 0.3, ..LinkConfig::default() }, seed);
        let pairs = fates.windows(2).filter(|pair| pair.iter().all(|fate| *fate == Fate::Lost));
        assert!(within_three_sigma(pairs.count() as u64, u64::from(SENT) - 1, 0.09), "seed {seed}");
    }
}

#[test]
fn the_default_link_has_no_faults_and_takes_no_time() {
    let (fates, counts) = run(LinkConfig::default(), 1);
    let plain = Counts { sent: SENT.into(), arriving: SENT.into(), ..Counts::default() };
    assert_eq!(counts, plain);
    for fate in fates {
        let Fate::Arrives { first, again: None } = fate else { panic!("{fate:?}") };
        assert_eq!(first.after, Duration::ZERO);
    }
}

#[test]
fn rates_of_one_hit_everything() {
    let (_, counts) = run(LinkConfig { loss: 1.0, ..LinkConfig::default() }, 1);
    assert_eq!(counts.lost, u64::from(SENT));
    let all = LinkConfig { duplicate: 1.0, corrupt: 1.0, reorder: 1.0, ..LinkConfig::default() };
    let (_, counts) = run(all, 1);
    let twice = 2 * u64::from(SENT);
    assert_eq!((counts.arriving, counts.corrupted, counts.reordered), (twice, twice, twice));
}

#[test]
fn nothing_overtakes_unless_it_is_said_so() {
    let jitter = LinkConfig { delay: MS * 5..MS * 50, duplicate: 0.2, ..LinkConfig::default() };
    assert!(arrivals(&run(jitter, 1).0).is_sorted());

    let config =
        LinkConfig { delay: MS * 5..MS * 5, reorder: 0.1, hold: MS * 200, ..LinkConfig::default() };
    let (fates, counts) = run(config, 1);
    let arrivals = arrivals(&fates);
    let overtaken = arrivals.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    // All that are held back for more than a millisecond, unless the next one is too, and longer.
    assert!(overtaken > counts.reordered * 9 / 10 && overtaken <= counts.reordered, "{overtaken}");
    let delays = (0..).zip(&arrivals).map(|(number, at)| *at - MS * number);
    assert_eq!(delays.clone().min(), Some(MS * 5));
    assert!(delays.max().is_some_and(|longest| longest > MS * 200 && longest <= MS * 205));
}

#[test]
fn links_of_one_seed_have_chances_of_their_own() {
    let config = LinkConfig { loss: 0.5, ..LinkConfig::default() };
    let fates = |number| {
        let mut link = Link::numbered(config.clone(), 7, number).unwrap();
        (0..100).map(|_| link.judge(LENGTH, v4(), MS)).collect::<Vec<_>>()
    };
    assert_eq!(fates(0), fates(0));
    assert_ne!(fates(0), fates(1));
}

#[test]
fn delays_fill_their_range_and_do_not_leave_it() {
    let config = LinkConfig { delay: MS * 10..MS * 20, ..LinkConfig::default() };
    let mut link = Link::new(config, 1).unwrap();
    let mut delays = Vec::new();
    for number in 0..10_000 {
        // Far apart, so that none waits for the one before.
        let fate = link.judge(LENGTH, v4(), MS * 100 * number);
        let Fate::Arrives { first, .. } = fate else { panic!("{fate:?}") };
        delays.push(first.after);
    }
    assert!(delays.iter().all(|delay| (MS * 10..MS * 20).contains(delay)));
    let mean = delays.iter().sum::<Duration>() / 10_000;
    assert!((mean.as_secs_f64() - 0.015).abs() < 0.0001, "{mean:?}");
}

#[test]
fn corruption_flips_one_bit_and_every_bit_in_its_turn() {
    let mut link = Link::new(LinkConfig { corrupt: 1.0, ..LinkConfig::default() }, 1).unwrap();
    let mut seen = [0_u32; 32];
    for _ in 0..3_200 {
        let Fate::Arrives { first, .. } = link.judge(4, v4(), Duration::ZERO) else { panic!() };
        let mut datagram = [0; 4];
        first.apply(&mut datagram);
        let word = u32::from_le_bytes(datagram);
        assert_eq!(word.count_ones(), 1);
        seen[word.trailing_zeros() as usize] += 1;
    }
    assert!(seen.iter().all(|&times| (50..=150).contains(&times)), "{seen:?}");

    let Fate::Arrives { first, .. } = link.judge(0, v4(), Duration::ZERO) else { panic!() };
    first.apply(&mut []); // nothing to flip
}

#[test]
fn the_path_drops_what_exceeds_its_mtu_and_the_first_hop_says_so() {
    let path = LinkConfig { mtu: 1_280, first_hop_mtu: 1_500, ..LinkConfig::default() };
    for (to, headers) in [(v4(), 28), (v6(), 48)] {
        let mut link = Link::new(path.clone(), 1).unwrap();
        let mut judge = |length| link.judge(length, to, Duration::ZERO);
        assert!(matches!(judge(1_280 - headers), Fate::Arrives { .. }));
        assert_eq!(judge(1_280 - headers + 1), Fate::Lost);
        assert_eq!(judge(1_500 - headers), Fate::Lost);
        assert_eq!(judge(1_500 - headers + 1), Fate::TooBig);
        let counts = link.counts();
        assert_eq!((counts.arriving, counts.over_mtu, counts.too_big), (1, 2, 1));
    }
    assert_eq!(datagram_limit(20, v4()), 0);
}

#[test]
fn nothing_sent_during_a_partition_arrives_and_all_else_does() {
    let partitions = vec![MS * 100..MS * 200, MS * 500..MS * 501];
    let (fates, counts) = run(LinkConfig { partitions, ..LinkConfig::default() }, 1);
    let lost: Vec<usize> = (0..fates.len()).filter(|&number| fates[number] == Fate::Lost).collect();
    let expected: Vec<usize> = (100..200).chain([500]).collect();
    assert_eq!(lost, expected);
    assert_eq!(counts.partitioned, 101);
}

#[test]
fn the_seed_decides() {
    let config = LinkConfig { loss: 0.3, duplicate: 0.1, corrupt: 0.1, ..LinkConfig::default() };
    assert_eq!(run(config.clone(), 7).0, run(config.clone(), 7).0);
    assert_ne!(run(config.clone(), 7).0, run(config, 8).0);
}

#[test]
fn rates_and_delays_that_cannot_be_are_refused() {
    for rate in [-0.1, 1.1, f64::INFINITY] {
        for (name, config) in [
            ("loss", LinkConfig { loss: rate, ..LinkConfig::default() }),
            ("duplicate", LinkConfig { duplicate: rate, ..LinkConfig::default() }),
            ("reorder", LinkConfig { reorder: rate, ..LinkConfig::default() }),
            ("corrupt", LinkConfig { corrupt: rate, ..LinkConfig::default() }),
        ] {
            let refused = Link::new(config, 1).unwrap_err();
            assert_eq!(refused, LinkConfigError::Rate { name, rate });
        }
    }
    let not_a_number = LinkConfig { loss: f64::NAN, ..LinkConfig::default() };
    assert!(matches!(Link::new(not_a_number, 1), Err(LinkConfigError::Rate { name: "loss", .. })));
    let backwards =
        LinkConfig { delay: Duration::from_secs(1)..Duration::ZERO, ..LinkConfig::default() };
    assert_eq!(Link::new(backwards, 1).unwrap_err(), LinkConfigError::Delay);
}

/// When the copies arrive, in the order in which they were made.
fn arrivals(fates: &[Fate]) -> Vec<Duration> {
    let mut arrivals = Vec::new();
    for (number, fate) in (0..).zip(fates) {
        if let Fate::Arrives { first, again } = fate {
            arrivals
                .extend([*first].into_iter().chain(*again).map(|copy| MS * number + copy.after));
        }
    }
    arrivals
}
