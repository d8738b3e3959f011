//! Reading back, counting, bounds of the record.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::foreign::ForeignText;
use proptest::prelude::*;

use super::*;

/// 2026-03-01 12:00:00 UTC.
const NOON: i64 = 1_772_366_400;

#[derive(Debug)]
struct HandClock(AtomicI64);

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOON)))
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
}

fn line(at: i64, key: Option<&str>, status: u16) -> RequestLine {
    RequestLine {
        at: Timestamp::from_second(at).unwrap(),
        key: key.map(str::to_owned),
        address: ForeignText::new("203.0.113.7"),
        route: ForeignText::new("POST /v1/chat/completions"),
        status,
        bytes: 10,
        milliseconds: 3,
    }
}

fn everything() -> Wanted {
    Wanted {
        since: None,
        key: None,
        limit: usize::MAX,
    }
}

fn open(folder: &Path, clock: &Arc<HandClock>, keeping: Keeping) -> Record {
    Record::open(folder, clock.clone(), TimeZone::UTC, keeping)
}

/// The same of either kind.
fn keeping(change: impl FnOnce(&mut Bounds)) -> Keeping {
    let mut bounds = Keeping::default().holders;
    change(&mut bounds);
    Keeping {
        holders: bounds,
        strangers: bounds,
        ..Keeping::default()
    }
}

fn count(record: &Record) -> BTreeMap<Option<String>, (u64, u64)> {
    record
        .today()
        .into_iter()
        .map(|day| (day.key, (day.requests, day.failed)))
        .collect()
}

#[test]
fn lines_are_read_back_and_counted_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = &folder.path().join("requests");
    let clock = HandClock::new();
    let record = open(folder, &clock, Keeping::default());
    let kept = [
        line(NOON, Some("phone"), 200),
        line(NOON + 1, Some("laptop"), 500),
        line(NOON + 2, None, 401),
    ];
    for line in &kept {
        record.keep(line);
    }
    let before = record.today();
    drop(record);
    assert_eq!(read(folder, &everything()).unwrap(), kept);
    let again = open(folder, &clock, Keeping::default());
    assert_eq!(again.today(), before);
    assert_eq!(again.recent(2), kept[1..]);
    assert_eq!(again.lost(), 0);
    assert_eq!(
        before
            .iter()
            .map(|day| day.key.as_deref())
            .collect::<Vec<_>>(),
        [Some("laptop"), Some("phone"), None]
    );
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    for entry in std::fs::read_dir(folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn the_last_use_of_each_key_is_told_from_all_days() {
    let folder = tempfile::tempdir().unwrap();
    let folder = &folder.path().join("requests");
    let clock = HandClock::new();
    let record = open(folder, &clock, Keeping::default());
    assert!(record.last_uses().is_empty(), "there is no folder");
    let day = 24 * 60 * 60;
    for line in [
        line(NOON, Some("phone"), 200),
        line(NOON + 1, Some("laptop"), 204),
        line(NOON + 2, None, 200),
        line(NOON + 2 * day, Some("phone"), 200),
        line(NOON + 3 * day, Some("phone"), 429),
        line(NOON + 3 * day, Some("expired"), 401),
    ] {
        record.keep(&line);
    }
    drop(record);
    let again = open(folder, &clock, Keeping::default());
    let second = |second| Timestamp::from_second(second).unwrap();
    let expected = [("laptop", NOON + 1), ("phone", NOON + 2 * day)];
    let expected = expected.map(|(name, at)| (name.parse().unwrap(), second(at)));
    assert_eq!(again.last_uses(), expected.into());
}

#[test]
fn what_is_wanted_is_chosen_by_time_key_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let record = open(folder.path(), &clock, Keeping::default());
    for second in 0..10 {
        let key = if second % 2 == 0 { "even" } else { "odd" };
        record.keep(&line(NOON + second, Some(key), 200));
    }
    drop(record);
    let seconds = |wanted: Wanted| -> Vec<i64> {
        let lines = read(folder.path(), &wanted).unwrap();
        lines
            .iter()
            .map(|line| line.at.as_second() - NOON)
            .collect()
    };
    let since = Some(Timestamp::from_second(NOON + 5).unwrap());
    assert_eq!(
        seconds(Wanted {
            since,
            ..everything()
        }),
        [5, 6, 7, 8, 9]
    );
    let key = Some("odd".to_owned());
    assert_eq!(
        seconds(Wanted {
            since,
            key,
            limit: 2
        }),
        [7, 9]
    );
    let nobody = Some("nobody".to_owned());
    assert!(
        seconds(Wanted {
            key: nobody,
            ..everything()
        })
        .is_empty()
    );
}

