// What an extension's author has today: a Fastify sidecar with a ChatKit route, its threads in a Map.
// node chat.js SOCKET, with the one token it knows in BENCH_TOKEN and the provider's URL in BENCH_PROVIDER.

import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import Fastify from 'fastify'

const sessions = new Map([[process.env.BENCH_TOKEN, { user: 'bench' }]])
const threads = new Map()
const app = Fastify({ bodyLimit: 2 ** 20 })

app.decorateRequest('session', null)
app.addHook('onRequest', async (request, reply) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ')
  request.session = scheme === 'Bearer' ? sessions.get(token) : undefined
  if (!request.session) return reply.code(401).send({ error: 'unauthorized' })
})

app.post('/chatkit', async (request, reply) => {
  const { type, params } = request.body
  if (type !== 'threads.create') return reply.code(400).send({ error: 'not part of the benchmark' })
  const left = new AbortController()
  reply.raw.on('close', () => left.abort())
  return reply.type('text/event-stream').send(Readable.from(turn(params.input, left.signal)))
})

async function* turn(input, signal) {
  const thread = { id: id('thr'), created_at: now(), status: { type: 'active' }, metadata: {}, items: [] }
  threads.set(thread.id, thread)
  yield frame({ type: 'thread.created', thread: { ...thread, items: { data: [], has_more: false } } })
  const said = { id: id('msg'), thread_id: thread.id, created_at: now(), type: 'user_message', ...input }
  thread.items.push(said)
  yield frame({ type: 'thread.item.done', item: said })
  yield frame({ type: 'stream_options', stream_options: { allow_cancel: true } })

  const answer = { id: id('msg'), thread_id: thread.id, created_at: now(), type: 'assistant_message', content: [] }
  const update = (update) => frame({ type: 'thread.item.updated', item_id: answer.id, update })
  let text = ''
  for await (const event of provided(said.content[0].text, signal)) {
    if (event.type !== 'response.output_text.delta') continue
    if (text === '') {
      yield frame({ type: 'thread.item.added', item: answer })
      yield update({ type: 'assistant_message.content_part.added', content_index: 0, content: part('') })
    }
    text += event.delta
    yield update({ type: 'assistant_message.content_part.text_delta', content_index: 0, delta: event.delta })
  }
  yield update({ type: 'assistant_message.content_part.done', content_index: 0, content: part(text) })
  answer.content.push(part(text))
  thread.items.push(answer)
  yield frame({ type: 'thread.item.done', item: answer })
}

// The events of the provider's answer.
async function* provided(text, signal) {
  const body = JSON.stringify({ model: 'bench', input: [{ role: 'user', content: text }], stream: true, store: false })
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${process.env.BENCH_PROVIDER}/responses`, { method: 'POST', headers, body, signal })
  if (!response.ok) throw new Error(`the provider answered ${response.status}`)
  let rest = ''
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + chunk).split('\n\n')
    rest = events.pop()
    for (const event of events) {
      const data = event.split('\n').find((line) => line.startsWith('data: '))
      if (data) yield JSON.parse(data.slice(6))
    }
  }
}

const part = (text) => ({ annotations: [], text, type: 'output_text' })
const frame = (event) => `data: ${JSON.stringify(event)}\n\n`
const id = (prefix) => `${prefix}_${randomBytes(8).toString('hex')}`
const now = () => new Date().toISOString()

await app.listen({ path: process.argv[2] })
