// The drawing pad: strokes, the ten probabilities, and the digits that were kept. `digitPad` builds it for any network.

import { drawDigit, Maps } from "./maps.js";

const SIDE = 280; // pixels per side of the drawing
const PEN = 1 / 14; // width of a stroke. Strokes are stored in fractions of the pad's side.
const STEP = 0.02; // how far an arrow key moves the pen
const WAIT = 10_000; // milliseconds until the pad says that there is no answer
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const DIGITS = [...Array(10).keys()];
const KEYS =
  "Arrow keys move the pen, faster with Shift. Space lowers or lifts it. Backspace undoes a stroke, Delete clears.";
const LABEL_KEYS = " The keys 0 to 9 choose the label.";
const LOADING = "Loading the network …";

const STYLE = `.digit-pad {
  --line: color-mix(in srgb, currentColor 30%, transparent);
  --soft: color-mix(in srgb, currentColor 10%, transparent);
  --quiet: color-mix(in srgb, currentColor 75%, transparent);
  --right: #0072b2; --wrong: #d55e00;
  container-type: inline-size; max-width: 1240px; padding: 4px; box-sizing: border-box;
  color: var(--jp-ui-font-color1, inherit); font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif);
  & * { box-sizing: border-box; margin: 0; touch-action: manipulation; } /* two fast taps are not a zoom */
  &:focus { outline: none; } /* after a click between the buttons, so that keys do not reach the notebook */
  & :focus-visible { outline: 2px solid var(--right); outline-offset: 2px; }
  & canvas { display: block; image-rendering: pixelated; }
  & :is(canvas, .bar, .bar div, .scale, .scale i) { forced-color-adjust: none; print-color-adjust: exact; }
  & .parts { display: grid; gap: 12px 20px; grid-template: "draw" "result" "keep" "image" "layers" "kept" / minmax(0, 1fr); }
  @container (min-width: 500px) {
    & .parts {
      grid-template:
        "draw result" auto "keep result" 1fr "image image" auto "layers layers" auto "kept kept" auto
        / minmax(0, 270px) minmax(0, 1fr);
    }
  }
  @container (min-width: 1000px) {
    & .parts {
      column-gap: 28px;
      grid-template:
        "draw result layers" auto "keep result layers" auto "image image layers" auto "kept kept layers" 1fr
        / 270px 260px minmax(0, 1fr);
    }
  }

  & .draw { grid-area: draw; position: relative; width: 100%; max-width: min(100%, 40vh); justify-self: center; }
  @container (min-width: 500px) { & .draw { max-width: none; } }
  & .draw canvas {
    width: 100%; aspect-ratio: 1; background: black; border-radius: 6px; box-shadow: 0 0 0 1px var(--line);
    cursor: crosshair; image-rendering: auto; touch-action: none; user-select: none; -webkit-user-select: none;
  }
  & .draw canvas[data-pointer] { outline: none; } /* the focus of a pointer needs no ring */
  & .hint {
    position: absolute; inset: 0 0 auto; aspect-ratio: 1; padding: 32px; display: grid; place-items: center;
    color: #999; text-align: center; pointer-events: none;
  }
  & .tools { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; }
  & .draw .tools { margin-top: 8px; justify-content: space-between; }
  & .keep { grid-area: keep; }
  & label { display: flex; align-items: center; gap: 6px; }
  & input { accent-color: var(--right); width: 16px; height: 16px; }
  & :is(button, select) {
    min-height: 30px; padding: 0 10px; border: 1px solid var(--line); border-radius: 4px;
    font: inherit; color: inherit; background: var(--soft); cursor: pointer;
    &:disabled { opacity: 0.45; cursor: default; }
    @media (hover: hover) { &:hover:enabled { border-color: currentColor; } }
    @media (pointer: coarse) { min-height: 44px; min-width: 44px; }
  }
  @media (pointer: coarse) { & label { min-height: 44px; } }
  & select { padding: 0 4px; }
  & option { color: black; background: white; }

  & .result { grid-area: result; min-width: 0; }
  & [role="status"] { min-height: 2.6em; overflow-wrap: anywhere; text-wrap: balance; display: grid; align-content: center; }
  &[data-sure] [role="status"] { font-size: 1.7em; line-height: 1.25; min-height: 1.53em; font-weight: 600; }
  & .row { display: grid; grid-template-columns: 1em 1fr 4.6em; gap: 6px; height: 22px; align-items: center; }
  & .row :last-child { text-align: right; font-variant-numeric: tabular-nums; }
  & .bar { height: 14px; border-radius: 3px; overflow: hidden; background: var(--soft); }
  & .bar div { height: 100%; background: var(--line); transition: width 0.08s linear; }
  & .best { font-weight: 600; }
  &[data-sure] .best .bar div { background: var(--right); }
  @media (prefers-reduced-motion: reduce) { & .bar div { transition: none; } }
  & .distance { margin-top: 10px; min-height: 4.4em; color: var(--quiet); }
  & .scale {
    position: relative; height: 6px; margin: 4px 0; border-radius: 3px;
    background: linear-gradient(to right, var(--right) 50%, var(--wrong) 50%); opacity: 0.85;
  }
  & .scale i {
    position: absolute; top: -4px; width: 6px; height: 14px; translate: -50%; border-radius: 3px;
    background: currentColor; color: var(--jp-ui-font-color1, CanvasText); box-shadow: 0 0 0 1px var(--jp-layout-color0, Canvas);
  }

  & .image { grid-area: image; display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: start; min-width: 0; }
  & .image canvas { flex: none; width: 150px; height: 150px; border-radius: 4px; background: black; }
  & .why { flex: 1 1 190px; min-height: 150px; }
  & .why p + .products, & .products + p { margin-top: 8px; }
  & .products { display: flex; align-items: center; gap: 4px; }
  & .cells {
    display: grid; grid-template-columns: repeat(3, auto); gap: 1px; text-align: right;
    font-size: 11px; line-height: 18px; font-variant-numeric: tabular-nums;
  }
  & .cells span { background: var(--soft); padding: 0 2px; }
  & .cells small { grid-column: 1 / -1; text-align: center; font-size: 11px; }

  & .layers { grid-area: layers; display: grid; gap: 8px; min-width: 0; }
  & figcaption { margin-bottom: 2px; }
  & figcaption span { color: var(--quiet); }
  & figure div { position: relative; }
  & figure canvas { width: 100%; background: #2b2b36; cursor: crosshair; touch-action: pan-y; border-radius: 2px; }
  & figure i { position: absolute; outline: 2px solid #ffb000; pointer-events: none; }

  & .kept { grid-area: kept; }
  & .kept ul { display: flex; flex-wrap: wrap; gap: 8px; margin: 6px 0; padding: 0; list-style: none; text-align: center; }
  & .kept canvas { width: 42px; height: 42px; border-radius: 3px; outline: 3px solid var(--right); margin: 3px; }
  & .kept .failed canvas { outline-color: var(--wrong); }
  & [hidden] { display: none; }
}`;

