use super::*;

const DELAY: Duration = Duration::from_millis(5);

struct World {
    reassembly: Reassembly,
    pool: Arc<ReassemblyPool>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with_pool(ReassemblyPool::new(64 << 20))
    }

    fn with_pool(pool: Arc<ReassemblyPool>) -> Self {
        let reassembly = Reassembly::new(65_536, Arc::clone(&pool));
        Self { reassembly, pool, now: Instant::now() }
    }

    fn receive(&mut self, message: u32, index: u16, count: u16, bytes: &[u8]) -> Option<Vec<u8>> {
        let fragment = fragment(message, index, count, bytes);
        self.reassembly.receive(&fragment, DELAY, self.now).unwrap()
    }

    /// The acknowledgements that are due: message, count, and what they say is here.
    fn acks(&mut self) -> Vec<(u32, u16, Vec<u16>)> {
        let mut acks = Vec::new();
        while let Some(size) = self.reassembly.ack_size(self.now) {
            let mut content = Vec::new();
            self.reassembly.write_ack(self.now, &mut content);
            assert_eq!(content.len(), size);
            let number = u32::from_be_bytes(content[..4].try_into().unwrap());
            let count = u16::from_be_bytes(content[4..6].try_into().unwrap());
            let is_set =
                |index: &u16| content[6 + usize::from(index / 8)] & (0x80 >> (index % 8)) != 0;
            acks.push((number, count, (0..count).filter(is_set).collect()));
        }
        acks
    }

    /// Whether the message was killed.
    fn is_killed(&mut self, message: u32) -> bool {
        self.acks().contains(&(message, 0, vec![]))
    }
}

fn fragment(message: u32, index: u16, count: u16, bytes: &[u8]) -> Vec<u8> {
    let numbers = [&message.to_be_bytes()[..], &index.to_be_bytes(), &count.to_be_bytes()];
    [&numbers.concat(), bytes].concat()
}

#[test]
fn a_message_is_whole_in_whatever_order_its_fragments_come() {
    let pieces: [&[u8]; 4] = [b"aaa", b"bbb", b"ccc", b"d"];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [3, 0, 1, 2], [1, 3, 0, 2]];
    for (message, order) in (0..).zip(orders) {
        let mut world = World::new();
        let mut whole = None;
        for index in order {
            assert_eq!(whole, None);
            whole = world.receive(message, index, 4, pieces[usize::from(index)]);
        }
        assert_eq!(whole.as_deref(), Some(&b"aaabbbcccd"[..]), "{order:?}");
        assert_eq!(world.pool.used(), 0);
        assert_eq!(world.reassembly.held, 0);
    }
}

