//! How a stand-in is described before it starts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::backend::Backend;
use super::bus::Bus;
use super::local_api::{self, Door};
use super::node::{CertificateState, Grants, Node};
use super::prefs::Prefs;
use super::serve_config::ServeConfig;
use super::{
    Access, AppDoor, Delays, Inner, LONGEST_SOCKET_PATH, Pace, StartError, Tailnet, proxy,
};
use crate::authority::Authority;
use crate::faults::Faults;
use crate::latest::Latest;
use crate::life::{Life, Place};

const VERSION: &str = "1.102.3-t0123456789";

/// Describes a stand-in; made by [`Tailnet::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TailnetBuilder {
    node: Node,
    serve_config: Option<Value>,
    access: Access,
    pace: Pace,
    machine_approval_required: bool,
    sign_in_link_hidden: bool,
    feature_waits: bool,
    socket: Option<PathBuf>,
    app: bool,
    authority: Option<Authority>,
    faults: Faults,
}

impl TailnetBuilder {
    pub(super) fn new() -> Self {
        Self {
            node: Node {
                version: VERSION.to_owned(),
                host_name: "oc-mac".to_owned(),
                suffix: "tail1234.ts.net".to_owned(),
                tailnet: "fake-control.example.net".to_owned(),
                login: "user-123@fake-control.example.net".to_owned(),
                magic_dns: true,
                prefs: Prefs::signed_out(),
                has_key: false,
                key_expired: false,
                machine_approved: false,
                starting: false,
                in_use_by_other: false,
                sign_in_url: None,
                grants: Grants {
                    https: false,
                    funnel: false,
                    ports: "443,8443,10000".to_owned(),
                },
                certificate: CertificateState::default(),
                raised: BTreeMap::new(),
            },
            serve_config: None,
            access: Access::default(),
            pace: Pace::default(),
            machine_approval_required: false,
            sign_in_link_hidden: false,
            feature_waits: true,
            socket: None,
            app: false,
            authority: None,
            faults: Faults::new(),
        }
    }

    /// Somebody signed in and the node runs.
    pub fn signed_in(mut self) -> Self {
        self.node.has_key = true;
        self.node.machine_approved = true;
        self.node.prefs.set("LoggedOut", json!(false));
        self.node.prefs.set("WantRunning", json!(true));
        self
    }

    /// Somebody signed in and switched Tailscale off.
    pub fn stopped(mut self) -> Self {
        self = self.signed_in();
        self.node.prefs.set("WantRunning", json!(false));
        self
    }

    /// HTTPS and Funnel are granted, on the ports 443, 8443 and 10000.
    pub fn funnel_allowed(mut self) -> Self {
        self.node.grants.https = true;
        self.node.grants.funnel = true;
        self
    }

    /// HTTPS is granted, Funnel is not.
    pub fn https_allowed(mut self) -> Self {
        self.node.grants.https = true;
        self
    }

    /// The ports that the Funnel capability names.
    pub fn funnel_ports(mut self, ports: &str) -> Self {
        self.node.grants.ports = ports.to_owned();
        self
    }

    /// New machines wait for an admin.
    pub fn machine_approval_required(mut self) -> Self {
        self.machine_approval_required = true;
        self
    }

    /// MagicDNS is off in the tailnet.
    pub fn without_magic_dns(mut self) -> Self {
        self.node.magic_dns = false;
        self
    }

    /// The version text, such as `1.102.1-t0123456789`: behaviour follows it.
    pub fn version(mut self, version: &str) -> Self {
        self.node.version = version.to_owned();
        self
    }

    /// The name of the node, the first label of its public name.
    pub fn host_name(mut self, name: &str) -> Self {
        self.node.host_name = name.to_owned();
        self
    }

    /// The MagicDNS suffix, such as `tail1234.ts.net`.
    pub fn suffix(mut self, suffix: &str) -> Self {
        self.node.suffix = suffix.to_owned();
        self
    }

    /// A serve configuration that is there already.
    pub fn serve_config(mut self, document: Value) -> Self {
        self.serve_config = Some(document);
        self
    }

    /// Incoming connections are blocked.
    pub fn shields_up(mut self) -> Self {
        self.node.prefs.set("ShieldsUp", json!(true));
        self
    }

    /// What the client may do.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How the certificate of the name stands.
    pub fn certificate(mut self, state: CertificateState) -> Self {
        self.node.certificate = state;
        self
    }

