//! The rules of the house: edges between crates, names of modules, their docs, tests of the promises, no door without proof,
//! no secrets, no paths of one machine.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    step::Count,
    workspace::{Package, Workspace},
};

/// For each crate of ours the ones it may depend on; tests may also use the stand-ins of `ecto-sandbox`.
const EDGES: [(&str, &[&str]); 11] = [
    ("ecto-core", &[]),
    ("ecto-sandbox", &[]),
    ("ecto-tailscale", &["ecto-core"]),
    ("ecto-openclaw", &["ecto-core"]),
    ("ecto-guard", &["ecto-core"]),
    ("ecto-outside", &["ecto-core"]),
    ("ecto-platform", &["ecto-core"]),
    (
        "ecto-host",
        &[
            "ecto-core",
            "ecto-guard",
            "ecto-openclaw",
            "ecto-outside",
            "ecto-platform",
            "ecto-sandbox",
            "ecto-tailscale",
        ],
    ),
    ("ecto-cli", &["ecto-core", "ecto-host", "ecto-platform"]),
    (
        "ecto",
        &["ecto-cli", "ecto-core", "ecto-host", "ecto-platform"],
    ),
    ("xtask", &[]),
];

/// Journeys go across all crates.
const FREE: &str = "ecto-tests";

const NAMES_THAT_SAY_NOTHING: [&str; 9] = [
    "common", "helper", "helpers", "manager", "managers", "misc", "service", "util", "utils",
];

/// How a secret begins, and from how many characters after that on it is taken for a real one.
const SECRETS: [(&str, usize); 5] = [
    ("ecto_", 43),
    ("tskey-", 16),
    ("sk-", 32),
    ("ghp_", 30),
    ("AKIA", 16),
];

/// A line that holds a made-up secret says so with these words.
const MADE_UP: &str = "not a secret";

/// Opens the door of a stand-in or of the lab without a proof; for tests of adapters alone.
const UNPROVEN: &str = "unproven_for_test";

/// Where it may be called, besides the file that defines it and this one.
const UNPROVEN_ALLOWED: [&str; 2] = ["src-tauri/crates/ecto-tailscale/tests/", "tests/"];

/// Where it is defined.
const UNPROVEN_DEFINED: &str = "src-tauri/crates/ecto-core/src/proof.rs";

/// What Ecto promises, with tests that hold it.
const PROMISES: &str = "docs/security.md";

/// Checks all rules, and prints what breaks one.
pub fn check(workspace: &Workspace) -> Result<Count> {
    let mut rules = Rules::default();
    rules.hold(
        "edges between crates",
        forbidden_edges(&workspace.metadata()?.packages),
    );
    let mut names = Vec::new();
    let mut docs = Vec::new();
    let mut secrets = Vec::new();
    let mut paths = Vec::new();
    let mut unproven = Vec::new();
    let mut functions = BTreeSet::new();
    let own_paths = paths_of_this_machine(
        &workspace.root,
        env::var_os("HOME").map(PathBuf::from).as_deref(),
    );
    for file in workspace.files()? {
        let Ok(text) = fs::read_to_string(workspace.root.join(&file)) else {
            continue;
        };
        let shown = file.display();
        if file.extension().is_some_and(|extension| extension == "rs") {
            if says_nothing(&file) {
                names.push(format!("{shown}: name it after the noun it holds."));
            }
            if !starts_with_doc(&text) {
                docs.push(format!(
                    "{shown}: begin with a `//!` line that says what is in it."
                ));
            }
            functions.extend(function_names(&text).map(str::to_owned));
            if opens_without_proof(&file, &text) {
                unproven.push(format!(
                    "{shown}: only tests of adapters open without a proof."
                ));
            }
        }
        for (line, text) in (1..).zip(text.lines()) {
            if looks_secret(text) {
                secrets.push(format!("{shown}:{line}: this looks like a secret; if it is made up, write `{MADE_UP}` on the line."));
            }
            if own_paths.iter().any(|path| names_path(text, path)) {
                paths.push(format!(
                    "{shown}:{line}: this names a path of this machine."
                ));
            }
        }
    }
    let page = fs::read_to_string(workspace.root.join(PROMISES))?;
    rules.hold("tests of the promises", missing_tests(&page, &functions));
    rules.hold("names of modules", names);
    rules.hold("docs of modules", docs);
    rules.hold("no door without proof", unproven);
    rules.hold("no secrets", secrets);
    rules.hold("no paths of one machine", paths);
    Ok(rules.count)
}