const HTML = `
<div class="parts">
  <div class="draw">
    <canvas tabindex="0" role="application"></canvas>
    <div class="hint" aria-hidden="true"></div>
    <div class="tools">
      <span><button type="button">Undo</button> <button type="button">Clear</button></span>
      <label title="Shrink the drawing to 28 × 28 pixels, and do nothing else"><input type="checkbox">Unprepared</label>
    </div>
  </div>
  <div class="keep tools">
    <label>Label
      <select><option value="">?</option>${DIGITS.map((n) => `<option>${n}</option>`).join("")}</select>
    </label>
    <button type="button">Keep</button>
  </div>
  <div class="result">
    <p role="status"></p>
    ${DIGITS.map((n) => `<div class="row">${n}<div class="bar"><div></div></div><span></span></div>`).join("")}
    <div class="distance"></div>
  </div>
  <div class="image"><canvas role="img" aria-label="The 28 × 28 image that the network gets"></canvas><div class="why"></div></div>
  <div class="layers" role="group" aria-label="Feature maps of the layers"></div>
  <div class="kept" hidden><p></p><ul></ul><button type="button">Undo keep</button></div>
</div>`;

/** Erase and resize the canvas, and draw the strokes in white on transparent. */
function drawStrokes(canvas, side, strokes) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.scale(side, side);
  context.lineCap = "round";
  context.fillStyle = context.strokeStyle = "white";
  for (const points of strokes) {
    let from = points[0];
    drawDisk(context, from); // a tap is a dot
    points.forEach((point, index) => {
      const next = points[index + 1] ?? point;
      const to = index + 1 < points.length ? { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 } : point;
      context.beginPath(); // one path per curve, because the width changes with the pressure
      context.lineWidth = point.width;
      context.moveTo(from.x, from.y);
      context.quadraticCurveTo(point.x, point.y, to.x, to.y);
      context.stroke();
      from = to;
    });
  }
  return context;
}

