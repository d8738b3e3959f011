//! How much of everything the guard takes.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::rate::Pace;

/// How much of everything the guard takes. A head has at most 100 fields besides: that one is fixed in hyper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest head, request line included, in bytes; at least 8 KiB.
    pub head_bytes: usize,
    /// The longest time from the first byte of a head to its last.
    pub head_time: Duration,
    /// The largest request body, in bytes. The gateway's own limit is the same (OpenClaw 2026.9.6).
    pub body_bytes: u64,
    /// The longest silence in a request body.
    pub body_silence: Duration,
    /// The longest time for a whole request body, whichever side holds it up. Twenty megabytes in it are 35 KB a second.
    /// For the answer to a request that is whole there is no limit: it lasts as long as the client waits.
    pub body_time: Duration,
    /// How long a client may leave what it is sent unread. Longer than a phone takes to change networks.
    pub write_silence: Duration,
    /// After how long a silence an event stream gets a comment line. Shorter than the 30 seconds after which the first
    /// mobile networks forget a connection.
    pub stream_silence: Duration,
    /// How many bytes heads, request bodies and what was sent too early may take up together, and answers that clients
    /// leave unread. A body counts for as much as is held of it at most. Of a connection's head and of what comes behind it
    /// the first 4 KiB are not counted, so that ordinary requests pass however full it is; and of an answer the first 4
    /// KiB and what is read of it at once, 16 KiB, so that it goes on. All connections together thus hold at most 24 KiB
    /// each beside this: 64 MiB and 281 MiB where 12,000 clients leave everything unread.
    pub under_way_bytes: usize,
    /// The most connections at once. Each takes two open files at most: the client's and one to the gateway. Whoever sets
    /// it sees to it that there are so many, and some beside them for everything else.
    pub connections: usize,
    /// The most addresses that are remembered, each in about 200 bytes, and until half a minute after there is nothing
    /// more to remember of it.
    pub addresses: usize,
    /// How often one address (IPv6: one /64) may send requests with a good key, and, counted apart, how often a browser there
    /// may ask whether its page may call. For several people behind one router.
    pub address_requests: Pace,
    /// How many requests of one address may be under way at once.
    pub address_under_way: usize,
    /// How often one address may show a wrong key before it is told to wait. A good key passes all the same.
    pub address_wrong_keys: Pace,
    /// How long a connection may rest before its first request and between two. Longer than the 90 seconds after which
    /// tailscaled's transport closes it (`ipn/ipnlocal/serve.go`, 1.102), also one that it made to no purpose since another
    /// came free first, so that it is never the guard that closes a connection on which a request is under way.
    pub rest: Duration,
    /// The longest time to connect to the gateway.
    pub gateway_connect: Duration,
    /// The most resting connections to the gateway.
    pub gateway_connections: usize,
    /// How long a connection to the gateway may rest. Shorter than the 5 seconds after which Node closes it
    /// (`server.keepAliveTimeout`), so that no request is sent into a closing connection.
    pub gateway_rest: Duration,
    /// How many clients for whom there is no room may be heard and told so at once, in as many open files beside those of
    /// the connections. The others are told before they are heard, which not every client understands.
    pub turned_away: usize,
    /// How long a connection that the guard ends is listened to, so that the client can read why; and how long the rest
    /// of a short body is waited for before its request is refused.
    pub farewell: Duration,
    /// How many refusals may wait for the rest of a short body at once. The others are given without it.
    pub heard_out: usize,
    /// How long the guard's end waits for its connections.
    pub stop: Duration,
}

/// `count` a minute.
fn each_minute(count: u32) -> Pace {
    let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Pace::new(count, Duration::from_secs(60))
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            head_time: Duration::from_secs(10),
            body_bytes: 20 * 1024 * 1024,
            body_silence: Duration::from_secs(30),
            body_time: Duration::from_secs(600),
            write_silence: Duration::from_secs(120),
            stream_silence: Duration::from_secs(15),
            under_way_bytes: 64 * 1024 * 1024,
            connections: 12_000,
            addresses: 4096,
            address_requests: each_minute(1200),
            address_under_way: 256,
            address_wrong_keys: each_minute(30),
            rest: Duration::from_secs(120),
            gateway_connect: Duration::from_secs(2),
            gateway_connections: 256,
            gateway_rest: Duration::from_secs(4),
            turned_away: 64,
            farewell: Duration::from_secs(2),
            heard_out: 256,
            stop: Duration::from_secs(5),
        }
    }
}
