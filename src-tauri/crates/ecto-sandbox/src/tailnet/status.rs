//! The status of a node, in the shape of `ipn/ipnstate` (samples of 1.96.5).

use serde_json::{Map, Value, json};

use super::node::{BackendState, Node};

const NO_TIME: &str = "0001-01-01T00:00:00Z";
const DEPRECATED_CAPABILITIES: &str = "HTTPS://TAILSCALE.COM/s/DEPRECATED-NODE-CAPS#see-https://github.com/tailscale/tailscale/issues/11508";
const NO_KEY: &str = "nodekey:0000000000000000000000000000000000000000000000000000000000000000";
const SELF_KEY: &str = "nodekey:515c31e8e399f275dfe5aa58d29ff3b87984342392c63e6976ccc49a1739f867";
const PEER_KEY: &str = "nodekey:375634f51a6bfc6c7b1f964be07cfbd766a9c93dd0f198f1cb9787e1b4ebc844";

pub(super) const ADDRESSES: [&str; 2] = ["100.64.0.2", "fd7a:115c:a1e0:ab12:4843:cd96:6240:2"];

/// Describes the node as `GET status` does.
pub(super) fn status(node: &Node, peers: bool) -> Value {
    let known = node.is_in_network_map();
    let running = node.state() == BackendState::Running;
    let mut status = Map::new();
    let mut put = |name: &str, value: Value| status.insert(name.to_owned(), value);
    put("Version", json!(node.version));
    put("TUN", json!(false));
    put("BackendState", json!(node.state().name()));
    if node.has_key {
        put("HaveNodeKey", json!(true));
    }
    put(
        "AuthURL",
        json!(node.sign_in_url.as_deref().unwrap_or_default()),
    );
    put(
        "TailscaleIPs",
        if known { json!(ADDRESSES) } else { Value::Null },
    );
    put("Self", own_entry(node, known, running));
    put("Health", json!(node.health_texts()));
    put(
        "MagicDNSSuffix",
        json!(if known { node.suffix.as_str() } else { "" }),
    );
    put(
        "CurrentTailnet",
        if known {
            json!({"Name": node.tailnet, "MagicDNSSuffix": node.suffix, "MagicDNSEnabled": node.magic_dns})
        } else {
            Value::Null
        },
    );
    put(
        "CertDomains",
        if known && node.grants.https {
            json!([node.host()])
        } else {
            Value::Null
        },
    );
    put(
        "Peer",
        if known && peers {
            peer(node)
        } else {
            Value::Null
        },
    );
    put(
        "User",
        if known && peers {
            json!({"123": {"ID": 123, "LoginName": node.login, "DisplayName": "User 123", "ProfilePicURL": ""}})
        } else {
            Value::Null
        },
    );
    put("ClientVersion", Value::Null);
    Value::Object(status)
}

fn own_entry(node: &Node, known: bool, running: bool) -> Value {
    let mut own = Map::new();
    let mut put = |name: &str, value: Value| own.insert(name.to_owned(), value);
    put("ID", json!(if known { "TESTCTRL00000002" } else { "" }));
    put("PublicKey", json!(if known { SELF_KEY } else { NO_KEY }));
    put("HostName", json!(node.host_name));
    put(
        "DNSName",
        json!(if known {
            format!("{}.", node.host())
        } else {
            String::new()
        }),
    );
    put("OS", json!(std::env::consts::OS));
    put("UserID", json!(if known { 123 } else { 0 }));
    put(
        "TailscaleIPs",
        if known { json!(ADDRESSES) } else { Value::Null },
    );
    if known {
        put(
            "AllowedIPs",
            json!(["100.64.0.2/32", "fd7a:115c:a1e0:ab12:4843:cd96:6240:2/128"]),
        );
    }
    put("Addrs", json!([]));
    put("CurAddr", json!(""));
    put("Relay", json!(if known { "test" } else { "" }));
    put("PeerRelay", json!(""));
    put("RxBytes", json!(0));
    put("TxBytes", json!(0));
    for time in ["Created", "LastWrite", "LastSeen", "LastHandshake"] {
        put(time, json!(NO_TIME));
    }
    put("Online", json!(running));
    put("ExitNode", json!(false));
    put("ExitNodeOption", json!(false));
    put("Active", json!(false));
    put(
        "PeerAPIURL",
        if running {
            json!([
                "http://100.64.0.2:46590",
                "http://[fd7a:115c:a1e0:ab12:4843:cd96:6240:2]:46590"
            ])
        } else {
            Value::Null
        },
    );
    put("TaildropTarget", json!(0));
    put("NoFileSharingReason", json!(""));
    if known {
        let capabilities = capabilities(node);
        let mut listed = vec![DEPRECATED_CAPABILITIES.to_owned()];
        listed.extend(capabilities.iter().cloned());
        put("Capabilities", json!(listed));
        let map: Map<String, Value> = capabilities
            .into_iter()
            .map(|name| (name, Value::Null))
            .collect();
        put("CapMap", Value::Object(map));
    }
    put("InNetworkMap", json!(known));
    put("InMagicSock", json!(false));
    put("InEngine", json!(false));
    if node.key_expired {
        put("Expired", json!(true));
        put("KeyExpiry", json!("2026-01-01T00:00:00Z"));
    }
    Value::Object(own)
}

/// The node's capabilities, sorted as the daemon sorts them.
pub(super) fn capabilities(node: &Node) -> Vec<String> {
    let mut capabilities = vec!["debug-disable-upnp".to_owned()];
    if node.grants.funnel {
        capabilities.push("funnel".to_owned());
    }
    if node.grants.https {
        capabilities.push("https".to_owned());
    }
    if node.grants.funnel {
        capabilities.push(format!(
            "https://tailscale.com/cap/funnel-ports?ports={}",
            node.grants.ports
        ));
    }
    capabilities
}

fn peer(node: &Node) -> Value {
    json!({PEER_KEY: {
        "ID": "TESTCTRL00000001",
        "PublicKey": PEER_KEY,
        "HostName": "ingress",
        "DNSName": format!("ingress.{}.", node.suffix),
        "OS": "linux",
        "UserID": 123,
        "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0:ab12:4843:cd96:6240:1"],
        "Online": true,
        "InNetworkMap": true
    }})
}

/// The node as the control server describes it: `tailcfg.Node`, for `SelfChange` and `NetMap` on the bus.
pub(super) fn self_node(node: &Node) -> Value {
    let capabilities = capabilities(node);
    let map: Map<String, Value> = capabilities
        .iter()
        .map(|name| (name.clone(), Value::Null))
        .collect();
    json!({
        "ID": 2,
        "StableID": "TESTCTRL00000002",
        "Name": format!("{}.", node.host()),
        "User": 123,
        "Key": SELF_KEY,
        "Addresses": ["100.64.0.2/32", "fd7a:115c:a1e0:ab12:4843:cd96:6240:2/128"],
        "AllowedIPs": ["100.64.0.2/32", "fd7a:115c:a1e0:ab12:4843:cd96:6240:2/128"],
        "MachineAuthorized": node.machine_approved,
        "Capabilities": capabilities,
        "CapMap": map,
        "ComputedName": node.host_name,
        "ComputedNameWithHost": node.host_name
    })
}
