//! Paths as the gateway sees them.

use url::Url;

/// Returns the path the gateway routes on.
///
/// OpenClaw 2026.9.6 parses the request target like a browser would: `..`, `%2e%2e` and `\` are
/// resolved before routing, so `/v1/%2e%2e/tools/invoke` is `/tools/invoke`. `%2f` and `%5c` stay as
/// they are.
#[must_use]
pub fn normalise(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or("/");
    Url::parse(&format!("http://gateway{path}"))
        .map_or_else(|_| path.to_owned(), |url| url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn resolves_the_tricks_the_real_gateway_resolves() {
        for trick in [
            "/v1/../tools/invoke",
            "/v1/%2e%2e/tools/invoke",
            "/v1/..\\tools\\invoke",
        ] {
            assert_eq!(normalise(trick), "/tools/invoke", "{trick}");
        }
        for other in [
            "/v1%2f..%2ftools/invoke",
            "/v1/..%5ctools",
            "//v1/models",
            "/V1/models",
        ] {
            assert_ne!(normalise(other), "/tools/invoke");
            assert_ne!(normalise(other), "/v1/models");
        }
        assert_eq!(normalise("/v1/models?token=x"), "/v1/models");
    }
}
