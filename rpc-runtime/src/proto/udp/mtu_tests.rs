use super::*;

const RTO: Duration = Duration::from_millis(100);

/// A path that carries datagrams up to `carries`; the local interface refuses above `local`.
struct World {
    mtu: Mtu,
    carries: usize,
    local: usize,
    now: Instant,
    probes: Vec<usize>,
}

impl World {
    fn new(carries: usize, local: usize, hint: Option<u16>) -> Self {
        let now = Instant::now();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let mtu = Mtu::new(peer, hint, now);
        Self { mtu, carries, local, now, probes: Vec::new() }
    }

    /// One turn with traffic. Whether a probe left.
    fn turn(&mut self) -> bool {
        self.mtu.traffic();
        let Some(probe) = self.mtu.probe(self.now, RTO) else { return false };
        self.probes.push(probe.size);
        if probe.size > self.local {
            assert!(!self.mtu.too_big(probe.size, self.now));
        } else if probe.size <= self.carries {
            assert!(self.mtu.answered(probe.token, probe.size, self.now));
        } else {
            self.now = self.mtu.next_timeout().unwrap();
            self.mtu.handle_timeout(self.now);
        }
        true
    }

    fn search(&mut self) -> usize {
        while self.turn() {}
        self.mtu.current()
    }
}

#[test]
fn it_climbs_to_what_the_path_carries() {
    for (carries, found) in [(1200, 1200), (1300, 1232), (1472, 1472), (9000, 8972)] {
        let mut world = World::new(carries, 65_507, None);
        assert_eq!(world.search(), found, "{carries}");
        let last = world.probes.iter().rev().take_while(|size| **size > found);
        assert_eq!(last.count(), usize::from(MAX_PROBES), "{:?}", world.probes);
    }
    let mut world = World::new(65_507, 65_507, None);
    assert_eq!(world.search(), 65_507);
    assert_eq!(world.probes, LADDER_V4);
}

#[test]
fn what_the_interface_carries_is_asked_about_first() {
    let mut world = World::new(1472, 1472, Some(1472));
    assert_eq!(world.search(), 1472);
    assert_eq!(world.probes, [1472]);
    let mut world = World::new(65_507, 65_507, Some(u16::MAX));
    assert_eq!(world.search(), 65_507);
    assert_eq!(world.probes, [65_507]);
    let mut narrow = World::new(1410, 1472, Some(1472));
    assert_eq!(narrow.search(), 1400);
    assert_eq!(narrow.probes, [1472, 1472, 1472, 1232, 1400]);
}

#[test]
fn the_operating_systems_refusal_ends_the_search_at_once() {
    let mut world = World::new(1472, 1472, None);
    assert_eq!(world.search(), 1472);
    assert_eq!(world.probes, [1232, 1400, 1472, 4096]);
}

#[test]
fn a_search_is_repeated_after_ten_minutes() {
    let mut world = World::new(1472, 1472, None);
    world.search();
    (world.carries, world.local) = (65_507, 65_507);
    world.now += RAISE - Duration::from_secs(1);
    assert_eq!(world.search(), 1472);
    world.now += Duration::from_secs(1);
    assert_eq!(world.search(), 65_507);
}

#[test]
fn nothing_is_asked_without_traffic() {
    let mut world = World::new(65_507, 65_507, None);
    assert_eq!(world.mtu.probe(world.now, RTO), None);
    world.mtu.traffic();
    assert!(world.mtu.probe(world.now, RTO).is_some());
    assert_eq!(world.mtu.probe(world.now, RTO), None);
}

#[test]
fn an_answer_of_another_size_or_to_an_older_probe_raises_nothing() {
    let mut world = World::new(65_507, 65_507, None);
    world.mtu.traffic();
    let probe = world.mtu.probe(world.now, RTO).unwrap();
    assert!(world.mtu.answered(probe.token, probe.size - 1, world.now));
    assert!(!world.mtu.answered([0; 8], probe.size, world.now));
    assert_eq!(world.mtu.current(), BASE);
    world.mtu.handle_timeout(world.now + RTO);
    world.mtu.traffic();
    let again = world.mtu.probe(world.now, RTO).unwrap();
    assert_eq!(again.size, probe.size);
    assert!(!world.mtu.answered(probe.token, probe.size, world.now));
    assert_eq!(world.mtu.current(), BASE);
}

#[test]
fn large_packets_that_vanish_bring_it_down_and_it_climbs_again() {
    let mut world = World::new(8972, 65_507, None);
    world.search();
    for _ in 0..5 {
        assert!(!world.mtu.lost(8972, world.now));
    }
    world.mtu.passed(8972);
    for _ in 0..5 {
        assert!(!world.mtu.lost(8972, world.now));
        world.mtu.passed(1200);
        assert!(!world.mtu.lost(1200, world.now));
    }
    assert!(world.mtu.lost(8972, world.now));
    assert_eq!(world.mtu.current(), BASE);
    assert!(!world.mtu.lost(8972, world.now), "sent before it fell");
    world.carries = 1400;
    assert_eq!(world.search(), 1400);
}

#[test]
fn a_refusal_of_what_passed_before_brings_it_down() {
    let mut world = World::new(8972, 8972, None);
    assert_eq!(world.search(), 8972);
    (world.carries, world.local) = (1472, 1472);
    assert!(world.mtu.too_big(8972, world.now));
    assert_eq!(world.mtu.current(), BASE);
    assert_eq!(world.search(), 1472);
}

#[test]
fn ipv6_has_its_own_sizes() {
    let now = Instant::now();
    let v6 = Mtu::new("[::1]:1".parse().unwrap(), None, now);
    assert_eq!(v6.ladder, LADDER_V6);
    let mapped = Mtu::new("[::ffff:127.0.0.1]:1".parse().unwrap(), None, now);
    assert_eq!(mapped.ladder, LADDER_V4);
}
