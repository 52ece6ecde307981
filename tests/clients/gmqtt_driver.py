"""Drives gmqtt clients for the process tests. The jobs, answers and events are those of paho_driver.py; gmqtt tells
no codes of PUBACK, and speaks 3.1.1 and 5.
"""

import asyncio
import base64
import json
import logging
import sys

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.storage import PersistentStorage

TIMEOUT_S = 20
PROTOCOLS = {"3.1.1": MQTTv311, "5": MQTTv50}
# Fewer than none: a lost connection stays lost.
NO_RECONNECT = -2
PUBLISH_PROPERTIES = {
    "payload_format": "payload_format_id",
    "message_expiry": "message_expiry_interval",
    "content_type": "content_type",
    "response_topic": "response_topic",
    "topic_alias": "topic_alias",
}

# What goes wrong is an answer; a lost connection, which gmqtt logs, is an event.
logging.disable(logging.CRITICAL)


def say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def publish_properties(wanted):
    properties = {name: wanted[key] for key, name in PUBLISH_PROPERTIES.items() if key in wanted}
    if "correlation_data" in wanted:
        properties["correlation_data"] = wanted["correlation_data"].encode()
    if "user" in wanted:
        properties["user_property"] = [tuple(pair) for pair in wanted["user"]]
    return properties


def seen_properties(properties):
    seen = {key: properties[name][0] for key, name in PUBLISH_PROPERTIES.items() if name in properties}
    if "correlation_data" in properties:
        seen["correlation_data"] = properties["correlation_data"][0].decode()
    if "user_property" in properties:
        seen["user"] = [list(pair) for pair in properties["user_property"]]
    if "subscription_identifier" in properties:
        seen["subscription_ids"] = properties["subscription_identifier"]
    return seen


class Refused(Exception):
    """The server said no, with a code."""

    def __init__(self, code):
        super().__init__(f"refused with {code}")
        self.code = code


class Client:
    """One connected client and what it waits for."""

    def __init__(self, job):
        self.name = job["client"]
        self.connack = {}
        self.acknowledged = {}
        self.closed = False
        # Knows when every publish has been acknowledged.
        self.unacknowledged = PersistentStorage()
        will = job.get("will")
        properties = {"session_expiry_interval": "session_expiry", "topic_alias_maximum": "topic_aliases"}
        self.mqtt = gmqtt.Client(
            job.get("client_id", self.name),
            clean_session=job.get("clean", True),
            will_message=will_message(will) if will else None,
            persistent_storage=self.unacknowledged,
            **{name: job[key] for name, key in properties.items() if key in job},
        )
        self.mqtt.set_config({"reconnect_retries": NO_RECONNECT})
        if "user" in job:
            self.mqtt.set_auth_credentials(job["user"], job.get("password"))
        self.mqtt.on_connect = self.on_connect
        self.mqtt.on_disconnect = self.on_disconnect
        self.mqtt.on_subscribe = self.on_subscribe
        self.mqtt.on_unsubscribe = self.on_unsubscribe
        self.mqtt.on_message = self.on_message

    async def connect(self, job):
        version = PROTOCOLS[job["version"]]
        try:
            await self.mqtt.connect(job["host"], job["port"], keepalive=job.get("keep_alive", 60), version=version)
        except MQTTConnectError as error:
            raise Refused(error._code) from error
        return self.connack

    def on_connect(self, _client, session_present, _code, properties):
        self.connack = {
            "session_present": session_present == 1,
            "server_keep_alive": properties.get("server_keep_alive", [None])[0],
        }

    def on_disconnect(self, _client, packet, _error=None):
        # Called for the DISCONNECT and for the end of the connection.
        if not self.closed:
            self.closed = True
            say({"event": "closed", "client": self.name, "reason": str(packet[0]) if packet else ""})

    def on_subscribe(self, _client, mid, codes, _properties):
        self.acknowledged[mid].set_result(codes)

    def on_unsubscribe(self, _client, mid, codes):
        self.acknowledged[mid].set_result(codes)

    def on_message(self, _client, topic, payload, qos, properties):
        say({
            "event": "message",
            "client": self.name,
            "topic": topic,
            "payload": base64.b64encode(payload).decode(),
            "qos": qos,
            "retain": properties["retain"] == 1,
            "properties": seen_properties(properties),
        })

    async def wait_acknowledged(self, mid):
        self.acknowledged[mid] = asyncio.get_running_loop().create_future()
        codes = await self.acknowledged[mid]
        if not codes:
            return {}
        if codes[0] >= 0x80:
            raise Refused(codes[0])
        return {"code": codes[0]}

    async def subscribe(self, job):
        subscription = gmqtt.Subscription(
            job["filter"],
            qos=job["qos"],
            no_local=job.get("no_local", False),
            retain_as_published=job.get("retain_as_published", False),
            retain_handling_options=job.get("retain_handling", 0),
        )
        identifier = {"subscription_identifier": job["subscription_id"]} if "subscription_id" in job else {}
        return await self.wait_acknowledged(self.mqtt.subscribe(subscription, **identifier))

    async def unsubscribe(self, job):
        return await self.wait_acknowledged(self.mqtt.unsubscribe(job["filter"]))

    async def publish(self, job):
        properties = publish_properties(job.get("properties", {}))
        payload = base64.b64decode(job["payload"])
        self.mqtt.publish(job["topic"], payload, qos=job["qos"], retain=job.get("retain", False), **properties)
        await self.unacknowledged.wait_empty()

    async def disconnect(self, job):
        await self.mqtt.disconnect(reason_code=job.get("code", 0))

    async def cut(self, _job):
        # gmqtt has no words for it.
        self.mqtt._connection._transport.abort()


def will_message(will):
    properties = {"will_delay_interval": will["delay"]} if "delay" in will else {}
    payload = base64.b64decode(will["payload"])
    return gmqtt.Message(will["topic"], payload, qos=will["qos"], retain=will["retain"], **properties)


async def do(clients, job):
    if job["do"] == "connect":
        client = clients[job["client"]] = Client(job)
        return await client.connect(job)
    if job["do"] in ("subscribe", "unsubscribe", "publish", "disconnect", "cut"):
        return await getattr(clients[job["client"]], job["do"])(job)
    raise ValueError("unknown job " + job["do"])


async def main():
    clients = {}
    jobs = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(jobs), sys.stdin)
    while line := await jobs.readline():
        job = json.loads(line)
        answer = {"id": job["id"]}
        try:
            answer |= await asyncio.wait_for(do(clients, job), TIMEOUT_S) or {}
        except Exception as error:  # Every failure is an answer: the test decides what it means.
            answer |= {"error": f"{type(error).__name__}: {error}", "code": getattr(error, "code", None)}
        say(answer)


asyncio.run(main())
