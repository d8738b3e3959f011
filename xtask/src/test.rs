//! The test command: every check and every test, one step after the other.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    app, dependencies, house, lab, links, macos, popover, requirements,
    step::{self, Count, Steps},
    workspace::Workspace,
};

/// Runs all steps, whatever fails, and ends with the sum of what passed and failed.
pub fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut steps = Steps::default();
    steps.run("tools for the lab", requirements::language_tools);
    steps.run("tools for the secret store", requirements::secret_service);
    steps.run("tools for the desktop", requirements::desktop);
    steps.run("tools for the popover", requirements::popover);
    // Where there is no web view, everything but the app is tested.
    let features: &[&str] = if requirements::web_view() {
        &["--features", app::FEATURE]
    } else {
        &[]
    };
    steps.run("formatting", || {
        step::check(workspace.cargo().args(["fmt", "--all", "--", "--check"]))
    });
    steps.run("clippy", || {
        step::check(
            workspace
                .cargo()
                .args(["clippy", "--workspace", "--all-targets"])
                .args(features)
                .args(["--", "-D", "warnings"]),
        )
    });
    steps.run("documentation", || {
        step::check(
            workspace
                .cargo()
                .env("RUSTDOCFLAGS", "-D warnings")
                .args(["doc", "--no-deps", "--workspace"])
                .args(features),
        )
    });
    // A workspace of its own, in which nothing else looks at the types; fuzzing itself needs a nightly toolchain.
    steps.run("fuzzers, types", || {
        step::check(
            workspace
                .cargo()
                .args(["check", "--manifest-path", "fuzz/Cargo.toml"]),
        )
    });
    steps.run("dependencies", || dependencies::check_rules(workspace));
    steps.run("advisories", || dependencies::check_advisories(workspace));
    steps.run("links", || links::check(workspace));
    steps.run("house", || house::check(workspace));
    if !features.is_empty() {
        // The desktop tests start the program itself.
        steps.run("the app", || {
            let build = ["build", "--workspace", "--bin", "ecto-app"];
            step::check(workspace.cargo().args(build).args(features))
        });
    }
    steps.run("the lab", || {
        lab::prepare(workspace, &[&["--workspace"], features].concat())
    });
    steps.run("tests", || {
        // Snapshots are compared and never written.
        step::tests(
            workspace
                .cargo()
                .env("INSTA_UPDATE", "no")
                // A test that fails says why; with its backtrace, forty of them bury that.
                .env("RUST_BACKTRACE", "0")
                .env(lab::PREPARED, "1")
                .args([
                    "test",
                    "--workspace",
                    "--lib",
                    "--bins",
                    "--tests",
                    "--no-fail-fast",
                ])
                .args(features),
        )
    });
    steps.run("popover, types", || popover::check_types(workspace));
    steps.run("popover", || popover::test(workspace));
    steps.run("macOS", || macos::check(workspace).map(|()| Count::PASSED));
    steps.run("macOS, seeded error", || {
        macos::check_catches_seeded_error(workspace).map(|()| Count::PASSED)
    });
    steps.run("documentation tests", || {
        step::tests(
            workspace
                .cargo()
                .args(["test", "--workspace", "--doc", "--no-fail-fast"])
                .args(features),
        )
    });
    let total = steps.finish();
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
