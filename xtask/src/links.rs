//! Links between the project's own Markdown pages: every file and every heading they name is there.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::Result;

use crate::{step::Count, workspace::Workspace};

/// Checks every relative link and anchor; addresses on the internet are not asked.
pub fn check(workspace: &Workspace) -> Result<Count> {
    let pages: Vec<PathBuf> = workspace
        .files()?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .collect();
    let mut anchors = HashMap::new();
    for page in &pages {
        anchors.insert(
            page.clone(),
            headings(&fs::read_to_string(workspace.root.join(page))?),
        );
    }
    let mut count = Count::default();
    for page in &pages {
        for target in targets(&fs::read_to_string(workspace.root.join(page))?) {
            match problem(&workspace.root, page, &target, &anchors) {
                None => count += Count::PASSED,
                Some(problem) => {
                    println!("{}: {target}: {problem}", page.display());
                    count += Count::FAILED;
                }
            }
        }
    }
    Ok(count)
}

fn problem(
    root: &Path,
    page: &Path,
    target: &str,
    anchors: &HashMap<PathBuf, HashSet<String>>,
) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target
        .split_once('#')
        .map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let linked = if file.is_empty() {
        page.to_owned()
    } else {
        normal(&page.parent().unwrap_or(Path::new("")).join(file))
    };
    if linked != page && !root.join(&linked).exists() {
        return Some("there is no such file");
    }
    let headings = anchors.get(&linked)?;
    match anchor {
        Some(anchor) if !headings.contains(anchor) => Some("there is no such heading"),
        Some(_) | None => None,
    }
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                normal.push(component)
            }
        }
    }
    normal
}

/// The lines outside fenced code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fence: Option<&str> = None;
    page.lines().filter(move |line| {
        let start = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| start.starts_with(mark));
        let in_code = fence.is_some() || mark.is_some();
        if fence.is_none() {
            fence = mark;
        } else if fence == mark {
            fence = None;
        }
        !in_code
    })
}

fn without_code(line: &str) -> String {
    line.split('`')
        .enumerate()
        .map(|(index, part)| if index % 2 == 0 { part } else { "code" })
        .collect()
}

/// What the page links to: inline links and pictures, reference definitions, `src` and `href` of inline HTML.
fn targets(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(page).map(without_code) {
        for (mark, end) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            let found = line
                .split(mark)
                .skip(1)
                .filter_map(|rest| rest.split_once(end));
            targets.extend(found.map(|(target, _)| address(target)));
        }
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            targets.push(address(target));
        }
    }
    targets
}

/// The address without a title after it.
fn address(target: &str) -> String {
    target
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The anchors of a page's headings, made as GitHub makes them.
fn headings(page: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    let mut seen: HashMap<String, u32> = HashMap::new();
    for line in prose(page).filter(|line| line.starts_with('#')) {
        let Some(title) = line.trim_start_matches('#').strip_prefix(' ') else {
            continue;
        };
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
            .map(|character| if character == ' ' { '-' } else { character })
            .collect();
        let number = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *number == 0 {
            anchor
        } else {
            format!("{anchor}-{number}")
        });
        *number += 1;
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_problems(page: &str) -> Vec<&'static str> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        fs::write(root.path().join("docs/security.md"), "# Promises\n").unwrap();
        let anchors = HashMap::from([
            (
                PathBuf::from("docs/security.md"),
                headings("# Promises\n## Never `public` without proof\n## Promises\n"),
            ),
            (PathBuf::from("README.md"), headings(page)),
        ]);
        let targets = targets(page);
        targets
            .iter()
            .filter_map(|target| problem(root.path(), Path::new("README.md"), target, &anchors))
            .collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let page = "# Use\n[a](docs/security.md) [b](./docs/security.md#never-public-without-proof \"title\")\n\
                    [c](#use) [d](https://example.com/none) <img src=\"docs/security.md\">\n[e]: docs/security.md#promises-1\n";
        assert_eq!(page_problems(page), Vec::<&str>::new());
    }

    #[test]
    fn a_missing_file_and_a_missing_heading_are_found() {
        let page = "[a](docs/gone.md)\n[b](docs/security.md#gone)\n";
        assert_eq!(
            page_problems(page),
            ["there is no such file", "there is no such heading"]
        );
    }

    #[test]
    fn code_holds_no_links_and_no_headings() {
        assert_eq!(
            page_problems("`[a](gone.md)`\n```sh\n[b](gone.md)\n```\n"),
            Vec::<&str>::new()
        );
        assert_eq!(headings("```sh\n# a comment\n```\n"), HashSet::new());
    }
}
