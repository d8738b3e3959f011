//! What the fuzzers in `fuzz/` drive, and what has to hold for any bytes. The corpus and a fixed number of changes to it
//! go through the same doors in the tests, so that no fuzzer is needed to find out when one of them breaks.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what must not happen ends the fuzzer"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint, HooksAccess};
use ecto_core::key::{GuardKey, Route, make_key};
use ecto_core::offer::Offer;
use ecto_core::ports::{Clock, Recorder};
use http::Method;
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use crate::activity::Register;
use crate::address::Addresses;
use crate::admission::Gate;
use crate::connection::serve;
use crate::framing::Framing;
use crate::limits::Limits;
use crate::passage::Shared;
use crate::prover::ProverPass;
use crate::rate::Pace;
use crate::room::Room;
use crate::route::find_destination;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// The web page whose programs may call where everything is allowed.
const PAGE: &str = "https://app.example";

/// Everything that a person can allow.
fn everything() -> Offer {
    Offer {
        routes: Route::OPTIONAL.into(),
        origins: [PAGE.parse().unwrap()].into(),
    }
}

/// What a client does when it has sent everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// It waits until the guard ends the connection, and so gets every answer.
    Stays,
    /// It ends its side at once.
    Leaves,
}

impl Client {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stays, Self::Leaves];
}

/// A guard with one key, in front of a gateway that is away.
pub struct Setting {
    pub(crate) shared: Arc<Shared>,
    key: SecretString,
    runtime: tokio::runtime::Runtime,
}

/// What the connections of a guard share that has one key, and that key.
pub(crate) fn share(
    gateway: SocketAddr,
    limits: Limits,
    recorder: Option<Arc<dyn Recorder>>,
) -> (Arc<Shared>, SecretString) {
    let mut random = StdRng::seed_from_u64(1);
    let key = make_key(&mut random).unwrap();
    let limits = Arc::new(limits);
    let gate = Gate::new();
    let access = GatewayAccess {
        address: gateway,
        token: SecretString::from("token"),
        hooks: Some(HooksAccess {
            path: "/hooks".to_owned(),
            token: SecretString::from("hooks token"),
        }),
        fingerprint: GatewayFingerprint("fuzz".to_owned()),
    };
    let known = GuardKey::with_all_routes("fuzz".parse().unwrap(), &key);
    gate.swap(&access, vec![known], &limits).unwrap();
    gate.set_held(false);
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let shared = Shared {
        gate,
        prover: ProverPass::new(&mut random).unwrap(),
        watchword: None,
        addresses: Addresses::new(&limits, clock.clone()),
        register: Register::new(clock.clone(), recorder),
        hearings: Semaphore::new(limits.heard_out),
        room: Room::new(limits.under_way_bytes),
        limits,
        clock,
    };
    (Arc::new(shared), key)
}

impl Default for Setting {
    /// Nothing is allowed beside what always is.
    fn default() -> Self {
        Self::with(Offer::default())
    }
}

impl Setting {
    /// Embeddings, hooks and the calls of a web page are allowed.
    pub fn with_everything_allowed() -> Self {
        Self::with(everything())
    }

    fn with(offer: Offer) -> Self {
        // Nothing listens on port 1.
        let away = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        // The clock stands still, so that the usual shares of an address would soon be used up for good.
        let without_end = Pace::new(NonZeroU32::MAX, Duration::from_secs(1));
        let limits = Limits {
            address_requests: without_end,
            address_wrong_keys: without_end,
            ..Limits::default()
        };
        let (shared, key) = share(away, limits, None);
        shared.gate.set_offer(offer);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        Self {
            shared,
            key,
            runtime,
        }
    }

