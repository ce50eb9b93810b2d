// The feature maps of the layers, and what a value in them is computed from.

import { normalizePixel } from "./net.js";

const RAMP_COLORS = ["#000004", "#420a68", "#932667", "#dd513a", "#fca50a", "#fcffa4"]; // matplotlib's inferno
const SMALLEST = { large: 36, small: 17, value: 11 }; // pixels per side on the screen, of a map or a single value
const POINT = "Point at a map to see what its values are computed from.";

const ramp = Uint32Array.from({ length: 256 }, (_, level) => {
  const [at, rest] = [Math.min(Math.floor(level / 51), 4), level / 51 - Math.min(Math.floor(level / 51), 4)];
  const channel = (start) => {
    const [low, high] = [0, 1].map((next) => parseInt(RAMP_COLORS[at + next].slice(start, start + 2), 16));
    return Math.round(low + rest * (high - low));
  };
  return 0xff000000 + (channel(5) << 16) + (channel(3) << 8) + channel(1); // little-endian RGBA
});

/** Draw pixels, 0 to 255, into a canvas of the size that it has. `place` returns where the pixel of an index belongs. */
export function drawPixels(canvas, pixels, colors, place = (index) => index) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const rgba = new Uint32Array(image.data.buffer);
  pixels.forEach((value, index) => (rgba[place(index)] = colors(value)));
  context.putImageData(image, 0, 0);
}

const grays = (value) => value * 0x010101 + 0xff000000;

/** Draw a digit, Uint8Array(784), in white on black. */
export function drawDigit(canvas, image) {
  canvas.width = canvas.height = 28;
  drawPixels(canvas, image, grays);
}

const escaped = (text) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const signed = (value) => value.toFixed(2).replace(/^-(?=0\.00$)/, "").replace("-", "−");

/** Return how many maps fit side by side, so that all rows are equally long if their number allows it. */
function columnsFor({ count, height }, available) {
  const side = height > 16 ? SMALLEST.large : height > 1 ? SMALLEST.small : SMALLEST.value;
  const most = Math.max(1, Math.min(count, Math.floor(available / side)));
  const divisors = [...Array(most + 1).keys()].filter((n) => n > most / 2 && count % n === 0);
  return [divisors.at(-1) ?? most, side];
}

export class Maps {
  /**
   * Show maps in `list`, and in `inspector` the network's image with what the value under the pointer depends on.
   *
   * A layer is { name, count, height, width, values: Float32Array, field }. Without `field`, only its value is told.
   */
  constructor(list, inspector) {
    Object.assign(this, { list, inspector, rows: new Map(), image: new Uint8Array(784), at: null });
    [this.canvas, this.why] = inspector.children;
    this.inspect();
  }

  show(layers, image) {
    this.image = image;
    const keyOf = ({ name, count, height, width }) => [name, count, height, width].join();
    const keys = layers.map(keyOf);
    for (const [key, row] of this.rows) if (!keys.includes(key)) this.drop(key, row);
    layers.forEach((layer, index) => {
      if (!this.rows.has(keys[index])) this.rows.set(keys[index], this.add(layer));
      Object.assign(this.rows.get(keys[index]), layer);
    });
    this.redraw();
    this.inspect();
  }

  /** Set all values to 0, so the page keeps its height. */
  clear() {
    const blank = (row) => ({ ...row, values: new Float32Array(row.values.length) });
    this.pointAt(null);
    this.show([...this.rows.values()].map(blank), new Uint8Array(784));
  }

  drop(key, row) {
    if (this.at?.row === row) this.pointAt(null);
    row.figure.remove();
    this.rows.delete(key);
  }

  add({ name, count, height, width }) {
    const figure = document.createElement("figure");
    const what = height * width > 1 ? `${count} maps of ${height} × ${width}` : `${count} values`;
    figure.innerHTML = `<figcaption><b>${escaped(name)}</b> <span>${what}</span></figcaption>
      <div><canvas tabindex="0" role="application"></canvas><i hidden></i></div>`;
    this.list.append(figure);
    const canvas = figure.querySelector("canvas");
    canvas.setAttribute("aria-label", `${name}, ${what}. Arrow keys point at a value.`);
    const row = { figure, canvas, mark: figure.querySelector("i") };
    canvas.onpointermove = canvas.onpointerdown = (event) => this.point(row, event);
    canvas.onpointerleave = ({ pointerType }) => pointerType === "mouse" && this.pointAt(null); // a finger has lifted
    canvas.onblur = () => this.pointAt(null);
    return row;
  }

  redraw() {
    const available = this.list.clientWidth;
    for (const row of this.rows.values()) {
      const { canvas, count, height, width, values } = row;
      const [columns, side] = columnsFor(row, available);
      const gap = height * width > 1 ? 1 : 0;
      Object.assign(row, { columns, down: height + gap, across: width + gap });
      canvas.width = columns * row.across - gap;
      canvas.height = Math.ceil(count / columns) * row.down - gap;
      canvas.parentElement.style.maxWidth = `${1.6 * side * columns}px`;
      let most = 1e-9;
      for (const value of values) if (value > most) most = value;
      const size = height * width;
      // The square root makes low values visible.
      const level = (value) => ramp[Math.round(255 * Math.sqrt(Math.max(value, 0) / most))];
      drawPixels(canvas, values, level, (index) => {
        const map = Math.floor(index / size);
        const line = Math.floor(map / columns) * row.down + (Math.floor(index / width) % height);
        return line * canvas.width + (map % columns) * row.across + (index % width);
      });
    }
  }

