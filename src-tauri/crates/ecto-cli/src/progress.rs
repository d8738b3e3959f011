//! The journey as it is told on stderr: a line a step, with its time, and what it waits for.

use ecto_core::cause::Remedy;
use ecto_core::exposure::{Exposure, Reach};
use ecto_core::foreign::ForeignText;
use ecto_core::snapshot::StepProgress;
use ecto_core::step::{Step, Waiting};
use ecto_core::words;
use ecto_host::report::{Report, WorldKind};

use crate::terminal::{GOOD, HINT, Terminal, WARN};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Done { step: Step, milliseconds: u64 },
    Waiting(Waiting),
    Progress(ForeignText),
    Blocked { what: String, next: Option<String> },
}

/// Tells each thing once.
#[derive(Debug, Default)]
pub struct Progress {
    told: Vec<Line>,
    live: bool,
}

impl Progress {
    /// Tells what is new in this report.
    pub fn tell(&mut self, terminal: Terminal, report: &Report) {
        for line in self.new_lines(report) {
            self.clear(terminal);
            terminal.tell(&render(&line));
        }
        self.show_now(terminal, report);
    }

    /// Takes away the line that shows what is being done.
    pub fn clear(&mut self, terminal: Terminal) {
        if std::mem::take(&mut self.live) {
            terminal.write_live("\r\u{1b}[2K");
        }
    }

    /// Takes away what the terminal shows for Ctrl-C, too.
    pub fn clear_interrupt(&mut self, terminal: Terminal) {
        self.live |= terminal.is_live();
        self.clear(terminal);
    }

    fn show_now(&mut self, terminal: Terminal, report: &Report) {
        let now = report
            .snapshot
            .journey
            .iter()
            .find(|taken| taken.progress == StepProgress::Now);
        if !terminal.is_live() {
            return;
        }
        self.clear(terminal);
        if let (Some(now), Exposure::Preparing { .. }) = (now, &report.snapshot.exposure) {
            terminal.write_live(&format!("  … {}", words::step(now.step)));
            self.live = true;
        }
    }

    fn new_lines(&mut self, report: &Report) -> Vec<Line> {
        let snapshot = &report.snapshot;
        let mut lines: Vec<Line> = Vec::new();
        for taken in &snapshot.journey {
            // The check from outside has its own line, which says more.
            if let (StepProgress::Done { milliseconds }, false) =
                (&taken.progress, taken.step == Step::CheckOutside)
            {
                lines.push(Line::Done {
                    step: taken.step,
                    milliseconds: *milliseconds,
                });
            }
        }
        match &snapshot.exposure {
            Exposure::Preparing {
                waiting, progress, ..
            } => {
                lines.extend(waiting.clone().map(Line::Waiting));
                lines.extend(progress.clone().map(Line::Progress));
            }
            // What ends the command is told as its end.
            Exposure::Blocked { cause, .. } if cause.remedy() == Remedy::Ask => {}
            Exposure::Blocked { .. } => lines.push(Line::Blocked {
                what: report.message.what.clone(),
                next: report.message.next.clone(),
            }),
            Exposure::Private | Exposure::Public { .. } | Exposure::Closing => {}
        }
        lines.retain(|line| !self.told.contains(line));
        self.told.extend(lines.iter().cloned());
        lines
    }
}

fn render(line: &Line) -> String {
    match line {
        Line::Done { step, milliseconds } => format!(
            "  {}✓{} {}  {}{}{}",
            GOOD.render(),
            GOOD.render_reset(),
            words::step(*step),
            HINT.render(),
            duration(*milliseconds),
            HINT.render_reset()
        ),
        Line::Waiting(waiting) => format!("  → {}", words::waiting(waiting)),
        Line::Progress(text) => format!("    {}{text}{}", HINT.render(), HINT.render_reset()),
        Line::Blocked { what, next } => {
            let next = next
                .as_ref()
                .map_or_else(String::new, |next| format!("\n    {next}"));
            format!("  {}!{} {what}{next}", WARN.render(), WARN.render_reset())
        }
    }
}

fn duration(milliseconds: u64) -> String {
    if milliseconds < 1_000 {
        format!("{milliseconds} ms")
    } else {
        format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100)
    }
}

/// The result of the check from outside, as a line.
pub fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Unchecked => "Checking from outside.".to_owned(),
        Reach::Reachable { .. } => "Reachable from the internet, and only with the key.".to_owned(),
        Reach::Unreachable { cause, .. } => words::reach(cause).to_string(),
    }
}

/// What is said first where it is not the real thing.
pub fn world(kind: WorldKind) -> Option<&'static str> {
    match kind {
        WorldKind::Real => None,
        WorldKind::Lab => Some("lab: a closed network, reachable from this machine alone"),
        WorldKind::Sandbox => Some(
            "sandbox: stand-ins in place of Tailscale, OpenClaw and the internet; links need not be opened",
        ),
    }
}
