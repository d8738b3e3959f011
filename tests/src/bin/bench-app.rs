//! Measures the menu-bar app on a private desktop, beside the least that a tray program can be in GTK and in Qt. Prints a
//! table; compare the columns of one run, not figures of two. There is no graphics card, so painting is slower than it will be.

#![expect(clippy::print_stdout, reason = "its output is its result")]
#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::print_stderr,
        reason = "a measurement that breaks off has told what it found"
    )
)]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This measures on a private Linux desktop; run it on Linux.");
}

#[cfg(target_os = "linux")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    bench::run().await
}

#[cfg(target_os = "linux")]
mod bench {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use anyhow::{Context as _, Result, bail};
    use clap::Parser;
    use ecto_host::preferences::{Preferences, PreferencesFile};
    use ecto_tests::desktop::{
        App, Child, Display, Item, OtherWindow, Screen, TrayHost, memory, program, usage,
    };

    /// The programs that Ecto is measured against, with what runs them.
    const PEERS: [(&str, &str, &str); 2] = [
        (
            "bare GTK tray",
            "gtk_tray.py",
            include_str!("../../peers/gtk_tray.py"),
        ),
        (
            "bare Qt tray",
            "qt_tray.py",
            include_str!("../../peers/qt_tray.py"),
        ),
    ];

    /// The system's own, which has the bindings for the peers.
    const PYTHON: &str = "/usr/bin/python3";

    /// How long a program gets to come to rest after something happened.
    const REST: Duration = Duration::from_secs(3);

    /// How long a popover stays open, so that the next click does not meet the last one.
    const PAUSE: Duration = Duration::from_millis(700);

    /// Between one change of the status and the next: enough changes in an hour, and time to come to rest.
    const BETWEEN_CHANGES: Duration = Duration::from_secs(1);

    /// How often the popover is opened after the first time.
    const LATER_OPENINGS: usize = 5;

    /// Measures the menu-bar app.
    #[derive(Parser)]
    struct Arguments {
        /// The app's program; by default the one built beside this.
        #[arg(long)]
        app: Option<PathBuf>,
        /// The package that people install, for its size.
        #[arg(long)]
        bundle: Option<PathBuf>,
        /// Measures the peers alone.
        #[arg(long)]
        peers: bool,
        /// How many starts are timed.
        #[arg(long, default_value_t = 12)]
        starts: usize,
        /// For how many seconds an idle program is watched.
        #[arg(long, default_value_t = 30)]
        idle: u64,
        /// How many seconds after the popover was closed memory is looked at again.
        #[arg(long, default_value_t = 600)]
        later: u64,
        /// For how many seconds the app then connects and disconnects.
        #[arg(long, default_value_t = 3600)]
        changes: u64,
    }

    /// One column of the table.
    struct Subject {
        name: &'static str,
        program: PathBuf,
        arguments: Vec<String>,
        is_app: bool,
    }

    /// One line of it, with a cell for each subject.
    struct Row {
        what: String,
        cells: Vec<String>,
        aim: Option<String>,
    }

    /// A figure, and what Ecto means to stay under.
    struct Cell {
        text: String,
        figure: f64,
        under: Option<f64>,
    }

    impl Cell {
        /// A figure with so many digits after its point.
        fn of(figure: f64, digits: usize) -> Self {
            Self {
                text: format!("{figure:.digits$}"),
                figure,
                under: None,
            }
        }

        fn milliseconds(time: Duration) -> Self {
            Self::of(time.as_secs_f64() * 1000.0, 0)
        }

        fn told(self, text: String) -> Self {
            Self { text, ..self }
        }

        fn under(self, aim: f64) -> Self {
            let under = Some(aim);
            Self { under, ..self }
        }

        fn aim(&self) -> Option<String> {
            let under = self.under?;
            let standing = if self.figure < under { "met" } else { "missed" };
            Some(format!("under {under}, {standing}"))
        }
    }

    #[derive(Default)]
    struct Table {
        rows: Vec<Row>,
    }

    impl Table {
        fn put(&mut self, column: usize, what: &str, cell: Cell, aim: Option<String>) {
            let found = self.rows.iter().position(|row| row.what == what);
            let row = found.unwrap_or_else(|| {
                self.rows.push(Row {
                    what: what.to_owned(),
                    cells: Vec::new(),
                    aim,
                });
                self.rows.len() - 1
            });
            if let Some(row) = self.rows.get_mut(row) {
                row.cells.resize(column, "–".to_owned());
                row.cells.push(cell.text);
            }
        }

