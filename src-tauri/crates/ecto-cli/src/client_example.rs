//! Examples that work when they are pasted.

use ecto_host::report::Report;

/// A curl that sends a chat completion. Without `key` it asks `ecto token` for it, so that nothing secret stands in it.
pub fn curl(report: &Report, url: &str, key: Option<&str>) -> String {
    let mut lines = vec![format!("curl {url}")];
    if let Some(access) = &report.client_access {
        lines.push(format!("  --connect-to ::{}", access.edge));
        lines.push(format!(
            "  --cacert {}",
            quote(&access.root_certificate.display().to_string())
        ));
    }
    let flag = match report.world {
        ecto_host::report::WorldKind::Sandbox => " --sandbox",
        ecto_host::report::WorldKind::Real | ecto_host::report::WorldKind::Lab => "",
    };
    let bearer = key.map_or_else(|| format!("$(ecto token --reveal{flag})"), str::to_owned);
    lines.push(format!("  -H \"Authorization: Bearer {bearer}\""));
    lines.push("  -H 'Content-Type: application/json'".to_owned());
    lines.push(
        "  -d '{\"model\": \"openclaw\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'".to_owned(),
    );
    lines.join(" \\\n")
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
