//! What is packaged agrees with what is built: folders, names, and workflows that can be read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ecto_platform::System;
use ecto_platform::folders::Folders;
use serde_json::Value;

/// The name that macOS keeps the app's own data under.
const IDENTIFIER: &str = "dev.ecto.app";

const HOME: &str = "/Users/ada";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// The strings of the one list that follows a word.
fn list_after<'a>(text: &'a str, word: &str) -> BTreeSet<&'a str> {
    let (_, rest) = text.split_once(word).unwrap();
    let (list, _) = rest.split_once('[').unwrap().1.split_once(']').unwrap();
    list.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_cask_zaps_the_folders_that_ecto_keeps_and_those_of_its_web_view() {
    let folders = Folders::locate(System::MacOs, |name| {
        (name == "HOME").then(|| OsString::from(HOME))
    })
    .unwrap();
    // The folder of the control socket lies in the state folder.
    assert!(folders.runtime().starts_with(folders.state()));
    let own = [folders.state(), folders.logs(), folders.credentials()]
        .map(|path| path.display().to_string().replace(HOME, "~"));
    let mut expected: BTreeSet<String> = own.into();
    expected.insert("~/.openclaw/skills/ecto-connection".to_owned());
    for place in [
        format!("Caches/{IDENTIFIER}"),
        format!("HTTPStorages/{IDENTIFIER}"),
        format!("Preferences/{IDENTIFIER}.plist"),
        format!("Saved Application State/{IDENTIFIER}.savedState"),
        format!("WebKit/{IDENTIFIER}"),
    ] {
        expected.insert(format!("~/Library/{place}"));
    }
    let cask = read("packaging/homebrew/ecto.rb");
    let zapped = list_after(&cask, "trash:");
    assert_eq!(zapped, expected.iter().map(String::as_str).collect());
}

/// What runs every test; a release runs it too.
const TESTS: &str = "./.github/workflows/ci.yml";

#[test]
fn everything_is_packaged_under_the_apps_own_name() {
    let cask = read("packaging/homebrew/ecto.rb");
    assert!(cask.contains(&format!("quit:         \"{IDENTIFIER}\"")));
    let metainfo = read(&format!("packaging/linux/{IDENTIFIER}.metainfo.xml"));
    assert!(metainfo.contains(&format!("<id>{IDENTIFIER}</id>")));
    let entry = read(&format!("packaging/linux/{IDENTIFIER}.desktop"));
    assert!(entry.contains(&format!("\nIcon={IDENTIFIER}\n")));
    // The app comes after its packaging.
    if let Ok(text) = fs::read_to_string(root().join("src-tauri/tauri.conf.json")) {
        let configuration: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(configuration["identifier"], IDENTIFIER);
        assert_eq!(configuration["productName"], "Ecto");
    }
}

#[test]
fn workflows_can_be_read_and_run_only_what_is_pinned() {
    let mut used = 0;
    for file in ["ci.yml", "release.yml"] {
        let text = read(&format!(".github/workflows/{file}"));
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(workflow["permissions"]["contents"], "read", "{file}");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            if job["uses"] == TESTS {
                continue;
            }
            assert!(job["timeout-minutes"].is_u64(), "{file}: {name}");
            for step in job["steps"].as_array().unwrap() {
                assert!(step.get("run").is_some() != step.get("uses").is_some());
                let Some(action) = step["uses"].as_str() else {
                    continue;
                };
                let (_, commit) = action.split_once('@').unwrap();
                assert!(
                    commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                    "{file}: {action}"
                );
                used += 1;
            }
        }
    }
    assert!(used > 0);
}

#[test]
fn nothing_is_released_that_was_not_tested_or_has_another_version() {
    let text = read(".github/workflows/release.yml");
    let workflow: Value = serde_saphyr::from_str(&text).unwrap();
    // Without a name, GitHub's shell goes on after a command that fails in a pipe.
    assert_eq!(workflow["defaults"]["run"]["shell"], "bash");
    let jobs = workflow["jobs"].as_object().unwrap();
    assert_eq!(jobs["test"]["uses"], TESTS);
    let tests: Value = serde_saphyr::from_str(&read(TESTS)).unwrap();
    assert!(
        tests["on"]
            .as_object()
            .unwrap()
            .contains_key("workflow_call")
    );
    let runs = tests["jobs"]["test"]["steps"].as_array().unwrap();
    assert!(runs.iter().any(|step| step["run"] == ".ci/run"));
    let needs = |name: &str| -> BTreeSet<String> {
        match &jobs[name]["needs"] {
            Value::String(one) => [one.clone()].into(),
            Value::Array(all) => all
                .iter()
                .map(|one| one.as_str().unwrap().to_owned())
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => BTreeSet::new(),
        }
    };
    assert_eq!(needs("version"), BTreeSet::new());
    assert_eq!(needs("test"), ["version".to_owned()].into());
    for built in ["mac", "linux"] {
        assert_eq!(needs(built), ["test".to_owned()].into());
    }
    assert_eq!(
        needs("release"),
        ["linux".to_owned(), "mac".to_owned()].into()
    );
    let compares = jobs["version"]["steps"].to_string();
    assert!(compares.contains("$TAG") && compares.contains("cargo metadata"));
}

#[test]
fn secrets_go_only_where_they_are_used() {
    let text = read(".github/workflows/release.yml");
    let workflow: Value = serde_saphyr::from_str(&text).unwrap();
    for (name, job) in workflow["jobs"].as_object().unwrap() {
        assert!(job.get("env").is_none(), "{name}");
        assert!(job.get("secrets").is_none(), "{name}");
        for step in job["steps"].as_array().into_iter().flatten() {
            let script = step["run"].as_str().unwrap_or_default();
            assert!(!script.contains("${{"), "{name}: {script}");
        }
    }
    assert!(workflow.get("env").is_none());
}
