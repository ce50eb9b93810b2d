// A guess: set a number on a scale, or draw a curve, and then see the true one over it. It needs no kernel.
// All positions are fractions of the plot: x from left to right, y from bottom to top.

const COLUMNS = 120; // a curve is drawn at multiples of 1 / COLUMNS of the width
const STOP = 10; // columns between two positions of the keyboard's cursor
const NEAR = 6; // a curve that begins or ends at most so many columns from an edge was meant to reach it
const ARROWS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 };
const KEYS = { ...ARROWS, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }; // in steps

const STYLE = `.digit-guess {
  --line: color-mix(in srgb, currentColor 30%, transparent);
  --soft: color-mix(in srgb, currentColor 10%, transparent);
  --mine: #0072b2; --true: #b85000; /* both are legible below white text, and for color-blind readers */
  --thin: color-mix(in srgb, var(--mine) 80%, currentColor); --bold: color-mix(in srgb, #d55e00 85%, currentColor);
  max-width: 648px; margin: 4px; padding: 14px 16px; border: 1px solid var(--line); border-radius: 6px;
  color: var(--jp-ui-font-color1, inherit); font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif);
  &, & * { box-sizing: border-box; }
  & p { margin: 0; }
  & .title { font-size: 15px; font-weight: 600; text-wrap: pretty; }
  & [role="slider"] {
    position: relative; cursor: pointer; touch-action: none; user-select: none; -webkit-user-select: none;
    border-radius: 4px; -webkit-tap-highlight-color: transparent;
    & * { pointer-events: none; }
    &[aria-disabled="true"] { cursor: default; touch-action: auto; }
    &[data-pointer] { outline: none; } /* the focus of a pointer needs no ring */
  }
  & :focus-visible { outline: 2px solid var(--mine); outline-offset: 2px; }
  & .at { position: absolute; left: calc(100% * var(--x)); bottom: calc(100% * var(--y, 0)); }
  & .tick {
    color: color-mix(in srgb, currentColor 75%, transparent); font-size: 12px; font-variant-numeric: tabular-nums;
  }

  & .scale { margin: 4px 24px 36px; height: 80px; }
  & .track, & .gap { position: absolute; bottom: 20px; height: 6px; border-radius: 3px; }
  & .track { left: 0; right: 0; background: var(--soft); box-shadow: inset 0 0 0 1px var(--line); }
  & .gap { left: calc(100% * var(--low)); right: calc(100% * (1 - var(--high))); background: var(--true); }
  & .scale .tick { bottom: -20px; translate: -50%; }
  & .scale .tick::before {
    content: ""; position: absolute; left: 50%; bottom: 100%; margin-bottom: 6px; height: 8px;
    border-left: 1px solid var(--line);
  }
  & .pill {
    padding: 3px 10px; border-radius: 14px; min-width: 44px; font-weight: 600; line-height: 22px; color: white;
    text-align: center; white-space: nowrap; font-variant-numeric: tabular-nums; translate: -50%;
  }
  & .pill.mine { bottom: 9px; background: var(--mine); box-shadow: 0 1px 4px #0006; }
  & .pill.none { color: var(--thin); background: var(--jp-layout-color0, Canvas); box-shadow: 0 0 0 2px var(--thin); }
  & .pill.true { bottom: 48px; background: var(--true); }
  & .pill.true::after {
    content: ""; position: absolute; top: 100%; left: 50%; height: 23px; translate: -50%;
    border-left: 3px solid var(--true);
  }

  & .ylabel, & .xlabel { color: color-mix(in srgb, currentColor 75%, transparent); }
  & .ylabel { margin: 10px 0 10px; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px; }
  & .xlabel { margin: 26px 0 0; text-align: center; }
  & .legend { display: flex; gap: 14px; visibility: hidden; }
  &[data-shown] .legend { visibility: visible; }
  & .legend ::before {
    content: ""; display: inline-block; width: 18px; margin-right: 6px; border-top: 3px solid; vertical-align: 4px;
  }
  & .legend .mine { color: var(--thin); }
  & .legend .true { color: var(--bold); }
  & .scale + .xlabel { margin-top: -8px; }
  & .chart {
    margin: 0 6px 0 var(--wide); height: clamp(180px, 40vw, 240px); cursor: crosshair;
    border: solid var(--line); border-width: 0 0 1px 1px; border-radius: 0;
    & .tick { line-height: 16px; white-space: nowrap; }
    & .tick.y { left: 0; translate: calc(-100% - 8px) 50%; }
    & .tick.x { bottom: -24px; translate: -50%; }
    & .grid { position: absolute; left: 0; right: 0; border-top: 1px solid var(--soft); bottom: calc(100% * var(--y)); }
    & svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
    & path {
      fill: none; stroke-width: 3; stroke-linejoin: round; stroke-linecap: round; vector-effect: non-scaling-stroke;
    }
    & path.mine { stroke: var(--thin); }
    & path.true { stroke: var(--bold); stroke-width: 2.5; }
    & path.between { fill: color-mix(in srgb, var(--bold) 16%, transparent); stroke: none; }
    & .cursor {
      width: 14px; height: 14px; translate: -50% 50%;
      border: 2px solid white; border-radius: 50%; background: var(--mine);
    }
    & .hint {
      position: absolute; inset: 0; display: grid; place-items: center; padding: 16px;
      color: color-mix(in srgb, currentColor 70%, transparent); font-size: 15px;
      text-align: center; text-wrap: balance;
    }
  }

  & .below { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; margin-top: 14px; }
  & button {
    min-height: 32px; padding: 0 14px; border: 1px solid transparent; border-radius: 4px; font: inherit;
    font-weight: 600; color: white; background: var(--mine); cursor: pointer;
    &:disabled { color: inherit; background: var(--soft); opacity: 0.55; cursor: default; }
    &.again { color: inherit; background: var(--soft); border-color: var(--line); }
    @media (hover: hover) { &:hover:enabled { filter: brightness(1.12); } }
    @media (pointer: coarse) { min-height: 44px; }
  }
  & [role="status"] { flex: 1 1 240px; min-height: 1.4em; text-wrap: pretty; }
  &[data-shown] [role="status"] { font-size: 14px; }

  @media (prefers-reduced-motion: no-preference) {
    & .pill.true[data-moves] { animation: guess-from 0.9s ease-in-out both; }
    & .gap[data-moves] { animation: guess-grow 0.9s ease-in-out both; }
    & svg[data-moves] { animation: guess-draw 1.6s ease-in-out both; }
  }
}
@keyframes guess-from { from { left: calc(100% * var(--from)); } }
@keyframes guess-grow { from { left: calc(100% * var(--from)); right: calc(100% * (1 - var(--from))); } }
@keyframes guess-draw { from { clip-path: inset(-9px 100% -9px -9px); } to { clip-path: inset(-9px); } }`;

