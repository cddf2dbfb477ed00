//! Turns, memory, and above all: the position after each message says exactly what was handled.

use std::collections::BTreeMap;

use super::*;

/// A message of the tests: whose it is, where it stands, how many lines it has.
#[derive(Debug, Clone, Copy)]
struct Sent {
    shop: &'static str,
    sequence: u64,
    lines: usize,
}

fn shop(name: &str) -> Shop {
    Shop::parse(name).expect("it is one")
}

/// A window that was offered messages of these shops, with that many lines each.
fn window(sent: &[(&'static str, usize)]) -> Window<Sent> {
    let mut window = Window::new(Position::default());
    for (sequence, (name, lines)) in (1..).zip(sent) {
        offer(&mut window, Sent { shop: name, sequence, lines: *lines });
    }
    window
}

fn offer(window: &mut Window<Sent>, sent: Sent) {
    window.offer(shop(sent.shop), sent.sequence, sent.lines, Some(sent));
}

fn room(inputs: usize) -> BatchCapacity {
    BatchCapacity { inputs, lines: usize::MAX, at_least_one: false }
}

/// Takes so many, and returns the sequences with the position after each.
fn take(window: &mut Window<Sent>, inputs: usize) -> Vec<(u64, String)> {
    let taken = window.take(&mut room(inputs), |sent| Some(sent.lines));
    taken.into_iter().map(|(sent, position)| (sent.sequence, position.to_string())).collect()
}

fn expect(taken: &[(u64, String)], expected: &[(u64, &str)]) {
    let taken: Vec<_> = taken.iter().map(|(sequence, at)| (*sequence, at.as_str())).collect();
    assert_eq!(taken, expected);
}

#[test]
fn one_shop_is_read_in_order_and_nobody_is_named() {
    let mut window = window(&[("a", 1); 5]);
    expect(&take(&mut window, 3), &[(1, "1"), (2, "2"), (3, "3")]);
    assert_eq!(window.settle().to_string(), "3");
    expect(&take(&mut window, 9), &[(4, "4"), (5, "5")]);
    window.pass(8);
    assert_eq!(window.settle().to_string(), "8");
}

#[test]
fn a_shop_with_a_backlog_does_not_outweigh_the_order_of_another() {
    let mut sent = vec![("import", 500); 20];
    sent.extend([("small", 3), ("small", 3), ("other", 1)]);
    let mut window = window(&sent);
    let first: Vec<_> = take(&mut window, 4).into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(first, [1, 21, 22, 23]);
}

#[test]
fn the_shops_get_the_same_number_of_lines() {
    let mut sent = vec![("heavy", 100); 50];
    sent.extend(vec![("light", 5); 500]);
    let mut window = window(&sent);
    let (mut heavy, mut light) = (0, 0);
    for _ in 0..20 {
        for (sent, _) in window.take(&mut room(10), |sent| Some(sent.lines)) {
            *(if sent.shop == "heavy" { &mut heavy } else { &mut light }) += sent.lines;
        }
    }
    assert!(heavy > 0 && heavy.abs_diff(light) <= 100, "{heavy} and {light}");
}

#[test]
fn a_batch_takes_no_more_lines_than_it_has_room_for_but_one_input() {
    let mut window = window(&[("a", 30), ("b", 30), ("c", 30)]);
    let mut room = BatchCapacity { inputs: 9, lines: 40, at_least_one: false };
    let taken = window.take(&mut room, |sent| Some(sent.lines));
    assert_eq!(taken.len(), 2);
    assert!(!room.is_there());
    let mut none = BatchCapacity { inputs: 0, lines: 0, at_least_one: true };
    assert_eq!(window.take(&mut none, |sent| Some(sent.lines)).len(), 1);
}

#[test]
fn a_shop_that_was_passed_over_is_named_until_it_has_caught_up() {
    // A turn is worth 25 lines.
    let mut window = window(&[("a", 20), ("a", 20), ("b", 1), ("a", 20), ("b", 1)]);
    expect(&take(&mut window, 2), &[(1, "1"), (3, "3;a=1")]);
    assert_eq!(window.settle().to_string(), "3;a=1");
    expect(&take(&mut window, 1), &[(5, "5;a=1")]);
    expect(&take(&mut window, 1), &[(2, "5;a=3")]);
    expect(&take(&mut window, 1), &[(4, "5")]);
}

#[test]
fn a_shop_that_has_to_wait_holds_up_itself() {
    let mut window = window(&[("a", 1), ("b", 1), ("a", 1), ("b", 1)]);
    let waits = |sent: &mut Sent| (sent.shop != "a").then_some(sent.lines);
    let taken = window.take(&mut room(9), waits);
    let taken: Vec<_> =
        taken.into_iter().map(|(sent, position)| (sent.sequence, position.to_string())).collect();
    expect(&taken, &[(2, "2;a=0"), (4, "4;a=0")]);
    assert_eq!(window.len(), (2, 0));
    expect(&take(&mut window, 9), &[(1, "4;a=2"), (3, "4")]);
}

#[test]
fn by_shop_says_how_far_the_others_are_although_one_waits() {
    let mut window = window(&[("a", 1), ("a", 1), ("a", 1)]);
    take(&mut window, 1);
    assert_eq!(window.settle().to_string(), "1");
    assert_eq!(window.by_shop().to_string(), "3;a=1");
}

#[test]
fn memory_is_bounded_and_the_next_shop_finds_room() {
    let flood = (MAX_MESSAGES * 2) as u64;
    let mut window = Window::new(Position::default());
    for sequence in 1..=flood {
        offer(&mut window, Sent { shop: "flood", sequence, lines: LINES_PER_TURN });
    }
    assert!(window.len().0 <= MAX_MESSAGES / 2, "{:?}", window.len());
    assert_eq!(window.len().0 as u64 + window.left_out(), flood);
    offer(&mut window, Sent { shop: "late", sequence: flood + 1, lines: 1 });
    let taken = take(&mut window, 2);
    assert_eq!(taken.last(), Some(&(flood + 1, format!("{};flood=1", flood + 1))));

    let mut window = Window::new(Position::default());
    for sequence in 1..=40 {
        window.offer(shop("flood"), sequence, 1 << 20, Some(()));
    }
    assert!(window.in_memory().1 <= MAX_BYTES / 2, "{:?}", window.in_memory());
}

#[test]
fn the_reader_pauses_when_too_many_shops_wait() {
    let mut window = Window::new(Position::default());
    let mut sequence = 0;
    while window.has_room() {
        sequence += 1;
        window.offer(shop(&format!("s-{sequence}")), sequence, 1, Some(()));
    }
    assert_eq!(sequence, MAX_SHOPS as u64);
    window.take(&mut room(1), |()| Some(1));
    assert!(window.has_room());
}

#[test]
fn what_comes_while_the_rest_is_read_again_is_not_read_twice() {
    let mut window = Window::new("9;a=4".parse().expect("it is one"));
    let request = window.request(9);
    assert_eq!((request[0].after, request[0].until), (4, 9));
    assert_eq!(window.request(9), [], "it is requested once");
    offer(&mut window, Sent { shop: "a", sequence: 10, lines: 1 });
    assert_eq!(take(&mut window, 9), [], "it is behind what is left out");
    let again = Sent { shop: "a", sequence: 7, lines: 1 };
    window.refill(&shop("a"), 9, [(7, 1, again)]);
    expect(&take(&mut window, 9), &[(7, "9"), (10, "10")]);
    assert_eq!(window.request(9), []);
}

#[test]
fn a_shop_of_which_nothing_is_found_has_caught_up() {
    let mut window = Window::<Sent>::new("9;a=4".parse().expect("it is one"));
    window.request(9);
    assert_eq!(window.settle().to_string(), "9;a=4");
    window.refill(&shop("a"), 9, []);
    assert_eq!(window.settle().to_string(), "9");
}

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}

/// A stream, what is read of it, and what was handled.
struct Simulated {
    stream: Vec<Sent>,
    /// By shop: its messages, and how many of them were handled.
    shops: BTreeMap<&'static str, (Vec<u64>, usize)>,
    window: Window<Sent>,
    /// What the reader has read.
    read: usize,
    /// The position that the log carries.
    recorded: Position,
    requests: Vec<Request>,
}

impl Simulated {
    fn new(numbers: &mut Numbers) -> Self {
        // Messages for others lie between.
        let mut sequence = 0;
        let stream = (0..3_000).map(|_| {
            sequence += 1 + numbers.below(3);
            let shop = match numbers.below(20) {
                0..16 => "flood",
                16 => "wave",
                17 => ["s-1", "s-2", "s-3", "s-4"][numbers.below(4) as usize],
                _ => "b",
            };
            let lines = if numbers.below(50) == 0 { 400 } else { 1 + numbers.below(9) as usize };
            Sent { shop, sequence, lines }
        });
        let stream: Vec<_> = stream.collect();
        let mut shops: BTreeMap<_, (Vec<_>, usize)> = BTreeMap::new();
        for sent in &stream {
            shops.entry(sent.shop).or_default().0.push(sent.sequence);
        }
        let window = Window::new(Position::default());
        let recorded = Position::default();
        Self { stream, shops, window, read: 0, recorded, requests: Vec::new() }
    }

    fn is_done(&self) -> bool {
        self.shops.values().all(|(sequences, handled)| *handled == sequences.len())
    }

    fn step(&mut self, numbers: &mut Numbers) {
        match numbers.below(10) {
            0..4 => {
                for _ in 0..numbers.below(900) {
                    if let Some(sent) = self.stream.get(self.read)
                        && self.window.has_room()
                    {
                        offer(&mut self.window, *sent);
                        self.read += 1;
                    }
                }
                if self.read == self.stream.len() {
                    self.window.pass(1_000_000);
                }
            }
            4..8 => self.take(numbers),
            8 => self.requests.extend(self.window.request(2)),
            _ => self.answer_requests(),
        }
    }

    fn take(&mut self, numbers: &mut Numbers) {
        let mut room = room(1 + numbers.below(200) as usize);
        let held = numbers.below(40);
        let is_held = |sent: &Sent| held == 0 && sent.shop == "b";
        let taken = self.window.take(&mut room, |sent| (!is_held(sent)).then_some(sent.lines));
        for (sent, position) in taken {
            let (sequences, handled) = self.shops.get_mut(sent.shop).expect("it is one of them");
            assert_eq!(sequences[*handled], sent.sequence, "{} is not in order", sent.shop);
            *handled += 1;
            self.check(&position);
            self.recorded = position;
        }
        let position = self.window.settle().clone();
        self.check(&position);
        self.check(&self.window.by_shop());
        if numbers.below(3) == 0 {
            self.recorded = position;
        }
    }

    /// A position says of each message whether it was handled.
    #[track_caller]
    fn check(&self, position: &Position) {
        for (shop, (sequences, handled)) in &self.shops {
            let is_said: usize = sequences.partition_point(|one| *one <= position.of(shop));
            assert_eq!(is_said, *handled, "the messages of {shop} at {position}");
        }
        assert!(position.behind.values().all(|of_shop| *of_shop < position.sequence));
    }

    fn answer_requests(&mut self) {
        for Request { shop, after, until, max_messages, max_bytes } in self.requests.split_off(0) {
            let (mut found, mut bytes, mut reached) = (Vec::new(), 0, until);
            for sent in &self.stream {
                let is_asked = (after + 1..=until).contains(&sent.sequence);
                if sent.shop == shop.as_str() && is_asked {
                    found.push((sent.sequence, sent.lines, *sent));
                    bytes += sent.lines;
                    if found.len() == max_messages || bytes >= max_bytes {
                        reached = sent.sequence;
                        break;
                    }
                }
            }
            self.window.refill(&shop, reached, found);
        }
    }

    /// All in memory is lost; the log knows what it carries.
    fn crash(&mut self) {
        self.requests.clear();
        let recorded = self.recorded.clone();
        for (shop, (sequences, handled)) in &mut self.shops {
            *handled = sequences.partition_point(|one| *one <= recorded.of(shop));
        }
        self.read = self.stream.partition_point(|sent| sent.sequence <= recorded.sequence);
        self.window = Window::new(recorded);
    }
}

#[test]
fn whatever_is_offered_taken_read_again_and_lost_every_message_is_handled_once_and_in_order() {
    for seed in 0..40 {
        let mut numbers = Numbers(seed);
        let mut simulated = Simulated::new(&mut numbers);
        let mut steps = 0;
        while !simulated.is_done() {
            simulated.step(&mut numbers);
            if numbers.below(60) == 0 {
                simulated.crash();
            }
            steps += 1;
            assert!(steps < 20_000, "it does not get on: seed {seed}");
        }
    }
}
