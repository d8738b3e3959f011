//! Which links of a tailscaled a person may be sent to.

use ecto_core::tailnet::Link;
use url::{Host, Url};

/// The names of Tailscale's own control server (tailscale 1.104, `ipn/prefs.go`, `IsLoginServerSynonym`).
const TAILSCALE: [&str; 2] = ["login.tailscale.com", "controlplane.tailscale.com"];

/// Takes a link that came through a tailscaled which uses the control server `control` (empty: Tailscale's own).
/// From Tailscale's own it must be https at `tailscale.com`; from another on this machine it may be plain http there.
/// Returns `None` where a person should not be sent there.
pub(crate) fn allow(control: &str, address: &str) -> Option<Link> {
    let link = Link::new(address)?;
    let url = Url::parse(address).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let allowed = match control_host(control) {
        None => {
            let host = url.host_str().unwrap_or_default();
            let tailscale = host == "tailscale.com" || host.ends_with(".tailscale.com");
            url.scheme() == "https" && tailscale
        }
        Some(host) if is_loopback(&host) => true,
        Some(_) => url.scheme() == "https",
    };
    allowed.then_some(link)
}

/// Where an administrator approves machines.
pub(crate) fn approval(control: &str) -> Option<Link> {
    match control_host(control) {
        None => Link::new("https://login.tailscale.com/admin/machines"),
        Some(_) => Link::new(control),
    }
}

/// Host of a control server that is not Tailscale's own.
fn control_host(control: &str) -> Option<Host<String>> {
    let url = Url::parse(control).ok()?;
    let host = url.host()?.to_owned();
    let tailscale = matches!(&host, Host::Domain(name) if TAILSCALE.contains(&name.as_str()));
    (!tailscale).then_some(host)
}

fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tailscale_sends_people_to_tailscale_only() {
        for control in [
            "",
            "https://controlplane.tailscale.com",
            "https://login.tailscale.com/",
        ] {
            assert!(allow(control, "https://login.tailscale.com/a/0123").is_some());
            for link in [
                "http://login.tailscale.com/a/0123",
                "https://login.tailscale.com.evil.example/a/0123",
                "https://eviltailscale.com/a",
                "https://login.tailscale.com@evil.example/a",
                "https://you@login.tailscale.com/a",
                "http://127.0.0.1:31000/auth/1",
                "file:///etc/passwd",
                "javascript:alert(1)",
                "",
            ] {
                assert!(allow(control, link).is_none(), "{link}");
            }
        }
    }

    #[test]
    fn another_control_server_sends_people_by_https_unless_it_is_on_this_machine() {
        assert!(allow("https://head.example.net", "https://sso.example.org/x").is_some());
        assert!(allow("https://head.example.net", "http://127.0.0.1:1/x").is_none());
        assert!(allow("http://127.0.0.1:31000", "http://127.0.0.1:31000/auth/1").is_some());
        assert!(allow("http://127.0.0.1:31000", "http://evil.example/auth/1").is_none());
    }
}