const HTML = `
<p class="title"></p>
<div role="slider" tabindex="0"></div>
<div class="below"><button type="button"></button><p role="status"></p></div>`;

const BLANK = `<p class="hint">Draw your guess here, from left to right</p>`;
const HEAD = `
<div class="ylabel" aria-hidden="true">
  <span></span>
  <span class="legend"><span class="mine">your guess</span><span class="true">the answer</span></span>
</div>`;

const clamp = (value, low = 0, high = 1) => Math.min(Math.max(value, low), high);

/** Return the smallest of 1, 2, 5, 10, ... that divides the span into at most `count` parts. */
function niceStep(span, count) {
  const power = 10 ** Math.floor(Math.log10(span / count));
  return power * [1, 2, 5, 10].find((factor) => factor * power * count >= span * (1 - 1e-9));
}

function ticks(low, high, count) {
  const step = niceStep(high - low, count);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => (first + index) * step);
}

/** Return the y at x of the line through the points [x, y]. Before the first and after the last one, it is flat. */
function interpolate(points, x) {
  const next = points.findIndex((point) => point[0] >= x);
  if (next < 1) return points.at(next)[1];
  const [[x0, y0], [x1, y1]] = points.slice(next - 1, next + 1);
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
}

const path = (points) => `M${points.map(([x, y]) => `${x.toFixed(5)} ${(1 - y).toFixed(5)}`).join("L")}`;
const svg = (paths, more = "") => `<svg viewBox="0 0 1 1" preserveAspectRatio="none" ${more}>${paths}</svg>`;
const at = (name, x, y, text = "") =>
  `<span class="at ${name}" style="--x: ${x}; --y: ${y}">${text}</span>`;

