//! The guard for an hour under everything at once: good callers, streams, floods of wrong keys, clients that go away in
//! the middle, keys that change, a gateway that starts again. Prints a line each minute and a table at the end; fails
//! where memory grows, or where an answer is lost, mixed or given twice.

#![expect(clippy::print_stdout, reason = "its output is its result")]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This looks at memory as Linux counts it; run it on Linux.");
}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    soak::main()
}

#[cfg(target_os = "linux")]
mod soak {
    use std::collections::BTreeMap;
    use std::net::{SocketAddr, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::{Duration, Instant};

    use anyhow::{Context as _, Result, bail};
    use clap::{Parser, Subcommand};
    use ecto_tests::bench::{
        Asking, Callers, Calls, Kind, Pace, Secrets, Streams, Subject, Upstream, guard_process,
        hold_quiet_streams, raise_open_files, upstream_process,
    };
    use ecto_tests::desktop::memory;

    /// How much memory may grow over an hour, in MB, by the line that fits best to the looks after the first fifth.
    const MAY_GROW: f64 = 2.0;

    /// Soaks the guard.
    #[derive(Parser)]
    struct Arguments {
        #[command(subcommand)]
        part: Option<Part>,
        /// How long.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    }

    /// The processes of the soak; started by it.
    #[derive(Subcommand)]
    enum Part {
        /// What answers behind the guard.
        #[command(hide = true)]
        Upstream { port: u16 },
        /// The guard.
        #[command(hide = true)]
        Guard { upstream: SocketAddr },
    }

    pub fn main() -> Result<()> {
        let arguments = Arguments::parse();
        raise_open_files()?;
        match arguments.part {
            Some(Part::Upstream { port }) => upstream_process(port),
            Some(Part::Guard { upstream }) => guard_process(upstream),
            None => run(arguments.minutes),
        }
    }

    /// What happened so far.
    #[derive(Debug, Default, Clone)]
    struct Tally {
        asked: u64,
        good: u64,
        by_status: BTreeMap<u16, u64>,
        streams: u64,
        cut_streams: u64,
        refused_keys: u64,
        gone_clients: u64,
        key_changes: u64,
        restarts: u64,
        broken_by_restart: u64,
        lost: u64,
        mixed: u64,
        twice: u64,
        astray: u64,
    }

    struct Scene {
        secrets: Secrets,
        address: SocketAddr,
        ends: Instant,
        tally: Mutex<Tally>,
        /// The gateway is being started again, so requests may be refused.
        restarting: AtomicBool,
    }

    impl Scene {
        fn note(&self, change: impl FnOnce(&mut Tally)) {
            change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        }

        fn goes_on(&self) -> bool {
            Instant::now() < self.ends
        }
    }

    fn run(minutes: u64) -> Result<()> {
        let program = std::env::current_exe()?;
        let secrets = Secrets::new()?;
        let upstream = Upstream::start(&program, &secrets, 0, None)?;
        let guard = Subject::start(Kind::Guard, &program, &secrets, upstream.address(), None)?;
        let pid = guard.pid().context("the guard is no process")?;
        let started = Instant::now();
        let scene = Arc::new(Scene {
            secrets,
            address: guard.address(),
            ends: started + Duration::from_secs(minutes * 60),
            tally: Mutex::default(),
            restarting: AtomicBool::new(false),
        });
        let looks = std::thread::scope(|scope| {
            let parts = [
                scope.spawn(|| good_callers(&scene)),
                scope.spawn(|| streams(&scene)),
                scope.spawn(|| floods(&scene)),
                scope.spawn(|| gone_clients(&scene)),
                scope.spawn(|| changes(&scene, guard, upstream)),
            ];
            let looks = watch(&scene, pid, started);
            for part in parts {
                part.join()
                    .map_err(|_| anyhow::anyhow!("a part ended early"))??;
            }
            looks
        })?;
        report(&scene, &looks, minutes)
    }

    /// Looks at the memory every second, and says how it goes every minute.
    fn watch(scene: &Scene, pid: u32, started: Instant) -> Result<Vec<(f64, f64)>> {
        let mut looks = Vec::new();
        let mut told = 0;
        while scene.goes_on() {
            std::thread::sleep(Duration::from_secs(1));
            let Ok(taken) = memory(pid) else {
                break;
            };
            #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
            let megabytes = taken.proportional as f64 * 1024.0 / 1e6;
            let at = started.elapsed().as_secs_f64();
            looks.push((at, megabytes));
            if started.elapsed().as_secs() / 60 > told {
                told += 1;
                let tally = scene
                    .tally
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                println!(
                    "minute {told}: {megabytes:.1} MB, {} asked, {} good, {} streams, {} keys refused, {} key changes, {} restarts, {} lost, {} mixed",
                    tally.asked,
                    tally.good,
                    tally.streams,
                    tally.refused_keys,
                    tally.key_changes,
                    tally.restarts,
                    tally.lost,
                    tally.mixed
                );
            }
        }
        Ok(looks)
    }

    /// A steady pace, whose every answer is looked at.
    fn good_callers(scene: &Scene) -> Result<()> {
        while scene.goes_on() {
            let called = Calls {
                address: scene.address,
                key: scene.secrets.key().to_owned(),
                asking: Asking::Completion,
                callers: Callers::One("203.0.113.9"),
                connections: 16,
                pace: Pace::Even(200),
                warm_up: Duration::ZERO,
                measured: Duration::from_secs(5),
            }
            .run(|| ())?;
            scene.note(|tally| {
                tally.asked += called.sent;
                tally.good += called.good;
                tally.lost += called.lost;
                tally.mixed += called.mixed;
                for (status, count) in called.statuses {
                    *tally.by_status.entry(status).or_default() += count;
                }
            });
        }
        Ok(())
    }

    fn streams(scene: &Scene) -> Result<()> {
        while scene.goes_on() {
            let before = scene.restarting.load(Ordering::SeqCst);
            let restarts = scene
                .tally
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .restarts;
            let listened = Streams {
                address: scene.address,
                key: scene.secrets.key().to_owned(),
                count: 20,
                events: 20,
                pause: Duration::from_millis(50),
                warm_up: Duration::ZERO,
                measured: Duration::from_secs(3),
            }
            .run()?;
            scene.note(|tally| {
                tally.streams += listened.begun;
                tally.mixed += listened.mixed;
                // A stream cannot survive its gateway; any other may not break.
                if before || restarts != tally.restarts || scene.restarting.load(Ordering::SeqCst) {
                    tally.broken_by_restart += listened.broken;
                } else {
                    tally.lost += listened.broken;
                }
            });
        }
        Ok(())
    }

    fn floods(scene: &Scene) -> Result<()> {
        while scene.goes_on() {
            let called = Calls {
                address: scene.address,
                key: Secrets::new()?.key().to_owned(),
                asking: Asking::WithWrongKey,
                callers: Callers::One("203.0.113.66"),
                connections: 32,
                pace: Pace::Even(1_000),
                warm_up: Duration::ZERO,
                measured: Duration::from_secs(5),
            }
            .run(|| ())?;
            scene.note(|tally| {
                tally.refused_keys += called.good;
                tally.mixed += called.mixed;
            });
            std::thread::sleep(Duration::from_secs(5));
        }
        Ok(())
    }

    /// Clients that go away while their stream is open.
    fn gone_clients(scene: &Scene) -> Result<()> {
        while scene.goes_on() {
            let mut held: Vec<TcpStream> = Vec::new();
            // While the gateway starts again no stream begins.
            if hold_quiet_streams(&mut held, 100, scene.address, scene.secrets.key()).is_err()
                && !scene.restarting.load(Ordering::SeqCst)
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            scene.note(|tally| tally.gone_clients += held.len() as u64);
            drop(held);
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// A second key that comes and goes, whose streams are cut; and a gateway that starts again each half minute.
    fn changes(scene: &Scene, mut guard: Subject, upstream: Upstream) -> Result<()> {
        let mut turn = 0_u32;
        while scene.goes_on() {
            turn += 1;
            let other = Secrets::new()?;
            guard.set_keys(&[scene.secrets.key(), other.key()])?;
            let mut held = Vec::new();
            hold_quiet_streams(&mut held, 10, scene.address, other.key())?;
            guard.set_keys(&[scene.secrets.key()])?;
            if !held.iter_mut().all(is_cut) {
                bail!("a stream goes on whose key was taken away");
            }
            scene.note(|tally| {
                tally.cut_streams += held.len() as u64;
                tally.key_changes += 2;
            });
            std::thread::sleep(Duration::from_secs(5));
            if turn.is_multiple_of(6) {
                scene.restarting.store(true, Ordering::SeqCst);
                upstream.restart()?;
                std::thread::sleep(Duration::from_secs(3));
                scene.note(|tally| tally.restarts += 1);
                scene.restarting.store(false, Ordering::SeqCst);
            }
        }
        // The guard and the upstream outlive the others, which end what they have begun.
        std::thread::sleep(Duration::from_secs(30));
        let counts = upstream.counts()?;
        scene.note(|tally| {
            tally.twice += counts.twice;
            tally.astray += counts.astray;
        });
        Ok(())
    }

    fn is_cut(stream: &mut TcpStream) -> bool {
        use std::io::Read as _;
        let mut waste = [0; 1024];
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        loop {
            match stream.read(&mut waste) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(fault) => return fault.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// MB an hour by which memory grows, by least squares.
    fn slope(looks: &[(f64, f64)]) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "one look a second")]
        let count = looks.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| looks.iter().map(value).sum::<f64>() / count;
        let (time, size) = (mean(|look| look.0), mean(|look| look.1));
        let over: f64 = looks
            .iter()
            .map(|look| (look.0 - time) * (look.1 - size))
            .sum();
        let under: f64 = looks.iter().map(|look| (look.0 - time).powi(2)).sum();
        over / under.max(f64::EPSILON) * 3600.0
    }

    fn report(scene: &Scene, looks: &[(f64, f64)], minutes: u64) -> Result<()> {
        let tally = scene
            .tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let settled = looks.get(looks.len() / 5..).unwrap_or_default();
        let grows = slope(settled);
        let least = settled.iter().map(|look| look.1).fold(f64::MAX, f64::min);
        let most = settled.iter().map(|look| look.1).fold(0.0, f64::max);
        println!("\n| soak of {minutes} minutes | |\n|---|---:|");
        for (what, figure) in [
            ("requests by good callers", tally.asked),
            ("answered as they should be", tally.good),
            ("streams", tally.streams),
            (
                "streams ended by the gateway's restarts",
                tally.broken_by_restart,
            ),
            ("streams cut as their key was taken away", tally.cut_streams),
            ("wrong keys refused", tally.refused_keys),
            ("clients that went away in a stream", tally.gone_clients),
            ("key changes", tally.key_changes),
            ("gateway restarts", tally.restarts),
            ("lost", tally.lost),
            ("mixed", tally.mixed),
            ("answered twice", tally.twice),
            ("let through wrongly", tally.astray),
        ] {
            println!("| {what} | {figure} |");
        }
        println!("| answers by status | {:?} |", tally.by_status);
        println!("| memory after the first fifth, MB | {least:.1}–{most:.1} |");
        println!("| growth by the best line, MB an hour | {grows:.2} |");
        let refused = tally.asked - tally.good - tally.lost - tally.mixed;
        println!("| refused while the gateway was away | {refused} |");
        if tally.lost + tally.mixed + tally.twice + tally.astray > 0 {
            bail!("something was lost, mixed or answered twice");
        }
        if minutes >= 10 && grows > MAY_GROW {
            bail!("memory grows by {grows:.2} MB an hour");
        }
        Ok(())
    }
}
