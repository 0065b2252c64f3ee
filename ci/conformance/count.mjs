// node count.mjs NAME RESULT.json: tells what failed, then the count, then the two numbers for the shell.
import { readFileSync } from "node:fs"

const [name, file] = process.argv.slice(2)
const tests = JSON.parse(readFileSync(file)).testResults.flatMap((result) => result.assertionResults)
const failed = tests.filter((test) => test.status === "failed")
for (const test of failed) {
  const because = (test.failureMessages[0] ?? "").split("\n").slice(0, 3).join(" | ").slice(0, 300)
  console.log(`${name}: FAILED ${test.fullName}\n      ${because}`)
}
const passed = tests.filter((test) => test.status === "passed").length
console.log(`${name}: ${passed} passed, ${failed.length} failed, ${tests.length - passed - failed.length} left out`)
console.log(`${passed} ${failed.length}`)
