//! `[[listener]]`, `[auth]` and `[http]`: where the node can be reached, and by whom.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::error::{ConfigError, Origin};
use super::kind::{Fit, boolean, duration, path, socket_address, text};
use super::mqtt::{self, count};
use super::section::{Place, Placed, Reader, Section};
use super::tree::Node;
use crate::auth::Settings as AuthSettings;
use crate::http::Settings as HttpSettings;
use crate::server::{Listener, Settings as ServerSettings};
use crate::session::Settings as SessionSettings;

/// Listeners and their places.
pub(super) struct Listeners(Vec<Placed<Listener>>);

/// Without any `[[listener]]` there is one, on loopback. What a listener's own limits do not name is as in `session`.
pub(super) fn read(reader: &mut Reader, session: &SessionSettings) -> Result<Listeners, ConfigError> {
    let Some(sections) = reader.sections("listener")? else {
        // Asked of an empty one, so that its keys are known for suggestions and listings.
        let mut section = reader.stand_in("listener", "listener.0".to_owned());
        let listener = read_one(reader, &mut section, session)?;
        reader.close(section);
        return Ok(Listeners(vec![listener]));
    };
    let mut listeners = Vec::with_capacity(sections.len());
    for mut section in sections {
        listeners.push(read_one(reader, &mut section, session)?);
        reader.close(section);
    }
    Ok(Listeners(listeners))
}

fn read_one(
    reader: &mut Reader,
    section: &mut Section,
    session: &SessionSettings,
) -> Result<Placed<Listener>, ConfigError> {
    let mut settings = Listener::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)));
    section.take("type", transport)?;
    let place = section.fill("bind", socket_address, &mut settings.bind)?;
    section.fill("max_connections", count(1..=10_000_000), &mut settings.connections_max)?;
    section.fill("max_handshakes", count(1..=10_000_000), &mut settings.handshakes_max)?;
    let patience = Duration::from_millis(100)..=Duration::from_secs(3_600);
    section.fill("connect_timeout", duration(patience), &mut settings.connect_timeout)?;
    if let Some(mut limits) = section.inner(mqtt::SECTION)? {
        mqtt::fill(&mut limits, settings.session.insert(session.clone()))?;
        reader.close(limits);
    }
    Ok(Placed { value: settings, place })
}

fn transport(node: &Node) -> Fit<()> {
    let name = text(node)?;
    match name.as_str() {
        "tcp" => Ok(()),
        "tls" | "ws" | "wss" | "quic" | "unix" => {
            Err(format!("{name:?} is not built in this version: use \"tcp\"").into())
        }
        _ => Err(format!("expected \"tcp\", found {name:?}").into()),
    }
}

/// Where the HTTP server listens, and its place.
pub(super) fn read_http(reader: &mut Reader) -> Result<(HttpSettings, Place), ConfigError> {
    let mut settings = HttpSettings::default();
    let mut section = reader.section("http")?;
    let place = section.fill("bind", socket_address, &mut settings.bind)?;
    settings.allow_changes = section.take("allow_changes", boolean)?.map(|placed| placed.value);
    reader.close(section);
    Ok((settings, place))
}

/// `[auth]`, as far as it is set.
pub(super) struct AuthDraft {
    allow_anonymous: Option<bool>,
    password_file: Option<PathBuf>,
}

pub(super) fn read_auth(reader: &mut Reader) -> Result<AuthDraft, ConfigError> {
    let mut section = reader.section("auth")?;
    let allow_anonymous = section.take("allow_anonymous", boolean)?.map(|placed| placed.value);
    let password_file = section.take("password_file", path)?.map(|placed| placed.value);
    reader.close(section);
    Ok(AuthDraft { allow_anonymous, password_file })
}

impl Listeners {
    /// Anonymous clients are taken without being asked only where nobody else can come.
    pub(super) fn settle_auth(&self, draft: AuthDraft) -> Result<AuthSettings, ConfigError> {
        let AuthDraft { allow_anonymous, password_file } = draft;
        let mut settings = AuthSettings { password_file, ..AuthSettings::default() };
        if let Some(allow) = allow_anonymous {
            settings.allow_anonymous = allow;
            return Ok(settings);
        }
        let is_open = |listener: &&Placed<Listener>| !listener.value.bind.ip().is_loopback();
        match self.0.iter().find(is_open) {
            None => Ok(settings),
            Some(listener) => {
                let problem = format!(
                    "{} can be reached from other machines: say whether clients without credentials are taken, \
                     auth.allow_anonymous = true or false",
                    listener.value.bind
                );
                Err(listener.place.error(problem))
            }
        }
    }

    /// Refuses two TCP ports of this node that cannot both be opened: `others` are the ports that are not
    /// listeners.
    pub(super) fn settle(self, others: &[(&Place, SocketAddr)]) -> Result<ServerSettings, ConfigError> {
        let listeners = self.0.iter().map(|listener| (&listener.place, listener.value.bind));
        let mut taken: Vec<(&Place, SocketAddr)> = Vec::new();
        for (place, bind) in others.iter().copied().chain(listeners) {
            if let Some((earlier, address)) = taken.iter().find(|(_, address)| collide(*address, bind)) {
                let at = match &earlier.origin {
                    Origin::File { line: Some(line), .. } => format!(" (line {line})"),
                    _ => String::new(),
                };
                let problem = format!("{bind} is taken by {}{at}, {address}", earlier.key);
                return Err(place.error(problem));
            }
            taken.push((place, bind));
        }
        Ok(ServerSettings { listeners: self.0.into_iter().map(|listener| listener.value).collect() })
    }
}

/// Whether one of the two keeps the other from being opened.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_place = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && same_place
}
