//! Asking a node over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::console::{Failure, visible};
use super::serve::environment;
use crate::config;
use crate::net::TcpStream;

/// A node on the same machine or network answers in milliseconds; one that does not answer by then will not.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far above the listing of a million routes' worth of JSON that anybody would read.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Which node to ask.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    /// The node's HTTP address; else FLOCKMQ__HTTP__BIND, else http.bind of --config, else 127.0.0.1:8080
    #[arg(long, value_name = "HOST:PORT", global = true)]
    node: Option<String>,
    /// The node's configuration file, for its http.bind
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl Target {
    /// `host:port` to connect to.
    pub(super) fn address(&self) -> Result<String, Failure> {
        if let Some(node) = &self.node {
            return Ok(node.clone());
        }
        let bind = config::http_bind(self.config.as_deref(), environment())
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(reachable(bind).to_string())
    }
}

/// Where to connect to reach a server on this machine that listens there.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let mut address = bind;
    if bind.ip().is_unspecified() {
        address.set_ip(match bind {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// For what a node looks into before it answers, such as whether another one answers it.
const PATIENCE_WITH_CHANGES: Duration = Duration::from_secs(10);

/// The JSON that a node answers to GET `path`.
pub(super) async fn get(address: &str, path: &str) -> Result<Value, Failure> {
    exchange_in(PATIENCE, address, path, None).await
}

/// The JSON that a node answers to POST `path` with this body.
pub(super) async fn post(address: &str, path: &str, body: &Value) -> Result<Value, Failure> {
    exchange_in(PATIENCE_WITH_CHANGES, address, path, Some(body)).await
}

async fn exchange_in(
    patience: Duration,
    address: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let answer = tokio::time::timeout(patience, exchange(address, path, body)).await;
    let answer = answer.unwrap_or_else(|_| {
        Err(format!("no answer from {address} within {}s; is the node busy or stopped?", patience.as_secs()))
    });
    answer.map_err(Failure::new)
}

/// An answer in the form that a command knows.
pub(super) fn parse<T: DeserializeOwned>(address: &str, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|error| Failure::new(format!("{address} answers in a form that is not known here: {error}")))
}

/// A value for a query: everything but letters, digits and a few harmless signs as `%XX`.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

async fn exchange(address: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        format!("cannot reach a node at {address}: {error}; is it running? --node HOST:PORT names another")
    })?;
    let broken = |error: hyper::Error| format!("{address} does not answer like a node: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = if body.is_some() { Request::post(path) } else { Request::get(path) };
    let request = request
        .header(hyper::header::HOST, address)
        .header(hyper::header::ACCEPT, "application/json")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default())))
        .map_err(|error| format!("{address} is not an address: {error}"))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("the answer of {address} broke off: {error}"))?.to_bytes();
        if !status.is_success() {
            let said: Option<Value> = serde_json::from_slice(&body).ok();
            return Err(match said.as_ref().and_then(|said| said["error"].as_str()) {
                Some(error) => visible(error),
                None => format!("{address} answers {status} to {path}"),
            });
        }
        serde_json::from_slice(&body)
            .map_err(|error| format!("{address} does not answer like a node: {error}"))
    };
    // The connection makes progress only while it is polled, and `talk` ends first.
    tokio::select! {
        answer = talk => answer,
        Err(error) = connection => Err(broken(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_reached_by_loopback() {
        let check = |bind: &str, expected: &str| {
            assert_eq!(reachable(bind.parse().unwrap()).to_string(), expected);
        };
        check("0.0.0.0:8080", "127.0.0.1:8080");
        check("[::]:8080", "[::1]:8080");
        check("10.0.0.5:8080", "10.0.0.5:8080");
    }

    #[test]
    fn a_query_carries_any_text() {
        assert_eq!(encode("a/b-1.x_~"), "a/b-1.x_~");
        assert_eq!(encode("a b+#&=?%é\0"), "a%20b%2B%23%26%3D%3F%25%C3%A9%00");
    }

    #[test]
    fn the_flag_wins() {
        let target = Target { node: Some("node1:8080".to_owned()), config: Some("/nowhere".into()) };
        assert_eq!(target.address().unwrap(), "node1:8080");
        let target = Target { node: None, config: Some("/nowhere".into()) };
        assert!(target.address().is_err());
    }
}