#[test]
fn a_broken_line_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let record = open(folder.path(), &clock, Keeping::default());
    record.keep(&line(NOON, Some("phone"), 200));
    drop(record);
    let file = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(b"{\"at\":\"2026-");
    std::fs::write(&file, text).unwrap();
    let record = open(folder.path(), &clock, Keeping::default());
    record.keep(&line(NOON + 1, Some("phone"), 200));
    drop(record);
    let seconds: Vec<i64> = read(folder.path(), &everything())
        .unwrap()
        .iter()
        .map(|line| line.at.as_second() - NOON)
        .collect();
    assert_eq!(seconds, [0, 1]);
}

#[test]
fn a_tail_gives_each_line_once_across_files() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let bounds = keeping(|bounds| bounds.file_bytes = 300);
    let mut record = open(folder.path(), &clock, bounds);
    record.keep(&line(NOON, None, 401));
    drop(record);
    let mut tail = Tail::new(folder.path(), everything());
    let mut seen = tail.read().unwrap();
    assert_eq!(seen.len(), 1);
    assert!(tail.read().unwrap().is_empty());
    for round in 0..3 {
        record = open(folder.path(), &clock, bounds);
        for second in 1..=4 {
            let key = (second % 2 == 0).then_some("phone");
            record.keep(&line(NOON + round * 10 + second, key, 401));
        }
        drop(record);
        seen.extend(tail.read().unwrap());
    }
    let all = read(folder.path(), &everything()).unwrap();
    assert_eq!(seen, all);
    assert_eq!(seen.len(), 13);
    assert!(tail.read().unwrap().is_empty());
}

#[test]
fn where_nothing_can_be_written_counting_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let record = open(
        &file.join("requests"),
        &HandClock::new(),
        Keeping::default(),
    );
    record.keep(&line(NOON, Some("phone"), 200));
    assert_eq!(
        count(&record),
        BTreeMap::from([(Some("phone".to_owned()), (1, 0))])
    );
}

#[test]
fn counts_begin_anew_with_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let record = open(folder.path(), &clock, Keeping::default());
    record.keep(&line(NOON, Some("phone"), 200));
    clock.pass(11 * 3600);
    assert_eq!(record.today().len(), 1);
    clock.pass(2 * 3600);
    assert!(record.today().is_empty());
    record.keep(&line(NOON + 13 * 3600, Some("phone"), 404));
    assert_eq!(
        count(&record),
        BTreeMap::from([(Some("phone".to_owned()), (1, 1))])
    );
    drop(record);
    // Yesterday's lines are still there, and not counted.
    let record = open(folder.path(), &clock, Keeping::default());
    assert_eq!(
        count(&record),
        BTreeMap::from([(Some("phone".to_owned()), (1, 1))])
    );
    assert_eq!(read(folder.path(), &everything()).unwrap().len(), 2);
}

