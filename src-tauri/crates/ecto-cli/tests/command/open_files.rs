//! A host that may open few files, and as many streams as go through it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ecto_sandbox::Sandbox;
use ecto_sandbox::gateway::Timing;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::machine::{Machine, Running, files, run, wait_until};

/// How many files the host may open.
const FILES: usize = 640;

/// Asks for a stream.
const BODY: &str =
    r#"{"model":"openclaw","stream":true,"messages":[{"role":"user","content":"One two"}]}"#;

/// How long the guard may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stand-ins that are none of the host's: what they open counts for this process.
struct Outside {
    _runtime: Runtime,
    sandbox: Sandbox,
    machine: Machine,
    lab: String,
}

impl Outside {
    fn start() -> Self {
        let machine = Machine::new();
        let folder = machine.folder().join("s");
        std::fs::create_dir(&folder).unwrap();
        let runtime = Runtime::new().unwrap();
        let timing = Timing {
            // A stream stays open between its first word and its second.
            word: Duration::from_secs(3600),
            ..Timing::short()
        };
        let sandbox = Sandbox::builder().ready().gateway_timing(timing);
        let sandbox = runtime.block_on(sandbox.start(&folder)).unwrap();
        let places = serde_json::json!({
            "tailscaled_socket": sandbox.tailnet().socket(),
            "resolvers": sandbox.edge().resolvers(),
            "root_certificate": sandbox.root_certificate(),
            "edge": sandbox.edge().address(),
        });
        let lab = folder.join("lab.json");
        std::fs::write(&lab, places.to_string()).unwrap();
        Self {
            _runtime: runtime,
            sandbox,
            machine,
            lab: lab.display().to_string(),
        }
    }

    /// Ecto among these stand-ins, with so many files.
    fn ecto(&self, command: &str) -> std::process::Command {
        let line = format!(
            "ulimit -n {FILES} && exec ecto {command} --vault file --lab '{}'",
            self.lab
        );
        let mut shell = self.machine.command("/bin/sh");
        shell
            .arg("-c")
            .arg(line)
            .env("OPENCLAW_CONFIG_PATH", self.sandbox.gateway().config_path());
        shell
    }

    fn status(&self) -> Value {
        let told = run(self.ecto("status --json"));
        assert_eq!(told.code, 0, "{told:?}");
        told.json()
    }

    /// Begins a stream over the public address, and returns it with its head and what came behind it.
    fn begin_public_stream(&self, key: &str) -> (Running, String) {
        let edge = self.sandbox.edge().address();
        let root = self.sandbox.root_certificate().display();
        let host = self.sandbox.tailnet().host();
        let mut curl = self.machine.command("/bin/sh");
        curl.arg("-c").arg(format!(
            "exec curl -sSNi --http1.1 --connect-to ::{edge} --cacert '{root}' -H 'Authorization: Bearer {key}' \
             -H 'Content-Type: application/json' -d '{BODY}' https://{host}/v1/chat/completions"
        ));
        let stream = Running::pipes(curl);
        // The first event, or the error.
        stream.stdout.wait_for("\r\n\r\n");
        stream.stdout.wait_for("{");
        let begun = stream.stdout.now();
        (stream, begun)
    }

    /// Where the guard listens.
    fn guard(&self) -> SocketAddr {
        let config = self.sandbox.tailnet().serve_config();
        let target = proxied(&config).unwrap();
        target.trim_start_matches("http://").parse().unwrap()
    }
}

/// The first target of a serve configuration.
fn proxied(config: &Value) -> Option<&str> {
    let fields = config.as_object()?;
    let target = fields.get("Proxy").and_then(Value::as_str);
    target.or_else(|| fields.values().find_map(proxied))
}

/// Begins a stream, and returns it with what came first.
fn begin_stream(guard: SocketAddr, key: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(guard).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
    .unwrap();
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "ended before it began");
        read.extend_from_slice(&buffer[..count]);
    }
    (stream, String::from_utf8(read).unwrap())
}

#[test]
fn a_host_full_of_streams_still_answers_and_keeps_its_door() {
    let outside = Outside::start();
    let host = Running::pipes(outside.ecto("connect"));
    host.stderr.wait_for("Reachable from the internet");
    let key = run(outside.ecto("token --reveal")).stdout;
    let guard = outside.guard();

    let mut open = Vec::new();
    let refused = loop {
        let (stream, begun) = begin_stream(guard, key.trim());
        if !begun.starts_with("HTTP/1.1 200") {
            break begun;
        }
        open.push((stream, begun));
        assert!(open.len() <= FILES, "never full");
    };
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: "), "{refused}");
    // Of the connections some may be at rest after what Ecto itself asked.
    let most = (FILES - 300) / 2;
    assert!(
        open.len() <= most && open.len() + 10 > most,
        "{}",
        open.len()
    );

    // Whoever comes over the internet reads the same, once what Tailscale kept of earlier connections is used up.
    let mut public = Vec::new();
    let refused = loop {
        let (stream, begun) = outside.begin_public_stream(key.trim());
        if !begun.starts_with("HTTP/1.1 200") {
            break begun;
        }
        public.push(stream);
        assert!(public.len() < 10, "never full");
    };
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("too_busy"), "{refused}");

    let tailnet = outside.sandbox.tailnet();
    tailnet.forget_requests();
    let status = outside.status();
    assert_eq!(status["exposure"]["state"], "public", "{status}");
    wait_until("every stream is counted", || {
        let counted = outside.status()["activity"]["in_flight"].clone();
        (counted == open.len() + public.len()).then_some(())
    });
    wait_until("Ecto asks whether its claim is there", || {
        let asked = tailnet.requests();
        let mut paths = asked.iter().map(|request| &request.path);
        paths
            .any(|path| path.starts_with("/localapi/v0/serve-config"))
            .then_some(())
    });
    for added in ["key add phone", "key revoke phone"] {
        let done = run(outside.ecto(added));
        assert_eq!(done.code, 0, "{added}: {done:?}");
    }
    let status = outside.status();
    assert_eq!(status["exposure"]["state"], "public", "{status}");
    assert_eq!(status["notice"], Value::Null, "{status}");
    assert_eq!(outside.guard(), guard);

    // Each that leaves makes room for another.
    drop(open.split_off(open.len() / 2));
    wait_until("there is room again", || {
        let (_, begun) = begin_stream(guard, key.trim());
        begun.starts_with("HTTP/1.1 200").then_some(())
    });
    let left = run(outside.ecto("disconnect"));
    assert_eq!(left.code, 0, "{left:?}");
    host.end();
    for (path, bytes) in files(&outside.machine.state()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("Too many open files"), "{}", path.display());
    }
}
