//! The popover's own checks: its types against Rust's, and its tests in Chromium and WebKit.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    step::{self, Count},
    workspace::{self, Workspace},
};

/// Checks that the types which the page is checked with are those that the host sends.
pub fn check_types(workspace: &Workspace) -> Result<Count> {
    step::tests(workspace.cargo().args([
        "test",
        "--package",
        "ecto-host",
        "--features",
        "typescript",
        "--test",
        "bindings",
    ]))
}

/// Installs what the page's tests are written with, as the lock file names it, and runs them.
pub fn test(workspace: &Workspace) -> Result<Count> {
    let folder = workspace.root.join("ui");
    workspace::run(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--fetch-retries=5")
            .stdout(Stdio::null())
            .current_dir(&folder),
    )?;
    let mut child = Command::new("node")
        .args([
            "--test",
            "--test-reporter=tap",
            "--test-concurrency=2",
            "tests/",
        ])
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .spawn()
        .context("node could not be started.")?;
    let output = child.stdout.take().context("node has no output.")?;
    let mut count = Count::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if !is_a_pass(&line) {
            println!("{line}");
        }
        add(&mut count, &line);
    }
    if !child.wait()?.success() && count.failed == 0 {
        count += Count::FAILED;
    }
    Ok(count)
}

fn is_a_pass(line: &str) -> bool {
    let line = line.trim_start();
    ["ok ", "---", "...", "duration_ms", "type:", "# Subtest"]
        .iter()
        .any(|begin| line.starts_with(begin))
}

/// Adds what one of the closing lines of `node --test` says.
fn add(count: &mut Count, line: &str) {
    let number = |word| {
        line.strip_prefix("# ")?
            .strip_prefix(word)?
            .trim()
            .parse::<u64>()
            .ok()
    };
    count.passed += number("pass ").unwrap_or(0);
    count.failed += number("fail ").unwrap_or(0);
    count.failed += number("cancelled ").unwrap_or(0);
    count.skipped += number("skipped ").unwrap_or(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_closing_lines() {
        let mut count = Count::default();
        for line in [
            "ok 1 - pass 3",
            "# tests 14",
            "# pass 11",
            "# fail 1",
            "# cancelled 1",
            "# skipped 1",
        ] {
            add(&mut count, line);
        }
        let expected = Count {
            passed: 11,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(count, expected);
    }
}
