// Pictures small enough to keep: few colours, one byte a point. Reads what Chromium makes, compares, writes.
import { deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** @returns {{ width: number, height: number, points: Uint8Array }} three bytes a point */
export function read(png) {
  if (!png.subarray(0, 8).equals(SIGNATURE)) throw new Error("not a PNG");
  let width = 0, height = 0, kind = 0, palette = Buffer.alloc(0);
  const data = [];
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const name = png.toString("latin1", at + 4, at + 8);
    const body = png.subarray(at + 8, at + 8 + length);
    if (name === "IHDR") [width, height, kind] = [body.readUInt32BE(0), body.readUInt32BE(4), body[9]];
    if (name === "PLTE") palette = body;
    if (name === "IDAT") data.push(body);
    at += 12 + length;
  }
  const size = { 2: 3, 3: 1, 6: 4 }[kind];
  const raw = unfilter(inflateSync(Buffer.concat(data)), width * size, height, size);
  const points = new Uint8Array(width * height * 3);
  for (let point = 0; point < width * height; point++)
    for (let colour = 0; colour < 3; colour++)
      points[3 * point + colour] = kind === 3 ? palette[3 * raw[point] + colour] : raw[size * point + colour];
  return { width, height, points };
}

function unfilter(lines, stride, height, size) {
  const raw = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = lines[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x >= size ? raw[y * stride + x - size] : 0;
      const above = y > 0 ? raw[(y - 1) * stride + x] : 0;
      const corner = x >= size && y > 0 ? raw[(y - 1) * stride + x - size] : 0;
      const guess = [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter];
      raw[y * stride + x] = lines[y * (stride + 1) + 1 + x] + guess;
    }
  }
  return raw;
}

function paeth(left, above, corner) {
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/** Writes a picture with at most 256 colours: each rounded to a multiple of `grain`, the rarer ones to their neighbours. */
export function write({ width, height, points }, grain = 12) {
  const round = (value) => (value > 255 - grain / 2 ? 255 : Math.min(255, Math.round(value / grain) * grain));
  const counts = new Map();
  const keys = new Uint32Array(width * height);
  for (let point = 0; point < keys.length; point++) {
    const key = (round(points[3 * point]) << 16) | (round(points[3 * point + 1]) << 8) | round(points[3 * point + 2]);
    keys[point] = key;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const colours = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 256).map(([key]) => key);
  const places = new Map(colours.map((key, place) => [key, place]));
  const channels = (key) => [key >> 16, (key >> 8) & 255, key & 255];
  const distance = (one, other) => channels(one).reduce((sum, value, place) => sum + Math.abs(value - channels(other)[place]), 0);
  const nearest = (key) => colours.reduce((best, colour, place) => (distance(colour, key) < distance(colours[best], key) ? place : best), 0);
  const lines = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const key = keys[y * width + x];
      if (!places.has(key)) places.set(key, nearest(key));
      lines[y * (width + 1) + 1 + x] = places.get(key);
    }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", head),
    chunk("PLTE", Buffer.from(colours.flatMap(channels))),
    chunk("IDAT", deflateSync(lines, { level: 9, memLevel: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(name, body) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const named = Buffer.concat([Buffer.from(name, "latin1"), body]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(checksum(named));
  return Buffer.concat([length, named, sum]);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

/** The side of a block in points: one letter or drawing fills about that. */
const BLOCK = 16;
/** What may differ, as the smoothing of letters is another in each version of Chromium: so many points of a block, and a part
 * of all. Another digit in the smallest text makes out seven points. */
const BLOCK_LIMIT = 6;
const WHOLE_LIMIT = 0.004;

/**
 * Where two pictures are not the same.
 * @returns {string | null} The first place that differs; nothing where no more does than the smoothing of letters.
 */
export function difference(one, other) {
  const { width, height } = one;
  if (width !== other.width || height !== other.height) return `${width} × ${height} points are ${other.width} × ${other.height}`;
  let all = 0;
  for (let top = 0; top < height; top += BLOCK)
    for (let left = 0; left < width; left += BLOCK) {
      const different = differentIn(one, other, left, top);
      if (different > BLOCK_LIMIT) return `${different} points of the ${BLOCK} × ${BLOCK} at ${left}, ${top}`;
      all += different;
    }
  const part = all / (width * height);
  return part > WHOLE_LIMIT ? `${(100 * part).toFixed(2)} % of the points` : null;
}

/** How many points of a block differ by more than their rounding. */
function differentIn(one, other, left, top) {
  let different = 0;
  for (let y = top; y < Math.min(top + BLOCK, one.height); y++)
    for (let x = left; x < Math.min(left + BLOCK, one.width); x++) {
      const at = 3 * (y * one.width + x);
      if ([at, at + 1, at + 2].some((place) => Math.abs(one.points[place] - other.points[place]) > 40)) different += 1;
    }
  return different;
}
