//! The types that the popover is checked with are those that the host sends.
#![cfg(feature = "typescript")]

mod declarations;

use std::path::Path;

use ecto_core::gateway::RestoredKey;
use ecto_host::preferences::Preferences;
use ecto_host::report::Report;
use ts_rs::TypeVisitor as _;

use declarations::{Declarations, compare};

#[test]
fn the_popover_is_checked_with_the_types_that_the_host_sends() {
    let mut declarations = Declarations::new();
    declarations.visit::<Report>();
    declarations.visit::<RestoredKey>();
    declarations.visit::<Preferences>();
    compare(
        &declarations.by_name,
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ui/bindings.d.ts"),
        "",
        "cargo test -p ecto-host --features typescript --test bindings",
    );
}
