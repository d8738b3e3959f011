//! OpenClaw's agents, as far as its configuration tells.

use ecto_core::key::AgentId;
use serde_json::Value;

use crate::config::Config;

/// The agent that there is where the configuration names none (OpenClaw 2026.9.6, `src/agents/agent-roster.ts`).
const ONLY: &str = "main";

/// The agents that the configuration names: the keys of `agents.entries`, else the ids of `agents.list`, else `main` alone
/// (OpenClaw 2026.9.6, `listAgentIds`). `None` where one of them is not said plainly.
pub(crate) fn find(config: &Config) -> Option<Vec<AgentId>> {
    read(
        config.get(&["agents", "entries"]),
        config.get(&["agents", "list"]),
    )
}

fn read(entries: Option<&Value>, list: Option<&Value>) -> Option<Vec<AgentId>> {
    match (entries, list) {
        (Some(entries), _) => {
            let entries = entries.as_object()?;
            entries.keys().map(|id| id.parse().ok()).collect()
        }
        (None, Some(list)) => {
            let list = list.as_array()?;
            list.iter()
                .map(|agent| agent.get("id")?.as_str()?.parse().ok())
                .collect()
        }
        (None, None) => Some(vec![ONLY.parse().ok()?]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn agents_are_read_as_openclaw_does_or_not_at_all() {
        let names = |entries: Value, list: Value| -> Option<Vec<String>> {
            let some = |value: &Value| (!value.is_null()).then(|| value.clone());
            let (entries, list) = (some(&entries), some(&list));
            let agents = read(entries.as_ref(), list.as_ref())?;
            Some(
                agents
                    .iter()
                    .map(|agent| agent.as_str().to_owned())
                    .collect(),
            )
        };
        let none = Value::Null;
        assert_eq!(names(none.clone(), none.clone()).unwrap(), ["main"]);
        let entries = json!({ "Public": {}, "notes": { "tools": {} } });
        assert_eq!(names(entries, none.clone()).unwrap(), ["public", "notes"]);
        let list = json!([{ "id": "main" }, { "id": "Work", "default": true }]);
        assert_eq!(names(none.clone(), list.clone()).unwrap(), ["main", "work"]);
        assert_eq!(names(json!({ "a": {} }), list).unwrap(), ["a"]);
        for unclear in [
            json!([{ "id": "${AGENT}" }]),
            json!([{}]),
            json!({ "$include": "agents.json5" }),
        ] {
            assert_eq!(names(none.clone(), unclear.clone()), None, "{unclear}");
        }
        assert_eq!(names(json!("${AGENTS}"), none), None);
    }
}
