// The official server conformance suite against any origin.
//   CONFORMANCE_TEST_URL=http://127.0.0.1:4437  (required)
//   LONG_POLL_MS=500       the server's own long-poll timeout (the suite waits this long and a second)
//   BEGUN=FILE             a file to be made when the first test begins
import { writeFileSync } from "node:fs"
import { beforeAll } from "vitest"
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

const baseUrl = process.env.CONFORMANCE_TEST_URL
const begun = process.env.BEGUN
if (begun) beforeAll(() => writeFileSync(begun, ""))
if (!baseUrl) throw new Error("CONFORMANCE_TEST_URL is required: the origin of a running server")
runConformanceTests({
  baseUrl,
  subscriptions: process.env.SUBSCRIPTIONS === "1",
  longPollTimeoutMs: process.env.LONG_POLL_MS ? Number(process.env.LONG_POLL_MS) : undefined,
})