    /// Sends bytes, with the key in place of `KEY`. Whatever they are, every answer is one of the guard's own:
    /// hyper finds nothing to refuse in what the framing lets through, and nothing looks like an answer of the gateway.
    /// Only a page that may call is told so. Returns the answers.
    pub fn request(&self, bytes: &[u8], client: Client) -> String {
        let bytes = put_in(bytes, self.key.expose_secret().as_bytes());
        let mut framing = Framing::new(self.shared.limits.head_bytes);
        let whole = framing.follow_all(&bytes);
        let mut framing = Framing::new(self.shared.limits.head_bytes);
        let in_pieces = bytes.iter().enumerate().find_map(|(place, byte)| {
            let breach = framing.follow_all(std::slice::from_ref(byte)).err()?;
            Some((place, breach.refusal))
        });
        let at_once = whole.err().map(|breach| (breach.good, breach.refusal));
        assert_eq!(at_once, in_pieces, "judged by how the bytes are cut");

        let answers = self.runtime.block_on(async {
            let (mut stream, guard) = tokio::io::duplex(1 << 20);
            let serving = serve(guard, self.shared.clone());
            let asking = async {
                stream.write_all(&bytes).await.unwrap();
                if client == Client::Leaves {
                    stream.shutdown().await.unwrap();
                }
                let mut answers = Vec::new();
                let _ = stream.read_to_end(&mut answers).await;
                answers
            };
            tokio::join!(serving, asking).1
        });
        let answers = String::from_utf8(answers).unwrap();
        check_answers(&answers, &self.shared.gate.offer());
        answers
    }
}

fn put_in(bytes: &[u8], key: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + key.len());
    let mut rest = bytes;
    while let Some((first, others)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"KEY") {
            text.extend_from_slice(key);
            rest = after;
        } else {
            text.push(*first);
            rest = others;
        }
    }
    text
}

fn check_answers(answers: &str, offer: &Offer) {
    let mut rest = answers;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n") {
            rest = after;
            continue;
        }
        let Some((head, body)) = rest.split_once("\r\n\r\n") else {
            panic!("half an answer: {rest}");
        };
        check_sharing(head, offer);
        if head.starts_with("HTTP/1.1 204 ") {
            assert!(head.contains("access-control-allow-methods: "), "{head}");
            rest = body;
            continue;
        }
        assert!(
            head.starts_with("HTTP/1.1 4") || head.starts_with("HTTP/1.1 5"),
            "{head}"
        );
        assert!(
            head.contains("content-type: application/json"),
            "not the guard's: {head}"
        );
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse::<usize>().ok())
            .unwrap();
        // An answer to HEAD has no body.
        let (text, after) = if body.starts_with("HTTP/1.1") || body.is_empty() {
            ("", body)
        } else {
            body.split_at_checked(length).unwrap()
        };
        assert!(
            text.is_empty() || text.starts_with("{\"error\":{"),
            "{text}"
        );
        rest = after;
    }
}

/// What an answer says of origins, it says of the one that is allowed: to it the answer may be read, and whoever is told
/// more is told that too.
fn check_sharing(head: &str, offer: &Offer) {
    let mut allowed = head
        .lines()
        .filter_map(|line| line.strip_prefix("access-control-allow-origin: "));
    let (origin, another) = (allowed.next(), allowed.next());
    assert!(another.is_none(), "{head}");
    match origin {
        Some(origin) => {
            let is_known = offer.origins.iter().any(|known| known.as_str() == origin);
            assert!(is_known, "{head}");
        }
        None => assert!(!head.contains("access-control-"), "{head}"),
    }
    assert!(!head.contains("-allow-credentials"), "{head}");
    let varies = head.contains("vary: Origin");
    assert!(varies || origin.is_none(), "{head}");
    assert!(!varies || !offer.origins.is_empty(), "{head}");
}

