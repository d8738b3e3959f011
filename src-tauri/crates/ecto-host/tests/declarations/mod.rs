//! The types of Rust as TypeScript declares them, and the files that keep them for the page.

use std::collections::BTreeMap;
use std::path::Path;

use ts_rs::{Config, TS, TypeVisitor};

/// The declarations of the types that were visited, and of what they are made of.
pub struct Declarations {
    config: Config,
    pub by_name: BTreeMap<String, String>,
}

impl Declarations {
    pub fn new() -> Self {
        Self {
            config: Config::new().with_large_int("number"),
            by_name: BTreeMap::new(),
        }
    }
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        let declared_somewhere = T::output_path().is_some();
        let name = T::ident(&self.config);
        if declared_somewhere && !self.by_name.contains_key(&name) {
            let declaration = T::decl(&self.config);
            self.by_name.insert(name, format!("export {declaration}\n"));
        }
        T::visit_dependencies(self);
    }
}

/// Compares `file` with what the types are; writes it anew where `UPDATE` is set.
pub fn compare(by_name: &BTreeMap<String, String>, file: &Path, imports: &str, command: &str) {
    let heading =
        format!("// Made from the types in Rust; made anew with\n// UPDATE=1 {command}\n{imports}");
    let made = by_name
        .values()
        .fold(heading, |text, declaration| text + "\n" + declaration);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    let name = file.file_name().unwrap_or_default().display();
    assert!(
        kept == made,
        "{name} is stale; make it anew with: UPDATE=1 {command}"
    );
}
