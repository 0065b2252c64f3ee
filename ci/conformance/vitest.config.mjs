import { defineConfig } from "vitest/config"
export default defineConfig({
  test: { include: ["*.test.mjs"], testTimeout: 5000, fileParallelism: false },
})
