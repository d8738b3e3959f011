//! What the lines add up to since the host started, for Prometheus.

use ecto_core::ports::RequestLine;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper ends of the times that requests take, in seconds: answers of an assistant take from milliseconds to minutes.
const SECONDS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    /// The name of the key; empty for everybody without a known key.
    key: String,
    /// `2xx` and so on: a label for each status would let strangers make many.
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabel {
    key: String,
}

/// What has been counted.
#[derive(Debug)]
pub(super) struct Metrics {
    requests: Family<Labels, Counter>,
    bytes: Family<KeyLabel, Counter>,
    seconds: Histogram,
}

/// What is at the moment of asking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Whether the door is open.
    pub is_public: bool,
    /// Requests under way.
    pub in_flight: u64,
    /// Lines that are not in the files.
    pub lost: u64,
}

impl Metrics {
    pub fn new() -> Self {
        Self {
            requests: Family::default(),
            bytes: Family::default(),
            seconds: Histogram::new(SECONDS),
        }
    }

    pub fn add(&self, line: &RequestLine) {
        let key = line.key.clone().unwrap_or_default();
        let status = match line.status {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        self.bytes
            .get_or_create(&KeyLabel { key: key.clone() })
            .inc_by(line.bytes);
        self.requests.get_or_create(&Labels { key, status }).inc();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a time of that many milliseconds has no need of the last of them"
        )]
        self.seconds.observe(line.milliseconds as f64 / 1000.0);
    }

    /// The text that Prometheus reads (OpenMetrics 1.0). Holds names of keys, and no secret.
    pub fn text(&self, now: Now) -> String {
        let mut registry = Registry::with_prefix("ecto");
        registry.register(
            "requests",
            "Requests through the guard",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "answers",
            "Bytes of the answers' bodies",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "How long requests took",
            Unit::Seconds,
            self.seconds.clone(),
        );
        for (name, help, value) in [
            (
                "public",
                "Whether the door is open",
                u64::from(now.is_public),
            ),
            ("requests_in_flight", "Requests under way", now.in_flight),
            (
                "record_lines_lost",
                "Lines that the disk did not take",
                now.lost,
            ),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        }
        let mut written = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut written, &registry);
        written
    }
}
