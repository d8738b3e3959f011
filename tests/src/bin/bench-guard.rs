//! Measures the guard beside nginx, HAProxy, Caddy and no proxy at all, in one run: rounds in turn, the same work for
//! each, the same upstream. Prints a table; compare the columns of one run, not figures of two.

#![expect(clippy::print_stdout, reason = "its output is its result")]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This measures against programs of Debian; run it on Linux.");
}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    bench::main()
}

#[cfg(target_os = "linux")]
mod bench {
    use std::fs;
    use std::net::SocketAddr;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use anyhow::{Result, bail};
    use clap::{Parser, Subcommand, ValueEnum};
    use ecto_tests::bench::{
        Aim, Asking, Called, Callers, Calls, KeyTiming, Kind, NETWORKS, Pace, Pinned, Secrets,
        Streams, Subject, Table, Upstream, guard_process, hold_quiet_streams, percentile,
        processor_time, raise_open_files, streams_within, upstream_process,
    };
    use ecto_tests::desktop::memory;

    /// The pace at which latency is measured, in requests a second.
    const PACE: u32 = 1_000;

    /// A flood that leaves the proxies time to spare, in requests a second.
    const STEADY_FLOOD: u32 = 5_000;

    /// How many wrong keys of each kind are searched for.
    const LOOKUPS: usize = 100_000;

    /// How long a program comes to rest before its memory is looked at.
    const REST: Duration = Duration::from_secs(2);

    /// As many streams as are held open, where the system allows enough files.
    const MANY_STREAMS: usize = 10_000;

    /// What the guard may add to the median and to the 99th percentile of the direct answers, in microseconds.
    const ADDED: [f64; 2] = [60.0, 250.0];

    /// The row of the most requests in a second.
    const THROUGHPUT: &str = "highest throughput, requests/s";

    /// What it may take with [`MANY_STREAMS`], in MB.
    const MEMORY: f64 = 150.0;

    /// By how many times a flood may lengthen the 99th percentile of good requests.
    const SLOWED: f64 = 2.0;

    /// From this Welch's t on, two kinds of wrong keys take different times for certain.
    const TELLING: f64 = 4.5;

    /// Where the callers are, as tailscaled would tell it.
    const CALLER: &str = "203.0.113.9";
    const FLOODER: &str = "203.0.113.66";

    /// The processor that a proxy has to itself, and the one that the callers and the upstream share.
    const PROXY_PROCESSOR: usize = 0;
    const OTHER_PROCESSOR: usize = 1;

    /// Measures the guard beside nginx, HAProxy, Caddy and no proxy.
    #[derive(Parser)]
    struct Arguments {
        #[command(subcommand)]
        part: Option<Part>,
        /// How often each is measured, all in turn.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// For how many seconds each figure is taken.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// One round of a second each and 500 streams, to try it.
        #[arg(long)]
        quick: bool,
        /// Measures these alone.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<What>,
        /// Leaves the peers out.
        #[arg(long)]
        guard_alone: bool,
        /// Lets the system choose the processors.
        #[arg(long)]
        unpinned: bool,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    enum What {
        /// With the proxy on a processor of its own: each request wakes somebody on the other one twice.
        Latency,
        /// With one processor for all: nobody wakes another processor.
        LatencyOnOne,
        Throughput,
        Streams,
        Memory,
        Flood,
        /// Without requests: how long the guard searches for keys that are none.
        KeyTiming,
    }

    /// The processes of the measurement; started by it.
    #[derive(Subcommand)]
    enum Part {
        /// What answers behind the proxies.
        #[command(hide = true)]
        Upstream { port: u16 },
        /// The guard.
        #[command(hide = true)]
        Guard { upstream: SocketAddr },
        /// Somebody who tries wrong keys.
        #[command(hide = true)]
        Flood {
            address: SocketAddr,
            key: String,
            rate: u32,
            seconds: f64,
            /// Each request from another address.
            #[arg(long)]
            many: bool,
        },
    }

    pub fn main() -> Result<()> {
        let arguments = Arguments::parse();
        let open_files = raise_open_files()?;
        match arguments.part {
            Some(Part::Upstream { port }) => upstream_process(port),
            Some(Part::Guard { upstream }) => guard_process(upstream),
            Some(Part::Flood {
                address,
                key,
                rate,
                seconds,
                many,
            }) => {
                let callers = if many {
                    Callers::Many
                } else {
                    Callers::One(FLOODER)
                };
                let time = Duration::from_secs_f64(seconds);
                flood_process(address, key, rate, callers, time)
            }
            None => Bench::new(arguments, open_files)?.run(),
        }
    }

