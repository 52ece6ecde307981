//! A client that sends exactly what it is told and acknowledges nothing by itself.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::packets::{self, Publish, V5, Version};
use super::text;

/// How long the broker may take to answer. Far above what is normal: machines are slow and shared.
const PATIENCE: Duration = Duration::from_secs(20);

/// What [`Peer::receive`] returns once the broker has closed.
pub(crate) const CLOSED: &str = "closed";

/// One connection to the broker.
pub(crate) struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    version: Version,
    packet_id: u16,
    /// Bytes of the packet that was received last.
    pub(crate) last_len: usize,
}

impl Peer {
    pub(crate) fn open(at: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect_timeout(&at, PATIENCE).expect("the broker listens");
        stream.set_nodelay(true).expect("a fresh socket takes options");
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        Self { stream, received: Vec::new(), version, packet_id: 1_000, last_len: 0 }
    }

    /// Sends bytes as they are. That the broker has closed shows at the next [`Peer::receive`].
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        _ = self.stream.write_all(bytes);
    }

    /// The next packet as a line of text, or [`CLOSED`].
    #[track_caller]
    pub(crate) fn receive(&mut self) -> String {
        self.try_receive().expect("the broker answers or closes")
    }

    /// `None` when nothing came in time.
    #[track_caller]
    fn try_receive(&mut self) -> Option<String> {
        loop {
            if let Some((line, length)) = text::take(&mut self.received, self.version) {
                self.last_len = length;
                return Some(line);
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.received.is_empty(), "half a packet: {:02x?}", self.received);
                    return Some(CLOSED.to_owned());
                }
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Some(CLOSED.to_owned()),
            }
        }
    }

    /// Everything up to the end of the connection, or up to `limit`: then the last line says so.
    pub(crate) fn until_closed(&mut self, limit: Duration) -> Vec<String> {
        self.stream.set_read_timeout(Some(limit)).expect("the time is not zero");
        let mut lines = Vec::new();
        loop {
            let line = self.try_receive().unwrap_or_else(|| "still open".to_owned());
            let is_end = line == CLOSED || line == "still open";
            lines.push(line);
            if is_end {
                return lines;
            }
        }
    }

    /// The next packets are these.
    #[track_caller]
    pub(crate) fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.receive(), *line);
        }
    }

    /// Nothing waits: everything that the broker did before is answered, and nothing more came.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self) {
        self.send(&packets::PINGREQ);
        self.expect(&["PINGRESP"]);
    }

    /// The broker closes without a word.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        self.expect(&[CLOSED]);
    }

    /// The broker closes with this code, told where the version can tell it.
    #[track_caller]
    pub(crate) fn expect_refusal(&mut self, reason: u8) {
        if self.version == V5 {
            assert_eq!(self.receive(), format!("DISCONNECT {reason:#04x}"));
        }
        self.expect_closed();
    }

    /// Subscribes to one filter with these options, which must be granted.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, options: u8) {
        self.subscribe_with(filter, options, &[]);
    }

    #[track_caller]
    pub(crate) fn subscribe_with(&mut self, filter: &str, options: u8, properties: &[u8]) {
        let id = self.next_packet_id();
        self.send(&packets::subscribe(self.version, id, properties, &[(filter, options)]));
        self.expect(&[&format!("SUBACK #{id} [{:02X}]", options & 3)]);
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filter: &str) {
        let id = self.next_packet_id();
        self.send(&packets::unsubscribe(self.version, id, &[filter]));
        let codes = if self.version == V5 { "00" } else { "" };
        self.expect(&[&format!("UNSUBACK #{id} [{codes}]")]);
    }

    /// Publishes and carries the flow to its end; the broker has handed the message on when this returns.
    #[track_caller]
    pub(crate) fn publish(&mut self, publish: Publish) {
        let id = self.next_packet_id();
        let qos = publish.qos;
        self.send(&publish.qos(qos, id).bytes(self.version));
        match qos {
            0 => self.expect_silence(),
            1 => self.expect_acknowledged("PUBACK", id),
            _ => {
                self.expect_acknowledged("PUBREC", id);
                self.send(&packets::acknowledgement(packets::PUBREL, id));
                self.expect_acknowledged("PUBCOMP", id);
            }
        }
    }

    /// Publishes a text at a QoS.
    #[track_caller]
    pub(crate) fn say(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish(Publish::new(topic, payload).qos(qos, 0));
    }

    #[track_caller]
    fn expect_acknowledged(&mut self, name: &str, id: u16) {
        let line = self.receive();
        let plain = format!("{name} #{id}");
        // That nobody was there to take it is no failure.
        assert!(line == plain || line == format!("{plain} 0x10"), "{line} instead of {plain}");
    }

    pub(crate) fn puback(&mut self, id: u16) {
        self.send(&packets::acknowledgement(packets::PUBACK, id));
    }

    pub(crate) fn pubrec(&mut self, id: u16) {
        self.send(&packets::acknowledgement(packets::PUBREC, id));
    }

    pub(crate) fn pubrel(&mut self, id: u16) {
        self.send(&packets::acknowledgement(packets::PUBREL, id));
    }

    pub(crate) fn pubcomp(&mut self, id: u16) {
        self.send(&packets::acknowledgement(packets::PUBCOMP, id));
    }

    /// Says goodbye; the broker has closed when this returns.
    #[track_caller]
    pub(crate) fn disconnect(mut self) {
        self.send(&packets::packet(packets::DISCONNECT, &[]));
        self.expect_closed();
    }

    /// Breaks the connection; the broker has noticed when this returns.
    pub(crate) fn die(mut self) {
        _ = self.stream.shutdown(Shutdown::Write);
        while self.receive() != CLOSED {}
    }

    fn next_packet_id(&mut self) -> u16 {
        self.packet_id += 1;
        self.packet_id
    }
}
