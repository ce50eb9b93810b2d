// mnist_s5/pictures/prepare.py in JavaScript: from a drawing of one digit to MNIST's format.

const LARGE = 100; // pixels per side. Drawings that are at least twice as large are halved, to save time.
const MAX_STROKE_WIDTH = 8; // in pixels of MNIST, as STROKE_WIDTHS
const STROKE_WIDTHS = [1.7, 3.6];

/** Return rows × columns numbers: value(row, column). */
function grid(rows, columns, value) {
  const data = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) data[row * columns + column] = value(row, column);
  return { rows, columns, data };
}

/** Return the smallest part of a grid that holds all values above a threshold, with a margin; null if there are none. */
function crop({ rows, columns, data }, threshold, margin = 0) {
  let [top, bottom, left, right] = [rows, -1, columns, -1];
  data.forEach((value, index) => {
    if (!(value > threshold)) return;
    const [row, column] = [Math.floor(index / columns), index % columns];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
  });
  if (bottom < 0) return null;
  const inside = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns;
  return grid(bottom - top + 1 + 2 * margin, right - left + 1 + 2 * margin, (row, column) => {
    const [y, x] = [row + top - margin, column + left - margin];
    return inside(y, x) ? data[y * columns + x] : 0;
  });
}

/** Return for each pixel of a mask its Euclidean distance to the nearest pixel that is not in the mask. */
function distances({ rows, columns, data }, isInside) {
  const far = rows + columns;
  const up = new Float64Array(rows * columns); // to the nearest one in the same column
  for (let column = 0; column < columns; column++) {
    for (let row = 0, run = far; row < rows; row++) {
      run = isInside(data[row * columns + column]) ? run + 1 : 0;
      up[row * columns + column] = run;
    }
    for (let row = rows - 1, run = far; row >= 0; row--) {
      run = isInside(data[row * columns + column]) ? run + 1 : 0;
      up[row * columns + column] = Math.min(up[row * columns + column], run);
    }
  }
  return grid(rows, columns, (row, column) => {
    const start = row * columns;
    let best = up[start + column] ** 2;
    for (let off = 1; off * off < best; off++) {
      if (column >= off) best = Math.min(best, up[start + column - off] ** 2 + off * off);
      if (column + off < columns) best = Math.min(best, up[start + column + off] ** 2 + off * off);
    }
    return Math.sqrt(best);
  }).data;
}

/** Shrink a grid in one direction as Pillow's BOX filter does: each new row is the mean of those whose centers it covers. */
function shrinkRows({ rows, columns, data }, size) {
  const scale = rows / size;
  const wide = Math.max(scale, 1);
  const covered = Array.from({ length: size }, (_, row) => {
    const center = (row + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - wide / 2 + 0.5));
    const last = Math.min(rows, Math.floor(center + wide / 2 + 0.5));
    const all = Array.from({ length: last - first }, (_, index) => first + index);
    return all.filter((each) => (each - center + 0.5) / wide > -0.5 && (each - center + 0.5) / wide <= 0.5);
  });
  return grid(size, columns, (row, column) => {
    const part = 1 / covered[row].length;
    return Math.fround(covered[row].reduce((sum, each) => sum + part * Math.fround(data[each * columns + column]), 0));
  });
}

function transpose({ rows, columns, data }) {
  return grid(columns, rows, (row, column) => data[column * columns + row]);
}

function shrink(image, rows, columns) {
  return shrinkRows(transpose(shrinkRows(transpose(image), columns)), rows);
}

/** Round to the nearest integer, and halves to the even one, as NumPy does. */
function roundEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/** Return the strokes with their width changed to the limits in STROKE_WIDTHS; null if they are a solid area. */
function limitWidth(strokes, pixel) {
  const isStroke = (value) => value > 0.5;
  const outer = crop(strokes, 0, 1); // outside of the drawing, there are no strokes
  const depths = distances(outer, isStroke).filter((depth) => depth > 0);
  const width = 4 * (depths.reduce((sum, depth) => sum + depth) / depths.length - 0.5) * pixel; // of a long stroke
  if (width > MAX_STROKE_WIDTH) return null;
  const change = (Math.min(Math.max(width, STROKE_WIDTHS[0]), STROKE_WIDTHS[1]) - width) / pixel / 2;
  if (!change) return strokes;
  const padded = crop(strokes, 0, Math.max(0, roundEven(change)) + 2);
  const [inside, outside] = [distances(padded, isStroke), distances(padded, (value) => !isStroke(value))];
  return grid(padded.rows, padded.columns, (row, column) => {
    const distance = inside[row * padded.columns + column] - outside[row * padded.columns + column];
    return Math.min(Math.max(distance + change + 0.5 - 0.5 * Math.sign(distance), 0), 1);
  });
}

/** Put a small digit, [rows, columns], into 28 × 28 pixels, with its center of mass in the middle. */
function center({ rows, columns, data }) {
  let [most, mass, down, right] = [0, 0, 0, 0];
  data.forEach((value, index) => {
    most = Math.max(most, value);
    mass += value;
    down += value * Math.floor(index / columns);
    right += value * (index % columns);
  });
  const place = (mean, size) => Math.min(Math.max(Math.trunc(14.5 - mean), 0), 28 - size);
  const [top, left] = [place(down / mass, rows), place(right / mass, columns)];
  const image = new Uint8Array(784);
  data.forEach((value, index) => {
    image[(top + Math.floor(index / columns)) * 28 + left + (index % columns)] = roundEven(value * (255 / most));
  });
  return image;
}

/**
 * Convert a drawing { pixels: Uint8Array, width, height } to { image: Uint8Array(784) } or { error }. See to_mnist.
 *
 * It is a square with an even number of pixels per side, less than 300.
 */
export function toMnist({ pixels, width, height }) {
  let strokes = grid(height, width, (row, column) => {
    const value = pixels[row * width + column] / 255;
    return value < 0.12 ? 0 : value;
  });
  const covered = strokes.data.reduce((sum, value) => sum + (value > 0.5), 0);
  if (width >= 2 * LARGE && covered > 8 * width) strokes = halve(strokes);
  const solid = crop(strokes, 0.5);
  if (!solid) return { error: "There is nothing to see. Draw a digit." };
  const pixel = 20 / Math.max(solid.rows, solid.columns); // of the drawing, in pixels of MNIST
  const limited = limitWidth(strokes, pixel);
  if (!limited) return { error: "This is a solid area. Draw a digit with thinner strokes." };
  const box = crop(limited, 0);
  const [rows, columns] = [box.rows, box.columns].map((side) =>
    Math.max(1, roundEven((side * 20) / Math.max(box.rows, box.columns))),
  );
  return { image: center(shrink(box, rows, columns)) };
}

/** Return the means of squares of 2 × 2 values. Their sums are rounded to 32 bits, as those of Pillow's `reduce`. */
function halve({ rows, columns, data }) {
  const value = (row, column) => Math.fround(data[row * columns + column]);
  return grid(rows / 2, columns / 2, (row, column) => {
    const corners = [[0, 1], [1, 0], [1, 1]].map(([down, right]) => value(2 * row + down, 2 * column + right));
    return corners.reduce((sum, each) => Math.fround(sum + each), value(2 * row, 2 * column)) / 4;
  });
}

/** Shrink a square drawing to 28 × 28 pixels, and do nothing else: { image }. */
export function onlyShrink({ pixels, width, height }) {
  const small = shrink(grid(height, width, (row, column) => pixels[row * width + column]), 28, 28);
  return { image: Uint8Array.from(small.data, roundEven) };
}