    struct Bench {
        arguments: Arguments,
        most_streams: usize,
        program: PathBuf,
        secrets: Secrets,
        table: Table,
        wrong: Wrong,
    }

    /// What must not happen, summed up over all rounds.
    #[derive(Default)]
    struct Wrong {
        asked: u64,
        lost: u64,
        mixed: u64,
        twice: u64,
        astray: u64,
        /// How many of these are the guard's.
        of_guard: u64,
        notes: Vec<String>,
    }

    impl Bench {
        fn new(mut arguments: Arguments, open_files: u64) -> Result<Self> {
            if arguments.quick {
                arguments.rounds = 1;
                arguments.seconds = 1;
            }
            if arguments.only.is_empty() {
                arguments.only = What::value_variants().to_vec();
            }
            Ok(Self {
                arguments,
                most_streams: usize::try_from(streams_within(open_files))?.min(MANY_STREAMS),
                program: std::env::current_exe()?,
                secrets: Secrets::new()?,
                table: Table::default(),
                wrong: Wrong::default(),
            })
        }

        fn run(mut self) -> Result<()> {
            let kinds: Vec<Kind> = Kind::ALL
                .into_iter()
                .filter(|kind| {
                    !self.arguments.guard_alone || matches!(kind, Kind::NoProxy | Kind::Guard)
                })
                .collect();
            let columns = kinds
                .iter()
                .map(|kind| {
                    Ok(format!("{} {}", kind.name(), kind.version()?)
                        .trim()
                        .to_owned())
                })
                .collect::<Result<Vec<_>>>()?;
            let machine = machine();
            let place = |wanted| kinds.iter().position(|kind| *kind == wanted);
            if let Some(nginx) = place(Kind::Nginx) {
                self.table.aim(THROUGHPUT, Aim::AtLeastThatOf(nginx));
            }
            let _pinned = self
                .processor(OTHER_PROCESSOR)
                .map(Pinned::to)
                .transpose()?;
            let measured = self.take_turns(&kinds);
            // What was measured before something went wrong is worth reading too.
            self.print(&columns, place(Kind::Guard), &machine);
            measured?;
            if self.wrong.of_guard > 0 {
                bail!("the guard lost, mixed or repeated an answer, or let something through");
            }
            Ok(())
        }

        fn take_turns(&mut self, kinds: &[Kind]) -> Result<()> {
            for what in self.arguments.only.clone() {
                for round in 0..self.arguments.rounds {
                    let mut bare = Vec::new();
                    for turn in 0..kinds.len() {
                        // Nobody's direct answers come first, for the others are compared with them.
                        let column = match turn {
                            0 => 0,
                            _ => 1 + (turn + round) % (kinds.len() - 1),
                        };
                        let Some(kind) = kinds.get(column).copied() else {
                            continue;
                        };
                        if what == What::KeyTiming && kind != Kind::Guard {
                            continue;
                        }
                        let measured = self.measure(what, kind, column, &mut bare);
                        match (measured, kind) {
                            (Ok(()), _) => {}
                            (Err(fault), Kind::Nginx | Kind::Haproxy | Kind::Caddy) => {
                                self.note(kind, what, &format!("not measured: {fault:#}"));
                            }
                            (Err(fault), Kind::NoProxy | Kind::Guard) => {
                                return Err(fault.context(format!("{what:?} of {}", kind.name())));
                            }
                        }
                    }
                    eprint_progress(what, round + 1, self.arguments.rounds);
                }
            }
            Ok(())
        }

        fn print(&self, columns: &[String], guard: Option<usize>, machine: &str) {
            let Arguments {
                rounds, seconds, ..
            } = self.arguments;
            println!("{}", self.table.markdown(columns, guard));
            println!(
                "Median of {rounds} rounds in turn of {seconds} s each (least–most). {machine}"
            );
            if self.arguments.unpinned {
                println!("The system chose the processors.");
            } else {
                println!(
                    "Each proxy has one worker thread and processor {PROXY_PROCESSOR} to itself; the callers and the \
                     upstream share processor {OTHER_PROCESSOR}. Where it says one processor, it is {OTHER_PROCESSOR} for all."
                );
            }
            println!(
                "No access logs. Over all rounds and columns: {} requests, {} lost, {} mixed, {} answered twice, {} let through wrongly.",
                self.wrong.asked,
                self.wrong.lost,
                self.wrong.mixed,
                self.wrong.twice,
                self.wrong.astray
            );
            for note in &self.wrong.notes {
                println!("{note}");
            }
        }