/// What functions a file of Rust defines.
fn function_names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (before, after) = line.split_once("fn ")?;
        let is_definition = matches!(before.trim(), "" | "async" | "pub" | "pub async");
        let (name, _) = after.split_once('(')?;
        is_definition.then_some(name)
    })
}

/// The tests that a page names in paragraphs which begin with "Held by", and that nobody has written.
fn missing_tests(page: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let mut missing: Vec<String> = page
        .split("\n\n")
        .filter(|paragraph| paragraph.starts_with("Held by "))
        .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
        .filter(|name| !functions.contains(*name))
        .map(|name| format!("{PROMISES}: there is no test called `{name}`."))
        .collect();
    if !page.contains("\n\nHeld by ") {
        missing.push(format!("{PROMISES}: no promise names a test."));
    }
    missing
}

#[derive(Default)]
struct Rules {
    count: Count,
}

impl Rules {
    fn hold(&mut self, rule: &str, broken: Vec<String>) {
        for place in &broken {
            println!("{rule}: {place}");
        }
        self.count += if broken.is_empty() {
            Count::PASSED
        } else {
            Count::FAILED
        };
    }
}

fn forbidden_edges(packages: &[Package]) -> Vec<String> {
    let ours = |name: &str| packages.iter().any(|package| package.name == name);
    let mut forbidden = Vec::new();
    for package in packages.iter().filter(|package| package.name != FREE) {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            forbidden.push(format!(
                "{} is not in the list of crates and their edges.",
                package.name
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| ours(&dependency.name))
        {
            let for_tests =
                dependency.kind.as_deref() == Some("dev") && dependency.name == "ecto-sandbox";
            if !for_tests && !allowed.contains(&dependency.name.as_str()) {
                forbidden.push(format!(
                    "{} may not depend on {}.",
                    package.name, dependency.name
                ));
            }
        }
    }
    forbidden
}

fn says_nothing(file: &Path) -> bool {
    let stem = file.file_stem().unwrap_or_default();
    // A folder module is named by its folder.
    let name = if stem == "mod" {
        file.parent().and_then(Path::file_name).unwrap_or_default()
    } else {
        stem
    };
    NAMES_THAT_SAY_NOTHING
        .iter()
        .any(|nothing| name == *nothing)
}

fn starts_with_doc(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with("//!"))
}

fn opens_without_proof(file: &Path, text: &str) -> bool {
    let allowed = UNPROVEN_ALLOWED
        .iter()
        .any(|folder| file.starts_with(folder));
    let defines = file == Path::new(UNPROVEN_DEFINED) || file == Path::new("xtask/src/house.rs");
    !allowed && !defines && text.contains(UNPROVEN)
}

fn base64url(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '-' || character == '_'
}

fn looks_secret(line: &str) -> bool {
    if line.contains(MADE_UP) {
        return false;
    }
    let begins_private_key = line
        .split_once("-----BEGIN ")
        .is_some_and(|(_, rest)| rest.contains("PRIVATE KEY-----"));
    begins_private_key
        || SECRETS
            .iter()
            .any(|(begin, length)| has_token(line, begin, *length))
}

/// Whether a word begins so and goes on with at least `length` letters and digits mixed.
fn has_token(line: &str, begin: &str, length: usize) -> bool {
    line.match_indices(begin).any(|(at, _)| {
        let rest = &line[at + begin.len()..];
        let token = &rest[..rest
            .find(|character| !base64url(character))
            .unwrap_or(rest.len())];
        let mixed = token.contains(|character: char| character.is_ascii_digit())
            && token.contains(|character: char| character.is_ascii_alphabetic());
        !line[..at].ends_with(base64url) && token.len() >= length && mixed
    })
}

