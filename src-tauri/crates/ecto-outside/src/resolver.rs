//! Public DNS over HTTPS, in the JSON form that Cloudflare and Google share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ecto_core::tailnet::HostName;
use http::Request;
use http::header::{ACCEPT, HOST};
use http_body_util::Empty;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::exchange::{BodyUse, Exchange, first_good};

/// The number of a record type (RFC 1035, RFC 3596).
const A: u16 = 1;
const AAAA: u16 = 28;

/// `Status` of an answer (RFC 1035, 4.1.1).
const NO_ERROR: u16 = 0;
const NO_SUCH_NAME: u16 = 3;

/// What the resolvers know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// These addresses, at least one.
    Addresses(Vec<IpAddr>),
    /// The name, or an address for it, is not there.
    NotPublished,
    /// No resolver answered.
    NoResolver(String),
}

/// Asks all resolvers at once for both kinds of address. The first that knows one decides; that one does not is
/// believed only when no other knows better.
pub(crate) async fn resolve(
    host: &HostName,
    resolvers: &[Url],
    tls: &Arc<ClientConfig>,
    limit: Duration,
) -> Resolved {
    let asking: Vec<_> = resolvers
        .iter()
        .map(|resolver| {
            let asked = async move {
                match timeout(limit, ask_for_both(host, resolver, tls)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(Unanswered(format!("{resolver} did not answer in time"))),
                }
            };
            let asked: std::pin::Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(asked);
            asked
        })
        .collect();
    let knows = |answer: &Result<Vec<IpAddr>, Unanswered>| {
        answer.as_ref().is_ok_and(|addresses| !addresses.is_empty())
    };
    match first_good(asking, knows).await {
        (Some(Ok(addresses)), _) => Resolved::Addresses(addresses),
        (_, others) if others.iter().any(Result::is_ok) => Resolved::NotPublished,
        (_, others) => Resolved::NoResolver(
            others
                .into_iter()
                .filter_map(Result::err)
                .map(|unanswered| unanswered.0)
                .collect::<Vec<_>>()
                .join("; "),
        ),
    }
}

#[derive(Debug)]
struct Unanswered(String);

/// One kind failing does not matter where the other has addresses.
async fn ask_for_both(
    host: &HostName,
    resolver: &Url,
    tls: &Arc<ClientConfig>,
) -> Result<Vec<IpAddr>, Unanswered> {
    let (ipv4, ipv6) = tokio::join!(
        ask_for(host, A, resolver, tls),
        ask_for(host, AAAA, resolver, tls),
    );
    match (ipv4, ipv6) {
        (Ok(mut addresses), Ok(more)) => {
            addresses.extend(more);
            Ok(addresses)
        }
        (Ok(addresses), Err(_)) | (Err(_), Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        (Err(unanswered), _) | (_, Err(unanswered)) => Err(unanswered),
    }
}

async fn ask_for(
    host: &HostName,
    record: u16,
    resolver: &Url,
    tls: &Arc<ClientConfig>,
) -> Result<Vec<IpAddr>, Unanswered> {
    let failed = |what: &dyn std::fmt::Display| Unanswered(format!("{resolver}: {what}"));
    let address = socket_of(resolver).ok_or_else(|| failed(&"it has to be an IP address"))?;
    let stream = TcpStream::connect(address)
        .await
        .map_err(|fault| failed(&fault))?;
    let name = ServerName::from(address.ip());
    let stream = TlsConnector::from(tls.clone())
        .connect(name, stream)
        .await
        .map_err(|fault| failed(&fault))?;
    let mut exchange = Exchange::over(stream)
        .await
        .map_err(|_| failed(&"it does not speak HTTP"))?;
    let target = format!("{}?name={}&type={record}", resolver.path(), host.as_str());
    let request = Request::get(target)
        .header(HOST, address.to_string())
        .header(ACCEPT, "application/dns-json")
        .body(Empty::<Bytes>::new())
        .map_err(|fault| failed(&fault))?;
    let reply = exchange
        .send(request, BodyUse::Read)
        .await
        .map_err(|_| failed(&"it closed the connection"))?;
    if reply.status != 200 {
        return Err(failed(&format!("status {}", reply.status)));
    }
    read_answer(&reply.body, record).map_err(|what| failed(&what))
}

/// Where a resolver is. It has to be named by its address: there is nobody to ask for its name.
fn socket_of(resolver: &Url) -> Option<SocketAddr> {
    if resolver.scheme() != "https" {
        return None;
    }
    let ip = match resolver.host()? {
        Host::Ipv4(ip) => IpAddr::V4(ip),
        Host::Ipv6(ip) => IpAddr::V6(ip),
        Host::Domain(_) => return None,
    };
    Some(SocketAddr::new(ip, resolver.port_or_known_default()?))
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Status")]
    status: u16,
    #[serde(rename = "Answer", default)]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "type")]
    kind: u16,
    data: String,
}

fn read_answer(body: &[u8], record: u16) -> Result<Vec<IpAddr>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "the answer is not DNS in JSON".to_owned())?;
    match answer.status {
        NO_SUCH_NAME => Ok(Vec::new()),
        NO_ERROR => answer
            .records
            .iter()
            .filter(|found| found.kind == record)
            .map(|found| {
                let parsed = if record == A {
                    found.data.parse::<Ipv4Addr>().map(IpAddr::V4)
                } else {
                    found.data.parse::<Ipv6Addr>().map(IpAddr::V6)
                };
                parsed.map_err(|_| "an address in the answer is none".to_owned())
            })
            .collect(),
        other => Err(format!("DNS status {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, record: u16) -> Result<Vec<String>, String> {
        let addresses = read_answer(body.as_bytes(), record)?;
        Ok(addresses.iter().map(IpAddr::to_string).collect())
    }

    #[test]
    fn addresses_are_read_and_aliases_skipped() {
        let body = r#"{"Status":0,"TC":false,"RD":true,"Question":[{"name":"h","type":1}],"Answer":[
            {"name":"h","type":5,"TTL":60,"data":"relay.example.com."},
            {"name":"relay","type":1,"TTL":60,"data":"208.111.34.178"}]}"#;
        assert_eq!(read(body, A), Ok(vec!["208.111.34.178".to_owned()]));
        assert_eq!(read(body, AAAA), Ok(Vec::new()));
    }

    #[test]
    fn no_such_name_is_an_answer_and_a_failure_is_not() {
        assert_eq!(read(r#"{"Status":3,"Authority":[]}"#, A), Ok(Vec::new()));
        assert_eq!(read(r#"{"Status":0}"#, A), Ok(Vec::new()));
        assert!(read(r#"{"Status":2}"#, A).is_err());
        assert!(read("<html>", A).is_err());
        assert!(read(r#"{"Status":0,"Answer":[{"type":1,"data":"x"}]}"#, A).is_err());
    }

    #[test]
    fn a_resolver_is_an_address_over_https() {
        let at = |url: &str| socket_of(&Url::parse(url).unwrap()).map(|socket| socket.to_string());
        assert_eq!(
            at("https://1.1.1.1/dns-query").as_deref(),
            Some("1.1.1.1:443")
        );
        assert_eq!(
            at("https://[2606:4700::1111]:8443/x").as_deref(),
            Some("[2606:4700::1111]:8443")
        );
        assert_eq!(at("https://dns.google/resolve"), None);
        assert_eq!(at("http://1.1.1.1/dns-query"), None);
    }
}
