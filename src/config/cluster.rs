//! `[cluster]`: the node's place among its peers. A node without this section stands alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::kind::{
    bytes, duration, duration_or_never, host_port, integer, list, name, path, socket_address, word,
};
use super::section::{Place, Placed, Reader, Section};
use crate::cluster::{Secret, Settings, SubackMode};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// A secret is a short text: whatever is larger is the wrong file.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What the section says, each value by itself; [`Draft::settle`] looks at them together.
pub(super) struct Draft {
    settings: Settings,
    listen: Place,
    advertise: Place,
    dead_after: Place,
    secret: Option<Placed<String>>,
    secret_file: Option<Placed<PathBuf>>,
}

/// `None` when the section is not there.
pub(super) fn read(reader: &mut Reader) -> Result<Option<Draft>, ConfigError> {
    let mut section = reader.section("cluster")?;
    let draft = read_section(&mut section)?;
    let is_present = section.is_present();
    reader.close(section);
    Ok(is_present.then_some(draft))
}

fn read_section(section: &mut Section) -> Result<Draft, ConfigError> {
    let mut settings = Settings::default();
    section.fill("name", name, &mut settings.name)?;
    let listen = section.fill("listen", socket_address, &mut settings.listen)?;
    let advertised = section.take("advertise", host_port)?;
    let advertise =
        advertised.as_ref().map_or_else(|| section.place("advertise"), |placed| placed.place.clone());
    settings.advertise = advertised.map(|placed| placed.value);
    section.fill("node_address", list(host_port), &mut settings.node_address)?;
    let secret = section.take_secret("secret")?;
    let secret_file = section.take("secret_file", path)?;
    section.fill("gossip_interval", duration(10 * MS..=60_000 * MS), &mut settings.gossip_interval)?;
    let dead_after = section.fill("dead_after", duration(100 * MS..=HOUR), &mut settings.dead_after)?;
    section.fill("heartbeat_interval", duration(10 * MS..=60_000 * MS), &mut settings.heartbeat_interval)?;
    let modes = &[("reachable", SubackMode::Reachable), ("local", SubackMode::Local)];
    section.fill("suback", word(modes), &mut settings.suback)?;
    section.fill("suback_timeout", duration(MS..=60_000 * MS), &mut settings.suback_timeout)?;
    section.fill("link_buffer", bytes(64 << 10..=16 << 30), &mut settings.link_buffer_bytes)?;
    let route_log = |node: &_| integer(16..=1i64 << 30)(node).map(|changes| changes.unsigned_abs() as usize);
    section.fill("route_log", route_log, &mut settings.route_log_max)?;
    let autoclean = duration_or_never(1_000 * MS..=10_000 * HOUR);
    section.fill("autoclean", autoclean, &mut settings.autoclean)?;
    section.fill("join_grace", duration(Duration::ZERO..=HOUR), &mut settings.join_grace)?;
    Ok(Draft { settings, listen, advertise, dead_after, secret, secret_file })
}

impl Draft {
    /// The place and address of the mesh port.
    pub(super) fn listen(&self) -> (&Place, SocketAddr) {
        (&self.listen, self.settings.listen)
    }

    /// Checks the values against each other and reads the secret.
    pub(super) fn settle(self) -> Result<Settings, ConfigError> {
        let Self { mut settings, listen, advertise, dead_after, secret, secret_file } = self;
        settings.secret = read_secret(secret, secret_file)?;
        if !settings.listen.ip().is_loopback() && settings.secret.is_none() {
            let problem = format!(
                "{} can be reached from other machines: set cluster.secret or cluster.secret_file",
                settings.listen
            );
            return Err(listen.error(problem));
        }
        if settings.listen.ip().is_unspecified() && settings.advertise.is_none() {
            let problem = format!(
                "needed because cluster.listen is {}: set the host:port at which peers reach this node",
                settings.listen
            );
            return Err(advertise.error(problem));
        }
        let pause = settings.gossip_interval.max(settings.heartbeat_interval);
        if settings.dead_after < 2 * pause {
            let problem = format!(
                "{} is too short: at least twice cluster.gossip_interval and cluster.heartbeat_interval, {}",
                humantime::format_duration(settings.dead_after),
                humantime::format_duration(2 * pause)
            );
            return Err(dead_after.error(problem));
        }
        Ok(settings)
    }
}

/// The secret from whichever key was set at the higher place; both at one place contradict each other.
fn read_secret(
    secret: Option<Placed<String>>,
    secret_file: Option<Placed<PathBuf>>,
) -> Result<Option<Secret>, ConfigError> {
    let (text, place) = match (secret, secret_file) {
        (None, None) => return Ok(None),
        (Some(secret), Some(file)) if secret.place.origin.rank() == file.place.origin.rank() => {
            return Err(file.place.error("cluster.secret is set too: set one of the two"));
        }
        (Some(secret), Some(file)) if secret.place.origin.rank() > file.place.origin.rank() => {
            (secret.value, secret.place)
        }
        (Some(secret), None) => (secret.value, secret.place),
        (_, Some(file)) => (read_secret_file(&file.value, &file.place)?, file.place),
    };
    Secret::new(text.into_bytes()).map(Some).map_err(|_| place.error("the secret is empty"))
}

fn read_secret_file(file: &Path, place: &Place) -> Result<String, ConfigError> {
    let unreadable = |error: std::io::Error| place.error(format!("cannot read {}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > SECRET_BYTES_MAX {
        return Err(place.error(format!("{} has {size} bytes, too many for a secret", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    // The line end that editors and `echo` add does not belong to the secret.
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
