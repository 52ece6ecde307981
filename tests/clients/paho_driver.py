"""Drives paho-mqtt clients for the process tests: jobs come as JSON lines on stdin, answers and events leave
as JSON lines on stdout. What is expected of them stands in the tests.

Every job has "id", "do" and "client", the name by which tests know the client, and:

    connect      host, port, version ("3.1", "3.1.1", "5"); client_id (the name), clean (true), keep_alive (60),
                 user, password, session_expiry, topic_aliases, will {topic, payload, qos, retain, delay}
    subscribe    filter, qos; no_local, retain_as_published, retain_handling, subscription_id
    unsubscribe  filter
    publish      topic, payload, qos, retain, properties
    disconnect   code (0)
    cut          nothing more: the connection breaks without a DISCONNECT

Payloads are base64. The answer {"id"} has "error" when the job failed, "code" where the library tells the reason
code of the server's acknowledgement, and after a connect "session_present", "assigned_client_id" and
"server_keep_alive". Events are {"event": "message", "client", "topic", "payload", "qos", "retain", "properties"} and
{"event": "closed", "client", "reason"}, where the reason is the code of a DISCONNECT, or empty.
"""

import base64
import json
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

TIMEOUT_S = 20
PROTOCOLS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
PUBLISH_PROPERTIES = {
    "payload_format": "PayloadFormatIndicator",
    "message_expiry": "MessageExpiryInterval",
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "topic_alias": "TopicAlias",
}

output_lock = threading.Lock()


def say(answer):
    with output_lock:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Refused(Exception):
    """The server said no, with a code."""

    def __init__(self, reason):
        super().__init__(f"refused: {reason}")
        self.code = reason.value


def publish_properties(wanted):
    properties = Properties(PacketTypes.PUBLISH)
    for key, name in PUBLISH_PROPERTIES.items():
        if key in wanted:
            setattr(properties, name, wanted[key])
    if "correlation_data" in wanted:
        properties.CorrelationData = wanted["correlation_data"].encode()
    if "user" in wanted:
        properties.UserProperty = [tuple(pair) for pair in wanted["user"]]
    return properties


def seen_properties(properties):
    if properties is None:
        return {}
    seen = {key: getattr(properties, name) for key, name in PUBLISH_PROPERTIES.items() if hasattr(properties, name)}
    if hasattr(properties, "CorrelationData"):
        seen["correlation_data"] = properties.CorrelationData.decode()
    if hasattr(properties, "UserProperty"):
        seen["user"] = [list(pair) for pair in properties.UserProperty]
    if hasattr(properties, "SubscriptionIdentifier"):
        seen["subscription_ids"] = properties.SubscriptionIdentifier
    return seen