  point(row, { clientX, clientY }) {
    const { left, top, width, height } = row.canvas.getBoundingClientRect();
    const x = Math.floor(((clientX - left) / width) * row.canvas.width);
    const y = Math.floor(((clientY - top) / height) * row.canvas.height);
    this.pointAt(row, x, y);
  }

  /** Point at a pixel of a row's canvas. */
  pointAt(row, x = 0, y = 0) {
    if (this.at) this.at.row.mark.hidden = true;
    this.at = null;
    if (row) {
      const [column, line] = [Math.floor(x / row.across), Math.floor(y / row.down)];
      const within = (value, size) => Math.min(Math.max(value, 0), size - 1);
      const map = within(line * row.columns + column, row.count);
      const place = { x: within(x % row.across, row.width), y: within(y % row.down, row.height) };
      this.at = { row, map, ...place };
    }
    this.inspect();
  }

  /** Move what is pointed at by an arrow key. Returns whether the key was one for a map. */
  key(canvas, [right, down]) {
    const row = [...this.rows.values()].find((each) => each.canvas === canvas);
    if (!row) return false;
    const { map, x, y } = this.at?.row === row ? this.at : { map: 0, x: -right, y: -down };
    const [left, top] = [(map % row.columns) * row.across, Math.floor(map / row.columns) * row.down];
    let [nextX, nextY] = [left + x + right, top + y + down];
    if (row.across > row.width && nextX % row.across === row.width) nextX += right; // the gap
    if (row.down > row.height && nextY % row.down === row.height) nextY += down;
    const inside = (value, size) => Math.min(Math.max(value, 0), size - 1);
    this.pointAt(row, inside(nextX, row.canvas.width), inside(nextY, row.canvas.height));
    return true;
  }

  /** Draw the network's image, and the square of it that the value depends on. */
  inspect() {
    const { canvas, why, at } = this;
    const scale = 8; // pixels of the canvas for each of the image
    canvas.width = canvas.height = 28 * scale;
    const context = canvas.getContext("2d");
    drawPixels(canvas, new Uint8Array(canvas.width ** 2), grays);
    this.image.forEach((value, index) => {
      context.fillStyle = `rgb(${value} ${value} ${value})`;
      context.fillRect((index % 28) * scale, Math.floor(index / 28) * scale, scale, scale);
    });
    if (!at) {
      why.innerHTML = `<p><b>28 × 28 pixels:</b> what the network gets. ${this.rows.size ? POINT : ""}</p>`;
      return;
    }
    const { row, map, x, y } = at;
    const value = row.values[(map * row.height + y) * row.width + x];
    const where = row.height > 1 ? `map ${map}, row ${y}, column ${x}` : `value ${map}`;
    let depends = "";
    if (row.field) {
      const [side, step] = row.field;
      [context.strokeStyle, context.lineWidth] = ["#ffb000", 3];
      context.strokeRect(x * step * scale + 1.5, y * step * scale + 1.5, side * scale - 3, side * scale - 3);
      depends = ` It depends on ${side} × ${side} pixels.`;
    } else if (row.height === 1) depends = " It depends on all pixels.";
    const products = row.weight ? this.products(row, map, x, y) : "";
    why.innerHTML = `<p><b>${escaped(row.name)}</b>, ${where}: <b>${signed(value)}</b>.${depends}</p>${products}`;
    this.place(row, map, x, y);
  }

  /** Frame the value in its map. */
  place({ mark, canvas, columns, across, down }, map, x, y) {
    const part = (value, size) => `${(100 * value) / size}%`;
    const [left, top] = [(map % columns) * across + x, Math.floor(map / columns) * down + y];
    const box = { left: part(left, canvas.width), top: part(top, canvas.height) };
    Object.assign(mark.style, box, { width: part(1, canvas.width), height: part(1, canvas.height) });
    mark.hidden = false;
  }

  /** Return the nine products of a 3 × 3 convolution of the image, and their sum, as HTML. */
  products({ weight, bias }, map, x, y) {
    const nine = [...Array(9).keys()];
    const pixels = nine.map((k) => normalizePixel(this.image[(y + Math.floor(k / 3)) * 28 + x + (k % 3)]));
    const weights = nine.map((k) => weight[9 * map + k]);
    const products = nine.map((k) => pixels[k] * weights[k]);
    const sum = products.reduce((total, each) => total + each, 0);
    const cells = (name, values) =>
      `<span class="cells" role="img" aria-label="${name} ${values.map(signed).join(", ")}">${values
        .map((value) => `<span>${signed(value)}</span>`)
        .join("")}<small>${name}</small></span>`;
    const [total, after] = [sum + bias[map], Math.max(sum + bias[map], 0)];
    const add = `${signed(sum)} ${bias[map] < 0 ? "−" : "+"} ${signed(Math.abs(bias[map]))}`;
    return `<div class="products">${cells("pixels", pixels)}<b>×</b>${cells("weights", weights)}<b>=</b>${cells("products", products)}</div>
      <p>sum + bias: ${add} = ${signed(total)}. After the ReLU: <b>${signed(after)}</b>.</p>`;
  }
}
