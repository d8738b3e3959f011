//! The whole configuration as OpenClaw reads it: the file, the files it includes, and what they mean together.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use ecto_core::cause::{Cause, ConfigProblem};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::document::{Document, SIZE_LIMIT};
use crate::path::{dotted, get};
use crate::place::Place;

const INCLUDE: &str = "$include";

/// The deepest nesting of includes (OpenClaw 2026.9.6, `docs/gateway/configuration/common-tasks.md`).
const INCLUDE_DEPTH: usize = 10;

/// One file of the configuration, as it was read.
#[derive(Clone)]
pub struct ConfigFile {
    /// The file as it is named, which may be a symlink.
    pub named: PathBuf,
    /// The file itself, symlinks followed.
    pub real: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they mean.
    pub document: Document,
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConfigFile")
            .field("named", &self.named)
            .field("real", &self.real)
            .finish_non_exhaustive()
    }
}

/// The configuration as OpenClaw reads it, before variables are put in.
#[derive(Clone)]
pub struct Config {
    /// The main file.
    pub main: ConfigFile,
    /// The included files, by the path under which they are included.
    pub included: BTreeMap<PathBuf, ConfigFile>,
    /// What all files mean together.
    pub value: Value,
    /// A digest of everything that was read.
    pub digest: [u8; 32],
    includes: usize,
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("main", &self.main)
            .field("included", &self.included)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the configuration at this place.
    pub fn read(place: &Place) -> Result<Self, Cause> {
        let unusable = |problem| Cause::ConfigUnusable {
            path: shown(&place.config),
            problem,
        };
        let main = read_file(&place.config).map_err(unusable)?;
        if !main.document.value.is_object() {
            return Err(unusable(ConfigProblem::NotAnObject { key: String::new() }));
        }
        let folder = place.config.parent().unwrap_or(Path::new("/")).to_owned();
        let mut roots = vec![folder];
        if let Some(more) = place.variables.get("OPENCLAW_INCLUDE_ROOTS") {
            roots.extend(std::env::split_paths(more).filter(|folder| folder.is_absolute()));
        }
        let mut reader = Reader {
            roots,
            included: BTreeMap::new(),
            includes: 0,
        };
        let chain = [normal(&place.config)];
        let value = reader
            .resolve(&main.document.value, &place.config, &chain, &mut Vec::new())
            .map_err(|(path, problem)| Cause::ConfigUnusable {
                path: shown(&path),
                problem,
            })?;
        let mut hasher = Sha256::new();
        hasher.update(&main.bytes);
        for (path, file) in &reader.included {
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(&file.bytes);
        }
        Ok(Self {
            main,
            value,
            digest: hasher.finalize().into(),
            includes: reader.includes,
            included: reader.included,
        })
    }

    /// Every file that was read, main file first.
    pub fn files(&self) -> impl Iterator<Item = &ConfigFile> {
        std::iter::once(&self.main).chain(self.included.values())
    }

    /// The file in which a key stands or belongs, and the key's name inside that file.
    ///
    /// A key inside a simple include (one file, no names beside it, used once) belongs to that file. Any other include above
    /// the key is a [`ConfigProblem::Included`]: an edit could not be seen to take effect, or would flatten it.
    pub fn owner<'c, 'k>(
        &'c self,
        key: &'k [&'k str],
    ) -> Result<(&'c ConfigFile, &'k [&'k str]), ConfigProblem> {
        let mut file = &self.main;
        let mut start = 0;
        let mut value = &file.document.value;
        let mut depth = 0;
        loop {
            if let Some(target) = value.get(INCLUDE) {
                let refused = || ConfigProblem::Included {
                    key: dotted(&key[..depth]),
                };
                let alone = value.as_object().is_some_and(|entries| entries.len() == 1);
                let Value::String(target) = target else {
                    return Err(refused());
                };
                if depth == 0
                    || !alone
                    || depth == start && depth > 0 && file.named != self.main.named
                {
                    return Err(refused());
                }
                let path = include_path(&file.named, target);
                let owner = self.included.get(&path).ok_or_else(refused)?;
                if self.includes != self.included.len() {
                    return Err(refused());
                }
                file = owner;
                start = depth;
                value = &file.document.value;
                continue;
            }
            let Some(name) = key.get(depth) else {
                break;
            };
            match value.get(name) {
                Some(inner) => value = inner,
                None => break,
            }
            depth += 1;
        }
        Ok((file, &key[start..]))
    }

    /// The value of a key.
    pub fn get(&self, key: &[&str]) -> Option<&Value> {
        get(&self.value, key)
    }
}

struct Reader {
    roots: Vec<PathBuf>,
    included: BTreeMap<PathBuf, ConfigFile>,
    includes: usize,
}

type Fault = (PathBuf, ConfigProblem);

