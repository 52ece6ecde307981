//! A CONNECT on its way to a session: who its client is, and what the client and this node agree on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client::{Client, Generation};
use super::{Broker, Gone};
use crate::auth::{Denied, Exchange, PasswordCheck, Presented, Proof, Step, UserName};
use crate::codec::{Auth, Connect, ReasonCode, UserProperties};
use crate::session::{Negotiated, Settings};

/// How far a CONNECT has come that was not refused.
pub enum Admission {
    /// The client may have its session.
    Granted(Box<Negotiated>),
    /// Run the check where a few milliseconds hold up nobody, then call [`Broker::on_password_checked`].
    Password(Box<Negotiated>, PasswordCheck),
    /// Send the client this packet, an AUTH; its answer goes to [`Broker::on_auth`].
    Challenged(Box<Candidate>, Vec<u8>),
}

/// A client in the middle of an enhanced authentication, before its CONNACK.
pub struct Candidate {
    negotiated: Negotiated,
    method: &'static str,
    exchange: Box<dyn Exchange>,
}

impl Broker {
    /// Begins to decide on a CONNECT. `settings` are the limits of the listener that it came through; `random` names
    /// a client that came without a Client Identifier.
    ///
    /// # Errors
    /// The reason code of the CONNACK that refuses it.
    pub fn admit(
        &self,
        connect: &Connect<'_>,
        settings: &Arc<Settings>,
        random: u128,
    ) -> Result<Admission, ReasonCode> {
        let properties = &connect.properties;
        let presented = Presented {
            user_name: connect.user_name,
            password: connect.password,
            method: properties.authentication_method,
        };
        let proof = self.authenticator.begin(&presented).map_err(|denied| match denied {
            Denied::BadCredentials => ReasonCode::BadUserNameOrPassword,
            Denied::Anonymous => ReasonCode::NotAuthorized,
            Denied::UnknownMethod => ReasonCode::BadAuthenticationMethod, // [MQTT5-4.12.0-1]
        })?;
        // Before the proof, which costs more.
        let negotiated = self.negotiate(connect, settings, random)?;
        match proof {
            Proof::Anonymous => Ok(Admission::Granted(Box::new(self.rewrite_will(negotiated)?))),
            Proof::Password(check) => Ok(Admission::Password(Box::new(negotiated), check)),
            Proof::Exchange(mechanism) => {
                let exchange = mechanism.start(rand::random());
                let candidate = Candidate { negotiated, method: mechanism.name(), exchange };
                candidate.step(self, properties.authentication_data)
            }
        }
    }

    /// Goes on after [`Admission::Password`]: `user` is what the check gave.
    ///
    /// # Errors
    /// The reason code of the CONNACK that refuses the client.
    pub fn on_password_checked(
        &self,
        negotiated: Negotiated,
        user: Option<UserName>,
    ) -> Result<Negotiated, ReasonCode> {
        self.check_not_stopping()?;
        let user = user.ok_or(ReasonCode::BadUserNameOrPassword)?;
        self.rewrite_will(negotiated.by_password(user.into_text()))
    }

    /// Goes on after [`Admission::Challenged`] with the client's AUTH.
    ///
    /// # Errors
    /// The reason code of the CONNACK that refuses the client.
    pub fn on_auth(&self, candidate: Candidate, auth: &Auth<'_>) -> Result<Admission, ReasonCode> {
        self.check_not_stopping()?;
        // [MQTT5-4.12.0-3] and [MQTT5-4.12.0-5].
        let is_answer = auth.reason == ReasonCode::ContinueAuthentication;
        if !is_answer || auth.method != Some(candidate.method) {
            return Err(ReasonCode::ProtocolError);
        }
        candidate.step(self, auth.data)
    }

    /// What the client and this node agree on, whoever the client is.
    pub(super) fn negotiate(
        &self,
        connect: &Connect<'_>,
        settings: &Arc<Settings>,
        random: u128,
    ) -> Result<Negotiated, ReasonCode> {
        self.check_not_stopping()?;
        Negotiated::new(connect, settings, random)
    }

    /// A connected client proves again who it is [MQTT5-4.12.1]. Its other packets go on meanwhile.
    pub(super) fn authenticate_again(
        &self,
        client: &Arc<Client>,
        generation: Generation,
        method: &'static str,
        begins: bool,
        data: &[u8],
    ) -> Result<(), Gone> {
        let exchange = if begins {
            self.authenticator.mechanism(method).map(|mechanism| mechanism.start(rand::random()))
        } else {
            client.with_state(|state| state.exchange.take())
        };
        // Without one the connection has been taken over under our hands.
        let mut exchange = exchange.ok_or(Gone)?;
        let step = exchange.step(data);
        let result = client.with_connection(generation, &self.metrics, |session, out| match &step {
            Step::Continue(data) => session.on_authentication(false, data, out),
            // Whoever proves to be somebody else may not have this session.
            Step::Done { user, .. } if session.user().map(|user| &**user) != Some(user.as_str()) => {
                Err(ReasonCode::NotAuthorized)
            }
            Step::Done { data, .. } => session.on_authentication(true, data, out),
            Step::Denied => Err(ReasonCode::NotAuthorized),
        });
        if let Err(reason) = result.ok_or(Gone)? {
            self.refuse(client, generation, reason); // [MQTT5-4.12.1-2]
            return Err(Gone);
        }
        if matches!(step, Step::Continue(_)) {
            client.with_state(|state| {
                if state.generation == generation {
                    state.exchange = Some(exchange);
                }
            });
        }
        Ok(())
    }

    fn check_not_stopping(&self) -> Result<(), ReasonCode> {
        let is_stopping = self.stopping.load(Ordering::Relaxed);
        if is_stopping { Err(ReasonCode::ServerUnavailable) } else { Ok(()) }
    }
}

impl Candidate {
    fn step(mut self, broker: &Broker, data: Option<&[u8]>) -> Result<Admission, ReasonCode> {
        match self.exchange.step(data.unwrap_or_default()) {
            Step::Continue(data) => {
                let packet = self.challenge(&data)?;
                Ok(Admission::Challenged(Box::new(self), packet))
            }
            Step::Done { data, user } => {
                let negotiated = self.negotiated.by_exchange(user.into_text(), self.method, data);
                Ok(Admission::Granted(Box::new(broker.rewrite_will(negotiated)?)))
            }
            Step::Denied => Err(ReasonCode::NotAuthorized), // [MQTT5-4.12.0-4]
        }
    }

    /// The AUTH with our data [MQTT5-4.12.0-2].
    fn challenge(&self, data: &[u8]) -> Result<Vec<u8>, ReasonCode> {
        let auth = Auth {
            reason: ReasonCode::ContinueAuthentication,
            method: Some(self.method),
            data: (!data.is_empty()).then_some(data),
            reason_string: None,
            user: UserProperties::default(),
        };
        let mut packet = Vec::new();
        // A mechanism's data is short; only one that made too much of it would end here.
        auth.encode(self.negotiated.version, &mut packet)
            .map_err(|_| ReasonCode::ImplementationSpecificError)?;
        if packet.len() > self.negotiated.client_packet_size_max() as usize {
            return Err(ReasonCode::PacketTooLarge);
        }
        Ok(packet)
    }
}
