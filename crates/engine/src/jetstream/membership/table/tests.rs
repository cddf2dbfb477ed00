use super::*;

const PARTITIONS: u32 = 4;

/// The table of a member that runs a service beside others.
struct Member(Table);

impl Member {
    fn new(me: &str, others: &[&str]) -> Self {
        let mut table = Table::new(me);
        table.restart();
        for id in others.iter().chain([&me]) {
            table.hear(id, Some(presence(id)));
        }
        table.synced();
        Self(table)
    }

    fn claimed(mut self, by: &str, partitions: impl IntoIterator<Item = u32>) -> Self {
        for partition in partitions {
            self.note(Some(by), partition);
        }
        self
    }

    fn note(&mut self, by: Option<&str>, partition: u32) {
        let revision = self.0.claims.values().map(|c| c.revision).max().unwrap_or(0) + 1;
        self.0.note(slot(partition), by.map(str::to_owned), revision);
    }

    fn next(&mut self, partition: u32) -> Next {
        self.0.next(&slot(partition), Some(PARTITIONS))
    }

    /// Takes all that it may take now.
    fn take_all(&mut self) -> Vec<u32> {
        (0..PARTITIONS).filter(|&partition| self.take(partition)).collect()
    }

    fn take(&mut self, partition: u32) -> bool {
        let Next::Take(revision) = self.next(partition) else { return false };
        let (me, epoch) = (self.0.me.clone(), self.0.epoch());
        self.0.written(&slot(partition), Some(me), Some((revision + 100, epoch)));
        true
    }

    fn renew(&mut self, times: u64) {
        (0..times).for_each(|_| self.0.renewed());
    }

    fn handed_over(&self) -> Vec<u32> {
        let lost = |partition| self.0.lost(&slot(partition), Some(PARTITIONS));
        (0..PARTITIONS).filter(|&it| lost(it) == Some(ClaimLost::HandOver)).collect()
    }
}

fn slot(partition: u32) -> Slot {
    ("ledger".to_owned(), partition)
}

fn presence(instance: &str) -> Presence {
    Presence {
        instance: format!("process {instance}"),
        services: ["ledger".to_owned()].into(),
        renewal: 1,
        start: "s".to_owned(),
    }
}

#[test]
fn one_process_alone_takes_all_partitions() {
    assert_eq!(Member::new("a", &[]).take_all(), [0, 1, 2, 3]);
}

#[test]
fn two_processes_take_half_each() {
    let mut a = Member::new("a", &["b"]);
    assert_eq!(a.take_all(), [0, 1]);
    let mut b = Member::new("b", &["a"]).claimed("a", [0, 1]);
    assert_eq!(b.take_all(), [2, 3]);
}

#[test]
fn what_cannot_be_divided_stays_where_it_is() {
    let mut b = Member::new("b", &["c"]);
    assert_eq!(b.take_all(), [0, 1]);
    let mut c = Member::new("c", &["b"]).claimed("b", [0, 1]);
    assert_eq!(c.take_all(), [2, 3]);
    for member in [&mut b, &mut c] {
        member.0.hear("a", Some(presence("a")));
    }
    b = b.claimed("c", [2, 3]);
    assert_eq!(b.handed_over(), Vec::<u32>::new(), "4 are 2 + 1 + 1, and it is the first with 2");
    assert_eq!(c.handed_over(), [3]);
}

#[test]
fn a_process_that_comes_gets_its_share_from_the_one_that_has_more() {
    let mut a = Member::new("a", &[]);
    a.take_all();
    a.0.hear("b", Some(presence("b")));
    assert_eq!(a.handed_over(), [2, 3]);
    for partition in [2, 3] {
        let revision = a.0.let_go(&slot(partition), true).expect("it is held");
        a.0.written(&slot(partition), None, Some((revision + 100, a.0.epoch())));
    }
    assert_eq!((a.next(2), a.next(3)), (Next::Wait, Next::Wait), "they are for the other");
    assert_eq!(a.handed_over(), Vec::<u32>::new());
}

#[test]
fn a_process_that_runs_other_services_has_no_share() {
    let mut a = Member::new("a", &[]);
    a.take_all();
    let services = ["till".to_owned()].into();
    a.0.hear("b", Some(Presence { services, ..presence("b") }));
    assert_eq!(a.handed_over(), Vec::<u32>::new());
}

#[test]
fn what_a_process_had_that_left_is_free_at_once() {
    let mut a = Member::new("a", &["b"]).claimed("b", 0..4);
    assert_eq!(a.take_all(), Vec::<u32>::new());
    a.0.hear("b", None);
    assert_eq!(a.take_all(), [0, 1, 2, 3]);
}

#[test]
fn what_a_process_had_that_is_silent_is_free_after_some_renewals() {
    let mut a = Member::new("a", &["b"]).claimed("b", 0..4);
    a.renew(MAX_MISSED_RENEWALS - 1);
    assert_eq!(a.take_all(), Vec::<u32>::new());
    a.0.hear("b", Some(presence("b")));
    a.renew(MAX_MISSED_RENEWALS - 1);
    assert_eq!(a.take_all(), Vec::<u32>::new(), "it was heard of");
    a.renew(1);
    assert_eq!(a.take_all(), [0, 1, 2, 3]);
}

