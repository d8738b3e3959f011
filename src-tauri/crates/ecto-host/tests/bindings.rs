//! The types that the popover is checked with are those that the host sends.
#![cfg(feature = "typescript")]

use std::collections::BTreeMap;
use std::path::Path;

use ecto_core::gateway::RestoredKey;
use ecto_host::preferences::Preferences;
use ecto_host::report::Report;
use ts_rs::{Config, TS, TypeVisitor};

const HEADING: &str = "// Made from the types in Rust; made anew with\n// UPDATE=1 cargo test -p ecto-host --features typescript --test bindings\n";

struct Declarations {
    config: Config,
    by_name: BTreeMap<String, String>,
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

#[test]
fn the_popover_is_checked_with_the_types_that_the_host_sends() {
    let mut declarations = Declarations {
        config: Config::new().with_large_int("number"),
        by_name: BTreeMap::new(),
    };
    declarations.visit::<Report>();
    declarations.visit::<RestoredKey>();
    declarations.visit::<Preferences>();
    let made = declarations
        .by_name
        .into_values()
        .fold(HEADING.to_owned(), |text, declaration| {
            text + "\n" + &declaration
        });

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ui/bindings.d.ts");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == made,
        "ui/bindings.d.ts is stale; make it anew with: UPDATE=1 cargo test -p ecto-host --features typescript --test bindings"
    );
}
