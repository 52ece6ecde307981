// Drives mqtt.js clients for the process tests: jobs come as JSON lines on stdin, answers and events leave as
// JSON lines on stdout. The jobs, answers and events are those of paho_driver.py.

import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import path from 'node:path'

// The packages are installed outside the source tree: the folder that holds node_modules is the argument.
const require = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'))
const mqtt = require('mqtt')

const TIMEOUT_MS = 20_000
const PROTOCOLS = {
  '3.1': { protocolVersion: 3, protocolId: 'MQIsdp' },
  '3.1.1': { protocolVersion: 4, protocolId: 'MQTT' },
  5: { protocolVersion: 5, protocolId: 'MQTT' },
}

const clients = new Map()

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n')

function withTimeout(promise, what) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(what)), TIMEOUT_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function publishProperties(wanted) {
  const properties = {}
  if ('payload_format' in wanted) properties.payloadFormatIndicator = wanted.payload_format === 1
  if ('message_expiry' in wanted) properties.messageExpiryInterval = wanted.message_expiry
  if ('content_type' in wanted) properties.contentType = wanted.content_type
  if ('response_topic' in wanted) properties.responseTopic = wanted.response_topic
  if ('correlation_data' in wanted) properties.correlationData = Buffer.from(wanted.correlation_data)
  if ('topic_alias' in wanted) properties.topicAlias = wanted.topic_alias
  if ('user' in wanted) {
    properties.userProperties = {}
    for (const [key, value] of wanted.user) {
      properties.userProperties[key] = [...(properties.userProperties[key] ?? []), value]
    }
  }
  return properties
}

function seenProperties(properties = {}) {
  const seen = {}
  if (properties.payloadFormatIndicator !== undefined) seen.payload_format = Number(properties.payloadFormatIndicator)
  if (properties.messageExpiryInterval !== undefined) seen.message_expiry = properties.messageExpiryInterval
  if (properties.contentType !== undefined) seen.content_type = properties.contentType
  if (properties.responseTopic !== undefined) seen.response_topic = properties.responseTopic
  if (properties.correlationData !== undefined) seen.correlation_data = properties.correlationData.toString()
  if (properties.topicAlias !== undefined) seen.topic_alias = properties.topicAlias
  if (properties.subscriptionIdentifier !== undefined) {
    seen.subscription_ids = [properties.subscriptionIdentifier].flat()
  }
  if (properties.userProperties !== undefined) {
    seen.user = Object.entries(properties.userProperties).flatMap(([key, value]) =>
      [value].flat().map((one) => [key, one]),
    )
  }
  return seen
}

function connectOptions(job) {
  const options = {
    host: job.host,
    port: job.port,
    protocol: 'mqtt',
    ...PROTOCOLS[job.version],
    clientId: job.client_id ?? job.client,
    clean: job.clean ?? true,
    keepalive: job.keep_alive ?? 60,
    username: job.user,
    password: job.password,
    reconnectPeriod: 0,
    resubscribe: false,
  }
  if (job.will !== undefined) {
    const { topic, payload, qos, retain, delay } = job.will
    options.will = { topic, payload: Buffer.from(payload, 'base64'), qos, retain }
    if (delay !== undefined) options.will.properties = { willDelayInterval: delay }
  }
  if (job.version === '5') {
    options.properties = {}
    if (job.session_expiry !== undefined) options.properties.sessionExpiryInterval = job.session_expiry
    if (job.topic_aliases !== undefined) options.properties.topicAliasMaximum = job.topic_aliases
  }
  return options
}

async function connect(job) {
  const client = mqtt.connect(connectOptions(job))
  const state = { client, isV5: job.version === '5', acknowledged: {} }
  let reason = ''
  client.on('message', (topic, payload, packet) =>
    say({
      event: 'message',
      client: job.client,
      topic,
      payload: payload.toString('base64'),
      qos: packet.qos,
      retain: packet.retain,
      properties: seenProperties(packet.properties),
    }),
  )
  client.on('packetreceive', (packet) => {
    state.acknowledged[packet.cmd] = packet
  })
  client.on('disconnect', (packet) => {
    reason = String(packet.reasonCode)
  })
  const accepted = new Promise((resolve, reject) => {
    client.once('connect', resolve)
    client.on('error', reject)
    client.once('close', () => {
      say({ event: 'closed', client: job.client, reason })
      reject(new Error('closed before CONNACK'))
    })
  })
  clients.set(job.client, state)
  const connack = await withTimeout(accepted, 'no CONNACK')
  return {
    session_present: connack.sessionPresent,
    assigned_client_id: connack.properties?.assignedClientIdentifier,
    server_keep_alive: connack.properties?.serverKeepAlive,
  }
}

async function subscribe(job) {
  const { client, isV5, acknowledged } = clients.get(job.client)
  const options = { qos: job.qos }
  if (isV5) {
    options.nl = job.no_local ?? false
    options.rap = job.retain_as_published ?? false
    options.rh = job.retain_handling ?? 0
    if (job.subscription_id !== undefined) options.properties = { subscriptionIdentifier: job.subscription_id }
  }
  await withTimeout(client.subscribeAsync(job.filter, options), 'no SUBACK')
  return { code: acknowledged.suback.granted[0] }
}

async function unsubscribe(job) {
  const { client, acknowledged } = clients.get(job.client)
  await withTimeout(client.unsubscribeAsync(job.filter), 'no UNSUBACK')
  return { code: acknowledged.unsuback.granted?.[0] }
}

async function publish(job) {
  const { client, isV5, acknowledged } = clients.get(job.client)
  const options = { qos: job.qos, retain: job.retain ?? false }
  if (isV5) options.properties = publishProperties(job.properties ?? {})
  const done = client.publishAsync(job.topic, Buffer.from(job.payload, 'base64'), options)
  await withTimeout(done, 'the publish did not complete')
  const acknowledgement = [undefined, 'puback', 'pubrec'][job.qos]
  return { code: acknowledged[acknowledgement]?.reasonCode }
}

async function disconnect(job) {
  const { client, isV5 } = clients.get(job.client)
  const options = isV5 ? { reasonCode: job.code ?? 0 } : {}
  await withTimeout(client.endAsync(false, options), 'the client did not end')
}

async function cut(job) {
  clients.get(job.client).client.stream.destroy()
}

const jobs = { connect, subscribe, unsubscribe, publish, disconnect, cut }

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line)
  try {
    say({ id: job.id, ...(await jobs[job.do](job)) })
  } catch (error) {
    // Every failure is an answer: the test decides what it means.
    say({ id: job.id, error: String(error), code: error.code ?? error.packet?.granted?.[0] })
  }
}
process.exit(0)
