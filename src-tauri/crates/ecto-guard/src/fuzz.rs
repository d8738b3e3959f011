//! What the fuzzers in `fuzz/` drive, and what has to hold for any bytes. The corpus and a fixed number of changes to it
//! go through the same doors in the tests, so that no fuzzer is needed to find out when one of them breaks.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what must not happen ends the fuzzer"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint};
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
        hooks: None,
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
    fn default() -> Self {
        // Nothing listens on port 1.
        let away = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (shared, key) = share(away, Limits::default(), None);
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
}

impl Setting {
    /// Sends bytes, with the key in place of `KEY`, and ends. Whatever they are, every answer is one of the guard's own:
    /// hyper finds nothing to refuse in what the framing lets through, and nothing looks like an answer of the gateway.
    pub fn request(&self, bytes: &[u8]) {
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
            let (mut client, guard) = tokio::io::duplex(1 << 20);
            let serving = serve(guard, self.shared.clone());
            let asking = async {
                client.write_all(&bytes).await.unwrap();
                client.shutdown().await.unwrap();
                let mut answers = Vec::new();
                let _ = client.read_to_end(&mut answers).await;
                answers
            };
            tokio::join!(serving, asking).1
        });
        check_answers(&answers);
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

fn check_answers(answers: &[u8]) {
    let mut rest = std::str::from_utf8(answers).unwrap();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n") {
            rest = after;
            continue;
        }
        let Some((head, body)) = rest.split_once("\r\n\r\n") else {
            panic!("half an answer: {rest}");
        };
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

/// A path that leads somewhere is one of four shapes, and means to the gateway what it says.
pub fn route(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else {
        return;
    };
    let everything = Offer {
        routes: Route::OPTIONAL.into(),
        ..Offer::default()
    };
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
    use std::path::Path;

    use rand::RngExt as _;

    use super::*;

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../fuzz/corpus")
            .join(target);
        let mut files: Vec<_> = fs::read_dir(folder)
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
        let setting = Setting::default();
        for bytes in &corpus {
            setting.request(bytes);
        }
        let mut random = StdRng::seed_from_u64(20_261_122);
        for _ in 0..5_000 {
            setting.request(&change(&mut random, &corpus));
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