/** What numbers and curves share. */
class Guess {
  pointer = null; // the id of the pointer that sets the guess at the moment
  shown = false; // whether the answer is

  constructor(element, question) {
    Object.assign(this, { element, question: { button: "Show the answer", ...question }, leave: new AbortController() });
    const { low, high, digits } = question;
    this.step = niceStep(high - low, 100); // of an arrow key
    this.format = new Intl.NumberFormat("en-US", { maximumFractionDigits: digits }).format;
    this.fraction = (value) => (value - low) / (high - low);
    this.value = (fraction) => low + fraction * (high - low);
    element.classList.add("digit-guess");
    element.innerHTML = `<style>${STYLE}</style>${HTML}`;
    [this.title, this.plot, this.button, this.status] = [".title", "[role=slider]", "button", "[role=status]"].map(
      (selector) => element.querySelector(selector),
    );
    this.title.textContent = question.title;
    this.plot.setAttribute("aria-valuemin", low);
    this.plot.setAttribute("aria-valuemax", high);
    this.clear();
    this.build();
    this.listen();
    this.update();
  }

  listen() {
    const { plot, button, leave } = this;
    plot.onpointerdown = (event) => this.start(event);
    plot.onpointermove = (event) => event.pointerId === this.pointer && this.move(event);
    plot.onpointerup = plot.onpointercancel = plot.onlostpointercapture = (event) =>
      event.pointerId === this.pointer && this.lift();
    // Otherwise, Chromium takes a fast stroke for a fling, and ignores the next tap, such as on the button.
    plot.addEventListener("touchstart", (event) => this.shown || event.preventDefault(), { passive: false });
    button.onclick = () => this.toggle();
    // JupyterLab gets keys before any element of the page, but after the window.
    window.addEventListener("keydown", (event) => this.key(event), { capture: true, signal: leave.signal });
  }

  start(event) {
    if (event.button || this.shown || this.pointer !== null) return; // the last one is a second finger
    event.preventDefault();
    this.pointer = event.pointerId;
    this.plot.setPointerCapture(event.pointerId);
    this.plot.toggleAttribute("data-pointer", true);
    this.plot.focus({ preventScroll: true });
    this.move(event);
  }

  move(event) {
    const { left, bottom, width, height } = this.plot.getBoundingClientRect();
    const events = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of events.length ? events : [event])
      this.point(clamp((clientX - left) / width), clamp((bottom - clientY) / height));
    this.update();
  }

  lift() {
    this.pointer = null;
    this.end();
    this.update();
  }

  key(event) {
    const { key, shiftKey, target } = event;
    if (!event.composedPath().includes(this.element)) return;
    if (event.ctrlKey || event.metaKey || event.altKey || (shiftKey && key === "Enter")) return; // such as run the cell
    event.stopPropagation();
    this.plot.toggleAttribute("data-pointer", false);
    if (target !== this.plot || !(key in KEYS)) return;
    event.preventDefault();
    if (this.shown) return;
    this.press(key);
    this.update();
  }

  /** Return the value after a key, a multiple of the step inside the limits. */
  moved(value, key) {
    const { low, high } = this.question;
    return clamp(this.step * Math.round(value / this.step + (KEYS[key] ?? 0)), low, high);
  }

  toggle() {
    this.shown = !this.shown;
    if (!this.shown) this.clear();
    this.update(this.shown);
    if (!this.shown) this.plot.focus({ preventScroll: true }); // its button is disabled now
  }

  /** Draw everything. `moves` lets the answer move into its place. */
  update(moves = false) {
    const { element, plot, button, status, shown } = this;
    element.toggleAttribute("data-shown", shown);
    plot.setAttribute("aria-disabled", shown);
    button.textContent = shown ? "Guess again" : this.question.button;
    button.classList.toggle("again", shown);
    button.disabled = !this.complete;
    this.draw(moves ? "data-moves" : "");
    const text = shown ? this.result() : this.hint();
    if (status.textContent !== text) status.textContent = text;
  }

  remove() {
    this.leave.abort();
    this.element.replaceChildren();
  }
}

class NumberGuess extends Guess {
  get complete() {
    return this.guess !== null;
  }

  clear() {
    this.guess = null;
  }

