// Every look of the page, light and dark, with text as it is and twice as large: nothing that axe finds, nothing cut off
// to the side, and the pictures as they were approved. `UPDATE=1` takes the pictures anew.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { blank, launch, serve, visit } from "./page.mjs";
import { difference, read, write } from "./picture.mjs";
import { looks, main, reach } from "./states.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pictures = path.join(import.meta.dirname, "pictures");
const update = process.env.UPDATE === "1";
/** The letters that the pictures were taken with: fonts-inter of Debian 12. */
const LETTERS = "a7e791e8f5a0fb02";

const skip = update || lettersHere() === LETTERS ? false : "the letters here are not those that the pictures were taken with";

const SIZE = { width: 360, height: 640 };

let server, browser;
before(async () => {
  if (skip) console.log(`The pictures are not compared: ${skip}.`);
  server = await serve();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

for (const colorScheme of ["light", "dark"])
  for (const text of ["100", "200"])
    test(`${colorScheme}, text at ${text} %`, async (t) => {
      const page = await blank(browser, { colorScheme });
      t.after(() => page.context().close());
      for (const look of looks)
        await t.test(look.name, async (t) => {
          await visit(page, server.origin, { ...look.query, text });
          await reach(page, look);
          assert.deepEqual(await violations(page), []);
          assert.deepEqual(await sideways(page), [], "something is wider than the popover");
          if (!look.query.state.startsWith("hostile")) assert.deepEqual(await cut(page), [], "something is not shown to its end");
          assert.deepEqual(page.complaints, []);
          await compare(t, page, `${look.name}-${colorScheme}-${text}`, text === "200");
        });
    });

/** One look of each kind. */
const kinds = looks.filter(({ name }) => ["first-run", "preparing", "needs-sign-in", "sandbox", "public-offer", "public-unreachable", "blocked-act", "blocked-unconfirmed", "hostile", "refused", "requests", "requests-hostile", "routes", "origin-add", "settings", "uninstall", "keys", "keys-hostile", "key", "key-add", "key-added", "key-revoke"].includes(name));

for (const [name, guise, context, query] of [
  ["increased contrast", "contrast", { contrast: "more" }, {}],
  ["increased contrast, dark", "contrast-dark", { contrast: "more", colorScheme: "dark" }, {}],
  ["right to left", "rtl", {}, { dir: "rtl" }],
])
  test(name, async (t) => {
    const page = await blank(browser, context);
    t.after(() => page.context().close());
    for (const look of kinds)
      await t.test(look.name, async (t) => {
        await visit(page, server.origin, { ...look.query, ...query });
        await reach(page, look);
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(await sideways(page), []);
        if (main.includes(look.name)) await compare(t, page, `${look.name}-${guise}`, true);
      });
  });

test("another digit in small text is another picture, and the same page is the same", { skip }, async (t) => {
  const page = await blank(browser, {});
  t.after(() => page.context().close());
  const shot = async (ago) => {
    await visit(page, server.origin, { state: "public" });
    await page.getByText("Checked 12 s ago").evaluate((node, ago) => (node.textContent = ago), ago);
    return read(await page.screenshot());
  };
  const [before, again, after] = [await shot("Checked 12 s ago"), await shot("Checked 12 s ago"), await shot("Checked 13 s ago")];
  assert.equal(difference(before, again), null);
  assert.notEqual(difference(before, after), null);
});

async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() =>
    window.axe.run(document, { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
}

/** What stands out to the side of the page. */
function sideways(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    return [...document.querySelectorAll("#popover *")]
      .filter((node) => !node.closest(".unseen, svg"))
      .filter((node) => {
        const box = node.getBoundingClientRect();
        return box.right > width + 0.5 || box.left < -0.5;
      })
      .map((node) => `${node.tagName.toLowerCase()}.${node.className}`);
  });
}

/** Whose text ends before its end, beside what is told of a step, which is short whatever it says. */
function cut(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("#popover .line, #popover .machine, #popover .bar h1")]
      .filter((node) => node.scrollHeight > node.clientHeight + 1)
      .map((node) => node.textContent),
  );
}

/** Compares what is seen, or the whole page. */
async function compare(t, page, name, whole) {
  await t.test("as it was approved", { skip }, async () => {
    if (whole) {
      const height = await page.evaluate(() => document.querySelector("main").offsetHeight);
      await page.setViewportSize({ ...SIZE, height: Math.max(SIZE.height, height) });
    }
    const shot = await page.screenshot();
    if (whole) await page.setViewportSize(SIZE);
    const taken = read(shot);
    if (update) {
      mkdirSync(pictures, { recursive: true });
      writeFileSync(path.join(pictures, `${name}.png`), write(taken));
      return;
    }
    const different = difference(taken, read(readFileSync(path.join(pictures, `${name}.png`))));
    if (different === null) return;
    const now = path.join(tmpdir(), `ecto-${name}.png`);
    writeFileSync(now, shot);
    assert.fail(`Different: ${different}. As it is now: ${now}; as it was approved: ui/tests/pictures/${name}.png`);
  });
}

function lettersHere() {
  try {
    const file = execFileSync("fc-match", ["--format=%{file}", "Inter:regular"], { encoding: "utf8" });
    return createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 16);
  } catch {
    return "none";
  }
}