function drawDisk(context, { x, y, width }) {
  context.beginPath();
  context.arc(x, y, width / 2, 0, 2 * Math.PI);
  context.fill();
}

function percent(probability, decimals) {
  return probability > 0.9995 ? ">99.9%" : `${(100 * probability).toFixed(decimals)}%`;
}

function describe(probabilities, distance, notSure) {
  const [first, second] = [...DIGITS].sort((a, b) => probabilities[b] - probabilities[a]);
  const [p, q] = [probabilities[first], probabilities[second]];
  if (p >= notSure && distance > 1) return `Not sure: ${first} (${percent(p, 1)}), but unlike the training digits`;
  if (p >= notSure) return `${first} (${percent(p, 1)})`;
  return `Not sure: ${first} (${percent(p, 0)}) or ${second} (${percent(q, 0)})`;
}

/** Return the distance to the nearest training digit as a mark on a scale, as HTML. */
function scaleOf(distance) {
  const what = distance > 1 ? "unlike any digit" : "like a digit";
  return `Distance to the nearest training digit: <b>${distance.toFixed(2)}</b>, ${what}
    <div class="scale"><i style="left: ${50 * Math.min(distance, 2)}%"></i></div>99% of digits are below 1.`;
}

class Pad {
  strokes = []; // each is a list of { x, y, width }
  points = 0; // that were ever drawn
  pointer = null; // what draws the last stroke at the moment: the id of a pointer, or "keys"
  cursor = null; // where the keys have moved the pen
  newest = 0; // the number of the last request
  asked = null; // the last question, { drawing, result }
  result = {}; // that is shown
  kept = []; // each is { image, label, best, name }
  keeping = false; // whether a digit is being kept, or that is undone

  constructor(element, predict, options) {
    this.options = {
      not_sure: 0.9,
      no_answer: "The network does not answer. Reload the page.",
      ready: Promise.resolve(),
      ...options,
    };
    Object.assign(this, { element, predict, leave: new AbortController() });
    element.classList.add("digit-pad");
    element.tabIndex = -1;
    element.innerHTML = `<style>${STYLE}</style>${HTML}`;
    const find = (selector) => element.querySelector(selector);
    [this.undoButton, this.clearButton, this.keepButton, this.undoKeepButton] = element.querySelectorAll("button");
    [this.canvas, this.hint, this.status, this.label, this.raw, this.distance, this.gallery] = [
      ...["canvas", ".hint", "[role=status]", "select", "input", ".distance", ".kept"].map(find),
    ];
    this.maps = new Maps(find(".layers"), find(".image"));
    this.keepButton.title = this.options.keep ? "Keep the digit with its label" : "Drawings cannot be kept here.";
    this.undoKeepButton.hidden = !this.options.undoKeep;
    this.keys = KEYS + (this.options.keep ? LABEL_KEYS : "");
    this.canvas.setAttribute("aria-label", `Drawing area. ${this.keys}`);
    this.listen();
    this.update();
    if (options.ready) {
      this.say(LOADING);
      options.ready.then(() => this.status.textContent === LOADING && this.say(""));
    }
  }

