// node during.mjs NAME FOLDER EVENT...: tells when each event (its moment is in FOLDER/NAME.EVENT, in milliseconds) fell
// into the run of FOLDER/NAME.json, and fails if one came before its first test or after its last.
import { existsSync, readFileSync } from "node:fs"

const [name, folder, ...events] = process.argv.slice(2)
const files = JSON.parse(readFileSync(`${folder}/${name}.json`)).testResults
const began = Math.min(...files.map((file) => file.startTime))
const ended = Math.max(...files.map((file) => file.endTime))
const seconds = (ms) => (ms / 1000).toFixed(1)
for (const event of events) {
  const file = `${folder}/${name}.${event}`
  const at = existsSync(file) ? Number(readFileSync(file)) : Infinity
  const within = began < at && at < ended
  if (!within) process.exitCode = 1
  console.log(`${name}: ${event} ${seconds(at - began)} s into the tests, which took ${seconds(ended - began)} s${within ? "" : ": NOT while they ran"}`)
}