/// A path that leads somewhere is one of the listed shapes, and means to the gateway what it says.
pub fn route(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else {
        return;
    };
    let everything = everything();
    for method in [Method::GET, Method::POST] {
        let nothing = find_destination(&method, path, &Offer::default());
        let Ok(destination) = find_destination(&method, path, &everything) else {
            assert!(nothing.is_err(), "{path}");
            continue;
        };
        assert_eq!(nothing.is_err(), destination.route.is_optional(), "{path}");
        let asked = destination.path.as_ref();
        let expected = match asked {
            "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings" => Method::POST,
            hook if let Some(rest) = hook.strip_prefix("/hooks/") => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
                assert!(rest.bytes().all(plain) && !rest.contains("//"), "{hook}");
                Method::POST
            }
            "/v1/models" => Method::GET,
            other => {
                let id = other.strip_prefix("/v1/models/").unwrap();
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                assert!(id.replacen("%2F", "-", 1).bytes().all(plain), "{other}");
                Method::GET
            }
        };
        assert_eq!(method, expected, "{path}");
        assert_eq!(
            path.replace("%2f", "/").replace("%2F", "/"),
            asked.replace("%2F", "/")
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use rand::RngExt as _;

    use super::*;

    fn folder(target: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../fuzz/corpus")
            .join(target)
    }

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let mut files: Vec<_> = fs::read_dir(folder(target))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() > 5);
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// Changes some bytes: others in their place, left out, doubled, or a piece of another file.
    fn change(random: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
        const TELLING: &[u8] = b"\r\n\0 \t:;,/\\%.*#+-0159aFx\x7f\x80\xff";
        let mut bytes = corpus[random.random_range(0..corpus.len())].clone();
        for _ in 0..random.random_range(1..6) {
            let place = random.random_range(0..=bytes.len());
            match random.random_range(0..5) {
                0 if place < bytes.len() => bytes[place] = random.random(),
                1 if place < bytes.len() => drop(bytes.remove(place)),
                2 => bytes.insert(place, TELLING[random.random_range(0..TELLING.len())]),
                3 if place < bytes.len() => {
                    bytes[place] = TELLING[random.random_range(0..TELLING.len())];
                }
                _ => {
                    let other = &corpus[random.random_range(0..corpus.len())];
                    let from = random.random_range(0..=other.len());
                    let to = random.random_range(from..=other.len());
                    bytes.splice(place..place, other[from..to].iter().copied());
                }
            }
        }
        bytes
    }

    #[test]
    fn no_request_gets_an_answer_that_is_not_the_guards() {
        let corpus = corpus("request");
        let settings = [Setting::default(), Setting::with_everything_allowed()];
        for setting in &settings {
            for bytes in &corpus {
                for client in Client::ALL {
                    setting.request(bytes, client);
                }
            }
        }
        let mut random = StdRng::seed_from_u64(20_261_122);
        for _ in 0..10_000 {
            let bytes = change(&mut random, &corpus);
            for setting in &settings {
                for client in Client::ALL {
                    setting.request(&bytes, client);
                }
            }
        }
    }

    /// Without these, nothing of what is optional would be tried beyond its refusal.
    #[test]
    fn the_corpus_has_a_request_for_each_thing_that_can_be_allowed() {
        let (usual, all) = (Setting::default(), Setting::with_everything_allowed());
        // Whoever is let through meets a gateway that is away.
        let through = "HTTP/1.1 503";
        for (name, refused, allowed) in [
            ("embeddings", "HTTP/1.1 404", through),
            ("hook", "HTTP/1.1 404", through),
            ("preflight", "HTTP/1.1 404", "HTTP/1.1 204"),
            ("page", through, through),
        ] {
            let file = folder("request").join(name);
            let bytes = fs::read(file).unwrap();
            let answers = [&usual, &all].map(|setting| setting.request(&bytes, Client::Stays));
            for (answer, expected) in answers.iter().zip([refused, allowed]) {
                assert!(answer.starts_with(expected), "{name}: {answer}");
            }
            let shared = answers.map(|answer| answer.contains(PAGE));
            let is_of_page = matches!(name, "preflight" | "page");
            assert_eq!(shared, [false, is_of_page], "{name}");
        }
    }

    #[test]
    fn no_path_leads_where_it_does_not_say() {
        let corpus = corpus("route");
        for bytes in &corpus {
            route(bytes);
        }
        let mut random = StdRng::seed_from_u64(20_261_122);
        for _ in 0..100_000 {
            route(&change(&mut random, &corpus));
        }
    }
}