        fn processor(&self, number: usize) -> Option<usize> {
            (!self.arguments.unpinned).then_some(number)
        }

        fn measure(
            &mut self,
            what: What,
            kind: Kind,
            column: usize,
            bare: &mut Vec<f64>,
        ) -> Result<()> {
            let upstream = Upstream::start(
                &self.program,
                &self.secrets,
                0,
                self.processor(OTHER_PROCESSOR),
            )?;
            let subject = Subject::start(
                kind,
                &self.program,
                &self.secrets,
                upstream.address(),
                self.processor(match what {
                    What::LatencyOnOne => OTHER_PROCESSOR,
                    What::Latency
                    | What::Throughput
                    | What::Streams
                    | What::Memory
                    | What::Flood
                    | What::KeyTiming => PROXY_PROCESSOR,
                }),
            )?;
            let mut good = 0;
            let (lost, mixed) = (self.wrong.lost, self.wrong.mixed);
            match what {
                What::Latency => self.latency(&subject, column, "", bare, &mut good)?,
                What::LatencyOnOne => {
                    self.latency(&subject, column, ", one processor", bare, &mut good)?;
                }
                What::Throughput => self.throughput(&subject, column, &mut good)?,
                What::Streams => self.streams(&subject, column, &mut good)?,
                What::Memory => self.memory(&subject, &upstream, column)?,
                What::Flood => self.flood(&subject, column, &mut good)?,
                What::KeyTiming => self.key_timing(column)?,
            }
            let (lost, mixed) = (self.wrong.lost - lost, self.wrong.mixed - mixed);
            if lost + mixed > 0 {
                self.note(kind, what, &format!("{lost} lost, {mixed} mixed"));
            }
            let counts = upstream.counts()?;
            self.wrong.twice += counts.twice;
            if counts.twice > 0 {
                self.note(kind, what, &format!("{} answered twice", counts.twice));
            }
            if what != What::Memory && counts.answered != good {
                let text = format!("{} answered, {good} arrived", counts.answered);
                self.note(kind, what, &text);
            }
            if kind != Kind::NoProxy {
                self.wrong.astray += counts.astray;
            }
            if kind == Kind::Guard {
                self.wrong.of_guard += lost + mixed + counts.twice + counts.astray;
            }
            Ok(())
        }

        fn note(&mut self, kind: Kind, what: What, text: &str) {
            self.wrong
                .notes
                .push(format!("{} in {what:?}: {text}.", kind.name()));
        }

        fn calls(&self, subject: &Subject, connections: usize, pace: Pace) -> Calls {
            Calls {
                address: subject.address(),
                key: subject.key(&self.secrets).to_owned(),
                asking: Asking::Completion,
                callers: Callers::One(CALLER),
                connections,
                pace,
                warm_up: Duration::from_millis(if self.arguments.quick { 300 } else { 1_000 }),
                measured: Duration::from_secs(self.arguments.seconds),
            }
        }

        fn count(&mut self, called: &Called, good: &mut u64) {
            self.wrong.asked += called.sent;
            self.wrong.lost += called.lost;
            self.wrong.mixed += called.mixed;
            let refused = called.sent - called.good - called.lost - called.mixed;
            if refused > 0 {
                self.wrong.lost += refused;
                self.wrong.notes.push(format!(
                    "{refused} good requests were refused: {:?}.",
                    called.statuses
                ));
            }
            *good += called.good;
        }

