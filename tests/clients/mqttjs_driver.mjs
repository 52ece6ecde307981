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
  if ('user' in wanted) {
    properties.userProperties = {}
    for (const [key, value] of wanted.user) properties.userProperties[key] = value
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
  if (properties.userProperties !== undefined) {
    seen.user = Object.entries(properties.userProperties).flatMap(([key, value]) =>
      [value].flat().map((one) => [key, one]),
    )
  }
  return seen
}

async function connect(job) {
  const { protocolVersion, protocolId } = PROTOCOLS[job.version]
  const client = mqtt.connect({
    host: job.host,
    port: job.port,
    protocol: 'mqtt',
    protocolVersion,
    protocolId,
    clientId: job.client,
    clean: true,
    reconnectPeriod: 0,
    resubscribe: false,
    keepalive: 60,
  })
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
  const accepted = new Promise((resolve, reject) => {
    client.once('connect', resolve)
    client.on('error', reject)
    client.once('close', () => {
      say({ event: 'closed', client: job.client, reason: 'the connection closed' })
      reject(new Error('closed before CONNACK'))
    })
  })
  clients.set(job.client, { client, version: job.version })
  await withTimeout(accepted, 'no CONNACK')
}

async function subscribe(job) {
  const { client } = clients.get(job.client)
  const granted = await withTimeout(client.subscribeAsync(job.filter, { qos: job.qos }), 'no SUBACK')
  for (const { qos } of granted) {
    if (qos > 2) throw new Error(`the subscription was refused with ${qos}`)
  }
}

async function publish(job) {
  const { client, version } = clients.get(job.client)
  const options = { qos: job.qos, retain: job.retain ?? false }
  if (version === '5') options.properties = publishProperties(job.properties ?? {})
  const done = client.publishAsync(job.topic, Buffer.from(job.payload, 'base64'), options)
  await withTimeout(done, 'the publish did not complete')
}

async function disconnect(job) {
  await withTimeout(clients.get(job.client).client.endAsync(), 'the client did not end')
}

const jobs = { connect, subscribe, publish, disconnect }

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line)
  try {
    await jobs[job.do](job)
    say({ id: job.id })
  } catch (error) {
    // Every failure is an answer: the test decides what it means.
    say({ id: job.id, error: String(error) })
  }
}
process.exit(0)
