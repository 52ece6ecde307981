"""Drives paho-mqtt clients for the process tests: jobs come as JSON lines on stdin, answers and events leave
as JSON lines on stdout.

Job:    {"id": 1, "do": "connect" | "subscribe" | "publish" | "disconnect", "client": "name", ...}
Answer: {"id": 1} or {"id": 1, "error": "..."}
Event:  {"event": "message", "client": "name", "topic", "payload" (base64), "qos", "retain", "properties"}
        {"event": "closed", "client": "name", "reason": "..."}
"""

import base64
import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

TIMEOUT_S = 20
PROTOCOLS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}

output_lock = threading.Lock()


def say(answer):
    with output_lock:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def publish_properties(wanted):
    properties = Properties(PacketTypes.PUBLISH)
    if "payload_format" in wanted:
        properties.PayloadFormatIndicator = wanted["payload_format"]
    if "message_expiry" in wanted:
        properties.MessageExpiryInterval = wanted["message_expiry"]
    if "content_type" in wanted:
        properties.ContentType = wanted["content_type"]
    if "response_topic" in wanted:
        properties.ResponseTopic = wanted["response_topic"]
    if "correlation_data" in wanted:
        properties.CorrelationData = wanted["correlation_data"].encode()
    if "user" in wanted:
        properties.UserProperty = [tuple(pair) for pair in wanted["user"]]
    return properties


def seen_properties(properties):
    seen = {}
    if properties is None:
        return seen
    if hasattr(properties, "PayloadFormatIndicator"):
        seen["payload_format"] = properties.PayloadFormatIndicator
    if hasattr(properties, "MessageExpiryInterval"):
        seen["message_expiry"] = properties.MessageExpiryInterval
    if hasattr(properties, "ContentType"):
        seen["content_type"] = properties.ContentType
    if hasattr(properties, "ResponseTopic"):
        seen["response_topic"] = properties.ResponseTopic
    if hasattr(properties, "CorrelationData"):
        seen["correlation_data"] = properties.CorrelationData.decode()
    if hasattr(properties, "UserProperty"):
        seen["user"] = [list(pair) for pair in properties.UserProperty]
    return seen


class Client:
    """One connected client and what it waits for."""

    def __init__(self, job):
        self.name = job["client"]
        self.version = job["version"]
        self.connected = threading.Event()
        self.refused = None
        self.subscribed = {}
        self.subscribed_changed = threading.Condition()
        arguments = {"client_id": self.name, "protocol": PROTOCOLS[self.version], "reconnect_on_failure": False}
        if self.version != "5":
            arguments["clean_session"] = True
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **arguments)
        self.mqtt.on_connect = self.on_connect
        self.mqtt.on_disconnect = self.on_disconnect
        self.mqtt.on_subscribe = self.on_subscribe
        self.mqtt.on_message = self.on_message
        self.mqtt.connect(job["host"], job["port"], keepalive=60)
        self.mqtt.loop_start()
        if not self.connected.wait(TIMEOUT_S):
            raise TimeoutError("no CONNACK")
        if self.refused is not None:
            raise ConnectionError(self.refused)

    def on_connect(self, _client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            self.refused = str(reason)
        self.connected.set()

    def on_disconnect(self, _client, _userdata, _flags, reason, _properties):
        say({"event": "closed", "client": self.name, "reason": str(reason)})

    def on_subscribe(self, _client, _userdata, mid, reasons, _properties):
        with self.subscribed_changed:
            self.subscribed[mid] = reasons
            self.subscribed_changed.notify_all()

    def on_message(self, _client, _userdata, message):
        say({
            "event": "message",
            "client": self.name,
            "topic": message.topic,
            "payload": base64.b64encode(message.payload).decode(),
            "qos": message.qos,
            "retain": bool(message.retain),
            "properties": seen_properties(message.properties if self.version == "5" else None),
        })

    def subscribe(self, job):
        if self.version == "5":
            result, mid = self.mqtt.subscribe(job["filter"], options=SubscribeOptions(qos=job["qos"]))
        else:
            result, mid = self.mqtt.subscribe(job["filter"], qos=job["qos"])
        if result != mqtt.MQTT_ERR_SUCCESS:
            raise ConnectionError(mqtt.error_string(result))
        with self.subscribed_changed:
            if not self.subscribed_changed.wait_for(lambda: mid in self.subscribed, TIMEOUT_S):
                raise TimeoutError("no SUBACK")
            reasons = self.subscribed.pop(mid)
        if any(reason.is_failure for reason in reasons):
            raise PermissionError(str(reasons))

    def publish(self, job):
        properties = publish_properties(job.get("properties", {})) if self.version == "5" else None
        info = self.mqtt.publish(
            job["topic"],
            base64.b64decode(job["payload"]),
            qos=job["qos"],
            retain=job.get("retain", False),
            properties=properties,
        )
        info.wait_for_publish(TIMEOUT_S)
        if not info.is_published():
            raise TimeoutError("the publish did not complete")

    def disconnect(self, _job):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def main():
    clients = {}
    for line in sys.stdin:
        job = json.loads(line)
        answer = {"id": job["id"]}
        try:
            if job["do"] == "connect":
                clients[job["client"]] = Client(job)
            elif job["do"] in ("subscribe", "publish", "disconnect"):
                getattr(clients[job["client"]], job["do"])(job)
            else:
                raise ValueError("unknown job " + job["do"])
        except Exception as error:  # Every failure is an answer: the test decides what it means.
            answer["error"] = f"{type(error).__name__}: {error}"
        say(answer)


main()
