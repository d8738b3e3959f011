//! The steps of a test run: what each came to and how long it took.

use std::{
    fmt,
    io::{BufRead, BufReader},
    ops::AddAssign,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Tests or checks that passed.
    pub passed: u64,
    /// Tests or checks that failed.
    pub failed: u64,
    /// Tests or checks that were not run.
    pub skipped: u64,
}

impl Count {
    /// One check that passed.
    pub const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    /// One check that failed.
    pub const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    /// One check that was not run.
    pub const SKIPPED: Self = Self {
        passed: 0,
        failed: 0,
        skipped: 1,
    };
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(formatter, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The steps run so far.
#[derive(Default)]
pub struct Steps {
    done: Vec<Done>,
}

struct Done {
    name: &'static str,
    elapsed: Duration,
    count: Count,
    /// Why it came to no count of its own.
    error: Option<String>,
}

impl Steps {
    /// Runs one step; an error counts as one failure, and the next steps still run.
    pub fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<Count>) {
        println!("\n== {name}");
        let start = Instant::now();
        let (count, error) = match work() {
            Ok(count) => (count, None),
            Err(error) => (Count::FAILED, Some(format!("{error:#}"))),
        };
        if let Some(error) = &error {
            println!("{error}");
        }
        let elapsed = start.elapsed();
        println!("-- {name}: {count}, {:.1} s", elapsed.as_secs_f64());
        self.done.push(Done {
            name,
            elapsed,
            count,
            error,
        });
    }

    /// Prints each step with its time, and as the last line the sum of all; gives the sum.
    pub fn finish(self) -> Count {
        let mut total = Count::default();
        println!("\n== Summary");
        for Done {
            name,
            elapsed,
            count,
            error,
        } in self.done
        {
            println!("{name:<28} {:>7.1} s   {count}", elapsed.as_secs_f64());
            if let Some(error) = error {
                println!("    {error}");
            }
            total += count;
        }
        println!("\n{total}");
        total
    }
}

/// Runs a command that is one check.
pub fn check(command: &mut Command) -> Result<Count> {
    crate::workspace::run(command)?;
    Ok(Count::PASSED)
}

/// Runs `cargo test`, shows what it prints, and adds up what its binaries report.
pub fn tests(command: &mut Command) -> Result<Count> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test could not be started.")?;
    let output = child.stdout.take().context("cargo test has no output.")?;
    let mut count = Count::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if let Some(reported) = reported_count(&line) {
            count += reported;
        }
    }
    // A build error or a crashed test binary reports no count of its own.
    if !child.wait()?.success() && count.failed == 0 {
        count += Count::FAILED;
    }
    Ok(count)
}

fn reported_count(line: &str) -> Option<Count> {
    let mut parts = line
        .strip_prefix("test result: ")?
        .split_once(". ")?
        .1
        .split("; ");
    let mut number = |word| parts.next()?.strip_suffix(word)?.trim().parse().ok();
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_a_test_binary_is_read_from_its_last_line() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.02s";
        assert_eq!(
            reported_count(line),
            Some(Count {
                passed: 12,
                failed: 3,
                skipped: 1
            })
        );
        assert_eq!(reported_count("test wanted::tests::survives ... ok"), None);
    }

    #[test]
    fn the_closing_line_names_the_skipped_only_where_there_are_some() {
        assert_eq!(
            Count {
                passed: 7,
                failed: 0,
                skipped: 0
            }
            .to_string(),
            "7 passed, 0 failed"
        );
        assert_eq!(
            Count {
                passed: 7,
                failed: 1,
                skipped: 2
            }
            .to_string(),
            "7 passed, 1 failed, 2 skipped"
        );
    }

    #[test]
    fn a_crash_without_a_report_counts_as_a_failure() {
        let crash = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'; exit 101";
        let count = tests(Command::new("sh").args(["-c", crash])).unwrap();
        assert_eq!(
            count,
            Count {
                passed: 2,
                failed: 1,
                skipped: 0
            }
        );
    }
}
