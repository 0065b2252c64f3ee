// The reference server in memory, on a port of its own choice, which it prints.
import { DurableStreamTestServer } from "@durable-streams/server"

const server = new DurableStreamTestServer({ port: 0, longPollTimeout: 100 })
console.log(await server.start())
