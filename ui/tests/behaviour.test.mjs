// What a person can do on the page, and what nobody can make it do.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { launch, open, serve, visit } from "./page.mjs";
import { states } from "../stand-in.js";
import { alsoOffered, caller, from, request } from "../words.js";

const ui = path.join(import.meta.dirname, "..");
let server, browser;
before(async () => {
  server = await serve();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** Opens the page for one test. */
async function page(t, query = {}, context = {}) {
  const opened = await open(browser, server.origin, query, context);
  t.after(() => opened.context().close());
  return opened;
}

const calls = (page) => page.evaluate(() => window.standIn.calls.map(([name]) => name));
const lastCall = (page) => page.evaluate(() => window.standIn.calls.at(-1));
/** Waits until whatever was asked for by this name is answered, and the page has heard it. */
const answered = (page, name) =>
  page.waitForFunction((name) => {
    const { calls, answered } = window.standIn;
    const asked = calls.filter(([called]) => called === name).length;
    return asked > 0 && answered.filter((other) => other === name).length === asked;
  }, name);
const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute("data-key") ?? document.activeElement?.getAttribute("data-choose"));
/** Has the page be "visible" or "hidden", as a browser tells it. */
const see = (page, state) =>
  page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
const key = (page) => page.locator("#key").innerText();
const SECRET = "Made-up-key";

const SEEN = `- main:
  - paragraph: Ecto
  - button "Settings"
  - switch "Public" [checked]
  - heading "Public" [level=1]
  - paragraph: Whoever has a key can reach your OpenClaw.
  - text: Reachable from the internet Checked 12 s ago
  - button "Check from outside again"
  - text: Address https://studio.tail5e3c7.ts.net/v1/chat/completions
  - button "Show the address as a QR code"
  - button "Copy the address"
  - text: Key Hidden, ends with a1b2
  - button "Show the key while held"
  - button "Copy the key"
  - button "All keys"
  - group "Copy as":
    - text: Copy as
    - button "Copy as curl, with the key": curl
    - button "Copy as Python, with the key": Python
    - button "Copy as JavaScript, with the key": JavaScript
    - button "Copy as Env, environment variables, with the key": Env
  - text: Open until you quit Ecto Closes earlier if this machine sleeps
  - combobox "Change when the door closes":
    - option "15 minutes"
    - option "1 hour"
    - option "8 hours"
    - option "Until I quit"
  - button "Last request 41 s ago /v1/chat/completions · 200 · 203.0.113.7 128 answered, 3 refused, 1 under way"`;

test("a journey by keyboard alone: connect, copy, look at the key, disconnect", async (t) => {
  const p = await page(t, { state: "private" });
  await p.keyboard.press("Tab");
  assert.equal(await focused(p), "open-settings");
  await p.keyboard.press("Tab");
  assert.equal(await focused(p), "switch");
  await p.keyboard.press("Space");
  await p.getByRole("heading", { name: "Needs you" }).waitFor();
  assert.equal(await focused(p), "switch", "the focus stays where it was while the page changes");
  await p.getByRole("heading", { name: "Public" }).waitFor();
  await p.locator(".label", { hasText: "Reachable from the internet" }).waitFor();

  const order = [];
  for (;;) {
    await p.keyboard.press("Tab");
    const now = await focused(p);
    if (now === null || order.includes(now)) break; // Round again.
    order.push(now);
    const ring = await p.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(ring, "solid", `${now} shows that it has the focus`);
  }
  assert.deepEqual(
    order.filter((name) => name !== "open-settings" && name !== "switch"),
    ["check_outside", "code", "copy-url", "holdeye", "copy-key", "open-keys", "copy-curl", "copy-python", "copy-javascript", "copy-environment", "change", "open-requests"],
  );

  await p.locator("[data-key='copy-curl']").focus();
  await p.keyboard.press("Enter");
  await p.locator("[data-key='copy-curl'] .tick").waitFor();
  assert.deepEqual(await lastCall(p), ["copy", { what: "curl" }]);

  await p.locator("[data-hold]").focus();
  await p.keyboard.down("Enter");
  await p.locator("#key", { hasText: SECRET }).waitFor();
  await p.keyboard.up("Enter");
  assert.doesNotMatch(await p.content(), new RegExp(SECRET));

  await p.locator("[data-key='switch']").focus();
  await p.keyboard.press("Enter");
  await p.getByRole("heading", { name: "Private" }).waitFor();
  assert.ok((await calls(p)).includes("disconnect"));
});

test("the panels by keyboard: the focus goes in, Escape comes back to where it was, then hides", async (t) => {
  const p = await page(t, { state: "private" });
  await p.locator("[data-key='open-settings']").focus();
  await p.keyboard.press("Enter");
  assert.equal(await p.evaluate(() => document.activeElement?.textContent), "Settings");
  await p.locator("[data-key='open-uninstall']").focus();
  await p.keyboard.press("Enter");
  await p.getByRole("heading", { name: "Uninstall Ecto?" }).waitFor();
  await p.keyboard.press("Escape");
  assert.equal(await focused(p), "open-uninstall");
  await p.keyboard.press("Escape");
  assert.equal(await focused(p), "open-settings");
  assert.ok(!(await calls(p)).includes("hide"));
  await p.keyboard.press("Escape");
  assert.equal((await lastCall(p))[0], "hide");
});

test("the key is shown while the button is held with the pointer, and by nothing else", async (t) => {
  const p = await page(t, { state: "public" });
  const hold = p.getByRole("button", { name: "Show the key while held" });
  const endings = {
    release: () => p.mouse.up(),
    "pointer leaves": () => p.mouse.move(20, 300),
    "window loses the focus": () => p.evaluate(() => window.dispatchEvent(new Event("blur"))),
    "popover hides": () => see(p, "hidden"),
  };
  for (const [ending, end] of Object.entries(endings)) {
    await hold.hover();
    await p.mouse.down();
    await p.locator("#key", { hasText: SECRET }).waitFor();
    await p.evaluate(() => window.standIn.show("public-deadline"));
    assert.match(await key(p), /Made-up-key/, "a change of state does not take it away");
    await end();
    assert.doesNotMatch(await p.content(), new RegExp(SECRET), ending);
    await p.mouse.up();
  }
});

test("a press without a pointer, as a screen reader makes it, shows the key until the next click or until the focus goes", async (t) => {
  const p = await page(t, { state: "public" });
  const hold = p.locator("[data-hold]");
  const endings = {
    "another press": () => hold.dispatchEvent("click"),
    "a click elsewhere": () => p.locator("h1").click(),
    "window loses the focus": () => p.evaluate(() => window.dispatchEvent(new Event("blur"))),
    "the focus goes": () => p.keyboard.press("Tab"),
    "popover hides": () => p.evaluate(() => window.standIn.hide()),
  };
  for (const [ending, end] of Object.entries(endings)) {
    await hold.focus();
    await hold.dispatchEvent("click");
    await p.locator("#key", { hasText: SECRET }).waitFor();
    assert.equal(await p.locator("#status").textContent(), "Key shown");
    // The keys with which it was pressed are let go.
    await hold.dispatchEvent("keyup", { key: " " });
    await p.evaluate(() => window.standIn.show("public-deadline"));
    assert.match(await key(p), new RegExp(SECRET), "it stays");
    await end();
    assert.doesNotMatch(await p.content(), new RegExp(SECRET), ending);
  }
  await hold.click();
  await answered(p, "reveal_key");
  assert.doesNotMatch(await p.content(), new RegExp(SECRET), "a click with the pointer ends with its release");
});

test("a hand that trembles on the button does not take the key away", async (t) => {
  const p = await page(t, { state: "public" });
  const hold = p.getByRole("button", { name: "Show the key while held" });
  const { x, y, width, height } = await hold.boundingBox();
  // From the middle of its drawing to its edge.
  await p.mouse.move(x + width / 2, y + height / 2);
  await p.mouse.down();
  await p.locator("#key", { hasText: SECRET }).waitFor();
  for (const [left, top] of [[0.5, 0.55], [0.1, 0.1], [0.5, 0.5], [0.9, 0.5], [0.45, 0.4]]) {
    await p.mouse.move(x + width * left, y + height * top);
    assert.match(await key(p), new RegExp(SECRET), `${left}, ${top}`);
  }
  await p.mouse.move(x - 40, y);
  assert.doesNotMatch(await p.content(), new RegExp(SECRET));
  await p.mouse.up();
});

test("the door can be closed whatever else is under way, and what works says so", async (t) => {
  for (const [hang, panel, control] of [["diagnostics", "diagnostics", null], ["restart_gateway", "restart", "restart_gateway"]]) {
    const p = await page(t, { state: "public", hang });
    await p.locator("[data-key='open-settings']").click();
    await p.locator(`[data-key='open-${panel}']`).click();
    if (control) {
      await p.locator(`button[data-do='${control}']`).click();
      assert.ok(await p.locator(`button[data-do='${control}']`).isDisabled());
    }
    await p.waitForFunction((hang) => window.standIn.calls.some(([name]) => name === hang), hang);
    await p.keyboard.press("Escape");
    await p.getByRole("switch", { name: "Notifications" }).click();
    assert.equal((await lastCall(p))[0], "set_preferences", "what is something else works meanwhile");
    await p.keyboard.press("Escape");
    await p.getByRole("switch", { name: "Public" }).click();
    assert.equal((await lastCall(p))[0], "disconnect", hang);
    await p.getByRole("heading", { name: "Private" }).waitFor();
  }
  const p = await page(t, { state: "private", hang: "connect" });
  const big = p.getByRole("switch", { name: "Public" });
  await big.click();
  assert.equal(await big.getAttribute("aria-disabled"), "true");
  await p.evaluate(() => window.standIn.show("preparing"));
  assert.equal(await big.getAttribute("aria-disabled"), null);
  await big.click();
  assert.equal((await lastCall(p))[0], "disconnect");
});

test("the switch stays where it is, whatever there is to say", async (t) => {
  // In the sandbox it is elsewhere than outside, and stays there.
  for (const world of ["real", "sandbox"]) {
    const p = await page(t, { state: "private", world, refuse: "connect" });
    const place = () => p.locator(".big-switch").evaluate((shown) => JSON.stringify(shown.getBoundingClientRect()));
    const before = await place();
    for (const state of Object.keys(states)) {
      await p.evaluate((state) => window.standIn.show(state), state);
      assert.equal(await place(), before, `${state}, ${world}`);
    }
    await visit(p, server.origin, { state: "private", world, refuse: "connect" });
    await p.getByRole("switch", { name: "Public" }).click();
    await p.getByRole("alert").waitFor();
    assert.equal(await place(), before);
  }
});

test("the badge of the sandbox keeps away from the switch, however large and wide its letters are", async (t) => {
  const p = await page(t);
  for (const dir of ["ltr", "rtl"])
    for (const font of ["system-ui", "DejaVu Sans"])
      for (const text of ["100", "125", "150", "200"]) {
        await visit(p, server.origin, { state: "sandbox", text, dir });
        const gap = await p.evaluate(async (font) => {
          document.documentElement.style.fontFamily = `"${font}"`;
          await document.fonts.ready;
          const box = (name) => document.querySelector(name).getBoundingClientRect();
          const [badge, knob] = [box(".badge"), box(".big-switch")];
          return Math.max(knob.top - badge.bottom, knob.left - badge.right, badge.left - knob.right);
        }, font);
        assert.ok(gap >= 4, `${gap} px at ${text} %, ${font}, ${dir}`);
      }
});

test("what describes the switch is there in every state", async (t) => {
  const p = await page(t, { state: "private" });
  for (const state of Object.keys(states)) {
    await p.evaluate((state) => window.standIn.show(state), state);
    const missing = await p.evaluate(() => {
      const named = document.querySelector(".big-switch").getAttribute("aria-describedby");
      return named !== null && document.getElementById(named) === null ? named : null;
    });
    assert.equal(missing, null, state);
  }
});

test("settings that could not be read are told, with the file that is kept, until something is chosen", async (t) => {
  const p = await page(t, { state: "private-settings-aside" });
  await p.getByText("settings.json.bad").waitFor();
  await p.getByRole("combobox", { name: "Keep open" }).selectOption("8 hours");
  await p.getByText("settings.json.bad").waitFor({ state: "detached" });
});

test("while it is open, which Tailscale is chosen is said to count later", async (t) => {
  for (const [state, times] of [["public", 1], ["private", 0]]) {
    const p = await page(t, { state });
    await p.locator("[data-key='open-settings']").click();
    assert.equal(await p.getByText("Takes effect the next time you connect.").count(), times, state);
  }
});

test("a key that arrives after the button was let go is not shown", async (t) => {
  const p = await page(t, { state: "public", slow: "150" });
  await p.getByRole("button", { name: "Show the key while held" }).hover();
  await p.mouse.down();
  await p.mouse.up();
  await answered(p, "reveal_key");
  assert.doesNotMatch(await p.content(), new RegExp(SECRET));
});

test("nothing is remembered when the popover hides: panel, code, diagnostics", async (t) => {
  const p = await page(t, { state: "public" });
  await p.locator("[data-key='code']").click();
  await p.locator("[data-key='code_with_key']:is(button)").click();
  await p.locator("img").waitFor();
  await see(p, "hidden");
  assert.equal(await p.locator("img").count(), 0);
  await p.getByRole("heading", { name: "Public" }).waitFor();
});

test("whoever fetches an address from another window comes back to the form as it was, and a minute later to no form", async (t) => {
  const p = await page(t, {});
  await p.clock.install();
  await p.goto(`${server.origin}?state=private`);
  for (const key of ["open-settings", "open-keys", "open-new-key"]) await p.locator(`[data-key='${key}']:is(button)`).click();
  await p.locator("input[name=name]").fill("Tablet");
  await p.getByRole("switch", { name: "Responses" }).click();
  await see(p, "hidden");
  await p.clock.runFor(59_000);
  await see(p, "visible");
  assert.equal(await p.locator("input[name=name]").inputValue(), "Tablet");
  assert.equal(await p.getByRole("switch", { name: "Responses" }).getAttribute("aria-checked"), "false");
  const many = Array.from({ length: 90 }, (_, number) => `203.0.113.${100 + number}`).join(", ");
  await p.getByLabel("Only from").evaluate((field) => field.focus());
  await p.keyboard.insertText(many);
  assert.equal(await p.getByLabel("Only from").inputValue(), many, "what is pasted is not cut");
  await see(p, "hidden");
  await p.clock.runFor(61_000);
  await see(p, "visible");
  await p.getByRole("heading", { name: "Private" }).waitFor();
  assert.equal(await p.locator("input").count(), 0);
  await p.keyboard.press("Escape");
  assert.equal((await lastCall(p))[0], "hide", "there is nothing to go back to");
});

test("settings that are asked for while the popover is hidden are what is shown next, also over a form that was left", async (t) => {
  const p = await page(t, { state: "private" });
  for (const isLeft of [false, true]) {
    if (isLeft) for (const key of ["open-keys", "open-new-key"]) await p.locator(`[data-key='${key}']:is(button)`).click();
    await see(p, "hidden");
    await p.evaluate(() => (location.hash = "#settings"));
    await p.waitForFunction(() => location.hash === "");
    await see(p, "visible");
    await p.getByRole("heading", { name: "Settings" }).waitFor();
  }
  await p.keyboard.press("Escape");
  await p.getByRole("heading", { name: "Private" }).waitFor();
});

test("a key that is made after the popover was hidden is not what the next person finds", async (t) => {
  const p = await page(t, { state: "private", slow: "200" });
  for (const key of ["open-settings", "open-keys", "open-new-key"]) await p.locator(`[data-key='${key}']:is(button)`).click();
  await p.locator("input[name=name]").fill("Tablet");
  await p.getByRole("button", { name: "Make the key" }).click();
  await see(p, "hidden");
  await p.waitForFunction(() => window.standIn.answered.includes("add_key"));
  await see(p, "visible");
  await p.getByRole("heading", { name: "Private" }).waitFor();
});

test("what is refused after the popover was hidden is what the next opening begins with", async (t) => {
  const minutes = 3 * 60_000;
  for (const refuse of ["connect", "add_key"]) {
    const p = await page(t, {});
    await p.clock.install();
    await p.goto(`${server.origin}?state=private&refuse=${refuse}`);
    await p.getByRole("heading", { name: "Private" }).waitFor();
    await p.evaluate(
      ([refuse, minutes]) => {
        const { ask } = window.standIn;
        window.standIn.ask = async (name, ...given) => {
          if (name === refuse) await new Promise((done) => setTimeout(done, minutes));
          return ask(name, ...given);
        };
      },
      [refuse, minutes],
    );
    if (refuse === "connect") await p.getByRole("switch", { name: "Public" }).click();
    else {
      for (const key of ["open-settings", "open-keys", "open-new-key"]) await p.locator(`[data-key='${key}']:is(button)`).click();
      await p.locator("input[name=name]").fill("Tablet");
      await p.getByRole("button", { name: "Make the key" }).click();
    }
    await see(p, "hidden");
    await p.clock.runFor(2 * minutes);
    await see(p, "visible");
    await p.getByRole("heading", { name: "Private" }).waitFor();
    await p.getByRole("alert").getByText("The secret store refused to let Ecto in.").waitFor();
    await see(p, "hidden");
    await see(p, "visible");
    assert.equal(await p.getByRole("alert").count(), 0, "it was read");
  }
});

test("where the browser does not tell, the host says that it is hidden: key, code and panels go, and nothing ticks", async (t) => {
  const p = await page(t, { state: "public" });
  await p.getByRole("button", { name: "Show the key while held" }).hover();
  await p.mouse.down();
  await p.locator("#key", { hasText: SECRET }).waitFor();
  await p.evaluate(() => window.standIn.hide());
  assert.doesNotMatch(await p.content(), new RegExp(SECRET));
  await p.mouse.up();
  await p.locator("[data-key='code']").click();
  await p.locator("img").waitFor();
  await p.evaluate(() => window.standIn.hide());
  assert.equal(await p.locator("img").count(), 0);
  await p.getByRole("heading", { name: "Public" }).waitFor();
});

test("time stands while the host says that it is hidden, and goes on with the next report", async (t) => {
  const p = await page(t, {});
  await p.clock.install();
  await p.goto(`${server.origin}?state=public`);
  await p.getByText("Checked 12 s ago").waitFor();
  await p.evaluate(() => window.standIn.hide());
  const still = await p.locator("[data-tick=ago]").innerText();
  await p.clock.runFor(30_000);
  assert.equal(await p.locator("[data-tick=ago]").innerText(), still);
  await p.evaluate(() => window.standIn.show("public-deadline"));
  assert.notEqual(await p.locator("[data-tick=ago]").innerText(), still);
  const seen = await p.locator("[data-tick=ago]").innerText();
  await p.clock.runFor(5000);
  assert.notEqual(await p.locator("[data-tick=ago]").innerText(), seen);
});

test("the settings open by their name in the address, which is then forgotten", async (t) => {
  const p = await page(t, { state: "private" });
  const origin = new URL(p.url());
  await p.goto("about:blank");
  await p.goto(`${origin}#settings`);
  await p.getByRole("heading", { name: "Settings" }).waitFor();
  assert.equal(await p.evaluate(() => location.hash), "");
  await p.keyboard.press("Escape");
  await p.getByRole("heading", { name: "Private" }).waitFor();
  for (let time = 0; time < 2; time++) {
    await p.evaluate(() => (location.hash = "#settings"));
    await p.getByRole("heading", { name: "Settings" }).waitFor();
    assert.equal(await p.evaluate(() => location.hash), "");
  }
  await p.keyboard.press("Escape");
  await p.getByRole("heading", { name: "Private" }).waitFor();
  await p.evaluate(() => (location.hash = "#uninstall"));
  await p.waitForFunction(() => location.hash === "");
  assert.equal(await p.locator("h1").innerText(), "Private");
});

test("the window is told the height of the page, larger and smaller than it is", async (t) => {
  const p = await page(t, { state: "private" }, { viewport: { width: 360, height: 200 } });
  const height = () => p.evaluate(() => document.querySelector("main").offsetHeight);
  const told = () => p.evaluate(() => window.standIn.sizes.at(-1));
  const seen = [];
  for (const state of ["public", "closing", "private"]) {
    await p.evaluate((state) => window.standIn.show(state), state);
    assert.equal(await told(), await height(), state);
    seen.push(await told());
  }
  await p.locator("[data-key='open-settings']").click();
  assert.equal(await told(), await height());
  seen.push(await told());
  assert.equal(new Set(seen).size, seen.length, String(seen));
  assert.ok(Math.max(...seen) > 200);
});

test("the machine is looked at whenever it opens while it is private, and not otherwise", async (t) => {
  const looks = async (p) => (await calls(p)).filter((name) => name === "look").length;
  const p = await page(t, { state: "first-run-missing" });
  assert.equal(await looks(p), 1);
  await p.evaluate(() => window.standIn.show("first-run-missing"));
  assert.equal(await looks(p), 1, "a report alone is no opening");
  await p.evaluate(() => window.standIn.hide());
  assert.equal(await looks(p), 1);
  // It opens by the report that the host sends then, or by what the browser says.
  await p.evaluate(() => window.standIn.show("first-run"));
  assert.equal(await looks(p), 2);
  await see(p, "hidden");
  await see(p, "visible");
  assert.equal(await looks(p), 3);

  for (const state of ["public", "preparing", "blocked-act", "gone", "starting"]) {
    const other = await page(t, { state });
    await other.evaluate(() => window.standIn.hide());
    await other.evaluate((state) => window.standIn.show(state), state);
    assert.equal(await looks(other), 0, state);
  }
  const refused = await page(t, { state: "private", refuse: "look" });
  await answered(refused, "look");
  assert.equal(await refused.getByRole("alert").count(), 0);
});

test("the first minutes are no fault: the page says that the address becomes known, and warns of what is one", async (t) => {
  const p = await page(t, { state: "public-settling" });
  const card = p.locator("[data-key='reach']");
  assert.match(await card.innerText(), /^Becoming known to the internet\s+The first time, this takes a few minutes\.$/);
  assert.equal(await card.locator(".spinner").count(), 1);
  assert.equal(await card.locator(".mark.warn").count(), 0);
  const told = () => p.locator("#status").textContent();
  assert.equal(await told(), "Public. The door is open. It is being checked. Becoming known to the internet");
  await p.evaluate(() => window.standIn.show("public-unreachable"));
  assert.match(await card.innerText(), /^Not reachable from outside/);
  assert.equal(await card.locator(".mark.warn").count(), 1);
  assert.equal(await told(), "Not reachable. The door is open, but cannot be reached.");
});

test("a door that is not known to be reached is not said to be, in words or colour", async (t) => {
  const p = await page(t, { state: "public-unchecked" });
  const title = () => p.locator("h1").innerText();
  const sentence = () => p.locator("#sentence").innerText();
  assert.deepEqual([await title(), await sentence()], ["Public", "The door is open. It is being checked."]);
  await p.evaluate(() => window.standIn.show("public-unreachable"));
  assert.deepEqual([await title(), await sentence()], ["Not reachable", "The door is open, but cannot be reached."]);
  assert.equal(await p.locator("main").getAttribute("data-mood"), "unreachable");
  assert.equal(await p.getByRole("switch").getAttribute("aria-checked"), "true");
  await p.evaluate(() => window.standIn.show("public"));
  assert.deepEqual([await title(), await sentence()], ["Public", "Whoever has a key can reach your OpenClaw."]);
});

test("a door that closes at sleep is said to, where sleep is heard of", async (t) => {
  const closes = "Closes earlier if this machine sleeps";
  const p = await page(t, { state: "public-deadline" });
  const row = () => p.locator("[data-key='closes']").innerText();
  assert.ok((await row()).includes(closes));
  await p.locator("[data-key='open-settings']").click();
  await p.getByRole("combobox", { name: "At sleep" }).selectOption("Open again at wake");
  await answered(p, "set_preferences");
  await p.keyboard.press("Escape");
  assert.ok(!(await row()).includes(closes));
  await p.evaluate(() => window.standIn.show("public-no-sleep"));
  await p.locator("[data-key='open-settings']").click();
  await p.getByRole("combobox", { name: "At sleep" }).selectOption("Close the door");
  await p.keyboard.press("Escape");
  assert.ok(!(await row()).includes(closes));
});

test("before the first report nothing is claimed, and the switch can be used already", async (t) => {
  const p = await page(t, { state: "starting" });
  await p.getByRole("heading", { name: "Starting" }).waitFor();
  assert.doesNotMatch(await p.locator("body").innerText(), /running|Private|internet/);
  await p.getByRole("switch", { name: "Public" }).click();
  await p.getByRole("heading", { name: "Getting ready" }).waitFor();
});

test("a host that does not answer is not said to be open or closed, and can be asked to close", async (t) => {
  const p = await page(t, { state: "host-silent" });
  await p.getByRole("heading", { name: "No answer" }).waitFor();
  assert.doesNotMatch(await p.locator("main").innerText(), /Private|Public|https:/);
  await p.getByRole("button", { name: "Close the door" }).click();
  const asked = await p.evaluate(() => window.standIn.calls.map(([name]) => name));
  assert.ok(asked.includes("disconnect"), asked.join());
});

test("an answer that is older than what was told meanwhile is not shown", async (t) => {
  const p = await page(t, { state: "private" });
  await p.evaluate(() => {
    const { ask } = window.standIn;
    window.standIn.ask = async (name, ...argument) => {
      const answer = await ask(name, ...argument);
      if (name === "set_preferences") window.standIn.show("public");
      return answer;
    };
  });
  await p.getByRole("combobox").first().selectOption({ index: 2 });
  await answered(p, "set_preferences");
  assert.equal(await p.getByRole("heading", { level: 1 }).innerText(), "Public");
});

test("the code holds the address alone until the key is asked for", async (t) => {
  const p = await page(t, { state: "public" });
  await p.locator("[data-key='code']").click();
  await p.getByRole("img", { name: "QR code of the address", exact: true }).waitFor();
  await p.getByRole("switch", { name: "With the key" }).click();
  await p.getByRole("img", { name: "QR code of the address and the key" }).waitFor();
  const asked = await p.evaluate(() => window.standIn.calls.filter(([name]) => name === "qr").map(([, argument]) => argument.what));
  assert.deepEqual(asked, ["url", "url_and_key"]);
});

test("a late code is not shown where another is asked for, and none stays away", async (t) => {
  const p = await page(t, { state: "public", slow: "250" });
  const include = p.getByRole("switch", { name: "With the key" });
  await p.evaluate(() => {
    window.seen = new Set();
    const look = () => document.querySelectorAll("#popover img").forEach(({ alt }) => window.seen.add(alt));
    new MutationObserver(look).observe(document.getElementById("popover"), { attributes: true, childList: true, subtree: true });
  });
  await p.locator("[data-key='code']").click();
  await include.click();
  assert.equal(await include.getAttribute("aria-checked"), "true");
  await p.getByRole("button", { name: "Back" }).click();
  await p.locator("[data-key='code']").click();
  await p.locator("img").waitFor();
  await answered(p, "qr");
  assert.equal(await p.locator("img").getAttribute("alt"), "QR code of the address");
  assert.equal(await include.getAttribute("aria-checked"), "false");
  // On and off at once: what was asked for last is what is seen.
  await include.click();
  await include.click();
  await answered(p, "qr");
  assert.equal(await p.locator("img").getAttribute("alt"), "QR code of the address");
  assert.deepEqual(await p.evaluate(() => [...window.seen]), ["QR code of the address"], "never another");
});

test("how long it stays open is chosen before and changed while it is open", async (t) => {
  const p = await page(t, { state: "private" });
  await p.getByLabel("Keep open").selectOption("8 hours");
  await p.getByRole("switch", { name: "Public" }).click();
  await p.getByText("Closes in 8 h").waitFor();
  assert.deepEqual((await p.evaluate(() => window.standIn.calls)).find(([name]) => name === "connect"), ["connect", { minutes: 480 }]);
  await p.getByLabel("Change when the door closes").selectOption("Until I quit");
  await p.getByText("Open until you quit Ecto").waitFor();
  assert.deepEqual(await lastCall(p), ["connect", { minutes: null }]);
});

test("what is missing, or switched off in the system, leads to where it is to be had", async (t) => {
  const ways = [
    ["first-run-download", "Open the page where Tailscale is to be had", ["open_link", { what: "tailscale" }]],
    ["first-run-download", "Copy the address where Tailscale is to be had", ["copy", { what: "tailscale" }]],
    ["first-run-download", "Open the page where OpenClaw is to be had", ["open_link", { what: "openclaw" }]],
    ["first-run-missing", "Copy the command that installs Tailscale", ["copy", { what: "install" }]],
    ["private-refused", "Notifications in System Settings", ["open_link", { what: "notification_settings" }]],
    ["private-refused", "Login Items in System Settings", ["open_link", { what: "login_settings" }]],
    ["needs-sign-in", "Open link", ["open_link", { what: "link" }]],
  ];
  for (const [state, name, call] of ways) {
    const p = await open(browser, server.origin, { state });
    if (state === "private-refused") await p.getByRole("button", { name: "Settings" }).click();
    await p.getByRole("button", { name, exact: true }).click();
    assert.deepEqual(await lastCall(p), call, name);
    await p.context().close();
  }
  const p = await page(t, { state: "private-refused" });
  await p.getByRole("button", { name: "Settings" }).click();
  await p.getByText("Switched off in System Settings, under Notifications.").waitFor();
  await p.getByText("Switched off in System Settings, under Login Items.").waitFor();
});

test("hooks that are allowed while OpenClaw has none are told, and nothing is said where that is not known", async (t) => {
  for (const [state, told] of [["public-hooks-off", 1], ["public-offer", 0], ["private", 0]]) {
    const p = await page(t, { state });
    await p.getByRole("button", { name: "Settings" }).click();
    await p.locator("[data-key=open-routes]").click();
    await p.getByText("Web pages that may call").waitFor();
    assert.equal(await p.getByText("OpenClaw has no hooks right now").count(), told, state);
  }
});

test("every cause has one thing to do", async (t) => {
  const expected = {
    "blocked-wait": ["Try now", "connect"],
    "blocked-act": ["Check again", "connect"],
    "blocked-act-link": ["Open link", "open_link"],
    "blocked-act-missing": ["Open link", "open_link"],
    "blocked-act-command": ["Copy command", "copy"],
    "blocked-act-shields": ["Copy command", "copy"],
    "blocked-damaged": ["Make a new key…", "read_keys"],
    "blocked-denied": ["Connect again", "connect"],
    "blocked-act-restart": ["Restart OpenClaw", "restart_gateway"],
    "blocked-act-silent": ["Restart OpenClaw", "restart_gateway"],
    "blocked-ask": ["Connect again", "connect"],
    "blocked-quiet": ["Connect again", "connect"],
    "blocked-danger": ["Diagnostics", "diagnostics"],
    "blocked-unconfirmed": ["Close again now", "disconnect"],
  };
  assert.deepEqual(Object.keys(expected), Object.keys(states).filter((state) => state.startsWith("blocked-")));
  for (const [state, [name, command]] of Object.entries(expected)) {
    const p = await open(browser, server.origin, { state });
    await p.getByRole("button", { name, exact: true }).click();
    assert.equal((await lastCall(p))[0], command, state);
    await p.context().close();
  }
});

test("what leads on can be opened, copied and selected, whichever cause names it", async (t) => {
  for (const [state, what, name] of [["blocked-act-missing", "link", "Copy link"], ["blocked-act-shields", "command", "Copy command"], ["blocked-unconfirmed", "command", "Copy command"], ["needs-sign-in", "link", "Copy link"]]) {
    const p = await open(browser, server.origin, { state });
    await p.getByRole("button", { name, exact: true }).click();
    assert.deepEqual(await lastCall(p), ["copy", { what }], state);
    const kinds = await p.evaluate(() => [...document.querySelectorAll(".callout p")].map((line) => getComputedStyle(line).userSelect));
    assert.deepEqual([...new Set(kinds)], ["text"], state);
    await p.context().close();
  }
});

test("who has never heard of Funnel is told what is needed, and what to press", async (t) => {
  const p = await page(t, { state: "first-run" });
  const seen = async (state) => {
    await p.evaluate((state) => window.standIn.show(state), state);
    return p.locator("main").innerText();
  };
  assert.match(await seen("first-run"), /Tailscale Funnel.+account.+free/);
  assert.doesNotMatch(await seen("private"), /account/);
  assert.match(await seen("needs-sign-in"), /No account yet\? The page makes one\./);
  assert.match(await seen("needs-funnel"), /asks once whether this machine may be reached from the internet.+press/);
  assert.match(await seen("preparing"), /the guard, Ecto’s lock/);
  for (const state of Object.keys(states)) assert.doesNotMatch(await seen(state), /tailnet(?!\.ts)/, state);
});

test("a key by keyboard alone: made with limits, copied, replaced with grace, renamed, revoked; the key itself never comes", async (t) => {
  const p = await page(t, { state: "public" });
  await p.locator("[data-key='open-keys']").focus();
  await p.keyboard.press("Enter");
  await p.getByRole("heading", { name: "Keys" }).waitFor();
  await p.getByRole("button", { name: "New key…" }).focus();
  await p.keyboard.press("Enter");
  assert.equal(await focused(p), "name", "one can type at once");
  await p.keyboard.type("Tablet");
  const order = [];
  for (let step = 0; step < 9; step++) {
    await p.keyboard.press("Tab");
    order.push(await focused(p));
    assert.equal(await p.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "solid", String(order.at(-1)));
  }
  assert.deepEqual(order, ["agent", "route-chat", "route-responses", "route-models", "days", "per_minute", "concurrent", "from", "cancel"]);
  await p.locator("input[name=agent]").fill("notes");
  await p.getByRole("switch", { name: "Responses" }).press("Space");
  await p.getByLabel("Expires").selectOption("In 30 days");
  await p.getByLabel("Requests a minute").selectOption("60");
  await p.getByLabel("At once").selectOption("4");
  assert.match(await p.getByLabel("Only from").getAttribute("placeholder"), /Anywhere/);
  await p.getByLabel("Only from").fill("203.0.113.7, 2001:db8::/32");
  await p.evaluate(() => window.standIn.show("public-deadline"));
  assert.equal(await p.locator("input[name=name]").inputValue(), "Tablet", "what is typed stays when something else happens");
  assert.equal(await p.getByLabel("Requests a minute").inputValue(), "60");
  await p.locator("input[name=name]").press("Enter");

  await p.getByRole("heading", { name: "Tablet" }).waitFor();
  assert.deepEqual(await lastCall(p), ["add_key", { key: { name: "Tablet", agent: "notes", routes: ["chat", "models"], days: 30, per_minute: 60, concurrent: 4, from: "203.0.113.7, 2001:db8::/32" } }]);
  assert.equal(await focused(p), "copy_key");
  await p.keyboard.press("Enter");
  await p.locator("[data-key=copy_key] .tick").waitFor();
  assert.deepEqual(await lastCall(p), ["copy_key", { name: "Tablet" }]);
  await p.getByText("Opens chat and models; agent notes alone; 60 requests, which come back over a minute; 4 under way at once; from 203.0.113.7, 2001:db8::/32").waitFor();

  await p.getByRole("button", { name: "Replace…" }).press("Enter");
  await p.getByLabel("The old one works").selectOption("For another hour");
  assert.equal(await p.getByLabel("The new one expires").inputValue(), '"as_before"');
  await p.getByRole("button", { name: "Replace", exact: true }).press("Enter");
  await p.getByText("The old key works for another").waitFor();
  assert.deepEqual(await lastCall(p), ["rotate_key", { name: "Tablet", grace: "hour", end: "as_before" }]);
  assert.equal(await focused(p), "copy_key");

  await p.getByRole("button", { name: "Rename…" }).press("Enter");
  await p.keyboard.type("Kitchen");
  await p.keyboard.press("Enter");
  await p.getByRole("heading", { name: "Kitchen" }).waitFor();
  assert.deepEqual(await lastCall(p), ["rename_key", { name: "Tablet", to: "Kitchen" }]);

  await p.getByRole("button", { name: "Revoke…" }).press("Enter");
  assert.ok(!(await calls(p)).includes("revoke_key"));
  await p.getByRole("button", { name: "Revoke", exact: true }).press("Enter");
  await p.getByRole("heading", { name: "Keys" }).waitFor();
  assert.deepEqual(await lastCall(p), ["revoke_key", { name: "Kitchen" }]);
  await p.getByText("Kitchen").waitFor({ state: "detached" });
  await p.keyboard.press("Escape");
  assert.equal(await focused(p), "open-keys");
  assert.ok(!(await calls(p)).includes("reveal_key"));
});

test("what takes the place of an expired key gets an end that is to come", async (t) => {
  const p = await page(t, { state: "private" });
  for (const name of ["open-settings", "open-keys", "key-Workshop", "open-rotate"]) await p.locator(`[data-key='${name}']`).click();
  assert.equal(await p.getByLabel("The old one works").count(), 0, "it works no longer");
  const ends = p.getByLabel("The new one expires");
  assert.equal(await ends.inputValue(), '"month"');
  assert.deepEqual(await ends.locator("option").allTextContents(), ["Never", "In a day", "In 30 days", "In a year"]);
  await ends.selectOption("In a year");
  await p.getByRole("button", { name: "Replace", exact: true }).click();
  await p.getByText("Expires in").waitFor();
  assert.deepEqual(await lastCall(p), ["rotate_key", { name: "Workshop", grace: "none", end: "year" }]);
  assert.equal(await p.getByText("Expired").count(), 0);

  await p.keyboard.press("Escape");
  await p.locator("[data-key='key-default']").click();
  await p.locator("[data-key='open-rotate']").click();
  assert.equal(await p.getByLabel("The new one expires").count(), 0, "it has no end");
});

test("a key for what is not offered any more says so, and where that is allowed", async (t) => {
  const p = await page(t, { state: "public-offer" });
  for (const name of ["open-keys", "open-new-key"]) await p.locator(`[data-key='${name}']`).click();
  await p.locator("input[name=name]").fill("Tablet");
  await p.getByRole("switch", { name: "Hooks" }).click();
  await p.getByRole("button", { name: "Make the key" }).click();
  await p.getByRole("heading", { name: "Tablet" }).waitFor();
  assert.equal(await p.getByText("Not offered right now").count(), 0);
  await p.evaluate(() => window.standIn.show("public"));
  await p.getByText("Not offered right now, so nobody gets there: Hooks. Allow it in the settings, under “What else is offered”.").waitFor();
});

test("the key that Ecto proves its lock with has no way to be renamed or revoked", async (t) => {
  const p = await page(t, { state: "public" });
  await p.locator("[data-key='open-keys']").click();
  await p.locator("[data-key='key-default']").click();
  await p.getByRole("button", { name: "Replace…" }).waitFor();
  assert.equal(await p.getByRole("button", { name: /Rename|Revoke/ }).count(), 0);
});

test("a key that is refused leaves what was typed, and keys that cannot be read are asked for again", async (t) => {
  const p = await page(t, { state: "private", refuse: "add_key" });
  await p.locator("[data-key='open-settings']").click();
  await p.locator("[data-key='open-keys']").click();
  await p.locator("[data-key='open-new-key']").click();
  await p.locator("input[name=name]").fill("Tablet");
  await p.getByLabel("At once").selectOption("16");
  await p.getByRole("button", { name: "Make the key" }).click();
  await p.getByRole("alert").waitFor();
  assert.equal(await p.locator("input[name=name]").inputValue(), "Tablet");
  assert.equal(await p.getByLabel("At once").inputValue(), "16");

  const bound = await page(t, { state: "private" });
  for (const name of ["open-settings", "open-keys", "open-new-key"]) await bound.locator(`[data-key='${name}']`).click();
  await bound.getByLabel("Only from").fill("at home");
  await bound.keyboard.press("Enter");
  await bound.getByRole("alert").getByText("addresses are written as 203.0.113.7").waitFor();
  assert.equal(await bound.getByLabel("Only from").inputValue(), "at home");

  const unread = await page(t, { state: "private-keys-unread", refuse: "read_keys" });
  await unread.locator("[data-key='open-settings']").click();
  await unread.locator("[data-key='open-keys']").click();
  await unread.getByRole("alert").waitFor();
  await unread.getByRole("button", { name: "Try again" }).click();
  assert.deepEqual((await calls(unread)).filter((name) => name === "read_keys"), ["read_keys", "read_keys"]);
});

test("names and grants of keys stay text, and a key that goes elsewhere is said to be gone", async (t) => {
  const p = await page(t, { state: "hostile" });
  await p.locator("[data-key='open-keys']").click();
  const row = p.locator(".of-key").nth(1);
  assert.match(await row.innerText(), /<b>bold<\/b>/);
  await row.click();
  assert.equal(await p.locator("#popover b, #popover img").count(), 0);
  assert.doesNotMatch(await p.locator("#popover").innerText(), /[\u202a-\u202e\u2066-\u2069]/);
  await p.evaluate(() => window.standIn.show("private"));
  await p.getByText("This key is no longer there.").waitFor();
});

test("a refused command says so where it was asked for, as text, and can be dismissed", async (t) => {
  const p = await page(t, { state: "private", refuse: "set_launch_at_login" });
  await p.locator("[data-key='open-settings']").click();
  await p.getByRole("switch", { name: "Open at login" }).click();
  await p.getByRole("alert").getByText("The secret store refused to let Ecto in. Unlock it and allow Ecto.").waitFor();
  assert.equal(await p.getByRole("switch", { name: "Open at login" }).getAttribute("aria-checked"), "false");
  await p.getByRole("button", { name: "Dismiss" }).click();
  assert.equal(await p.getByRole("alert").count(), 0);
});

test("diagnostics are shown before they are saved", async (t) => {
  const p = await page(t, { state: "private" });
  await p.locator("[data-key='open-settings']").click();
  await p.locator("[data-key='open-diagnostics']").click();
  await p.getByRole("region", { name: "Diagnostics" }).getByText("secrets: in the Keychain").waitFor();
  assert.ok(!(await calls(p)).includes("save_diagnostics"));
  await p.getByRole("button", { name: "Save" }).click();
  await p.getByText("Saved as ~/Downloads/Ecto diagnostics.txt").waitFor();
});

test("what could not be read is asked for again, and nothing turns meanwhile", async (t) => {
  const ways = { diagnostics: ["private", "open-settings", "open-diagnostics"], qr: ["public", "code"], requests: ["public", "open-requests"] };
  for (const [refuse, [state, ...clicks]] of Object.entries(ways)) {
    const p = await page(t, { state, refuse });
    for (const name of clicks) await p.locator(`[data-key='${name}']`).click();
    await p.getByRole("alert").waitFor();
    assert.equal(await p.locator(".spinner").count(), 0, refuse);
    assert.equal(await p.getByText("No request yet").count(), 0);
    await p.getByRole("button", { name: "Try again" }).click();
    await p.getByRole("alert").waitFor();
    assert.deepEqual((await calls(p)).filter((name) => name === refuse), [refuse, refuse]);
  }
});

test("once it is uninstalled, one button ends it", async (t) => {
  const p = await page(t, { state: "private" });
  for (const name of ["open-settings", "open-uninstall", "uninstall"]) await p.locator(`[data-key='${name}']:is(button)`).click();
  await p.getByRole("heading", { name: "Ecto is uninstalled" }).waitFor();
  await p.getByRole("button", { name: "Quit Ecto" }).click();
  assert.equal((await lastCall(p))[0], "hide");
});

test("where there is no tray the page can quit Ecto, and speaks of no ghost that would tell", async (t) => {
  const p = await page(t, { state: "private-no-tray" });
  const quit = p.getByRole("button", { name: "Quit Ecto" });
  await quit.click();
  assert.equal((await lastCall(p))[0], "quit");
  await p.evaluate(() => window.standIn.show("public"));
  await p.getByRole("heading", { name: "Public" }).waitFor();
  assert.equal(await quit.count(), 1, "while the door is open too");
  await p.locator("[data-key='open-settings']").click();
  const told = await p.locator("main").innerText();
  assert.match(told, /Nothing here shows notifications/);
  assert.doesNotMatch(told, /ghost/);

  const other = await page(t, { state: "private" });
  await other.getByRole("heading", { name: "Private" }).waitFor();
  assert.equal(await other.getByRole("button", { name: "Quit Ecto" }).count(), 0, "there the menu quits");
});

test("the switch for notifications is on only where the desktop shows them", async (t) => {
  const p = await page(t, { state: "private" });
  await p.locator("[data-key='open-settings']").click();
  const notifications = p.getByRole("switch", { name: "Notifications" });
  assert.deepEqual([await notifications.getAttribute("aria-checked"), await notifications.isDisabled()], ["true", false]);
  for (const state of ["private-refused", "private-no-tray"]) {
    const other = await page(t, { state });
    await other.locator("[data-key='open-settings']").click();
    const off = other.getByRole("switch", { name: "Notifications" });
    assert.deepEqual([await off.getAttribute("aria-checked"), await off.isDisabled()], ["false", true], state);
    assert.match(await other.locator("#notifications-detail").innerText(), /^(Switched off in System Settings|Nothing here shows notifications)/);
    assert.ok(!(await calls(other)).includes("set_preferences"), "what was chosen stays");
  }
});

test("where the stored keys cannot be read, a new one is said to give up all of them", async (t) => {
  const p = await page(t, { state: "blocked-damaged" });
  await p.getByRole("button", { name: "Make a new key…" }).click();
  await p.getByRole("heading", { name: "Make a new default key?" }).waitFor();
  const told = await p.locator("main").innerText();
  assert.match(told, /gives up every key/);
  assert.match(told, /“keys \(damaged\)”/);
  await p.getByRole("button", { name: "Make a new key" }).click();
  assert.ok((await calls(p)).includes("regenerate_key"));

  // Where nobody has read them yet, it is found out before it is asked.
  const unread = await page(t, { state: "private-keys-unread" });
  for (const name of ["open-settings", "open-regenerate"]) await unread.locator(`[data-key='${name}']`).click();
  await unread.getByRole("heading", { name: "Replace the default key?" }).waitFor();
  assert.ok((await calls(unread)).includes("read_keys"));
});

test("nothing that cannot be undone happens at the first click", async (t) => {
  const p = await page(t, { state: "private" });
  await p.locator("[data-key='open-settings']").click();
  for (const [panel, command] of [["regenerate", "regenerate_key"], ["restart", "restart_gateway"], ["restore", "restore"], ["uninstall", "uninstall"]]) {
    await p.locator(`[data-key='open-${panel}']`).click();
    assert.ok(!(await calls(p)).includes(command));
    await p.getByRole("button", { name: "Cancel" }).click();
    await p.locator(`[data-key='open-${panel}']`).click();
    await p.locator(`button[data-do='${command}']`).click();
    assert.ok((await calls(p)).includes(command));
    if (panel === "restore") await p.getByRole("button", { name: "Back" }).click();
  }
});

test("text from elsewhere stays text", async (t) => {
  for (const state of ["hostile", "hostile-preparing", "hostile-blocked"]) {
    const p = await open(browser, server.origin, { state });
    const seen = await p.evaluate(() => ({
      markup: document.querySelectorAll("#popover img, #popover b, #popover script, #popover a").length,
      reached: "reached" in window,
      text: document.body.innerText,
      length: document.body.innerText.length,
    }));
    assert.equal(seen.markup, 0, state);
    assert.equal(seen.reached, false, state);
    assert.ok(seen.text.includes('<img src=x onerror="window.reached=1"><b>bold</b>'), state);
    assert.ok(!/[\u202a-\u202e\u2066-\u2069\u0000-\u0008]/.test(seen.text), `${state} shows a mark that reorders text`);
    assert.ok(seen.length < 5000, `${state} shows ${seen.length} characters`);
    await p.context().close();
  }
});

test("the requests: newest first, today's counts above, opened and left by keyboard", async (t) => {
  const p = await page(t, { state: "public" });
  await p.locator("[data-key='open-requests']").focus();
  await p.keyboard.press("Enter");
  assert.equal(await p.evaluate(() => document.activeElement?.textContent), "Requests");
  await p.locator(".record li").first().waitFor();
  const lines = await p.locator(".record li").allInnerTexts();
  assert.deepEqual(
    lines.map((line) => line.replaceAll("\u00a0", " ").split(/\s*\n+\s*/)),
    [
      ["11:59:19", "POST /v1/chat/completions", "200", "default · 203.0.113.7 · 2.2 s"],
      ["11:58:45", "POST /v1/responses", "200", "default · 203.0.113.7 · 1 min"],
      ["11:58:00", "POST /v1/chat/completions", "401", "no known key · 198.51.100.40 · 1 ms"],
      ["11:56:56", "GET /.env", "404", "no known key · 198.51.100.40 · 0 ms"],
      ["10:58:00", "GET /v1/models", "200", "Phone · 2001:db8::17 · 14 ms"],
    ],
  );
  const days = await p.locator("[data-key^='day-'] .label").allInnerTexts();
  assert.deepEqual(days, ["default", "Phone", "No known key"]);
  await p.getByText("126 requests, 1 refused or failed, 1.3 MB").waitFor();
  await p.keyboard.press("Escape");
  assert.equal(await focused(p), "open-requests");
});

test("the requests are asked for again when there are new ones, once at a time, and not while they are not shown", async (t) => {
  const p = await page(t, { state: "public", slow: "400" });
  const asked = async () => (await calls(p)).filter((name) => name === "requests").length;
  const happens = (passed) => p.evaluate((passed) => window.standIn.happens(passed), passed);
  await happens(129);
  assert.equal(await asked(), 0);
  await p.evaluate(() => {
    document.querySelector("[data-key='open-requests']").click();
    for (const passed of [130, 131, 132, 133]) window.standIn.happens(passed);
  });
  await p.getByText("request number 133").waitFor();
  assert.equal(await asked(), 2, "what came while an answer was under way is asked for once");
  await happens(133);
  await answered(p, "requests");
  assert.equal(await asked(), 2, "nothing new, nothing asked");
  await p.keyboard.press("Escape");
  await happens(140);
  assert.equal(await asked(), 2);
});

test("a burst of wrong keys is seen where the door is, and none of it is markup", async (t) => {
  const p = await page(t, { state: "public-strangers" });
  await p.getByText("Somebody is trying keys: 214 requests with a wrong key or none came from 3 addresses. None got in, and there is nothing you have to do.").waitFor();
  const hostile = await page(t, { state: "hostile" });
  await hostile.locator("[data-key='open-requests']").click();
  await hostile.locator(".record li").first().waitFor();
  const seen = await hostile.evaluate(() => ({
    markup: document.querySelectorAll("#popover img, #popover b, #popover script, #popover a").length,
    reached: "reached" in window,
    text: document.body.innerText,
  }));
  assert.equal(seen.markup, 0);
  assert.equal(seen.reached, false);
  assert.ok(seen.text.includes('<img src=x onerror="window.reached=1"><b>bold</b>'));
  assert.ok(!/[\u202a-\u202e\u2066-\u2069\u0000-\u0008]/.test(seen.text));
});

test("what else is offered: by keyboard, with its danger before it is allowed, and off again", async (t) => {
  const p = await page(t, { state: "private" });
  await p.locator("[data-key='open-settings']").click();
  await p.locator("[data-key='open-routes']").focus();
  await p.keyboard.press("Enter");
  assert.equal(await p.evaluate(() => document.activeElement?.textContent), "What else is offered");
  const order = [];
  for (let step = 0; step < 3; step += 1) {
    await p.keyboard.press("Tab");
    order.push(await focused(p));
  }
  assert.deepEqual(order, ["offer-embeddings", "offer-hooks", "open-new-origin"]);
  const hooks = p.locator("[data-key='offer-hooks']:is(button)");
  await hooks.focus();
  assert.equal(await hooks.getAttribute("aria-checked"), "false");
  const warning = await p.locator(`#${await hooks.getAttribute("aria-describedby")}`).innerText();
  assert.match(warning, /^A hook starts OpenClaw’s agents with whatever text a caller sends/);
  await p.keyboard.press("Space");
  await p.locator("[data-key='offer-hooks'][aria-checked='true']").waitFor();
  assert.equal(await p.locator("[data-key='offer-embeddings']:is(button)").getAttribute("aria-checked"), "false");
  assert.equal(await focused(p), "offer-hooks");
  await p.keyboard.press("Space");
  await p.locator("[data-key='offer-hooks'][aria-checked='false']").waitFor();
  const asked = (await p.evaluate(() => window.standIn.calls)).filter(([name]) => name === "set_route").map(([, argument]) => argument);
  assert.deepEqual(asked, [{ route: "hooks", allowed: true }, { route: "hooks", allowed: false }]);
});

test("what is offered besides is told where the door is, and leads to where it is forbidden again", async (t) => {
  const p = await page(t, { state: "public-offer" });
  const row = p.locator("[data-key='open-routes']");
  assert.equal(await p.getByRole("button", { name: "Also offered: hooks, 2 web pages", exact: true }).getAttribute("data-key"), "open-routes");
  await row.focus();
  await p.keyboard.press("Enter");
  assert.equal(await p.evaluate(() => document.activeElement?.textContent), "What else is offered");
  await p.getByRole("button", { name: "Forbid https://app.example", exact: true }).click();
  await p.locator("[data-key='origin-https://app.example']").waitFor({ state: "detached" });
  await p.keyboard.press("Escape");
  assert.equal(await focused(p), "open-routes");
  assert.equal(await row.innerText(), "Also offered: hooks, 1 web page");
  await p.keyboard.press("Enter");
  await p.getByRole("switch", { name: "Hooks" }).click();
  await p.locator("[data-key='offer-hooks'][aria-checked='false']").waitFor();
  await p.getByRole("button", { name: /^Forbid/ }).click();
  await p.getByRole("button", { name: /^Forbid/ }).waitFor({ state: "detached" });
  await p.keyboard.press("Escape");
  assert.equal(await p.evaluate(() => document.activeElement?.textContent), "Public");
  assert.equal(await row.count(), 0);
  assert.equal(alsoOffered({ routes: ["hooks", "embeddings"], origins: [] }), "Also offered: embeddings, hooks");
});

test("a web page is allowed by its origin, refused where it is none, and forbidden again", async (t) => {
  const p = await page(t, { state: "private" });
  for (const name of ["open-settings", "open-routes", "open-new-origin"]) await p.locator(`[data-key='${name}']`).click();
  assert.equal(await focused(p), "origin");
  await p.getByText("A key that a web page uses can be read by everybody who can open that page.").waitFor();
  await p.keyboard.type("app.example");
  await p.keyboard.press("Enter");
  await p.getByRole("alert").waitFor();
  assert.equal(await p.locator("input[name='origin']").inputValue(), "app.example", "what was typed stays");
  await p.locator("input[name='origin']").fill("https://app.example");
  await p.keyboard.press("Enter");
  await p.locator("[data-key='origin-https://app.example']").waitFor();
  assert.equal(await focused(p), "open-new-origin");
  await p.getByRole("button", { name: "Forbid https://app.example" }).click();
  await p.locator("[data-key='origin-https://app.example']").waitFor({ state: "detached" });
});

test("a new key may be given what is offered, and nothing that is not", async (t) => {
  const routes = async (state) => {
    const p = await page(t, { state });
    for (const name of ["open-settings", "open-keys", "open-new-key"]) await p.locator(`[data-key='${name}']`).click();
    return { p, names: await p.locator("[role='switch']").evaluateAll((all) => all.map((one) => `${one.dataset.key} ${one.ariaChecked}`)) };
  };
  assert.deepEqual((await routes("private")).names, ["route-chat true", "route-responses true", "route-models true"]);
  const { p, names } = await routes("public-offer");
  assert.deepEqual(names, ["route-chat true", "route-responses true", "route-models true", "route-hooks false"]);
  await p.locator("[data-key='route-hooks']:is(button)").click();
  await p.locator("[data-key='name']").fill("Door bell");
  await p.keyboard.press("Enter");
  await p.locator("[data-key='ready']").waitFor();
  const [, { key }] = (await p.evaluate(() => window.standIn.calls)).find(([name]) => name === "add_key");
  assert.deepEqual(key.routes, ["chat", "responses", "models", "hooks"]);
});

test("the name of a setting ends a line after a dot, not within a word", async (t) => {
  const p = await page(t, { state: "private" });
  for (const name of ["open-settings", "open-restore", "restore"]) await p.locator(`[data-key='${name}']:is(button)`).click();
  const name = p.getByText("gateway.http.endpoints.chatCompletions.enabled");
  const starts = await name.evaluate((shown) => {
    const lines = [];
    const range = document.createRange();
    for (const node of shown.childNodes)
      for (let place = 0; place < (node.nodeValue ?? "").length; place += 1) {
        range.setStart(node, place);
        range.setEnd(node, place + 1);
        const { top } = range.getBoundingClientRect();
        if (lines.at(-1)?.top !== top) lines.push({ top, from: node.nodeValue.slice(place) });
      }
    return lines.map(({ from }) => from);
  });
  for (const start of starts) assert.ok(["gateway.", "http.", "endpoints.", "chatCompletions.", "enabled"].includes(start), start);
});

test("the page runs no inline script, no inline style, and asks nobody but itself", async (t) => {
  const p = await page(t, { state: "public" });
  const asked = [];
  p.on("response", (response) => asked.push(response.url()));
  const refused = await p.evaluate(async () => {
    const directives = [];
    document.addEventListener("securitypolicyviolation", (event) => directives.push(event.effectiveDirective));
    const add = (tag, set) => document.body.appendChild(Object.assign(document.createElement(tag), set));
    add("script", { textContent: "window.reached = 1" });
    add("style", { textContent: "body { color: red }" });
    document.body.setAttribute("style", "color: red");
    add("img", { src: "https://elsewhere.example/picture.png" });
    add("iframe", { src: "https://elsewhere.example/" });
    add("object", { data: "https://elsewhere.example/" });
    add("base", { href: "https://elsewhere.example/" });
    add("form", { action: "https://elsewhere.example/" }).submit();
    await fetch("https://elsewhere.example/").catch(() => {});
    document.body.setAttribute("onclick", "window.reached = 1");
    document.body.click();
    for (let tries = 0; tries < 250 && new Set(directives).size < 10; tries += 1) await new Promise((done) => setTimeout(done, 20));
    return { directives: [...new Set(directives)].sort(), reached: "reached" in window };
  });
  assert.deepEqual(refused, { directives: ["base-uri", "connect-src", "form-action", "frame-src", "img-src", "object-src", "script-src-attr", "script-src-elem", "style-src-attr", "style-src-elem"], reached: false });
  assert.deepEqual(asked.filter((url) => !url.startsWith(server.origin) && !url.startsWith("data:")), []);
});

test("time goes on where it is seen, and a screen reader hears only what happened", async (t) => {
  const p = await page(t, {});
  await p.clock.install();
  await p.goto(`${server.origin}?state=public`);
  await p.getByText("Checked 12 s ago").waitFor();
  await p.evaluate(() => {
    window.heard = [];
    new MutationObserver(() => window.heard.push(document.getElementById("status").textContent)).observe(document.getElementById("status"), { childList: true, subtree: true, characterData: true });
  });
  await p.clock.runFor(8000);
  await p.getByText("Checked 20 s ago").waitFor();
  await p.getByText("Last request 49 s ago").waitFor();
  assert.deepEqual(await p.evaluate(() => window.heard), []);
  await p.evaluate(() => window.standIn.show("public-held"));
  await p.evaluate(() => window.standIn.show("public-held"));
  assert.deepEqual(await p.evaluate(() => window.heard), ["On hold. The door is open, but nobody gets through."]);
});

test("nothing ticks while nobody sees it", async (t) => {
  const p = await page(t, {});
  await p.clock.install();
  await p.goto(`${server.origin}?state=public`);
  await p.getByText("Checked 12 s ago").waitFor();
  await see(p, "hidden");
  await p.clock.runFor(30000);
  await p.getByText("Checked 12 s ago").waitFor();
  await see(p, "visible");
  await p.getByText("Checked 42 s ago").waitFor();
});

test("an engine that does not answer is said, and asked again", async (t) => {
  const p = await page(t, { state: "private", silent: "" });
  await p.getByRole("heading", { name: "No answer" }).waitFor();
  await p.getByRole("button", { name: "Try again" }).click();
  assert.deepEqual(await calls(p), ["view", "look", "view"]);
  // What the sentence tells to do can be done here.
  await p.getByRole("button", { name: "Quit Ecto" }).click();
  assert.equal((await lastCall(p))[0], "quit");
  await p.getByRole("alert").waitFor();
});

test("text becomes as large as it is chosen, at once, and what is wide stays inside", async (t) => {
  const p = await page(t, { state: "private" });
  await p.locator("[data-key='open-settings']").click();
  const size = () => p.evaluate(() => getComputedStyle(document.documentElement).fontSize);
  for (const [name, pixels] of [["Large", "20px"], ["Larger", "24px"], ["Twice as large", "32px"], ["Usual size", "16px"]]) {
    await p.getByRole("combobox", { name: "Text" }).selectOption(name);
    await p.waitForFunction((pixels) => getComputedStyle(document.documentElement).fontSize === pixels, pixels);
    assert.equal(await size(), pixels);
  }
  assert.deepEqual((await calls(p)).filter((name) => name === "set_preferences").length, 4);
});

test("what a screen reader finds", async (t) => {
  const p = await page(t, { state: "public" });
  assert.equal(await p.locator("main").ariaSnapshot(), SEEN);
});

test("where the system sets the colours, a switch that is on differs from one that is off", async (t) => {
  const p = await page(t, { state: "private" }, { forcedColors: "active" });
  await p.locator("[data-key='open-settings']").click();
  const seen = (what) => p.locator(`[data-key='${what}']:is(button)`).evaluate((shown) => {
    const [ground, knob] = [shown, shown.firstElementChild].map((part) => getComputedStyle(part).backgroundColor);
    return { ground, isSeen: ground !== knob };
  });
  const [on, off] = [await seen("notifications"), await seen("launch")];
  assert.ok(on.isSeen && off.isSeen);
  assert.notEqual(on.ground, off.ground);
});

test("motion stops where less of it is wanted", async (t) => {
  for (const [reducedMotion, moving] of [["no-preference", true], ["reduce", false]]) {
    const p = await page(t, { state: "preparing" }, { reducedMotion });
    assert.equal(await p.evaluate(() => document.getAnimations().length > 0), moving, reducedMotion);
  }
});

test("the page asks for the commands that are written down, and for no other", () => {
  const declared = /export interface Commands \{([\s\S]*?)\n\}/.exec(readFileSync(path.join(ui, "commands.d.ts"), "utf8"))[1];
  const names = [...declared.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name).sort();
  const asked = [...readFileSync(path.join(ui, "popover.js"), "utf8").matchAll(/host\.ask\("(\w+)"/g)].map(([, name]) => name);
  assert.deepEqual([...new Set(asked)].sort(), names);
});

test("what was refused unread is said to come from an unknown address", () => {
  const line = { at: "2026-03-01T12:00:00Z", key: null, address: "unknown address", route: "(a connection too many)", status: 503, bytes: 0, milliseconds: 0 };
  assert.equal(request(line), "(a connection too many) · 503 · no known key · unknown address");
  assert.equal(caller(line), "no known key · unknown address · 0\u00a0ms");
  assert.equal(from(line.address), ", from unknown address");
});

test("all words are in one file", () => {
  for (const file of readdirSync(ui).filter((name) => name.endsWith(".js") && !["words.js", "stand-in.js"].includes(name))) {
    const code = readFileSync(path.join(ui, file), "utf8").replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
    assert.deepEqual([...code.matchAll(/"([A-Z][a-z]+(?: [a-z]+)*[.…?]?)"/g)].map(([, text]) => text).filter((text) => !["Escape", "Enter"].includes(text)), [], file);
  }
});