/// The folders above the workspace and the home folder, where they are this machine's own and not every system's.
fn paths_of_this_machine(root: &Path, home: Option<&Path>) -> Vec<String> {
    const EVERY_SYSTEM: [&str; 10] = [
        "/", "/Users", "/home", "/mnt", "/opt", "/private", "/srv", "/tmp", "/usr", "/var",
    ];
    let shared = |path: &Path| EVERY_SYSTEM.iter().any(|every| path == Path::new(every));
    let mut paths: Vec<String> = root
        .ancestors()
        .chain(home)
        .filter(|path| !shared(path))
        .map(|path| format!("{}/", path.display()))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let starts_here = !line[..at]
            .ends_with(|character: char| base64url(character) || "./~$}{)>*".contains(character));
        let goes_on = line[at + path.len()..]
            .starts_with(|character: char| character.is_ascii_alphanumeric() || character == '.');
        starts_here && goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
            })
            .collect();
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            dependencies,
        }
    }

    #[test]
    fn an_adapter_may_use_the_core_and_in_tests_the_stand_ins_but_no_other_adapter() {
        let packages = [
            package("ecto-core", &[("serde", None)]),
            package("ecto-sandbox", &[]),
            package(
                "ecto-guard",
                &[("ecto-core", None), ("ecto-sandbox", Some("dev"))],
            ),
            package(
                "ecto-tailscale",
                &[
                    ("ecto-core", None),
                    ("ecto-guard", Some("dev")),
                    ("ecto-sandbox", None),
                ],
            ),
            package("ecto-tests", &[("ecto-guard", None)]),
            package("ecto-extra", &[]),
        ];
        assert_eq!(
            forbidden_edges(&packages),
            [
                "ecto-tailscale may not depend on ecto-guard.",
                "ecto-tailscale may not depend on ecto-sandbox.",
                "ecto-extra is not in the list of crates and their edges.",
            ]
        );
    }

    #[test]
    fn a_module_is_named_after_what_it_holds() {
        assert!(says_nothing(Path::new("src/utils.rs")));
        assert!(says_nothing(Path::new("src/helpers/mod.rs")));
        assert!(!says_nothing(Path::new("src/secret_service.rs")));
    }

    #[test]
    fn the_tests_that_a_promise_names_are_there() {
        let source =
            "    #[test]\n    async fn the_door_closes() {\nfn it_says_so(\n// fn it_is_gone() {\n";
        let functions: BTreeSet<String> = function_names(source).map(str::to_owned).collect();
        assert!(functions.contains("the_door_closes") && functions.len() == 2);
        let page = "# Promises\n\n**1.** `ecto` closes.\n\nHeld by `the_door_closes`,\n`it_is_gone` and `it_says_so`.\n";
        assert_eq!(
            missing_tests(page, &functions),
            ["docs/security.md: there is no test called `it_is_gone`."]
        );
        assert_eq!(missing_tests("# Promises\n", &functions).len(), 1);
    }

    #[test]
    fn a_module_begins_with_its_doc() {
        assert!(starts_with_doc("\n//! The vault.\nuse std::fs;\n"));
        assert!(!starts_with_doc("use std::fs;\n//! The vault.\n"));
    }

    #[test]
    fn only_tests_open_without_a_proof() {
        let text = "tailnet.open(node, Opening::unproven_for_test(guard))";
        let breaks = |file: &str| opens_without_proof(Path::new(file), text);
        assert!(breaks("src-tauri/crates/ecto-host/src/world.rs"));
        assert!(breaks("src-tauri/crates/ecto-tailscale/src/tailnet.rs"));
        assert!(!breaks("src-tauri/crates/ecto-tailscale/tests/door.rs"));
        assert!(!breaks("tests/tests/lab_tailscale.rs"));
    }

    #[test]
    fn real_looking_secrets_are_found_and_made_up_ones_are_not() {
        let random = "Zk3vQ9xW2mB7tR5yL1pN8cJ4hG6dF0sA_uE-iOqKwVbX";
        assert!(looks_secret(&format!("let key = \"ecto_{random}\";")));
        assert!(looks_secret(&format!("tskey-auth-{}", &random[..20])));
        assert!(looks_secret(concat!("-----BEGIN ", "PRIVATE KEY-----"))); // not a secret
        assert!(!looks_secret(concat!("-----BEGIN ", "CERTIFICATE-----")));
        assert!(!looks_secret(&format!(
            "let key = \"ecto_{random}\"; // not a secret"
        )));
        assert!(!looks_secret(
            "ecto_platform::folders and a task-runner-of-several-names-without-digits"
        ));
        assert!(!looks_secret(&format!("prefix_ecto_{random}")));
    }

    #[test]
    fn paths_of_this_machine_are_found_where_a_path_begins() {
        let paths = paths_of_this_machine(
            Path::new("/tmp/builds/ecto"),
            Some(Path::new("/home/someone")),
        );
        assert_eq!(
            paths,
            ["/home/someone/", "/tmp/builds/", "/tmp/builds/ecto/"]
        );
        assert!(names_path("open(\"/tmp/builds/x\")", "/tmp/builds/"));
        assert!(!names_path("~/tmp/builds/x", "/tmp/builds/"));
        assert!(!names_path("under /tmp/builds/ there is", "/tmp/builds/"));
    }
}
