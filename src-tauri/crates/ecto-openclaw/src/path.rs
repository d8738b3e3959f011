//! Keys inside a value: found, set and removed by their names.

use serde_json::{Map, Value};

/// The dotted name of a key, as OpenClaw writes it.
pub(crate) fn dotted(key: &[&str]) -> String {
    key.join(".")
}

/// The value of a key.
pub(crate) fn get<'v>(value: &'v Value, key: &[&str]) -> Option<&'v Value> {
    key.iter().try_fold(value, |value, name| value.get(name))
}

/// Sets a key, and makes the objects around it.
pub(crate) fn insert(value: &mut Value, key: &[&str], new: Value) {
    let Some((name, rest)) = key.split_first() else {
        *value = new;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(entries) = value {
        insert(entries.entry(*name).or_insert(Value::Null), rest, new);
    }
}

/// Removes a key, and nothing around it.
pub(crate) fn remove(value: &mut Value, key: &[&str]) {
    let Some((name, around)) = key.split_last() else {
        return;
    };
    let found = around
        .iter()
        .try_fold(value, |value, name| value.get_mut(*name));
    if let Some(Value::Object(entries)) = found {
        entries.shift_remove(*name);
    }
}