impl Reader {
    fn resolve(
        &mut self,
        value: &Value,
        base: &Path,
        chain: &[PathBuf],
        key: &mut Vec<String>,
    ) -> Result<Value, Fault> {
        match value {
            Value::Object(entries) => self.resolve_object(entries, base, chain, key),
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    key.push(index.to_string());
                    resolved.push(self.resolve(item, base, chain, key)?);
                    key.pop();
                }
                Ok(Value::Array(resolved))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(value.clone()),
        }
    }

    fn resolve_object(
        &mut self,
        entries: &Map<String, Value>,
        base: &Path,
        chain: &[PathBuf],
        key: &mut Vec<String>,
    ) -> Result<Value, Fault> {
        let included = match entries.get(INCLUDE) {
            None => None,
            Some(Value::String(target)) => Some(self.load(target, base, chain, key)?),
            Some(Value::Array(targets)) => {
                let mut merged = Value::Object(Map::new());
                for target in targets {
                    let Value::String(target) = target else {
                        return Err(wrong_include(base, key));
                    };
                    merge(&mut merged, self.load(target, base, chain, key)?);
                }
                Some(merged)
            }
            Some(_) => return Err(wrong_include(base, key)),
        };
        let mut rest = Map::new();
        for (name, value) in entries.iter().filter(|(name, _)| *name != INCLUDE) {
            key.push(name.clone());
            rest.insert(name.clone(), self.resolve(value, base, chain, key)?);
            key.pop();
        }
        match included {
            None => Ok(Value::Object(rest)),
            Some(included) if rest.is_empty() => Ok(included),
            Some(mut included) if included.is_object() => {
                merge(&mut included, Value::Object(rest));
                Ok(included)
            }
            Some(_) => Err(wrong_include(base, key)),
        }
    }

    fn load(
        &mut self,
        target: &str,
        base: &Path,
        chain: &[PathBuf],
        key: &mut Vec<String>,
    ) -> Result<Value, Fault> {
        let path = include_path(base, target);
        let unreadable = |detail: &str| {
            (
                path.clone(),
                ConfigProblem::Unreadable {
                    detail: detail.into(),
                },
            )
        };
        if chain.contains(&path) {
            return Err(unreadable("it includes itself"));
        }
        if chain.len() > INCLUDE_DEPTH {
            return Err(unreadable("includes are nested too deeply"));
        }
        if !self.roots.iter().any(|root| path.starts_with(root)) {
            return Err(unreadable(
                "OpenClaw includes only files below its own folder",
            ));
        }
        let file = read_file(&path).map_err(|problem| (path.clone(), problem))?;
        let inside = self.roots.iter().any(|root| {
            let root = root.canonicalize().unwrap_or_else(|_| root.clone());
            file.real.starts_with(root)
        });
        if !inside {
            return Err(unreadable(
                "OpenClaw includes only files below its own folder",
            ));
        }
        self.includes += 1;
        let value = file.document.value.clone();
        self.included.insert(path.clone(), file);
        let mut chain = chain.to_vec();
        chain.push(path.clone());
        self.resolve(&value, &path, &chain, key)
    }
}

fn wrong_include(base: &Path, key: &[String]) -> Fault {
    let mut name = key.to_vec();
    name.push(INCLUDE.to_owned());
    (
        base.to_owned(),
        ConfigProblem::WrongType {
            key: name.join("."),
        },
    )
}

fn include_path(base: &Path, target: &str) -> PathBuf {
    let folder = base.parent().unwrap_or(Path::new("/"));
    normal(&folder.join(target))
}

/// The path without `.` and `..`, by its names alone.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => result.push(part),
        }
    }
    result
}

/// Objects merge, arrays are joined, anything else is replaced, as OpenClaw does it for includes.
fn merge(target: &mut Value, source: Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (name, value) in source {
                match target.get_mut(&name) {
                    Some(there) => merge(there, value),
                    None => {
                        target.insert(name, value);
                    }
                }
            }
        }
        (Value::Array(target), Value::Array(source)) => target.extend(source),
        (target, source) => *target = source,
    }
}

/// Reads one file of the configuration.
pub(crate) fn read_file(named: &Path) -> Result<ConfigFile, ConfigProblem> {
    let unreadable = |error: io::Error| ConfigProblem::Unreadable {
        detail: reason(&error).into(),
    };
    let real = named.canonicalize().map_err(unreadable)?;
    let data = fs::metadata(&real).map_err(unreadable)?;
    if !data.is_file() {
        return Err(ConfigProblem::Unreadable {
            detail: "it is not a file".into(),
        });
    }
    if data.len() > SIZE_LIMIT {
        return Err(ConfigProblem::TooLarge);
    }
    let bytes = fs::read(&real).map_err(unreadable)?;
    let document = Document::parse(&bytes)?;
    Ok(ConfigFile {
        named: named.to_owned(),
        real,
        bytes,
        document,
    })
}

/// What the system said, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