class Client:
    """One connected client and what it waits for."""

    def __init__(self, job):
        self.name = job["client"]
        self.is_v5 = job["version"] == "5"
        self.connack = {}
        self.acknowledged = {}
        self.changed = threading.Condition()
        clean = job.get("clean", True)
        arguments = {} if self.is_v5 else {"clean_session": clean}
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=job.get("client_id", self.name),
            protocol=PROTOCOLS[job["version"]],
            reconnect_on_failure=False,
            **arguments,
        )
        self.mqtt.on_connect = self.on_connect
        self.mqtt.on_disconnect = self.on_disconnect
        self.mqtt.on_subscribe = self.on_subscribe
        self.mqtt.on_unsubscribe = self.on_unsubscribe
        self.mqtt.on_publish = self.on_publish
        self.mqtt.on_message = self.on_message
        if "user" in job:
            self.mqtt.username_pw_set(job["user"], job.get("password"))
        if "will" in job:
            self.set_will(job["will"])
        arguments = {"clean_start": clean, "properties": connect_properties(job)} if self.is_v5 else {}
        self.mqtt.connect(job["host"], job["port"], keepalive=job.get("keep_alive", 60), **arguments)
        self.mqtt.loop_start()
        with self.changed:
            if not self.changed.wait_for(lambda: self.connack, TIMEOUT_S):
                raise TimeoutError("no CONNACK")
        reason = self.connack.pop("reason")
        if reason.is_failure:
            raise Refused(reason)

    def set_will(self, will):
        properties = None
        if "delay" in will:
            properties = Properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = will["delay"]
        payload = base64.b64decode(will["payload"])
        self.mqtt.will_set(will["topic"], payload, will["qos"], will["retain"], properties)

    def on_connect(self, _client, _userdata, flags, reason, properties):
        with self.changed:
            self.connack = {
                "reason": reason,
                "session_present": flags.session_present,
                "assigned_client_id": getattr(properties, "AssignedClientIdentifier", None),
                "server_keep_alive": getattr(properties, "ServerKeepAlive", None),
            }
            self.changed.notify_all()

    def on_disconnect(self, _client, _userdata, flags, reason, _properties):
        told = self.is_v5 and flags.is_disconnect_packet_from_server
        say({"event": "closed", "client": self.name, "reason": str(reason.value) if told else ""})

    def on_subscribe(self, _client, _userdata, mid, reasons, _properties):
        self.on_acknowledged(mid, reasons[0])

    def on_unsubscribe(self, _client, _userdata, mid, reasons, _properties):
        self.on_acknowledged(mid, reasons[0] if reasons else None)

    def on_publish(self, _client, _userdata, mid, reason, _properties):
        self.on_acknowledged(mid, reason)

    def on_acknowledged(self, mid, reason):
        with self.changed:
            self.acknowledged[mid] = reason
            self.changed.notify_all()

    def on_message(self, _client, _userdata, message):
        say({
            "event": "message",
            "client": self.name,
            "topic": message.topic,
            "payload": base64.b64encode(message.payload).decode(),
            "qos": message.qos,
            "retain": bool(message.retain),
            "properties": seen_properties(message.properties if self.is_v5 else None),
        })

    def wait_acknowledged(self, result, mid):
        if result != mqtt.MQTT_ERR_SUCCESS:
            raise ConnectionError(mqtt.error_string(result))
        with self.changed:
            if not self.changed.wait_for(lambda: mid in self.acknowledged, TIMEOUT_S):
                raise TimeoutError("no acknowledgement")
            reason = self.acknowledged.pop(mid)
        if reason is None:
            return {}
        if reason.is_failure:
            raise Refused(reason)
        return {"code": reason.value}

    def subscribe(self, job):
        if not self.is_v5:
            return self.wait_acknowledged(*self.mqtt.subscribe(job["filter"], qos=job["qos"]))
        options = SubscribeOptions(
            qos=job["qos"],
            noLocal=job.get("no_local", False),
            retainAsPublished=job.get("retain_as_published", False),
            retainHandling=job.get("retain_handling", 0),
        )
        properties = Properties(PacketTypes.SUBSCRIBE)
        if "subscription_id" in job:
            properties.SubscriptionIdentifier = job["subscription_id"]
        return self.wait_acknowledged(*self.mqtt.subscribe(job["filter"], options=options, properties=properties))

    def unsubscribe(self, job):
        return self.wait_acknowledged(*self.mqtt.unsubscribe(job["filter"]))

    def publish(self, job):
        properties = publish_properties(job.get("properties", {})) if self.is_v5 else None
        payload = base64.b64decode(job["payload"])
        retain = job.get("retain", False)
        info = self.mqtt.publish(job["topic"], payload, qos=job["qos"], retain=retain, properties=properties)
        return self.wait_acknowledged(info.rc, info.mid)

    def disconnect(self, job):
        code = job.get("code", 0)
        self.mqtt.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=code) if self.is_v5 and code else None)
        self.mqtt.loop_stop()

    def cut(self, _job):
        self.mqtt.socket().shutdown(socket.SHUT_RDWR)


def connect_properties(job):
    properties = Properties(PacketTypes.CONNECT)
    if "session_expiry" in job:
        properties.SessionExpiryInterval = job["session_expiry"]
    if "topic_aliases" in job:
        properties.TopicAliasMaximum = job["topic_aliases"]
    return properties


def main():
    clients = {}
    for line in sys.stdin:
        job = json.loads(line)
        answer = {"id": job["id"]}
        try:
            if job["do"] == "connect":
                client = Client(job)
                clients[job["client"]] = client
                answer |= client.connack
            elif job["do"] in ("subscribe", "unsubscribe", "publish", "disconnect", "cut"):
                answer |= getattr(clients[job["client"]], job["do"])(job) or {}
            else:
                raise ValueError("unknown job " + job["do"])
        except Exception as error:  # Every failure is an answer: the test decides what it means.
            answer |= {"error": f"{type(error).__name__}: {error}", "code": getattr(error, "code", None)}
        say(answer)


main()
