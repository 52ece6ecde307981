//! The smallest HTTP client: one GET per connection, and a reader of the metrics page.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Status code and body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// GET with HTTP/1.0, so that the end of the connection is the end of the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, body: body.to_owned() })
}

/// The sum of all samples of a metric whose labels contain `labels`; `None` when there is no such sample.
pub(crate) fn sample(page: &str, name: &str, labels: &str) -> Option<f64> {
    let mut sum = None;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (metric, label_text) = series.split_once('{').unwrap_or((series, ""));
        if metric == name && label_text.contains(labels) {
            let value: f64 = value.parse().expect("a sample is a number");
            sum = Some(sum.unwrap_or(0.0) + value);
        }
    }
    sum
}

#[test]
fn samples_of_a_metric_are_added_up() {
    let page = "# TYPE a counter\na_total{reason=\"x\"} 2\na_total{reason=\"y\"} 3\nab_total 7\n# EOF\n";
    assert_eq!(sample(page, "a_total", ""), Some(5.0));
    assert_eq!(sample(page, "a_total", "reason=\"y\""), Some(3.0));
    assert_eq!(sample(page, "ab_total", ""), Some(7.0));
    assert_eq!(sample(page, "b_total", ""), None);
}
