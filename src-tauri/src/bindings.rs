//! The types that cross between the page and this program alone, as the page is checked with them. Those of the host's
//! report are made by its own crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ecto_core::key::Route;
use serde_json::{Value, from_value, json};
use ts_rs::TypeVisitor as _;

use crate::application::{CodeWhat, CopyWhat, OpenWhat};
use crate::keys::{End, Grace, NewKey};
use crate::refusal::Refusal;
use crate::view::tests::view_of;
use crate::view::{AppView, LoginItem, NotificationStanding, SystemName};

#[path = "../crates/ecto-host/tests/declarations/mod.rs"]
mod declarations;

use declarations::{Declarations, compare};

fn declared() -> BTreeMap<String, String> {
    let mut declarations = Declarations::new();
    declarations.visit::<AppView>();
    declarations.visit::<NewKey>();
    declarations.visit::<Grace>();
    declarations.visit::<End>();
    declarations.visit::<CopyWhat>();
    declarations.visit::<OpenWhat>();
    declarations.visit::<CodeWhat>();
    let mut by_name = declarations.by_name;
    let optional = Route::OPTIONAL.map(|route| json!(route).to_string());
    let declaration = format!("export type OptionalRoute = {};\n", optional.join(" | "));
    by_name.insert("OptionalRoute".to_owned(), declaration);
    by_name
}

#[test]
fn the_page_is_checked_with_the_types_that_cross() {
    compare(
        &declared(),
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/app-bindings.d.ts"),
        "\nimport type { Preferences, Report, Route } from \"./bindings.js\";\n",
        "cargo test -p ecto --features app bindings",
    );
}

/// What is declared, beside what is written and read.
#[test]
fn what_crosses_has_the_names_that_are_declared() {
    let declared = declared();
    let body = |name: &str| -> String {
        let declaration = &declared[name];
        let (_, body) = declaration.split_once(" = ").unwrap();
        body.trim_end().trim_end_matches(';').to_owned()
    };
    let union = |name: &str| -> Vec<Value> {
        let body = body(name);
        let words = body
            .split('|')
            .map(|word| json!(word.trim().trim_matches('"')));
        words.collect()
    };
    let fields = |name: &str| -> BTreeSet<String> {
        let body = body(name);
        let lines = body.trim_matches(['{', '}', ' ']).lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with(['/', '*']))
            .map(|line| line.split(':').next().unwrap_or_default().to_owned())
            .collect()
    };
    let keys =
        |value: Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    // What goes out.
    assert_eq!(keys(json!(view_of("private"))), fields("AppView"));
    assert_eq!(keys(json!(Refusal::nothing(""))), fields("Refusal"));
    let systems = [SystemName::Mac, SystemName::Linux].map(|one| json!(one));
    assert_eq!(union("System"), systems);
    let login = [
        LoginItem::On,
        LoginItem::Off,
        LoginItem::Refused,
        LoginItem::Unavailable,
    ];
    assert_eq!(union("LoginItem"), login.map(|one| json!(one)));
    let notifications = [
        NotificationStanding::Shown,
        NotificationStanding::Refused,
        NotificationStanding::Unavailable,
    ];
    let standings = notifications.map(|one| json!(one));
    assert_eq!(union("NotificationStanding"), standings);
    // What comes in: each that the page may say is understood, and there are no more.
    let copied = union("CopyWhat").into_iter().map(from_value::<CopyWhat>);
    assert_eq!(copied.map(Result::unwrap).count(), CopyWhat::ALL.len());
    let codes = union("CodeWhat").into_iter().map(from_value::<CodeWhat>);
    assert_eq!(codes.map(Result::unwrap).count(), CodeWhat::ALL.len());
    let opened = union("OpenWhat").into_iter().map(from_value::<OpenWhat>);
    assert_eq!(opened.map(Result::unwrap).count(), OpenWhat::ALL.len());
    for grace in union("Grace") {
        from_value::<Grace>(grace).unwrap();
    }
    for end in union("End") {
        from_value::<End>(end).unwrap();
    }
    let mut key = json!({ "name": "n", "agent": "", "routes": ["chat"], "days": 30, "per_minute": 60, "concurrent": null, "from": "" });
    assert_eq!(keys(key.clone()), fields("NewKey"));
    from_value::<NewKey>(key.clone()).unwrap();
    key["expires"] = json!(null);
    from_value::<NewKey>(key).unwrap_err();
}