  build() {
    const { question, plot } = this;
    plot.classList.add("scale");
    plot.setAttribute("aria-label", question.title);
    const many = this.short(question.high).length > 5 ? 3 : 5; // long numbers need room on a phone
    const marks = ticks(question.low, question.high, many).map((value) =>
      at("tick", this.fraction(value), 0, this.short(value)),
    );
    plot.innerHTML = `<div class="track"></div>${marks.join("")}<div></div>`;
    if (question.label === "%") return;
    plot.insertAdjacentHTML("afterend", `<p class="xlabel" aria-hidden="true"></p>`);
    plot.nextElementSibling.textContent = question.label;
  }

  /** Return a number as on the scale: with its unit only if that is %. */
  short(value) {
    return this.format(value) + (this.question.label === "%" ? "%" : "");
  }

  long(value) {
    return this.short(value) + (this.question.label === "%" ? "" : ` ${this.question.label}`);
  }

  point(x) {
    this.guess = this.moved(this.value(x), "");
  }

  end() {}

  press(key) {
    this.guess = this.moved(this.guess ?? this.value(0.5), key);
  }

  draw(moves) {
    const { guess, plot, shown, question } = this;
    const value = guess ?? this.value(0.5);
    const mine = this.fraction(value);
    const truth = this.fraction(question.y[0]);
    const ends = `--low: ${Math.min(mine, truth)}; --high: ${Math.max(mine, truth)}; --from: ${mine}; --x: ${truth}`;
    const answer = `<div class="gap" ${moves} style="${ends}"></div>
      <span class="at pill true" ${moves} style="${ends}">${this.short(question.y[0])}</span>`;
    plot.lastElementChild.innerHTML =
      (shown ? answer : "") +
      (guess === null ? at("pill mine none", mine, 0, "?") : at("pill mine", mine, 0, this.short(guess)));
    plot.setAttribute("aria-valuenow", value);
    plot.setAttribute("aria-valuetext", guess === null ? "No guess yet" : this.long(guess));
  }

  hint() {
    return this.guess === null ? "Drag the handle, or use the arrow keys." : "";
  }

  result() {
    const { guess, question, step } = this;
    const difference = guess - question.y[0];
    const gap = Math.abs(difference).toLocaleString("en-US", { maximumSignificantDigits: 3 });
    const unit = question.label === "%" ? `percentage point${gap === "1" ? "" : "s"}` : question.label;
    const close = Math.abs(difference) <= step / 2;
    return (
      `Your guess: ${this.long(guess)}. The answer: ${this.long(question.y[0])}. ` +
      (close ? "You cannot get closer on this scale." : `${gap} ${unit} too ${difference < 0 ? "low" : "high"}.`)
    );
  }
}

class CurveGuess extends Guess {
  get complete() {
    return 0 in this.drawn && COLUMNS in this.drawn;
  }

  /** Return the points [x, y] of the drawing, in fractions. */
  get points() {
    return this.drawn.flatMap((y, column) => [[column / COLUMNS, y]]); // skips columns that are not drawn
  }

  clear() {
    this.drawn = []; // for each column that was drawn, its y. The line between two of them is straight.
    this.last = null; // column and y of the last point of a stroke
    this.stop = null; // column of the keyboard's cursor
  }

  build() {
    const { question, plot } = this;
    const [first, last] = [question.x[0], question.x.at(-1)];
    this.x = (fraction) => first + fraction * (last - first);
    this.truth = question.x.map((x, index) => [(x - first) / (last - first), this.fraction(question.y[index])]);
    const keys = "Left and right arrow keys move along the curve, up and down change its value.";
    plot.classList.add("chart");
    plot.setAttribute("aria-label", `${question.title.replace(/[^.?]$/, "$&.")} ${keys}`);
    plot.setAttribute("aria-orientation", "vertical");
    plot.insertAdjacentHTML("beforebegin", HEAD);
    plot.insertAdjacentHTML("afterend", `<p class="xlabel" aria-hidden="true"></p>`);
    plot.previousElementSibling.firstElementChild.textContent = question.label;
    plot.nextElementSibling.textContent = question.xlabel;
    const rows = ticks(question.low, question.high, 5);
    const places = rows.map((value) => [this.fraction(value), this.format(value)]);
    const columns = ticks(first, last, 6).map((x) => at("tick x", (x - first) / (last - first), 0, this.format(x)));
    const lines = places.map(([y, text]) => `<div class="grid" style="--y: ${y}"></div>${at("tick y", 0, y, text)}`);
    plot.style.setProperty("--wide", `${Math.max(...places.map(([, text]) => text.length)) + 2}ch`);
    plot.innerHTML = `${lines.join("")}${columns.join("")}<div></div>`;
  }