    /// The sign-in link is in the status alone and not on the bus, as for a client that watches by another process.
    pub fn sign_in_link_hidden_from_bus(mut self) -> Self {
        self.sign_in_link_hidden = true;
        self
    }

    /// `query-feature` says that waiting is of no use (`ShouldWait` is `false`).
    pub fn feature_without_waiting(mut self) -> Self {
        self.feature_waits = false;
        self
    }

    /// The person signs in by themselves this long after a link is there.
    pub fn approves_sign_in_after(mut self, time: Duration) -> Self {
        self.pace.approves_sign_in = Some(time);
        self
    }

    /// An admin approves the machine by themselves this long after it waits.
    pub fn approves_machine_after(mut self, time: Duration) -> Self {
        self.pace.approves_machine = Some(time);
        self
    }

    /// An admin allows Funnel by themselves this long after it is asked for.
    pub fn allows_funnel_after(mut self, time: Duration) -> Self {
        self.pace.allows_funnel = Some(time);
        self
    }

    /// The daemon stays this long in Starting.
    pub fn starts_within(mut self, time: Duration) -> Self {
        self.pace.starts_within = Some(time);
        self
    }

    /// The path of the socket, instead of `tailscaled.sock` in the folder.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Speaks as the standalone macOS app too: a TCP port with a token, and in the folder the files `ipnport` (a link whose
    /// target is the port) and `sameuserproof-<port>` that tell them, as in `/Library/Tailscale`.
    pub fn standalone_app(mut self) -> Self {
        self.app = true;
        self
    }

    /// The authority of the certificates, instead of a new one.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// A script of faults to share, instead of a new one.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Starts the stand-in with its files in this folder, which must exist. The path of the socket must be under 104 bytes.
    ///
    /// Must be called within a tokio runtime.
    #[expect(
        clippy::unused_async,
        reason = "starting is awaited like every other start of a stand-in"
    )]
    pub async fn start(self, folder: &Path) -> Result<Tailnet, StartError> {
        let socket = self
            .socket
            .unwrap_or_else(|| folder.join("tailscaled.sock"));
        let length = socket.as_os_str().len();
        if length > LONGEST_SOCKET_PATH {
            return Err(StartError::SocketPath { length });
        }
        let serve = match self.serve_config {
            None => ServeConfig::default(),
            Some(document) => {
                ServeConfig::from_document(document).map_err(StartError::ServeConfig)?
            }
        };
        let authority = match self.authority {
            Some(authority) => authority,
            None => Authority::new()?,
        };
        let life = Life::begin();
        let name_published = serve.wants_ingress();
        let inner = Arc::new(Inner {
            backend: Mutex::new(Backend {
                node: self.node,
                serve,
                bus: Bus::default(),
                access: self.access,
                requests: Latest::default(),
                machine_approval_required: self.machine_approval_required,
                sign_in_link_hidden: self.sign_in_link_hidden,
                name_published,
                asked_name: String::new(),
                feature_waits: self.feature_waits,
            }),
            faults: self.faults,
            upstream: Mutex::new(proxy::upstream(&life)),
            life,
            authority,
            pace: Mutex::new(self.pace),
            delays: Delays::default(),
        });
        listen(&inner, Place::Unix(socket.clone()), Door::Socket)?;
        let app = if self.app {
            Some(open_app_door(&inner, folder)?)
        } else {
            None
        };
        Ok(Tailnet { inner, socket, app })
    }
}

/// The doors are part of the life that `inner` holds, so they know `inner` only weakly.
fn listen(inner: &Arc<Inner>, place: Place, door: Door) -> Result<Option<SocketAddr>, StartError> {
    let weak = Arc::downgrade(inner);
    let address = inner.life.listen(place, move |connection| {
        let (inner, door) = (weak.upgrade(), door.clone());
        async move {
            if let Some(inner) = inner {
                local_api::serve(inner, door, connection).await;
            }
        }
    })?;
    Ok(address)
}

fn open_app_door(inner: &Arc<Inner>, folder: &Path) -> Result<AppDoor, StartError> {
    let token = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>());
    let door = Door::App {
        token: token.clone(),
    };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let port = listen(inner, Place::Tcp(any), door)?.map_or(0, |address| address.port());
    std::fs::write(folder.join(format!("sameuserproof-{port}")), &token)?;
    std::os::unix::fs::symlink(port.to_string(), folder.join("ipnport"))?;
    Ok(AppDoor { port, token })
}