  listen() {
    const { canvas, leave } = this;
    canvas.onpointerdown = (event) => this.start(event);
    canvas.onpointermove = (event) => event.pointerId === this.pointer && this.move(event);
    canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = (event) =>
      event.pointerId === this.pointer && this.lift();
    // Otherwise, Chromium takes a fast stroke for a fling, and ignores the next tap, such as on Clear.
    canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    canvas.onfocus = this.label.onchange = () => this.redraw();
    canvas.onblur = () => {
      canvas.toggleAttribute("data-pointer", false);
      if (this.pointer === "keys") this.lift();
      else this.redraw();
    };
    this.undoButton.onclick = () => this.lift(this.strokes.slice(0, -1));
    this.clearButton.onclick = () => this.lift([]);
    this.keepButton.onclick = () => this.keep();
    this.undoKeepButton.onclick = () => this.undoKeep();
    this.raw.onchange = () => this.update();
    // JupyterLab gets keys before any element of the page, but after the window.
    window.addEventListener("keydown", (event) => this.key(event), { capture: true, signal: leave.signal });
    window.addEventListener("resize", () => this.redraw(), { signal: leave.signal }); // zoom changes devicePixelRatio
    const observer = new ResizeObserver(() => {
      this.redraw();
      this.maps.redraw();
    });
    observer.observe(this.element);
    leave.signal.addEventListener("abort", () => observer.disconnect());
  }

  start(event) {
    if (event.button) return;
    if (this.pointer === "keys") this.lift();
    if (this.pointer !== null) return; // a second finger
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    this.canvas.toggleAttribute("data-pointer", true);
    this.cursor = null;
    this.lower(event.pointerId, this.locate(event));
  }

  move(event) {
    const events = event.getCoalescedEvents?.() ?? [];
    this.extend(...(events.length ? events : [event]).map((each) => this.locate(each)));
  }

  locate({ clientX, clientY, pointerType, pressure }) {
    const { left, top, width } = this.canvas.getBoundingClientRect();
    const scale = pointerType === "pen" && pressure > 0 ? 0.5 + pressure : 1; // half of the pressure is usual
    return { x: (clientX - left) / width, y: (clientY - top) / width, width: PEN * scale };
  }

  /** Begin a stroke. A pointer is the id of a pointer, or another name of what draws. */
  lower(pointer, point) {
    this.pointer = pointer;
    this.strokes.push([]);
    this.extend(point);
  }

  /** Continue the last stroke. */
  extend(...points) {
    this.strokes.at(-1).push(...points);
    this.points += points.length;
    this.redraw();
    this.follow();
  }

  /** End the last stroke, or replace all strokes. */
  lift(strokes = this.strokes) {
    this.pointer = null;
    this.strokes = strokes;
    this.update();
  }

  key(event) {
    const { key, shiftKey, target } = event;
    if (!event.composedPath().includes(this.element)) return;
    const [drawing, command] = [target === this.canvas, event.ctrlKey || event.metaKey];
    const undo = (command && key === "z") || (drawing && key === "Backspace");
    if (!undo && (command || event.altKey || (shiftKey && key === "Enter"))) return; // such as save, or run the cell
    event.stopPropagation();
    this.canvas.toggleAttribute("data-pointer", false);
    if (undo) this.lift(this.strokes.slice(0, -1));
    else if (/^\d$/.test(key) && target !== this.label) this.choose(key);
    else if (key in ARROWS && this.maps.key(target, ARROWS[key])) event.preventDefault();
    else if (!drawing) return;
    else if (key in ARROWS) this.step(...ARROWS[key].map((way) => way * STEP * (shiftKey ? 5 : 1)));
    else if (key === " " || key === "Enter") this.switchPen();
    else if (key === "Escape" || key === "Delete") this.lift([]);
    else return;
    event.preventDefault();
  }

  choose(label) {
    this.label.value = label;
    this.redraw();
  }

  step(right, down) {
    const { x, y } = this.cursor ?? { x: 0.5, y: 0.5 };
    const inside = (value) => Math.min(Math.max(value, 0), 1);
    this.cursor = { x: inside(x + right), y: inside(y + down), width: PEN };
    if (this.pointer === "keys") this.extend(this.cursor);
    else this.redraw();
  }

  switchPen() {
    if (this.pointer === "keys") return this.lift();
    if (this.pointer !== null) return;
    this.step(0, 0); // shows the cursor
    this.lower("keys", this.cursor);
  }