#[test]
fn many_wrong_keys_in_a_minute_are_strangers_until_they_stop() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let record = open(folder.path(), &clock, Keeping::default());
    for attempt in 0..40 {
        // One every four seconds is a bot that knocks, not a burst; and a good key's 401 is not a stranger's.
        record.keep(&line(NOON + attempt * 4, None, 401));
        record.keep(&line(NOON + attempt * 4, Some("phone"), 401));
        record.keep(&line(NOON + attempt * 4, None, 404));
    }
    for _ in 0..40 {
        // A browser that asks too often whether its page may call has tried no key.
        let mut preflight = line(NOON + 160, None, 429);
        preflight.route = ForeignText::new("OPTIONS /v1/chat/completions");
        record.keep(&preflight);
    }
    assert_eq!(record.strangers(), None);
    clock.pass(1000);
    for attempt in 0..25 {
        // After some, an address is told to wait.
        let status = if attempt < 20 { 401 } else { 429 };
        let mut line = line(NOON + 1000 + attempt, None, status);
        line.address = ForeignText::new(format!("203.0.113.{}", attempt % 3));
        record.keep(&line);
    }
    let strangers = record.strangers().unwrap();
    assert_eq!((strangers.attempts, strangers.addresses), (25, 3));
    assert_eq!(strangers.since.as_second(), NOON + 1000);
    clock.pass(24 + 600);
    assert!(record.strangers().is_some());
    clock.pass(1);
    assert_eq!(record.strangers(), None);
}

fn seconds(lines: &[RequestLine]) -> Vec<i64> {
    let second = |line: &RequestLine| line.at.as_second() - NOON;
    lines.iter().map(second).collect()
}

#[test]
fn however_many_strangers_come_the_lines_of_keys_stay() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let small = keeping(|bounds| (bounds.file_bytes, bounds.bytes) = (1000, 5000));
    let record = open(folder.path(), &clock, small);
    for second in 0..3 {
        record.keep(&line(NOON + second, Some("phone"), 200));
    }
    for second in 3..1500 {
        record.keep(&line(NOON + second, None, 401));
    }
    record.keep(&line(NOON + 1500, Some("phone"), 200));
    let at_hand = record.recent(AT_HAND);
    assert_eq!(at_hand.len(), AT_HAND);
    assert!(at_hand.is_sorted_by_key(ended));
    let of_key = |lines: Vec<RequestLine>| {
        let mut lines = lines;
        lines.retain(|line| line.key.is_some());
        seconds(&lines)
    };
    assert_eq!(of_key(at_hand), [0, 1, 2, 1500]);
    assert_eq!(of_key(record.recent(4)), [2, 1500]);
    assert_eq!(record.lost(), 0);
    drop(record);
    let lines = read(folder.path(), &everything()).unwrap();
    assert!(lines.len() < 100, "{}", lines.len());
    assert!(lines.is_sorted_by_key(ended));
    assert_eq!(of_key(lines), [0, 1, 2, 1500]);
}

/// Nothing is written: a folder that is a file keeps every line waiting for its turn to fail.
#[test]
fn strangers_take_at_most_half_of_the_lines_that_wait_for_the_disk() {
    let (sender, receiver) = sync_channel(WAITING);
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let mut record = open(folder.path(), &clock, Keeping::default());
    record.lines = Some(sender);
    for second in 0..2 * WAITING as i64 {
        record.keep(&line(NOON + second, None, 401));
    }
    assert_eq!(record.lost(), WAITING as u64 * 3 / 2);
    for second in 0..WAITING as i64 / 2 {
        record.keep(&line(NOON + second, Some("phone"), 200));
    }
    assert_eq!(record.lost(), WAITING as u64 * 3 / 2);
    assert_eq!(receiver.try_iter().count(), WAITING);
}

