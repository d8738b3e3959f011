//! What a person sees in a terminal.

use std::fs::File;
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::process::Stdio;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::machine::{Machine, Running, Stream};

const ROWS: u16 = 40;
const COLUMNS: u16 = 100;

/// Starts `ecto` in a terminal of its own.
fn start(machine: &Machine, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    // A program that kept this end open would keep its own terminal from ending; macOS takes no flag for it at opening.
    rustix::io::fcntl_setfd(&near, rustix::io::FdFlags::CLOEXEC).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
    let far = File::options().read(true).write(true).open(name).unwrap();
    let size = Winsize {
        ws_row: ROWS,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(far.as_fd(), size).unwrap();
    let mut command = machine.ecto(arguments);
    command
        .env("TERM", "xterm-256color")
        .envs(environment.iter().copied())
        .stdin(Stdio::from(far.try_clone().unwrap()))
        .stdout(Stdio::from(far.try_clone().unwrap()))
        .stderr(Stdio::from(far));
    Running::of_terminal(command, Stream::read(File::from(near)))
}

/// What stands on the screen in the end.
fn screen(printed: &str) -> vt100::Parser {
    let size = |cells| NonZeroU16::new(cells).unwrap();
    let mut parser = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
    parser.process(printed.as_bytes());
    parser
}

fn connected(machine: &Machine, environment: &[(&str, &str)]) -> Running {
    let host = start(machine, &["connect", "--sandbox"], environment);
    host.stderr.wait_for("Reachable from the internet");
    host
}

#[test]
fn a_person_sees_the_key_and_a_tidy_journey() {
    let machine = Machine::new();
    let host = connected(&machine, &[]);
    let key = machine.run(&["token", "--reveal", "--sandbox"]).stdout;
    host.signal(Signal::INT);
    let ended = host.end();
    assert_eq!(ended.code, 0, "{ended:?}");

    assert!(ended.stdout.contains("\u{1b}[32m✓"), "colour: {ended:?}");
    assert!(
        ended.stdout.contains("\r\u{1b}[2K"),
        "a line that is written over"
    );
    let seen = screen(&ended.stdout).screen().contents();
    assert!(!seen.contains('…'), "nothing of it stays: {seen}");
    assert!(seen.contains(&format!("Key  {}", key.trim())), "{seen}");
    let bearer = format!("-H \"Authorization: Bearer {}\"", key.trim());
    assert!(seen.contains(&bearer), "{seen}");
    assert!(
        seen.trim_end()
            .ends_with("nothing is reachable from the internet."),
        "{seen}"
    );
}

#[test]
fn without_colour_nothing_is_lost() {
    let machine = Machine::new();
    let host = connected(&machine, &[("NO_COLOR", "1")]);
    host.signal(Signal::INT);
    let ended = host.end();
    let coloured = ended
        .stdout
        .split("\u{1b}[")
        .skip(1)
        .any(|code| !code.starts_with("2K"));
    assert!(!coloured, "{ended:?}");
    let seen = screen(&ended.stdout).screen().contents();
    assert!(seen.contains("  ✓ Prove that the lock holds  "), "{seen}");
    assert!(!seen.contains('…'), "{seen}");
}

#[test]
fn a_terminal_that_knows_no_control_codes_gets_none() {
    let machine = Machine::new();
    let host = connected(&machine, &[("TERM", "dumb")]);
    host.signal(Signal::INT);
    let ended = host.end();
    assert!(!ended.stdout.contains('\u{1b}'), "{ended:?}");
    assert!(!ended.stdout.contains('…'), "{ended:?}");
}

#[test]
fn documents_carry_no_key_and_no_colour_even_in_a_terminal() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["connect", "--detach", "--sandbox"]).code, 0);
    let ran = start(&machine, &["token", "--json", "--sandbox"], &[]).end();
    let document = ran
        .stdout
        .lines()
        .find(|line| line.starts_with('{'))
        .unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    assert!(document["key"].is_null());
    assert!(!ran.stdout.contains('\u{1b}'));
    let shown = start(&machine, &["token", "--sandbox"], &[]).end();
    assert!(
        shown.stdout.contains("\necto_") && !shown.stdout.contains('…'),
        "{shown:?}"
    );
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
}

#[test]
fn a_person_is_asked_before_ecto_takes_itself_off() {
    let machine = Machine::new();
    let asking = start(&machine, &["uninstall", "--sandbox"], &[]);
    asking.stderr.wait_for("Go on? [y/N] ");
    asking.signal(Signal::INT);
    assert_eq!(asking.end().code, 130);
}