        fn latency(
            &mut self,
            subject: &Subject,
            column: usize,
            place: &str,
            bare: &mut Vec<f64>,
            good: &mut u64,
        ) -> Result<()> {
            let calls = self.calls(subject, 32, Pace::Even(PACE));
            let (mut called, spent) = run_measured(&calls, subject)?;
            self.count(&called, good);
            for (index, share) in [0.5, 0.99, 0.999].into_iter().enumerate() {
                let time = microseconds(percentile(&mut called.times, share));
                let name = format!("p{}", share * 100.0);
                self.table
                    .put(&format!("{name} at {PACE}/s{place}, µs"), column, time);
                match bare.get(index) {
                    None => bare.push(time),
                    Some(direct) => {
                        let added = time - direct;
                        let row = format!("added {name} at {PACE}/s{place}, µs");
                        self.table.put(&row, column, added);
                        if let Some(most) = ADDED.get(index) {
                            self.table.aim(&row, Aim::Under(*most));
                        }
                    }
                }
            }
            if let Some(spent) = spent {
                let each = per_request(spent, &called);
                self.table.put(
                    &format!("processor time a request at {PACE}/s{place}, µs"),
                    column,
                    each,
                );
            }
            Ok(())
        }

        fn throughput(&mut self, subject: &Subject, column: usize, good: &mut u64) -> Result<()> {
            let calls = self.calls(subject, 64, Pace::Unpaced);
            let (called, spent) = run_measured(&calls, subject)?;
            self.count(&called, good);
            self.table.put(THROUGHPUT, column, called.per_second());
            if let Some(spent) = spent {
                let each = per_request(spent, &called);
                self.table
                    .put("processor time a request at full load, µs", column, each);
            }
            Ok(())
        }

        fn streams(&mut self, subject: &Subject, column: usize, good: &mut u64) -> Result<()> {
            let streams = Streams {
                address: subject.address(),
                key: subject.key(&self.secrets).to_owned(),
                count: 50,
                events: 20,
                pause: Duration::from_millis(20),
                warm_up: Duration::from_millis(if self.arguments.quick { 300 } else { 1_000 }),
                measured: Duration::from_secs(self.arguments.seconds),
            };
            let mut listened = streams.run()?;
            self.wrong.asked += listened.begun;
            self.wrong.lost += listened.broken;
            self.wrong.mixed += listened.mixed;
            *good += listened.begun;
            for (name, times) in [
                ("first event", &mut listened.first_event),
                ("each event", &mut listened.event),
            ] {
                for share in [0.5, 0.99] {
                    let time = microseconds(percentile(times, share));
                    let row = format!("{name} of 50 streams, p{}, µs", share * 100.0);
                    self.table.put(&row, column, time);
                }
            }
            Ok(())
        }

        fn memory(&mut self, subject: &Subject, upstream: &Upstream, column: usize) -> Result<()> {
            let Some(pid) = subject.pid() else {
                return Ok(());
            };
            let counts = if self.arguments.quick {
                [0, 100, 500]
            } else {
                [0, 1_000, self.most_streams]
            };
            // A few requests first, for what is made at the first one.
            let mut warm = self.calls(subject, 4, Pace::Even(100));
            warm.measured = Duration::from_millis(500);
            warm.run(|| ())?;
            let mut held = Vec::new();
            for count in counts {
                hold_quiet_streams(&mut held, count, subject.address(), self.secrets.key())?;
                std::thread::sleep(REST);
                let open = upstream.counts()?.open;
                if open != count as u64 {
                    bail!("{open} streams are open instead of {count}");
                }
                let row = format!("memory with {count} open streams, MB");
                let figure = megabytes(memory(pid)?.proportional);
                self.table.put(&row, column, figure);
                if count == self.most_streams {
                    // Fewer have less.
                    #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
                    let share = count as f64 / MANY_STREAMS as f64;
                    self.table.aim(&row, Aim::Under(MEMORY * share));
                }
            }
            drop(held);
            std::thread::sleep(REST);
            #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
            let left = upstream.counts()?.open as f64;
            self.table
                .put("streams left upstream once clients had gone", column, left);
            self.table.put(
                "memory after they were closed, MB",
                column,
                megabytes(memory(pid)?.proportional),
            );
            Ok(())
        }