  point(x, y) {
    const column = Math.round(x * COLUMNS);
    const [from, before] = this.last ?? [column, y];
    const way = Math.sign(column - from);
    for (let each = from; each !== column; each += way)
      this.drawn[each] = before + ((y - before) * (each - from)) / (column - from);
    this.drawn[column] = y;
    this.last = [column, y];
    this.stop = null;
  }

  end() {
    const columns = Object.keys(this.drawn).map(Number);
    const [first, last] = [columns[0], columns.at(-1)];
    if (first <= NEAR) this.drawn[0] ??= this.drawn[first];
    if (last >= COLUMNS - NEAR) this.drawn[COLUMNS] ??= this.drawn[last];
    this.last = null;
  }

  press(key) {
    this.stop ??= 0;
    const side = key === "ArrowLeft" || key === "ArrowRight" ? STOP * KEYS[key] : 0;
    const current = this.points.length ? interpolate(this.points, this.stop / COLUMNS) : 0.5;
    this.drawn[this.stop] ??= current;
    this.stop = clamp(this.stop + side, 0, COLUMNS);
    if (side) {
      this.drawn[this.stop] ??= interpolate(this.points, this.stop / COLUMNS); // the line goes on
      return;
    }
    for (let near = 1; near < STOP; near++) {
      delete this.drawn[this.stop - near]; // so that the line is straight on both sides of the cursor
      delete this.drawn[this.stop + near];
    }
    this.drawn[this.stop] = this.fraction(this.moved(this.value(current), key));
  }

  draw(moves) {
    const { plot, points, shown, stop, truth } = this;
    const line = points.length === 1 ? [points[0], points[0]] : points; // a single point is a dot
    const cursor = stop !== null && !shown;
    plot.lastElementChild.innerHTML =
      (shown ? svg(`<path class="between" d="${path([...truth, ...[...points].reverse()])}Z"/>`, moves) : "") +
      (points.length ? svg(`<path class="mine" d="${path(line)}"/>`) : BLANK) +
      (shown ? svg(`<path class="true" d="${path(truth)}"/>`, moves) : "") +
      (cursor ? at("cursor", stop / COLUMNS, this.drawn[stop]) : "");
    const x = (stop ?? 0) / COLUMNS;
    const value = this.value(points.length ? interpolate(points, x) : 0.5);
    const told = `${this.format(value)} at ${this.question.xlabel} ${this.format(this.x(x))}`;
    plot.setAttribute("aria-valuenow", value);
    plot.setAttribute("aria-valuetext", points.length ? told : "No guess yet");
  }

  hint() {
    if (this.complete) return "";
    return this.points.length ? "Continue until the line reaches both edges." : "Or use the arrow keys.";
  }

  result() {
    const { points, truth } = this;
    const gaps = Array.from({ length: COLUMNS + 1 }, (_, column) =>
      Math.abs(interpolate(points, column / COLUMNS) - interpolate(truth, column / COLUMNS)),
    );
    const mean = (gaps.reduce((sum, gap) => sum + gap) / gaps.length) * (this.value(1) - this.value(0));
    const told = mean.toLocaleString("en-US", { maximumSignificantDigits: 2 });
    const ends = (line) => `from ${this.format(this.value(line[0][1]))} to ${this.format(this.value(line.at(-1)[1]))}`;
    return `Your guess: ${ends(points)}. The answer: ${ends(truth)}. The mean gap between the two curves is ${told}.`;
  }
}

/**
 * Ask a question in an element.
 *
 * The question is { title, label, xlabel, low, high, digits, x: number[], y: number[] }. Without x, the answer is the
 * number y[0], and the label is its unit. Otherwise, it is a curve, and the label is that of its y-axis. The question
 * may also have the text of its button.
 */
export function guess(element, question) {
  return question.x.length ? new CurveGuess(element, question) : new NumberGuess(element, question);
}

function render({ model, el }) {
  const widget = guess(el, model.get("question"));
  return () => widget.remove();
}

export default { render };