  redraw() {
    const { canvas, strokes, cursor } = this;
    const context = drawStrokes(canvas, Math.round(canvas.clientWidth * devicePixelRatio), strokes);
    if (cursor && canvas.matches(":focus")) {
      context.fillStyle = this.pointer === "keys" ? "#d55e00" : "#d55e0099";
      drawDisk(context, cursor);
    }
    const blank = !strokes.length;
    const hint = canvas.matches(":focus-visible:not([data-pointer])") ? this.keys : "Draw a digit";
    this.hint.textContent = blank && !(cursor && canvas.matches(":focus")) ? hint : "";
    this.undoButton.disabled = this.clearButton.disabled = blank;
    this.enableKeep();
  }

  enableKeep() {
    const can = this.options.keep && this.strokes.length && this.result.probabilities && this.label.value && !this.raw.checked;
    this.keepButton.disabled = !can || this.keeping;
    this.undoKeepButton.disabled = this.keeping;
  }

  /** Return the strokes as a drawing for `predict`, the same for every screen. */
  get drawing() {
    const { data } = drawStrokes(document.createElement("canvas"), SIDE, this.strokes).getImageData(0, 0, SIDE, SIDE);
    const pixels = new Uint8Array(SIDE * SIDE).map((_, index) => data[4 * index + 3]); // opacity is brightness
    return { pixels, width: SIDE, height: SIDE, prepared: !this.raw.checked };
  }

  /** Ask for the prediction of the drawing. The end of a stroke may change nothing since the last question. */
  ask() {
    const drawing = [this.points, this.strokes.length, this.raw.checked].join();
    if (drawing !== this.asked?.drawing) {
      const [request, question] = [this.newest, this.drawing];
      const late = (error) => request === this.newest && this.show({ error });
      this.asked = { drawing, result: this.options.ready.then(() => this.answer(this.predict, question, late)) };
    }
    return this.asked.result;
  }

  /** Ask again, because the network has changed. */
  refresh() {
    this.asked = null;
    if (this.strokes.length) this.update(false);
  }

  /** Predict while a stroke is drawn, one question at a time. An unfinished stroke may have no answer yet. */
  async follow() {
    if (!this.options.live || this.following) return;
    this.following = true;
    for (let asked = null; this.pointer !== null && asked !== this.points; ) {
      asked = this.points;
      const request = this.newest;
      const result = await this.ask();
      if (request === this.newest && !result.error) this.show(result);
    }
    this.following = false;
  }

  /** Redraw the strokes, and ask for their prediction. `drawn` is false if the strokes are the same as before. */
  async update(drawn = true) {
    const [started, request] = [performance.now(), ++this.newest];
    const blank = !this.strokes.length;
    if (blank && this.element.contains(document.activeElement) && document.activeElement !== this.raw)
      this.canvas.focus(); // its button will be disabled
    this.redraw();
    if (blank) {
      if (drawn && this.points) this.options.drawn?.(null);
      return this.show({});
    }
    const result = await this.ask();
    if (request !== this.newest) return;
    this.show(result);
    if (drawn) this.options.drawn?.(result.image ?? null);
    requestAnimationFrame(() => {
      const detail = { milliseconds: performance.now() - started };
      this.element.dispatchEvent(new CustomEvent("digitpad:result", { detail, bubbles: true }));
    });
  }

