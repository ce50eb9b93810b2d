// The drawing pad. `digitPad` builds it for any network; the default export connects it to a Jupyter kernel.

const SIDE = 280; // pixels per side of the drawing that the network gets
const PEN = 1 / 14; // width of a stroke. Strokes are stored in fractions of the pad's side.
const STEP = 0.02; // how far an arrow key moves the pen
const WAIT = 10_000; // milliseconds until the pad says that there is no answer
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const DIGITS = [...Array(10).keys()];
const KEYS =
  "Arrow keys move the pen, faster with Shift. Space lowers or lifts it. Backspace undoes a stroke, " +
  "Delete clears. The keys 0 to 9 choose the label.";

const STYLE = `.digit-pad {
  --line: color-mix(in srgb, currentColor 30%, transparent);
  --soft: color-mix(in srgb, currentColor 10%, transparent);
  display: flex; flex-wrap: wrap; gap: 16px; max-width: 648px; padding: 4px; box-sizing: border-box;
  color: var(--jp-ui-font-color1, inherit); font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif);
  & * { box-sizing: border-box; margin: 0; touch-action: manipulation; } /* two fast taps are not a zoom */
  &:focus { outline: none; } /* after a click between the buttons, so that keys do not reach the notebook */
  & :focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
  & canvas { display: block; background: black; border-radius: 3px; image-rendering: pixelated; }
  & .draw { flex: 1 1 240px; max-width: 280px; min-width: 0; position: relative; }
  & .draw canvas {
    width: 100%; aspect-ratio: 1; box-shadow: 0 0 0 1px var(--line); cursor: crosshair; image-rendering: auto;
    touch-action: none; user-select: none; -webkit-user-select: none;
  }
  & .draw canvas[data-pointer] { outline: none; } /* the focus of a pointer needs no ring */
  & .hint {
    position: absolute; inset: 0 0 auto; aspect-ratio: 1; padding: 32px; display: grid; place-items: center;
    color: #999; text-align: center; pointer-events: none;
  }
  & .tools { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin-top: 12px; }
  & label { display: flex; align-items: center; gap: 6px; margin-left: auto; }
  & :is(button, select) {
    min-height: 30px; padding: 0 9px; border: 1px solid var(--line); border-radius: 3px;
    font: inherit; color: inherit; background: var(--soft); cursor: pointer;
    &:disabled { opacity: 0.45; cursor: default; }
    @media (hover: hover) { &:hover:enabled { border-color: currentColor; } }
    @media (pointer: coarse) { min-height: 44px; min-width: 44px; }
  }
  & select { padding: 0 4px; }
  & option { color: black; background: white; }
  & .result { flex: 1 1 240px; min-width: 0; }
  & .top { display: flex; align-items: center; gap: 12px; margin-bottom: 12px; }
  & .top canvas { flex: none; width: 84px; height: 84px; box-shadow: 0 0 0 1px var(--line); }
  & [role="status"] { min-width: 0; overflow-wrap: anywhere; text-wrap: balance; }
  &[data-sure] [role="status"] { font-size: 18px; font-weight: 600; }
  & .row { display: grid; grid-template-columns: 1em 1fr 4.8em; height: 18.4px; align-items: center; }
  & .row :last-child { text-align: right; font-variant-numeric: tabular-nums; }
  & .bar { height: 11px; border-radius: 2px; overflow: hidden; background: var(--soft); }
  & .bar div { height: 100%; background: var(--line); }
  & .best { font-weight: 600; .bar div { background: #0072b2; } }
  & details { flex: 1 1 100%; min-width: 0; }
  & summary { font-weight: 600; cursor: pointer; }
  & details p { margin: 10px 0 3px; }
  & details canvas { width: 100%; background: #333; border: 1px solid #333; }
}`;

