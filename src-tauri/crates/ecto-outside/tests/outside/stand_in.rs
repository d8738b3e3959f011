//! A public door and two resolvers that do what a test says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecto_core::key::make_key;
use ecto_core::ports::{Outside as _, OutsideFinding};
use ecto_core::refusal::Refusal;
use ecto_core::tailnet::{FunnelPort, HostName, PublicAddress};
use ecto_core::watchword::Watchword;
use ecto_outside::{Dial, Limits, PublicCheck, Setup, Trust};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use url::Url;

pub const HOST: &str = "mac.tail1234.ts.net";

/// How long anything may take before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn trust(&self) -> Trust {
        Trust::only_pem(&self.0.pem()).unwrap()
    }

    pub fn server(&self, name: &str) -> Arc<ServerConfig> {
        self.server_with(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    pub fn server_with(&self, certificate: CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let signed = certificate.signed_by(&key, &self.0).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], private)
            .unwrap();
        Arc::new(server)
    }
}

/// What the door does with a connection.
#[derive(Clone)]
pub enum Door {
    /// TLS and HTTP.
    Speaks(Arc<ServerConfig>),
    /// Closes without a word.
    Closes,
    /// Sends these bytes and closes.
    Sends(&'static [u8]),
    /// Takes everything and says nothing.
    Silent,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and target.
    pub target: String,
    pub host: String,
    pub authorization: Option<String>,
}

/// What is answered to a request, the how-many-th it is: status line, headers and body as they are.
pub type Answering = Arc<dyn Fn(usize, &Asked) -> String + Send + Sync>;

pub struct Listening {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listening {
    pub async fn start(door: Door, answer: Answering) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (door, answer, asked) = (door.clone(), answer.clone(), noted.clone());
                open.spawn(serve(stream, door, answer, asked));
            }
        });
        Self {
            address,
            asked,
            accepting,
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    door: Door,
    answer: Answering,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    match door {
        Door::Closes => {}
        Door::Sends(bytes) => {
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read(&mut hello).await;
        }
        Door::Silent => std::future::pending().await,
        Door::Speaks(tls) => {
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                speak(stream, answer, asked).await;
            }
        }
    }
}

