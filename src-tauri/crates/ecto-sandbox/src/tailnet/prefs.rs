//! The preferences of a node (`ipn/prefs.go`).

use serde_json::{Map, Value, json};

/// Preferences as tailscaled shows them. A document, because a client must keep fields that it does not know.
#[derive(Clone, Debug)]
pub(crate) struct Prefs(Map<String, Value>);

impl Prefs {
    /// What a daemon has before anybody signed in.
    pub(crate) fn signed_out() -> Self {
        let fields = json!({
            "ControlURL": "",
            "RouteAll": false,
            "ExitNodeID": "",
            "ExitNodeIP": "",
            "InternalExitNodePrior": "",
            "ExitNodeAllowLANAccess": false,
            "CorpDNS": true,
            "RunSSH": false,
            "RunWebClient": false,
            "WantRunning": false,
            "LoggedOut": true,
            "ShieldsUp": false,
            "AdvertiseTags": null,
            "Hostname": "",
            "NotepadURLs": false,
            "AdvertiseRoutes": null,
            "AdvertiseServices": null,
            "Sync": null,
            "NoSNAT": false,
            "NoStatefulFiltering": true,
            "NetfilterMode": 2,
            "AutoUpdate": {"Check": true, "Apply": null},
            "AppConnector": {"Advertise": false},
            "PostureChecking": false,
            "NetfilterKind": "",
            "DriveShares": null,
            "AllowSingleHosts": true,
            "Config": null
        });
        match fields {
            Value::Object(fields) => Self(fields),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Self(Map::new()),
        }
    }

    pub(crate) fn document(&self) -> Value {
        Value::Object(self.0.clone())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Takes over every field of `UpdatePrefs` of a start request.
    pub(crate) fn replace(&mut self, fields: &Map<String, Value>) -> Result<(), String> {
        for (name, value) in fields {
            self.check(name, value)?;
        }
        for (name, value) in fields {
            // The daemon keeps its own keys and profile here, whatever a client sends.
            if name != "Config" {
                self.0.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// Applies masked preferences: `{"Field": value, "FieldSet": true}`. Returns the names that changed.
    pub(crate) fn edit(&mut self, masked: &Map<String, Value>) -> Result<Vec<String>, String> {
        let mut chosen = Vec::new();
        for (name, set) in masked {
            let Some(field) = name.strip_suffix("Set") else {
                continue;
            };
            if set != &Value::Bool(true) {
                continue;
            }
            // Go's decoder leaves a field that is not there at its zero value.
            let value = match masked.get(field) {
                Some(value) => value.clone(),
                None => zero(self.0.get(field)),
            };
            self.check(field, &value)?;
            chosen.push((field.to_owned(), value));
        }
        let mut changed = Vec::new();
        for (name, value) in chosen {
            if self.0.get(&name) != Some(&value) {
                self.0.insert(name.clone(), value);
                changed.push(name);
            }
        }
        Ok(changed)
    }

    fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let fits = match self.0.get(name) {
            Some(Value::Bool(_)) => value.is_boolean(),
            Some(Value::String(_)) => value.is_string(),
            Some(Value::Number(_)) => value.is_number(),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => true,
        };
        if fits {
            Ok(())
        } else {
            Err(format!(
                "json: cannot unmarshal into Go struct field MaskedPrefs.{name}"
            ))
        }
    }
}

fn zero(current: Option<&Value>) -> Value {
    match current {
        Some(Value::Bool(_)) => Value::Bool(false),
        Some(Value::Number(_)) => json!(0),
        Some(Value::String(_)) | None => json!(""),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn only_masked_fields_change() {
        let mut prefs = Prefs::signed_out();
        let changed = prefs.edit(&masked(
            json!({"WantRunning": true, "WantRunningSet": true, "ShieldsUp": true}),
        ));
        assert_eq!(changed, Ok(vec!["WantRunning".to_owned()]));
        assert!(prefs.flag("WantRunning"));
        assert!(!prefs.flag("ShieldsUp"));
    }

    #[test]
    fn a_wrong_type_changes_nothing() {
        let mut prefs = Prefs::signed_out();
        let refused = prefs.edit(&masked(
            json!({"WantRunning": true, "WantRunningSet": true, "Hostname": 7, "HostnameSet": true}),
        ));
        assert!(refused.is_err());
        assert!(!prefs.flag("WantRunning"));
    }
}
