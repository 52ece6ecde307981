//! mosquitto.
