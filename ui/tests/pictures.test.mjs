// The pictures that were approved: each look has its own, and none could pass as that of another.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { difference, read } from "./picture.mjs";
import { guises, looks } from "./states.mjs";

const folder = path.join(import.meta.dirname, "pictures");

test("there is a picture of every look in every guise, and no other", () => {
  const expected = Object.entries(guises).flatMap(([guise, names]) => names.map((name) => `${name}-${guise}.png`));
  assert.deepEqual(readdirSync(folder).sort(), expected.sort());
});

for (const [guise, names] of Object.entries(guises))
  test(`${guise}: no look passes as another`, () => {
    const pictures = names.map((name) => ({ name, picture: read(readFileSync(path.join(folder, `${name}-${guise}.png`))) }));
    const alike = pictures.flatMap(({ name, picture }, place) =>
      pictures.slice(place + 1).filter((other) => difference(picture, other.picture) === null).map((other) => `${name} = ${other.name}`),
    );
    assert.deepEqual(alike, []);
  });
