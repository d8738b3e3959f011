// The page's modules fit each other, and the types that the host sends.
import { test } from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";

test("tsc finds nothing", () => {
  const ui = path.join(import.meta.dirname, "..");
  const done = spawnSync(path.join(ui, "node_modules", ".bin", "tsc"), ["-p", ui], { encoding: "utf8" });
  assert.equal(done.stdout + done.stderr, "");
  assert.equal(done.status, 0);
});
