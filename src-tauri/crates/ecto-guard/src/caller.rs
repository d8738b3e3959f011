//! Who calls, as tailscaled tells it.

use std::net::IpAddr;

use ecto_core::foreign::ForeignText;
use http::HeaderMap;

/// What stands for a caller on this machine, or one whose address was not told in the way tailscaled tells it.
const NOT_TOLD: &str = "this machine";

/// What stands for a caller of whom nothing was read: most are on the internet.
pub(crate) const UNREAD: &str = "unknown address";

/// The caller's address. tailscaled replaces whatever the client sent by one `X-Forwarded-For` with one address
/// (`ipn/ipnlocal/serve.go`, 1.102); it may be believed because only this machine reaches the guard. Several values, or
/// something else than an address, are not from tailscaled.
pub(crate) fn caller_address(headers: &HeaderMap) -> Option<IpAddr> {
    let mut all = headers.get_all("x-forwarded-for").iter();
    let value = all.next()?;
    if all.next().is_some() {
        return None;
    }
    value.to_str().ok()?.parse().ok()
}

/// The caller, for a person.
pub(crate) fn describe_caller(address: Option<IpAddr>) -> ForeignText {
    match address {
        Some(address) => ForeignText::new(address.to_string()),
        None => ForeignText::new(NOT_TOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_believed_and_nothing_else() {
        let told = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            caller_address(&headers).map(|address| address.to_string())
        };
        assert_eq!(told(&["203.0.113.9"]).as_deref(), Some("203.0.113.9"));
        assert_eq!(told(&["2001:db8::1"]).as_deref(), Some("2001:db8::1"));
        for values in [
            &[][..],
            &["6.6.6.6, 203.0.113.9"],
            &["6.6.6.6", "203.0.113.9"],
            &["203.0.113.9:80"],
            &["<script>"],
            &[""],
        ] {
            assert_eq!(told(values), None, "{values:?}");
        }
    }
}