        fn flood(&mut self, subject: &Subject, column: usize, good: &mut u64) -> Result<()> {
            let calls = self.calls(subject, 32, Pace::Even(PACE));
            let mut normal = calls.run(|| ())?;
            self.count(&normal, good);
            let normal = microseconds(percentile(&mut normal.times, 0.99));
            self.table.put(
                &format!("p99 at {PACE}/s before a flood, µs"),
                column,
                normal,
            );
            for (rate, many) in [
                (STEADY_FLOOD, false),
                (STEADY_FLOOD, true),
                (0, false),
                (0, true),
            ] {
                let flood = match rate {
                    0 => "an unpaced flood of wrong keys".to_owned(),
                    rate => format!("a flood of {rate} wrong keys/s"),
                };
                let name = if many {
                    format!("{flood} from {NETWORKS} addresses")
                } else {
                    format!("{flood} from one address")
                };
                let flooding = calls.warm_up + calls.measured + Duration::from_secs(1);
                let child = Command::new(&self.program)
                    .arg("flood")
                    .arg(subject.address().to_string())
                    .arg(Secrets::new()?.key())
                    .arg(rate.to_string())
                    .arg(flooding.as_secs_f64().to_string())
                    .args(many.then_some("--many"))
                    .stdout(Stdio::piped())
                    .spawn()?;
                std::thread::sleep(Duration::from_millis(500));
                let (mut called, _) = run_measured(&calls, subject)?;
                self.count(&called, good);
                let flood: Called = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
                self.wrong.mixed += flood.mixed;
                if flood.lost > 0 {
                    self.wrong.notes.push(format!(
                        "{} of {} requests with a wrong key were cut off instead of refused.",
                        flood.lost, flood.sent
                    ));
                }
                let during = microseconds(percentile(&mut called.times, 0.99));
                self.table.put(
                    &format!("p99 at {PACE}/s during {name}, µs"),
                    column,
                    during,
                );
                let row = format!("times the p99 before, during {name}");
                self.table.put(&row, column, during / normal);
                self.table.aim(&row, Aim::AtMost(SLOWED));
                self.table
                    .put(&format!("refusals/s in {name}"), column, flood.per_second());
            }
            Ok(())
        }

        fn key_timing(&mut self, column: usize) -> Result<()> {
            let calls = if self.arguments.quick { 5_000 } else { LOOKUPS };
            let timing = KeyTiming::measure(calls)?;
            for (name, median) in timing.medians {
                let row = format!("median search for a key {name}, ns");
                self.table.put(&row, column, median);
            }
            let row = "Welch's t of no character right against all but the last";
            self.table.put(row, column, timing.t);
            self.table.aim(row, Aim::Within(TELLING));
            Ok(())
        }
    }

    /// Runs calls and says how much processor time the subject spent on those that count.
    fn run_measured(calls: &Calls, subject: &Subject) -> Result<(Called, Option<Duration>)> {
        let mut looks = Vec::new();
        let called = calls.run(|| {
            if let Some(pid) = subject.pid() {
                looks.push(processor_time(pid));
            }
        })?;
        let mut looks = looks.into_iter();
        let spent = match (looks.next(), looks.next()) {
            (Some(before), Some(after)) => Some(after?.saturating_sub(before?)),
            _ => None,
        };
        Ok((called, spent))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn per_request(spent: Duration, called: &Called) -> f64 {
        let answered = called.statuses.values().sum::<u64>();
        spent.as_secs_f64() * 1e6 / answered.max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "times far below 2^52")]
    fn microseconds(nanoseconds: u64) -> f64 {
        nanoseconds as f64 / 1e3
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    fn megabytes(kibibytes: u64) -> f64 {
        kibibytes as f64 * 1024.0 / 1e6
    }

    /// What the figures were taken on.
    fn machine() -> String {
        let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let model = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map(|(_, name)| name.trim().to_owned())
            .unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        format!(
            "{processors} processors ({model}), Linux {}.",
            kernel.trim()
        )
    }

    #[expect(clippy::print_stderr, reason = "for the person who waits")]
    fn eprint_progress(what: What, round: usize, rounds: usize) {
        eprintln!("{what:?}: round {round} of {rounds}");
    }

    fn flood_process(
        address: SocketAddr,
        key: String,
        rate: u32,
        callers: Callers,
        time: Duration,
    ) -> Result<()> {
        // The callers whose time is taken go first on the processor that they share.
        rustix::process::setpriority_process(None, 19)?;
        let called = Calls {
            address,
            key,
            asking: Asking::WithWrongKey,
            callers,
            connections: 64,
            pace: if rate == 0 {
                Pace::Unpaced
            } else {
                Pace::Even(rate)
            },
            warm_up: Duration::from_millis(200),
            measured: time,
        }
        .run(|| ())?;
        println!("{}", serde_json::to_string(&called)?);
        Ok(())
    }
}