const HTML = `
<div class="draw">
  <canvas tabindex="0" role="application" aria-label="Drawing area. ${KEYS}"></canvas>
  <div class="hint" aria-hidden="true"></div>
  <div class="tools">
    <button type="button">Undo</button>
    <button type="button">Clear</button>
    <label>Label
      <select><option value="">?</option>${DIGITS.map((n) => `<option>${n}</option>`).join("")}</select>
    </label>
    <button type="button">Keep</button>
  </div>
</div>
<div class="result">
  <div class="top">
    <canvas width="28" height="28" role="img" aria-label="The 28 × 28 image that the network gets"></canvas>
    <p role="status"></p>
  </div>
  ${DIGITS.map((n) => `<div class="row">${n}<div class="bar"><div></div></div><span></span></div>`).join("")}
</div>
<details open hidden><summary>Feature maps of the layers</summary><div></div></details>`;

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

/** Return the strokes as a drawing for `predict`, the same for every screen. */
function rasterize(strokes) {
  const { data } = drawStrokes(document.createElement("canvas"), SIDE, strokes).getImageData(0, 0, SIDE, SIDE);
  const pixels = new Uint8Array(SIDE * SIDE).map((_, index) => data[4 * index + 3]); // opacity is brightness
  return { pixels, width: SIDE, height: SIDE };
}

/** Draw gray pixels into a canvas of the size that it has. `place` returns where the pixel of an index belongs. */
function drawGray(canvas, pixels, place = (index) => index) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const rgba = new Uint32Array(image.data.buffer);
  pixels.forEach((value, index) => (rgba[place(index)] = value * 0x010101 + 0xff000000));
  context.putImageData(image, 0, 0);
}

/** Return the layer with each value as a map of 12 × 12 equal pixels. */
function toSquares({ count, pixels }) {
  const repeated = Uint8Array.from({ length: 144 * count }, (_, index) => pixels[Math.floor(index / 144)]);
  return { count, height: 12, width: 12, pixels: repeated };
}

/** Draw the feature maps of a layer side by side, in rows that are equally long if their number allows it. */
function drawMaps(canvas, { count, height, width, pixels }, available) {
  const side = width < 16 ? 11 : 30; // of a map on the screen, at least
  const most = Math.max(1, Math.min(count, Math.floor(available / side)));
  const divisors = [...Array(most + 1).keys()].filter((n) => n > most / 2 && count % n === 0);
  const columns = divisors.at(-1) ?? most;
  canvas.width = columns * (width + 1) - 1; // with a gap of one pixel
  canvas.height = Math.ceil(count / columns) * (height + 1) - 1;
  canvas.style.maxWidth = `${2 * side * columns}px`;
  drawGray(canvas, pixels, (index) => {
    const map = Math.floor(index / (height * width));
    const row = Math.floor(map / columns) * (height + 1) + (Math.floor(index / width) % height);
    return row * canvas.width + (map % columns) * (width + 1) + (index % width);
  });
}

function percent(probability, decimals) {
  return probability > 0.9995 ? ">99.9%" : `${(100 * probability).toFixed(decimals)}%`;
}

function describe(probabilities, doubt, notSure) {
  const [first, second] = [...DIGITS].sort((a, b) => probabilities[b] - probabilities[a]);
  const [p, q] = [probabilities[first], probabilities[second]];
  if (p >= notSure && doubt > 1) return `Not sure: ${first} (${percent(p, 1)}), but unlike the training digits`;
  if (p >= notSure) return `${first} (${percent(p, 1)})`;
  return `Not sure: ${first} (${percent(p, 0)}) or ${second} (${percent(q, 0)})`;
}

class Pad {
  strokes = []; // each is a list of { x, y, width }
  pointer = null; // what draws the last stroke at the moment: the id of a pointer, or "keys"
  cursor = null; // where the keys have moved the pen
  newest = 0; // the number of the last request
  layers = [];