  /** Return the answer. If there is none after 10 seconds, say so and go on waiting, because the kernel may be busy. */
  async answer(ask, question, late = (error) => this.say(error)) {
    const error = this.options.no_answer;
    const timer = setTimeout(() => late(error), WAIT);
    try {
      return await ask(question);
    } catch (cause) {
      console.error(cause);
      return { error };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Say something else than a prediction. */
  say(text) {
    this.element.toggleAttribute("data-sure", false);
    this.status.textContent = text;
  }

  async keep() {
    if (this.pointer !== null) this.lift();
    this.canvas.focus({ preventScroll: true }); // because its button will be disabled
    const [label, strokes] = [Number(this.label.value), new Set(this.strokes)];
    this.setKeeping(true); // or a second click would keep the drawing twice
    const { image, probabilities, ...failed } = await this.ask(); // the strokes may be newer than the last answer
    const { text, name, error } = probabilities ? await this.answer(this.options.keep, { image, label }) : failed;
    this.setKeeping(false);
    if (!error) {
      this.kept.push({ image, label, name, best: probabilities.indexOf(Math.max(...probabilities)) });
      this.showKept();
      this.choose("");
      if (this.strokes.some((stroke) => strokes.has(stroke))) this.removeStrokes(strokes);
    }
    this.say(error ?? text);
  }

  /** Remove strokes that were kept. The next digit may have been started. */
  removeStrokes(strokes) {
    this.strokes = this.strokes.filter((stroke) => !strokes.has(stroke));
    if (this.pointer === null) this.update();
    else this.redraw();
  }

  /** Delete the digit that was kept last. */
  async undoKeep() {
    const last = this.kept.at(-1);
    this.setKeeping(true);
    const { text, error } = await this.answer(this.options.undoKeep, last);
    this.setKeeping(false);
    if (!error) this.kept = this.kept.filter((each) => each !== last);
    this.showKept();
    if (!this.kept.length) this.canvas.focus({ preventScroll: true }); // its button is hidden now
    this.say(error ?? text);
  }

  setKeeping(keeping) {
    this.keeping = keeping;
    this.enableKeep();
  }

  showKept() {
    const { gallery, kept } = this;
    gallery.hidden = !kept.length;
    const right = kept.filter(({ label, best }) => label === best).length;
    gallery.querySelector("p").textContent = `Kept just now: ${kept.length}. The network gets ${right} right.`;
    const items = kept.map(({ image, label, best }) => {
      const [item, canvas] = [document.createElement("li"), document.createElement("canvas")];
      drawDigit(canvas, image);
      item.classList.toggle("failed", label !== best);
      item.append(canvas, label === best ? String(label) : `${label}, not ${best}`);
      return item;
    });
    gallery.querySelector("ul").replaceChildren(...items);
  }

  show({ image, probabilities, distance, layers, error = "" }) {
    this.result = { image, probabilities };
    this.enableKeep();
    const best = probabilities?.indexOf(Math.max(...probabilities));
    const text = probabilities ? describe(probabilities, distance ?? 0, this.options.not_sure) : error;
    this.element.toggleAttribute("data-sure", Boolean(probabilities) && !text.startsWith("Not sure"));
    if (this.status.textContent !== text) this.status.textContent = text;
    this.element.querySelectorAll(".row").forEach((row, digit) => {
      row.classList.toggle("best", digit === best);
      row.querySelector(".bar div").style.width = `${100 * (probabilities?.[digit] ?? 0)}%`;
      row.lastElementChild.textContent = probabilities ? percent(probabilities[digit], 1) : "";
    });
    this.distance.innerHTML = distance === undefined ? "" : scaleOf(distance);
    if (!image) this.maps.clear();
    else requestAnimationFrame(() => setTimeout(() => this.result.image === image && this.maps.show(layers ?? [], image))); // after the bars are on the screen
  }

  remove() {
    this.leave.abort();
    this.element.replaceChildren();
  }
}

/**
 * Build a drawing pad in an element.
 *
 * predict(drawing) gets { pixels: Uint8Array, width, height, prepared: boolean } and returns a promise of { image:
 * Uint8Array(784), probabilities: number[10], distance: number, layers: [{ name, count, height, width, values:
 * Float32Array }] } or of { error }. With a distance above 1, the image is unlike the training digits.
 *
 * Options: keep({ image, label }) returns a promise of { text, name } or of { error }. Without it, drawings cannot be
 * kept. undoKeep({ name }) undoes it, and returns a promise of { text } or of { error }. The pad says no_answer if there
 * is no answer. Nothing is predicted before the promise `ready` is resolved. Below the probability not_sure, the pad
 * names two digits. If it is live, it predicts while a stroke is drawn. drawn(image) is called after each stroke, with
 * null if there is nothing on the pad.
 */
export function digitPad(element, predict, options = {}) {
  return new Pad(element, predict, options);
}