/// Answers requests without bodies, one after the other.
pub async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: Answering,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
            }
        };
        let rest = read.split_off(end);
        let head = String::from_utf8(std::mem::replace(&mut read, rest)).unwrap();
        let header = |name: &str| {
            head.lines().skip(1).find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let request = Asked {
            target: head.lines().next().unwrap().replace(" HTTP/1.1", ""),
            host: header("host").unwrap(),
            authorization: header("authorization"),
        };
        let text = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            answer(asked.len(), &request)
        };
        if stream.write_all(text.as_bytes()).await.is_err() || text.contains("connection: close") {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

pub fn reply(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn refusal(refusal: Refusal) -> String {
    let body = format!(
        r#"{{"error":{{"message":"m","type":"t","code":"{}","param":null}}}}"#,
        refusal.code()
    );
    reply(refusal.status(), &body)
}

pub fn key() -> SecretString {
    make_key(&mut StdRng::seed_from_u64(1)).unwrap()
}

/// What a guard in front of a gateway answers to whom.
pub fn guarded() -> Answering {
    let right = format!("Bearer {}", key().expose_secret());
    Arc::new(move |_, asked| match asked.authorization.as_deref() {
        None => refusal(Refusal::MissingKey),
        Some(shown) if shown == right => reply(200, r#"{"object":"list","data":[]}"#),
        Some(_) => refusal(Refusal::WrongKey),
    })
}

/// A resolver's answer by record type.
pub type Names = Arc<dyn Fn(u16) -> String + Send + Sync>;

pub fn published(ipv4: &[&str], ipv6: &[&str]) -> Names {
    let list = |kind: u16, addresses: &[&str]| {
        let records: Vec<String> = addresses
            .iter()
            .map(|address| format!(r#"{{"name":"h","type":{kind},"TTL":60,"data":"{address}"}}"#))
            .collect();
        reply(
            200,
            &format!(r#"{{"Status":0,"Answer":[{}]}}"#, records.join(",")),
        )
    };
    let (ipv4, ipv6) = (list(1, ipv4), list(28, ipv6));
    Arc::new(move |kind| {
        if kind == 1 {
            ipv4.clone()
        } else {
            ipv6.clone()
        }
    })
}

pub fn always(text: String) -> Names {
    Arc::new(move |_| text.clone())
}

pub fn no_such_name() -> Names {
    always(reply(200, r#"{"Status":3}"#))
}

/// The internet as a test makes it: what stands at the public address, and what two resolvers say.
pub struct Internet {
    pub authority: Authority,
    pub door: Listening,
    resolvers: Vec<Listening>,
    pub limits: Limits,
    pub port: FunnelPort,
    dialled: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Internet {
    pub async fn new(answer: Answering) -> Self {
        let authority = Authority::new();
        let door = Door::Speaks(authority.server(HOST));
        Self::with_door(authority, door, answer).await
    }

    pub async fn with_door(authority: Authority, door: Door, answer: Answering) -> Self {
        let mut internet = Self {
            door: Listening::start(door, answer).await,
            authority,
            resolvers: Vec::new(),
            limits: Limits::default(),
            port: FunnelPort::Https,
            dialled: Arc::default(),
        };
        let names = published(&["203.0.113.10"], &[]);
        internet.set_resolvers([names.clone(), names]).await;
        internet
    }

    pub async fn set_resolvers(&mut self, names: impl IntoIterator<Item = Names>) {
        self.resolvers.clear();
        let tls = self.authority.server("127.0.0.1");
        for names in names {
            self.resolvers
                .push(resolver(Door::Speaks(tls.clone()), names).await);
        }
    }

    pub async fn set_doors_of_resolvers(&mut self, doors: [Door; 2]) {
        self.resolvers.clear();
        let names = published(&["203.0.113.10"], &[]);
        for door in doors {
            self.resolvers.push(resolver(door, names.clone()).await);
        }
    }

    pub fn tls_of_resolver(&self) -> Arc<ServerConfig> {
        self.authority.server("127.0.0.1")
    }

    pub fn asked_of_resolver(&self, index: usize) -> Vec<Asked> {
        self.resolvers[index].asked()
    }

    pub fn dialled(&self) -> Vec<String> {
        let dialled = self.dialled.lock().unwrap();
        dialled.iter().map(SocketAddr::to_string).collect()
    }

    pub async fn check(&self) -> OutsideFinding {
        let behind = self.door.address;
        self.check_dialling(Arc::new(move |_| behind)).await
    }

    pub async fn check_dialling(&self, dial: Dial) -> OutsideFinding {
        let dialled = self.dialled.clone();
        let setup = Setup {
            resolvers: self
                .resolvers
                .iter()
                .map(|resolver| {
                    Url::parse(&format!("https://{}/dns-query", resolver.address)).unwrap()
                })
                .collect(),
            trust: self.authority.trust(),
            dial: Arc::new(move |public| {
                dialled.lock().unwrap().push(public);
                dial(public)
            }),
            limits: self.limits.clone(),
        };
        let mut random = StdRng::seed_from_u64(2);
        let watchword = Watchword::make(&mut random).unwrap();
        let check = PublicCheck::new(setup, watchword, &mut random).unwrap();
        let address = PublicAddress {
            host: HostName::new(HOST).unwrap(),
            port: self.port,
        };
        let key = key();
        match tokio::time::timeout(PATIENCE, check.check(&address, &key)).await {
            Ok(finding) => finding,
            Err(_) => panic!("the check did not end"),
        }
    }

    /// Whether the right key was ever shown to whoever stands at the public address.
    pub fn right_key_was_shown(&self) -> bool {
        let right = format!("Bearer {}", key().expose_secret());
        let shown = |asked: &Asked| asked.authorization.as_deref() == Some(&right);
        self.door.asked().iter().any(shown)
    }
}

async fn resolver(door: Door, names: Names) -> Listening {
    let answer = move |_, asked: &Asked| {
        let kind = if asked.target.ends_with("type=28") {
            28
        } else {
            1
        };
        names(kind)
    };
    Listening::start(door, Arc::new(answer)).await
}
