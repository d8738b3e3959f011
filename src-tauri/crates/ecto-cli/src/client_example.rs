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

/// A Python program that sends a chat completion with OpenAI's library.
pub fn python(report: &Report, key: &str) -> String {
    format!(
        "from openai import OpenAI\n\n\
         client = OpenAI(base_url=\"{}\", api_key=\"{key}\")\n\
         answer = client.chat.completions.create(\n    \
             model=\"openclaw\",\n    \
             messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n\
         )\n\
         print(answer.choices[0].message.content)\n",
        base_url(report)
    )
}

/// A JavaScript module that sends a chat completion with what every runtime has.
pub fn javascript(report: &Report, key: &str) -> String {
    format!(
        "const response = await fetch(\"{}/chat/completions\", {{\n  \
           method: \"POST\",\n  \
           headers: {{ \"Authorization\": \"Bearer {key}\", \"Content-Type\": \"application/json\" }},\n  \
           body: JSON.stringify({{ model: \"openclaw\", messages: [{{ role: \"user\", content: \"Hello\" }}] }}),\n\
         }});\n\
         console.log((await response.json()).choices[0].message.content);\n",
        base_url(report)
    )
}

/// The variables that OpenAI's client libraries and many programs read.
pub fn environment(report: &Report, key: &str) -> String {
    format!(
        "export OPENAI_BASE_URL={}\nexport OPENAI_API_KEY={key}\n",
        quote(base_url(report))
    )
}

fn base_url(report: &Report) -> &str {
    report.base_url.as_deref().unwrap_or_default()
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