#[test]
fn lines_that_are_too_old_go_at_the_start_and_while_nobody_calls() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let day = 24 * 3600;
    let short = Keeping {
        look_every: Duration::from_millis(10),
        ..keeping(|bounds| bounds.age = Duration::from_secs(2 * 24 * 3600))
    };
    let fill = |record: &Record, at| {
        record.keep(&line(at, Some("phone"), 200));
        record.keep(&line(at, None, 401));
    };
    let count = || std::fs::read_dir(folder.path()).unwrap().count();
    let record = open(folder.path(), &clock, Keeping::default());
    fill(&record, NOON);
    fill(&record, NOON + day);
    drop(record);
    assert_eq!(count(), 4);
    clock.pass(3 * day);
    let record = open(folder.path(), &clock, short);
    assert_eq!(count(), 2, "of the day before yesterday, at the start");
    let wait_for = |wanted, when| {
        let mut patience = 0..2000;
        while count() != wanted && patience.next().is_some() {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(count(), wanted, "{when}");
    };
    fill(&record, NOON + 3 * day);
    wait_for(4, "once they are written");
    clock.pass(3 * day);
    wait_for(0, "while nobody calls");
    fill(&record, NOON + 6 * day);
    drop(record);
    assert_eq!(
        seconds(&read(folder.path(), &everything()).unwrap()),
        [6 * day; 2]
    );
    assert_eq!(count(), 2);
}

/// Files begin, are written and go while others read: every line of each kind comes once, in order, however the reading
/// falls, and a file that goes at that moment is no error.
#[test]
fn what_is_read_while_it_is_written_is_neither_doubled_nor_lost_nor_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    let count = 1500;
    for (bytes, whole) in [(u64::MAX, true), (3000, false)] {
        let folder = folder.path().join(bytes.to_string());
        let keeping = keeping(|bounds| (bounds.file_bytes, bounds.bytes) = (700, bytes));
        let record = open(&folder, &clock, keeping);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for second in 0..count {
                    let key = (second % 3 == 0).then_some("phone");
                    record.keep(&line(NOON + second, key, 200));
                    // As fast as the disk, and no faster: nothing is to be lost.
                    while record.strangers_waiting.load(Ordering::SeqCst) > 20 {
                        std::thread::yield_now();
                    }
                }
                done.store(true, Ordering::SeqCst);
            });
            let mut tail = Tail::new(&folder, everything());
            let mut seen = Vec::new();
            while !done.load(Ordering::SeqCst) {
                seen.extend(tail.read().unwrap());
                read(&folder, &everything()).unwrap();
            }
            // A busy machine may have let it read little before the end.
            seen.extend(tail.read().unwrap());
            for is_key in [true, false] {
                let mut lines = seen.clone();
                lines.retain(|line| line.key.is_some() == is_key);
                let seen = seconds(&lines);
                assert!(
                    seen.is_sorted_by(|before, after| before < after),
                    "{seen:?}"
                );
                let last = seen.last().copied().unwrap();
                let expected = (0..=last).filter(|second| (second % 3 == 0) == is_key);
                assert_eq!(record.lost(), 0);
                assert!(!whole || seen == expected.collect::<Vec<_>>());
                assert!(last > count / 2, "{last}");
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_files_never_outgrow_their_bounds_and_the_newest_line_is_there(
        steps in prop::collection::vec((0i64..40_000, any::<bool>()), 1..120),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::new();
        let bounds = keeping(|bounds| *bounds = Bounds { file_bytes: 400, bytes: 2000, age: Duration::from_secs(100_000) });
        let mut record = open(folder.path(), &clock, bounds);
        let mut at = NOON;
        for (seconds, restart) in &steps {
            at += seconds;
            clock.pass(*seconds);
            record.keep(&line(at, Some("phone"), 200));
            if *restart {
                drop(record);
                record = open(folder.path(), &clock, bounds);
            }
        }
        drop(record);
        let lines = read(folder.path(), &everything()).unwrap();
        prop_assert_eq!(lines.last().map(|line| line.at.as_second()), Some(at));
        let bytes: u64 = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        // One line more may be in each of the newest two files.
        prop_assert!(bytes <= 2000 + 400 + 400, "{bytes}");
        // A file holds the lines of a day at most, and old ones go when another is begun; each may wait for a next line.
        let oldest_kept = lines.first().unwrap().at.as_second();
        prop_assert!(at - oldest_kept <= 100_000 + 2 * (86_400 + 40_000));
    }
}