  constructor(element, predict, options) {
    this.options = {
      not_sure: 0.9,
      no_answer: "The network does not answer. Reload the page.",
      ...options,
    };
    Object.assign(this, { element, predict, leave: new AbortController() });
    element.classList.add("digit-pad");
    element.tabIndex = -1;
    element.innerHTML = `<style>${STYLE}</style>${HTML}`;
    [this.canvas, this.image] = element.querySelectorAll("canvas");
    [this.undoButton, this.clearButton, this.keepButton] = element.querySelectorAll("button");
    [this.hint, this.status, this.label, this.details] = [".hint", "[role=status]", "select", "details"].map(
      (selector) => element.querySelector(selector),
    );
    this.keepButton.title = this.options.keep
      ? "Save the drawing with its label, and select the next label"
      : "Drawings cannot be kept here.";
    this.listen();
    this.update();
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
    // JupyterLab gets keys before any element of the page, but after the window.
    window.addEventListener("keydown", (event) => this.key(event), { capture: true, signal: leave.signal });
    window.addEventListener("resize", () => this.redraw(), { signal: leave.signal }); // zoom changes devicePixelRatio
    const observer = new ResizeObserver(() => {
      this.redraw();
      this.showLayers();
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
    this.strokes.at(-1).push(...(events.length ? events : [event]).map((each) => this.locate(each)));
    this.redraw();
  }

  locate({ clientX, clientY, pointerType, pressure }) {
    const { left, top, width } = this.canvas.getBoundingClientRect();
    const scale = pointerType === "pen" && pressure > 0 ? 0.5 + pressure : 1; // half of the pressure is usual
    return { x: (clientX - left) / width, y: (clientY - top) / width, width: PEN * scale };
  }

  lower(pointer, point) {
    this.pointer = pointer;
    this.strokes.push([point]);
    this.redraw();
  }

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
    if (this.pointer === "keys") this.strokes.at(-1).push(this.cursor);
    this.redraw();
  }

  switchPen() {
    if (this.pointer === "keys") return this.lift();
    if (this.pointer !== null) return;
    this.step(0, 0); // shows the cursor
    this.lower("keys", this.cursor);
  }

  redraw() {
    const { canvas, strokes, cursor, options } = this;
    const context = drawStrokes(canvas, Math.round(canvas.clientWidth * devicePixelRatio), strokes);
    if (cursor && canvas.matches(":focus")) {
      context.fillStyle = this.pointer === "keys" ? "#d55e00" : "#d55e0099";
      drawDisk(context, cursor);
    }
    const blank = !strokes.length;
    const hint = canvas.matches(":focus-visible:not([data-pointer])") ? KEYS : "Draw a digit";
    this.hint.textContent = blank && !(cursor && canvas.matches(":focus")) ? hint : "";
    this.undoButton.disabled = this.clearButton.disabled = blank;
    this.keepButton.disabled = blank || !options.keep || !this.label.value;
  }

  /** Redraw the strokes, and ask for their prediction. */
  async update() {
    const [started, request] = [performance.now(), ++this.newest];
    const blank = !this.strokes.length;
    if (blank && this.element.contains(document.activeElement)) this.canvas.focus(); // its button will be disabled
    this.redraw();
    if (blank) return this.show({});
    const result = await this.answer(this.predict, rasterize(this.strokes));
    if (request !== this.newest) return;
    this.show(result);
    requestAnimationFrame(() => {
      const detail = { milliseconds: performance.now() - started };
      this.element.dispatchEvent(new CustomEvent("digitpad:result", { detail, bubbles: true }));
    });
  }

  /** Return the answer. After 10 seconds without it, say so and go on waiting, because the kernel may be busy. */
  async answer(ask, question) {
    const [request, error] = [this.newest, this.options.no_answer];
    const timer = setTimeout(() => request === this.newest && this.show({ error }), WAIT);
    try {
      return await ask(question);
    } catch {
      return { error };
    } finally {
      clearTimeout(timer);
    }
  }

  async keep() {
    this.canvas.focus({ preventScroll: true }); // because its button will be disabled
    this.keepButton.disabled = true; // or a second click would keep the drawing twice
    const [label, kept] = [Number(this.label.value), this.strokes.length];
    const { text, error } = await this.answer(this.options.keep, { drawing: rasterize(this.strokes), label });
    const next = error ? label : (label + 1) % 10;
    if (!error) this.strokes = this.strokes.slice(kept); // the next digit may have been started
    if (!error && this.pointer === null) this.update();
    this.choose(next);
    this.element.toggleAttribute("data-sure", false);
    this.status.textContent = error ?? `${text} Now draw a ${next}.`;
  }

  show({ image, probabilities, doubt = 0, layers, error = "" }) {
    const best = probabilities?.indexOf(Math.max(...probabilities));
    this.element.toggleAttribute("data-sure", best >= 0);
    this.status.textContent = probabilities ? describe(probabilities, doubt, this.options.not_sure) : error;
    this.element.querySelectorAll(".row").forEach((row, digit) => {
      row.classList.toggle("best", digit === best);
      row.querySelector(".bar div").style.width = `${100 * (probabilities?.[digit] ?? 0)}%`;
      row.lastElementChild.textContent = probabilities ? percent(probabilities[digit], 1) : "";
    });
    drawGray(this.image, image ?? new Uint8Array(28 * 28));
    const blank = (layer) => ({ ...layer, pixels: new Uint8Array(layer.pixels.length) });
    this.layers = layers ?? this.layers.map(blank); // so that the page keeps its height
    if (layers) requestAnimationFrame(() => setTimeout(() => this.showLayers())); // after the bars are on the screen
    else this.showLayers();
  }

  showLayers() {
    const { layers, details } = this;
    details.hidden = !layers.length;
    const rows = layers.flatMap((layer) => {
      const { name, count, height, width } = layer;
      const [title, canvas] = [document.createElement("p"), document.createElement("canvas")];
      title.textContent = `${name}: ${count} ${height * width > 1 ? `maps of ${height} × ${width}` : "values"}`;
      drawMaps(canvas, height * width > 1 ? layer : toSquares(layer), details.clientWidth);
      return [title, canvas];
    });
    details.lastElementChild.replaceChildren(...rows);
  }

  remove() {
    this.leave.abort();
    this.element.replaceChildren();
  }
}

/**
 * Build a drawing pad in an element.
 *
 * predict(drawing) gets { pixels: Uint8Array, width, height } and returns a promise of { image: Uint8Array(784),
 * probabilities: number[10], doubt: number, layers: [{ name, count, height, width, pixels: Uint8Array }] } or of
 * { error }. A doubt above 1 means that the image is unlike the training digits.
 *
 * Options: keep({ drawing, label }) returns a promise of { text } or of { error }. Without it, drawings cannot
 * be kept. The pad says no_answer if there is no answer. Below the probability not_sure, it names two digits.
 */
export function digitPad(element, predict, options = {}) {
  return new Pad(element, predict, options);
}

function render({ model, el }) {
  const waiting = new Map();
  const receive = ({ id, layers, ...reply }, buffers) => {
    const [image, ...maps] = buffers.map((view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    waiting.get(id)?.({ ...reply, image, layers: layers?.map((layer, index) => ({ ...layer, pixels: maps[index] })) });
    waiting.delete(id);
  };
  const ask = (content, { pixels }) =>
    new Promise((resolve) => {
      const id = Math.random(); // not a counter, because every view of this pad gets every reply
      waiting.set(id, resolve);
      model.send({ ...content, id }, undefined, [pixels]);
    });
  model.on("msg:custom", receive);
  const pad = digitPad(el, (drawing) => ask({ kind: "predict" }, drawing), {
    keep: ({ drawing, label }) => ask({ kind: "keep", label }, drawing),
    no_answer: "The kernel does not answer. Run the cell again.",
  });
  return () => {
    model.off("msg:custom", receive);
    pad.remove();
  };
}

export default { render };