#[test]
fn a_message_of_one_fragment_is_whole_at_once() {
    let mut world = World::new();
    assert_eq!(world.receive(0, 0, 1, b"x").as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_message_comes_out_once_and_what_comes_again_is_acknowledged_in_full() {
    let mut world = World::new();
    world.receive(0, 1, 2, b"b");
    assert!(world.receive(0, 0, 2, b"a").is_some());
    assert_eq!(world.acks(), [(0, 2, vec![0, 1])]);
    for index in [0, 1] {
        assert_eq!(world.receive(0, index, 2, b"a"), None);
        assert_eq!(world.acks(), [(0, 2, vec![0, 1])]);
    }
}

#[test]
fn fragments_in_order_are_acknowledged_eight_at_a_time() {
    let mut world = World::new();
    for index in 0..7 {
        world.receive(0, index, 20, b"x");
        assert_eq!(world.acks(), []);
    }
    world.receive(0, 7, 20, b"x");
    assert_eq!(world.acks(), [(0, 20, (0..8).collect())]);
    world.receive(0, 8, 20, b"x");
    assert_eq!(world.acks(), []);
    world.now += DELAY;
    assert_eq!(world.reassembly.next_timeout(), Some(world.now));
    assert_eq!(world.acks(), [(0, 20, (0..9).collect())]);
}

#[test]
fn a_gap_a_repetition_and_the_end_are_acknowledged_at_once() {
    let mut world = World::new();
    world.receive(0, 0, 5, b"x");
    world.receive(0, 2, 5, b"x");
    assert_eq!(world.acks(), [(0, 5, vec![0, 2])]);
    world.receive(0, 2, 5, b"x");
    assert_eq!(world.acks(), [(0, 5, vec![0, 2])]);
    for index in [3, 4] {
        world.receive(0, index, 5, b"x");
    }
    assert_eq!(world.acks(), []);
    world.receive(0, 1, 5, b"x");
    assert_eq!(world.acks(), [(0, 5, vec![0, 1, 2, 3, 4])]);
}

#[test]
fn a_fragment_that_disagrees_kills_its_message() {
    let disagreeing: [(&str, u16, u16, &[u8]); 6] = [
        ("another count", 1, 5, b"bbb"),
        ("a shorter piece", 1, 4, b"bb"),
        ("a longer piece", 1, 4, b"bbbb"),
        ("other bytes", 0, 4, b"aba"),
        ("the same bytes and more", 0, 4, b"aaaa"),
        ("a last piece that is longer", 3, 4, b"dddd"),
    ];
    for (name, index, count, bytes) in disagreeing {
        let mut world = World::new();
        world.receive(0, 0, 4, b"aaa");
        world.receive(1, 0, 4, b"aaa");
        assert_eq!(world.receive(0, index, count, bytes), None, "{name}");
        assert!(world.is_killed(0), "{name}");
        for index in 0..4 {
            assert_eq!(world.receive(0, index, 4, b"aaa"), None, "{name}");
            assert!(world.is_killed(0), "{name}");
        }
        for index in 1..4 {
            assert_eq!(world.receive(1, index, 4, b"aaa").is_some(), index == 3, "{name}");
        }
    }
}

#[test]
fn a_first_piece_shorter_than_the_last_kills_the_message() {
    let mut world = World::new();
    world.receive(0, 1, 2, b"bbb");
    assert_eq!(world.receive(0, 0, 2, b"aa"), None);
    assert!(world.is_killed(0));
}

#[test]
fn what_is_no_fragment_breaks_the_protocol_and_takes_no_memory() {
    let mut world = World::new();
    let no_fragments = [
        vec![],
        fragment(0, 0, 1, b"x")[..7].to_vec(),
        fragment(0, 0, 1, b""),
        fragment(0, 0, 0, b"x"),
        fragment(0, 1, 1, b"x"),
        fragment(0, 0, 1025, b"x"),
        fragment(0, 0, u16::MAX, b"x"),
        fragment(u32::MAX, 0, 1, b"x"),
    ];
    for content in no_fragments {
        let refused = world.reassembly.receive(&content, DELAY, world.now);
        assert_eq!(refused, Err(ProtocolError::RecordRule), "{content:?}");
    }
    assert_eq!(world.reassembly.open.capacity(), 0);
    assert_eq!(world.pool.used(), 0);
}

#[test]
fn memory_follows_the_bytes_that_came_and_not_what_was_claimed() {
    let mut world = World::new();
    world.receive(0, 1022, 1024, &[0; 60]);
    world.receive(0, 5, 1024, &[0; 60]);
    let message = &world.reassembly.open[0];
    assert!(message.body.capacity() <= 4 * 120, "{}", message.body.capacity());
    assert_eq!(world.pool.used(), 120 + size_of::<Message>());
}

#[test]
fn a_message_longer_than_we_take_is_killed_as_soon_as_that_is_known() {
    let mut world = World::new();
    // 64 pieces but the last of 1,024 bytes: one byte of the last is too much.
    world.receive(0, 0, 65, &[0; 1024]);
    assert!(world.is_killed(0));
    world.receive(1, 0, 64, &[0; 1024]);
    assert!(!world.is_killed(1));
    world.receive(2, 1, 2, &[0; 40_000]);
    assert!(!world.is_killed(2));
    world.receive(2, 0, 2, &[0; 40_000]);
    assert!(world.is_killed(2));
}

#[test]
fn no_connection_holds_more_than_a_mebibyte() {
    let mut world = World::new();
    for message in 0..64 {
        world.receive(message, 0, 2, &[0; 32_768]);
        world.acks();
    }
    assert!(world.reassembly.held <= MAX_HELD, "{}", world.reassembly.held);
    assert!(world.reassembly.open.len() >= 31, "{}", world.reassembly.open.len());
}

#[test]
fn all_connections_share_one_pool_and_give_back_what_they_took() {
    let pool = ReassemblyPool::new(100_000);
    let mut first = World::with_pool(Arc::clone(&pool));
    let mut second = World::with_pool(Arc::clone(&pool));
    first.receive(0, 0, 2, &[0; 32_768]);
    first.receive(1, 0, 2, &[0; 32_768]);
    second.receive(0, 0, 2, &[0; 32_768]);
    assert!(!second.is_killed(0));
    second.receive(1, 0, 2, &[0; 32_768]);
    assert!(second.is_killed(1));
    first.receive(0, 1, 2, b"x").unwrap();
    second.receive(2, 0, 2, &[0; 32_768]);
    assert!(!second.is_killed(2));
    drop((first, second));
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_message_without_news_for_five_seconds_is_dropped() {
    let mut world = World::new();
    world.receive(0, 0, 3, b"x");
    world.acks();
    world.now += Duration::from_secs(4);
    world.receive(0, 1, 3, b"x");
    world.acks();
    world.now += Duration::from_secs(4);
    world.reassembly.handle_timeout(world.now);
    assert_eq!(world.reassembly.open.len(), 1);
    world.now += Duration::from_secs(1);
    world.acks();
    assert_eq!(world.reassembly.next_timeout(), Some(world.now));
    world.reassembly.handle_timeout(world.now);
    assert!(world.reassembly.open.is_empty());
    assert_eq!(world.receive(0, 2, 3, b"x"), None);
    assert!(world.is_killed(0));
    assert_eq!(world.pool.used(), 0);
}

#[test]
fn only_the_64_latest_messages_are_known() {
    let mut world = World::new();
    world.receive(10, 0, 2, b"x");
    world.receive(11, 0, 2, b"x");
    world.receive(74, 0, 2, b"x");
    world.acks();
    // 10 is older than the 64 latest, 11 is not.
    assert_eq!(world.receive(10, 1, 2, b"x"), None);
    assert_eq!(world.acks(), []);
    assert!(world.receive(11, 1, 2, b"x").is_some());
    assert!(world.receive(12, 0, 1, b"x").is_some(), "it was overtaken");
    world.acks();
    world.receive(u32::MAX - 1, 0, 2, b"x");
    assert_eq!(world.reassembly.open.len(), 1);
    assert_eq!(world.receive(74, 1, 2, b"x"), None);
    world.now += DELAY;
    assert_eq!(world.acks(), [(u32::MAX - 1, 2, vec![0])]);
    assert!(world.receive(u32::MAX - 1, 1, 2, b"x").is_some());
    assert_eq!(world.receive(u32::MAX - 1, 1, 2, b"x"), None);
}

#[test]
fn however_many_messages_begin_no_more_than_64_are_open() {
    let mut world = World::new();
    for message in 0..10_000 {
        world.receive(message * 7 % 5000, 0, 2, b"x");
        assert!(world.reassembly.open.len() <= 64);
    }
    world.reassembly.clear();
    assert_eq!(world.pool.used(), 0);
}
