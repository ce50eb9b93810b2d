// The Draw page: the pad with the pretrained network, which draws a digit by itself until somebody draws.

import { startPredictor } from "./predict.js";
import { digitPad } from "./pad.js";

// A 5, in fractions of the pad's side: the points that each stroke passes.
const DEMO = [
  [[0.37, 0.24], [0.36, 0.36], [0.34, 0.48], [0.44, 0.43], [0.55, 0.45], [0.63, 0.52], [0.65, 0.62], [0.6, 0.73], [0.5, 0.79], [0.4, 0.78], [0.32, 0.72]],
  [[0.37, 0.24], [0.5, 0.23], [0.66, 0.22]],
];
const BETWEEN = 4; // points between two of these
const PAUSE = 18; // milliseconds between two points
const WIDTH = 1 / 14; // of a stroke

const RETRY = 5000; // milliseconds

const root = document.querySelector("#pad");
const background = startPredictor(document.querySelector("#worker").textContent);
let [known, kept] = [null, 0]; // known: the training digits, which are loaded after the first answer

/** Load a script beside the page, which sets `window[name]` to base64, and return its bytes. A file cannot fetch. */
async function load(name) {
  const script = Object.assign(document.createElement("script"), { src: `${name}.js` });
  await new Promise((resolve, reject) => {
    Object.assign(script, { onload: resolve, onerror: reject });
    document.head.append(script);
  });
  return Uint8Array.from(atob(window[name]), (letter) => letter.charCodeAt(0)).buffer;
}

let failure = null;
const ready = load("weights").then(
  (bytes) => {
    background.load({ weights: bytes });
    performance.mark("weights");
  },
  () => (failure = { error: "The weights of the network could not be loaded. Reload the page." }),
);

async function predict(drawing) {
  if (failure) return failure;
  const result = await background.predict(drawing);
  if (result.error) return result;
  document.querySelector("#time").textContent = `${Math.ceil(result.milliseconds)} ms per drawing`;
  if (!known) {
    performance.mark("answer");
    known = loadKnown();
  }
  return result;
}

async function loadKnown() {
  try {
    background.load({ known: await load("known") });
    pad.refresh();
  } catch {
    setTimeout(() => (known = null), RETRY);
  }
}

// Somebody who draws ends the demo. The pad must not get the event first.
const touched = new AbortController();
for (const kind of ["pointerdown", "keydown"])
  window.addEventListener(kind, endDemo, { capture: true, signal: touched.signal });

function endDemo({ type, key, target }) {
  if (!root.contains(target) || !target.closest(".draw canvas") || (type === "keydown" && key === "Tab")) return;
  touched.abort();
  pad.lift([]);
}

const pad = digitPad(root, predict, {
  live: true,
  ready,
  keep: async ({ label }) => ({ text: `Kept as ${label}. ${++kept} on this page, until you close it.` }),
  undoKeep: async () => ({ text: `Not kept. ${--kept} on this page.` }),
});

/** Return the point at a position, from 0 to the number of points - 1, of a smooth curve through points (Catmull-Rom). */
function curve(points, position) {
  const first = Math.min(Math.floor(position), points.length - 2);
  const t = position - first;
  const [a, b, c, d] = [-1, 0, 1, 2].map((next) => points[Math.min(Math.max(first + next, 0), points.length - 1)]);
  const [x, y] = [0, 1].map(
    (axis) =>
      b[axis] +
      (t / 2) *
        (c[axis] - a[axis] +
          t * (2 * a[axis] - 5 * b[axis] + 4 * c[axis] - d[axis] + t * (3 * (b[axis] - c[axis]) + d[axis] - a[axis]))),
  );
  return { x, y };
}

/** Draw the demo, point by point, until somebody draws or presses Clear. */
async function demo() {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const wait = () => still || new Promise((resolve) => setTimeout(resolve, PAUSE));
  for (const stroke of DEMO) {
    pad.lower("demo", { ...curve(stroke, 0), width: WIDTH });
    for (let at = 1; at <= BETWEEN * (stroke.length - 1); at++) {
      await wait();
      if (pad.pointer !== "demo") return;
      pad.extend({ ...curve(stroke, at / BETWEEN), width: WIDTH });
    }
    pad.lift();
  }
}

performance.mark("pad");
demo();
