// The same page in WebKit, the engine that the app uses: every look in light and dark, the keyboard, the rules for content.
// WebKitGTK's MiniBrowser through WebKitWebDriver, on a screen of its own.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { serve } from "./page.mjs";
import { looks } from "./states.mjs";

const DRIVER = "/usr/bin/WebKitWebDriver";
const SCREEN = "/usr/bin/Xvfb";
const skip = [DRIVER, SCREEN].every(existsSync) ? false : "WebKit is tried where webkit2gtk-driver and xvfb are installed";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Milliseconds that the browser may take for one answer. */
const LIMIT = 30_000;

const running = [];
let server, home, driver, browser;

before(async () => {
  if (skip) return;
  server = await serve();
  home = mkdtempSync(path.join(tmpdir(), "ecto-webkit-"));
  driver = await startDriver(await startScreen());
  browser = await session(driver);
});

after(async () => {
  await browser?.close();
  for (const child of running.reverse()) child.kill();
  server?.close();
  if (home) rmSync(home, { recursive: true, force: true });
});

/** A screen that nobody sees; gives its name. */
async function startScreen() {
  const screen = spawn(SCREEN, ["-displayfd", "3", "-screen", "0", "800x700x24", "-nolisten", "tcp"], { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  running.push(screen);
  const [number] = await once(screen.stdio[3], "data");
  return `:${String(number).trim()}`;
}

async function startDriver(display) {
  const port = await freePort();
  const driver = spawn(DRIVER, [`--port=${port}`], {
    stdio: "ignore",
    env: { ...process.env, DISPLAY: display, HOME: home, XDG_RUNTIME_DIR: home, GDK_BACKEND: "x11", GIO_USE_VFS: "local", NO_AT_BRIDGE: "1", WEBKIT_DISABLE_DMABUF_RENDERER: "1", WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1", FONTCONFIG_FILE: path.join(import.meta.dirname, "fonts.conf") },
  });
  running.push(driver);
  const base = `http://127.0.0.1:${port}`;
  await until(() => fetch(`${base}/status`).then(() => true, () => false));
  return base;
}

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => listener.once("listening", done));
  const { port } = listener.address();
  await new Promise((done) => listener.close(done));
  return port;
}

async function until(holds) {
  const end = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error("It did not come in 30 s.");
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** @param {string[]} more Arguments of the browser; one session is open at a time. */
async function session(base, more = []) {
  const ask = async (method, place, body) => {
    const answer = await fetch(base + place, { method, body: body && JSON.stringify(body), headers: { "content-type": "application/json" }, signal: AbortSignal.timeout(LIMIT) });
    const { value } = await answer.json();
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  const { sessionId } = await ask("POST", "/session", { capabilities: { alwaysMatch: { "webkitgtk:browserOptions": { args: ["--automation", "--geometry=400x660", ...more] } } } });
  const own = `/session/${sessionId}`;
  const run = (script, ...args) => ask("POST", `${own}/execute/sync`, { script, args });
  return {
    run,
    runLater: (script, ...args) => ask("POST", `${own}/execute/async`, { script, args }),
    go: async (query) => {
      await ask("POST", `${own}/url`, { url: `${server.origin}?${new URLSearchParams({ still: "", pace: "40", ...query })}` });
      await until(() => run("return document.querySelector('main') !== null"));
      // The browser's own buttons keep its window wider than the popover.
      await run("document.body.style.inlineSize = '360px'");
    },
    key: (name, actions) => ask("POST", `${own}/actions`, { actions: [{ type: "key", id: "keyboard", actions: actions.map((type) => ({ type, value: name })) }] }),
    close: () => ask("DELETE", own).catch(() => {}),
  };
}

const SPACE = " ", TAB = "\ue004", ESCAPE = "\ue00c";

for (const [colours, argument] of [["light", []], ["dark", ["--dark-mode"]]])
  test(`every look, ${colours}, and twice as large: axe finds nothing, nothing is cut off`, { skip }, async (t) => {
    await anew(argument);
    t.after(() => anew());
    assert.equal(await browser.run("return matchMedia('(prefers-color-scheme: dark)').matches"), colours === "dark");
    for (const text of ["100", "200"])
      for (const look of looks.filter(({ hold }) => !hold))
        await t.test(`${look.name}, ${text} %`, async () => {
          await browser.go({ ...look.query, text });
          for (const key of look.clicks) await click(key);
          const found = await browser.runLater(
            `${axe}; const done = arguments[arguments.length - 1];
             axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => done(violations.map(({ id, nodes }) => id + ": " + nodes.map((node) => node.target).join("; "))), (error) => done([String(error)]));`,
          );
          assert.deepEqual(found, []);
          const wide = await browser.run(
            `const { left, right } = document.getElementById("popover").getBoundingClientRect();
             if (right - left !== 360) return ["the popover is not as wide as it is in the app"];
             const outside = (box) => box.left < left - 0.5 || box.right > right + 0.5;
             return [...document.querySelectorAll("#popover *")].filter((node) => !node.closest(".unseen, svg") && outside(node.getBoundingClientRect())).map((node) => node.className)`,
          );
          assert.deepEqual(wide, []);
        });
  });

/** Has another browser, with these arguments. */
async function anew(more = []) {
  await browser.close();
  browser = await session(driver, more);
}

async function click(key) {
  const found = `document.querySelector('button[data-key="${key}"]')`;
  await until(() => browser.run(`return ${found} !== null`));
  await browser.run(`${found}.focus(); ${found}.click()`);
}

test("connect and disconnect by keyboard", { skip }, async () => {
  await browser.go({ state: "private" });
  const focused = () => browser.run("return document.activeElement.dataset.key ?? null");
  for (let presses = 0; presses < 4 && (await focused()) !== "switch"; presses++) await browser.key(TAB, ["keyDown", "keyUp"]);
  assert.equal(await focused(), "switch");
  const title = () => browser.run("return document.querySelector('h1').textContent");
  await browser.key(SPACE, ["keyDown", "keyUp"]);
  await until(async () => (await title()) === "Public");
  await browser.key(SPACE, ["keyDown", "keyUp"]);
  await until(async () => (await title()) === "Private");
  await browser.key(ESCAPE, ["keyDown", "keyUp"]);
  assert.equal(await browser.run("return standIn.calls.at(-1)[0]"), "hide");
});

test("the key is shown while Space is held", { skip }, async () => {
  await browser.go({ state: "public" });
  await browser.run("document.querySelector('[data-hold]').focus()");
  const shown = () => browser.run("return document.getElementById('key').textContent.includes('Made-up-key')");
  await browser.key(SPACE, ["keyDown"]);
  await until(shown);
  await browser.key(SPACE, ["keyUp"]);
  await until(async () => !(await shown()));
});

test("the key is shown by a press without a pointer until the next one", { skip }, async () => {
  await browser.go({ state: "public" });
  const press = () => browser.run("const hold = document.querySelector('[data-hold]'); hold.focus(); hold.click()");
  const shown = () => browser.run("return document.getElementById('key').textContent.includes('Made-up-key')");
  await press();
  await until(shown);
  assert.equal(await browser.run("return document.getElementById('status').textContent"), "Key shown");
  await press();
  assert.equal(await shown(), false);
});

test("no inline script and no inline style", { skip }, async () => {
  await browser.go({ state: "hostile" });
  const seen = await browser.runLater(
    `const done = arguments[arguments.length - 1], directives = new Set();
     document.addEventListener("securitypolicyviolation", (event) => directives.add(event.effectiveDirective));
     const add = (tag, set) => document.body.appendChild(Object.assign(document.createElement(tag), set));
     add("script", { textContent: "window.reached = 1" });
     add("style", { textContent: "body { color: red }" });
     add("object", { data: "https://elsewhere.example/" });
     add("base", { href: "https://elsewhere.example/" });
     add("form", { action: "https://elsewhere.example/" }).submit();
     document.body.setAttribute("onclick", "window.reached = 1");
     document.body.click();
     const look = (tries) =>
       tries > 0 && directives.size < 6
         ? setTimeout(() => look(tries - 1), 20)
         : done({ directives: [...directives].sort(), reached: "reached" in window, markup: document.querySelectorAll("#popover img, #popover b").length });
     look(250);`,
  );
  assert.deepEqual(seen, { directives: ["base-uri", "form-action", "object-src", "script-src-attr", "script-src-elem", "style-src-elem"], reached: false, markup: 0 });
});