        fn print(mut self, names: &[&str]) {
            println!("| | {} | Ecto's aim |", names.join(" | "));
            println!("|---|{}---|", "---|".repeat(names.len()));
            for row in &mut self.rows {
                row.cells.resize(names.len(), "–".to_owned());
                let aim = row.aim.as_deref().unwrap_or("–");
                println!("| {} | {} | {aim} |", row.what, row.cells.join(" | "));
            }
        }
    }

    /// Measures all and prints the table.
    pub async fn run() -> Result<()> {
        let arguments = Arguments::parse();
        let display = Display::start().await?;
        let subjects = subjects(&arguments, &display)?;
        let mut table = Table::default();
        for (column, subject) in subjects.iter().enumerate() {
            let mut put = |what: &str, cell: Cell| {
                let aim = cell.aim().filter(|_| subject.is_app);
                // An hour's measurement that breaks off has told what it found.
                eprintln!("{}: {what}: {}", subject.name, cell.text);
                table.put(column, what, cell, aim);
            };
            let mut tray = TrayHost::start(&display).await?;
            put(
                &format!(
                    "start to icon, {} starts: min / median / max ms",
                    arguments.starts
                ),
                starts(&display, &mut tray, subject, arguments.starts).await?,
            );
            measure(&display, &mut tray, subject, &arguments, &mut put)
                .await
                .with_context(|| subject.name)?;
        }
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name).collect();
        table.print(&names);
        Ok(())
    }

    fn subjects(arguments: &Arguments, display: &Display) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        if !arguments.peers {
            let program = match &arguments.app {
                Some(program) => program.clone(),
                None => program("ecto-app").context("measure the peers alone with --peers")?,
            };
            subjects.push(Subject {
                name: "Ecto",
                program,
                arguments: vec!["--sandbox".to_owned()],
                is_app: true,
            });
        }
        for (name, file, text) in PEERS {
            let script = display.folder().join(file);
            fs::write(&script, text)?;
            subjects.push(Subject {
                name,
                program: PYTHON.into(),
                arguments: vec![script.display().to_string()],
                is_app: false,
            });
        }
        Ok(subjects)
    }

    fn app(display: &Display, subject: &Subject) -> Result<App> {
        let arguments: Vec<&str> = subject.arguments.iter().map(String::as_str).collect();
        let app = App::new(display, &subject.program, &arguments)?;
        if subject.is_app {
            // The first run shows the popover by itself; this is any later one.
            let folder = app.sandbox();
            fs::create_dir_all(&folder)?;
            let file = PreferencesFile::in_folder(&folder);
            file.write(&Preferences::default())?;
        }
        Ok(app)
    }

    async fn start(
        display: &Display,
        tray: &mut TrayHost,
        subject: &Subject,
    ) -> Result<(Child, Item)> {
        let child = app(display, subject)?.start(display)?;
        let item = tray
            .item_within(Duration::from_secs(30))
            .await
            .with_context(|| format!("{} told: {}", subject.name, child.log()))?;
        Ok((child, item))
    }

    async fn starts(
        display: &Display,
        tray: &mut TrayHost,
        subject: &Subject,
        count: usize,
    ) -> Result<Cell> {
        let mut times = Vec::new();
        for _ in 0..count {
            let (child, item) = start(display, tray, subject).await?;
            times.push(item.registered() - child.started());
            drop(child);
            item.gone().await?;
        }
        times.sort_unstable();
        let (Some(first), Some(middle), Some(last)) =
            (times.first(), times.get(times.len() / 2), times.last())
        else {
            bail!("nothing was started");
        };
        let told = format!(
            "{} / {} / {}",
            first.as_millis(),
            middle.as_millis(),
            last.as_millis()
        );
        Ok(Cell::milliseconds(*middle).told(told).under(150.0))
    }

    async fn measure(
        display: &Display,
        tray: &mut TrayHost,
        subject: &Subject,
        arguments: &Arguments,
        put: &mut impl FnMut(&str, Cell),
    ) -> Result<()> {
        let (child, item) = start(display, tray, subject).await?;
        let pid = child.pid();
        tokio::time::sleep(REST).await;
        put(
            "memory at rest, PSS MiB",
            Cell::of(mebibytes(pid)?, 0).under(90.0),
        );
        idle(pid, arguments.idle, "at rest", put).await?;
        if subject.is_app {
            let screen = Screen::of(display)?;
            popover(display, &screen, &item, pid, put).await?;
            tokio::time::sleep(Duration::from_secs(arguments.later)).await;
            let when = format!("{} s after the popover", arguments.later);
            put(
                &format!("memory {when}, PSS MiB"),
                Cell::of(mebibytes(pid)?, 0).under(110.0),
            );
            idle(pid, arguments.idle, &when, put).await?;
            if arguments.changes > 0 {
                let count = change(&item, Duration::from_secs(arguments.changes))
                    .await
                    .with_context(|| child.log())?;
                tokio::time::sleep(REST).await;
                let memory = mebibytes(pid)?;
                put(
                    &format!("memory after {} s of changes, PSS MiB", arguments.changes),
                    Cell::of(memory, 0).told(format!("{memory:.0} ({count} times connected)")),
                );
            }
            put(
                "program, MB",
                Cell::of(megabytes(&subject.program)?, 1).under(10.0),
            );
            if let Some(bundle) = &arguments.bundle {
                put("package, MB", Cell::of(megabytes(bundle)?, 1));
            }
        }
        drop(child);
        item.gone().await
    }

    async fn popover(
        display: &Display,
        screen: &Screen,
        item: &Item,
        pid: u32,
        put: &mut impl FnMut(&str, Cell),
    ) -> Result<()> {
        let (shown, painted) = open(screen, item, pid).await?;
        put("first click to shown, ms", Cell::milliseconds(shown));
        put(
            "first click to painted, ms",
            Cell::milliseconds(painted).under(600.0),
        );
        tokio::time::sleep(REST).await;
        put("memory while open, PSS MiB", Cell::of(mebibytes(pid)?, 0));
        close(display, screen, pid).await?;
        let mut times = Vec::new();
        for _ in 0..LATER_OPENINGS {
            tokio::time::sleep(PAUSE).await;
            times.push(open(screen, item, pid).await?.1);
            tokio::time::sleep(PAUSE).await;
            close(display, screen, pid).await?;
        }
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        put(
            "later clicks to painted, median ms",
            Cell::milliseconds(middle).under(120.0),
        );
        tokio::time::sleep(REST).await;
        put(
            "memory after closing it, PSS MiB",
            Cell::of(mebibytes(pid)?, 0),
        );
        Ok(())
    }

    async fn open(screen: &Screen, item: &Item, pid: u32) -> Result<(Duration, Duration)> {
        let clicked = Instant::now();
        item.activate(900, 10).await?;
        screen.wait_for_window(pid).await?;
        let shown = clicked.elapsed();
        screen.wait_for_text(pid).await?;
        Ok((shown, clicked.elapsed()))
    }

    /// Another window takes the focus, and the popover goes.
    async fn close(display: &Display, screen: &Screen, pid: u32) -> Result<()> {
        let _other = OtherWindow::open(display)?;
        screen.wait_for_no_window(pid).await
    }

    async fn idle(
        pid: u32,
        seconds: u64,
        when: &str,
        put: &mut impl FnMut(&str, Cell),
    ) -> Result<()> {
        let before = usage(pid)?;
        let begin = Instant::now();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let after = usage(pid)?;
        let elapsed = begin.elapsed().as_secs_f64();
        let processor = after.processor_since(&before).as_secs_f64();
        put(
            &format!("processor {when}, %"),
            // Told as 0.0 where it is below.
            Cell::of(processor / elapsed * 100.0, 2).under(0.05),
        );
        put(
            &format!("wake-ups a second {when}"),
            Cell::of(after.wake_ups_since(&before) as f64 / elapsed, 1).under(1.0),
        );
        Ok(())
    }

    async fn change(item: &Item, time: Duration) -> Result<usize> {
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < time {
            item.click("Connect").await?;
            item.wait_for_menu(|menu| menu.find("Disconnect").is_some())
                .await?;
            item.click("Disconnect").await?;
            item.wait_for_menu(|menu| menu.find("Connect").is_some())
                .await?;
            count += 1;
            tokio::time::sleep(BETWEEN_CHANGES).await;
        }
        if count == 0 {
            bail!("nothing changed");
        }
        Ok(count)
    }

    fn mebibytes(pid: u32) -> Result<f64> {
        Ok(memory(pid)?.proportional as f64 / 1024.0)
    }

    fn megabytes(file: &Path) -> Result<f64> {
        Ok(fs::metadata(file)?.len() as f64 / 1e6)
    }
}