#[test]
fn a_claim_of_a_process_that_nobody_heard_of_is_free_after_some_renewals() {
    let mut a = Member::new("a", &[]).claimed("gone", 0..4);
    assert_eq!(a.take_all(), Vec::<u32>::new());
    a.renew(MAX_MISSED_RENEWALS);
    assert_eq!(a.take_all(), [0, 1, 2, 3]);
}

#[test]
fn a_process_that_starts_again_takes_its_own_claims_at_once() {
    let mut a = Member::new("a", &["b"]).claimed("a", [0, 1]).claimed("b", [2, 3]);
    assert_eq!(a.take_all(), [0, 1]);
}

#[test]
fn own_claims_of_services_that_it_does_not_run_are_those_of_a_process_before() {
    let mut a = Member::new("a", &["b"]).claimed("a", [0, 1]).claimed("b", [2]);
    let services = |name: &str| BTreeSet::from([name.to_owned()]);
    assert_eq!(a.0.inherited(&services("ledger")), []);
    assert_eq!(a.0.inherited(&services("other")), [(slot(0), 1), (slot(1), 2)]);
    assert!(a.take(0));
    // What a worker still stands for, when the process leaves the service, it releases itself.
    assert_eq!(a.0.inherited(&BTreeSet::new()), [(slot(1), 2)]);
    a.0.restart();
    assert_eq!(a.0.inherited(&services("other")), [], "nothing is known yet");
}

#[test]
fn an_own_claim_above_the_share_is_given_up() {
    let mut a = Member::new("a", &["b"]).claimed("a", [0, 1, 2]).claimed("b", [3]);
    assert!(a.take(0) && a.take(1));
    // The claim of partition 2 is the third of all.
    assert_eq!(a.next(2), Next::GiveUp(3));
}

#[test]
fn a_claim_that_another_process_wrote_is_lost() {
    let mut a = Member::new("a", &["b"]);
    a.take_all();
    a.0.note(slot(0), Some("b".to_owned()), 1000);
    assert_eq!(a.0.lost(&slot(0), Some(PARTITIONS)), Some(ClaimLost::TakenOver));
    assert_eq!(a.0.lost(&slot(1), Some(PARTITIONS)), None);
    assert_eq!(a.0.holder(&slot(0)).as_deref(), Some("process b"));
}

#[test]
fn nothing_is_lost_or_free_while_the_stream_is_read_anew() {
    let mut a = Member::new("a", &["b"]).claimed("b", [2, 3]);
    assert_eq!(a.take_all(), [0, 1]);
    a.0.hear("b", None);
    a.0.restart();
    assert_eq!(a.take_all(), Vec::<u32>::new());
    assert_eq!(a.handed_over(), Vec::<u32>::new());
    assert_eq!(a.0.missing(), []);
}

#[test]
fn claims_that_the_stream_lost_are_written_again_by_who_holds_them() {
    let mut a = Member::new("a", &["b"]).claimed("b", [2, 3]);
    assert_eq!(a.take_all(), [0, 1]);
    a.0.restart();
    a.0.synced();
    let mut missing = a.0.missing();
    missing.sort();
    assert_eq!(missing, [(slot(0), 0), (slot(1), 0)]);
    a.0.hear("b", None);
    assert_eq!(a.take_all(), Vec::<u32>::new(), "the others may yet write theirs");
    a.renew(MAX_MISSED_RENEWALS);
    assert_eq!(a.take_all(), [2, 3]);
}

#[test]
fn a_write_that_was_answered_after_the_stream_was_lost_says_nothing_of_the_new_one() {
    let mut a = Member::new("a", &[]);
    let epoch = a.0.epoch();
    assert_eq!(a.next(0), Next::Take(0));
    a.0.restart();
    a.0.synced();
    a.0.written(&slot(0), Some("a".to_owned()), Some((7, epoch)));
    assert_eq!(a.0.missing(), [(slot(0), 0)]);
}

#[test]
fn a_process_of_the_same_identity_runs_only_if_it_renews() {
    let mut table = Table::new("ann");
    let renewed =
        |start: &str, renewal| Presence { start: start.to_owned(), renewal, ..presence("ann") };
    assert!(!table.hear_namesake(&renewed("1", 7)), "it may be gone");
    assert!(!table.hear_namesake(&renewed("1", 7)), "the stream was read again");
    assert!(!table.hear_namesake(&renewed("2", 8)), "another one");
    assert!(table.hear_namesake(&renewed("2", 9)));
}

#[test]
fn a_process_that_becomes_another_member_loses_its_claims() {
    let mut member = Member::new("ann", &[]);
    assert_eq!(member.take_all(), [0, 1, 2, 3]);
    member.0.rename("bob");
    let lost = member.0.lost(&slot(0), Some(PARTITIONS));
    assert_eq!(lost, Some(ClaimLost::TakenOver));
}
