// What an extension's author has today: a Fastify sidecar that looks tokens up in a Map.
// node server.js SOCKET, with the one token it knows in BENCH_TOKEN.

import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import Fastify from 'fastify'

const sessions = new Map([[process.env.BENCH_TOKEN, { user: 'bench' }]])
const app = Fastify({ bodyLimit: 2 ** 20 })

// The body as a stream, not read into memory.
app.addContentTypeParser('*', (request, payload, done) => done(null, payload))

app.register(async (authenticated) => {
  authenticated.decorateRequest('session', null)
  authenticated.addHook('onRequest', async (request, reply) => {
    const [scheme, token] = (request.headers.authorization ?? '').split(' ')
    request.session = scheme === 'Bearer' ? sessions.get(token) : undefined
    if (!request.session) return reply.code(401).send({ error: 'unauthorized' })
  })
  authenticated.get('/hello', async (request) => `hello ${request.session.user}`)
  authenticated.post('/echo', (request, reply) => reply.type('application/octet-stream').send(request.body))
  authenticated.get('/stream', (request, reply) => {
    const { n, from } = request.query
    return reply.type('text/event-stream').send(Readable.from(events(Number(n), from === 'burst')))
  })
})
app.get('/public/hello', async () => 'hello bench')

// Turns and a task of one's own are the same thing here: the event loop comes round before each event but the first.
async function* events(n, burst) {
  for (let sent = 0; sent < n; sent++) {
    if (sent > 0 && !burst) await setImmediate()
    yield `data: {"delta":"token-${sent}"}\n\n`
  }
}

await app.listen({ path: process.argv[2] })
