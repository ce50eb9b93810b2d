// A line chart as SVG, with a label at the end of each line, and a text alternative.

const [LEFT, TOP, BOTTOM] = [44, 10, 26];
const LABELS = 116; // pixels right of the plot
const GAP = 17; // pixels between two labels
const MARGIN = 16; // the same without labels
const NARROW = 400; // pixels
const CROSS = 124; // width of the text beside a cross, in bold

/**
 * Draw a chart.
 *
 * It has { title, low, high, end, ticks: [[y, text]], lines }. A line has { name, points: [[x, y]], label, text }. The
 * first nan ends it with a cross. Values outside of the limits leave the plot. The title and the texts are read aloud.
 */
export function draw(element, { low, high, end, ticks, lines, title }) {
  const [width, height] = [element.clientWidth, element.clientHeight];
  const right = lines.some(({ label }) => label) ? LABELS : MARGIN;
  const x = (value) => LEFT + (value / end) * (width - LEFT - right);
  const y = (value) => TOP + ((high - value) / (high - low)) * (height - TOP - BOTTOM);
  const clamp = (value, more = 0) => Math.min(Math.max(value, low - more), high + more);
  const rows = ticks.map(([value, text]) => {
    const line = `<line class="grid" x1="${LEFT}" x2="${x(end)}" y1="${y(value)}" y2="${y(value)}"/>`;
    return `${line}<text x="${LEFT - 8}" y="${y(value) + 4}" text-anchor="end">${text}</text>`;
  });
  const columns = (width < NARROW ? [0, 2, 4] : [0, 1, 2, 3, 4]).map((quarter) => {
    const text = quarter ? (quarter * end) / 4 : "step 0";
    return `<text x="${x((quarter * end) / 4)}" y="${height - 6}" text-anchor="middle">${text}</text>`;
  });
  const drawn = lines.map((line) => ({ ...line, points: line.points.filter(([, value]) => !Number.isNaN(value)) }));
  const paths = drawn.map(({ name, points }) => {
    const path = points.map(([at, value]) => `${x(at).toFixed(1)} ${y(clamp(value, 9)).toFixed(1)}`);
    return path.length ? `<path class="${name}" d="M${path.join("L")}"/>` : "";
  });
  const crosses = drawn.map(({ name, points }, index) => {
    if (points.length === lines[index].points.length) return "";
    const at = lines[index].points[points.length][0];
    const [column, row] = [x(at), Math.min(Math.max(y(clamp(points.at(-1)?.[1] ?? high)), TOP + 12), y(low) - 12)];
    const place = placeBeside(column, row, width, at > end / 2);
    const text = `<text class="${name}" ${place}>nan from step ${at}</text>`;
    return `<path class="${name}" d="M${column - 5} ${row - 5}l10 10m0 -10l-10 10"/>${text}`;
  });
  const plot = `x="${LEFT - 2}" y="${TOP - 3}" width="${x(end) - LEFT + 4}" height="${y(low) - TOP + 6}"`;
  const parts = [
    `<clipPath id="${element.id}-plot"><rect ${plot}/></clipPath>`,
    ...rows,
    ...columns,
    `<g clip-path="url(#${element.id}-plot)">${paths.join("")}</g>`,
    ...crosses,
    ...labels(drawn, x, (value) => y(clamp(value)), y(low) + 4),
  ];
  element.innerHTML = `<svg width="${width}" height="${height}" aria-hidden="true">${parts.join("")}</svg>`;
  element.setAttribute("aria-label", `${title}. ${lines.map(({ text }) => text).join(" ")}`);
}

/** Return where a text beside a cross belongs: left or right of it, or above it in a narrow chart. */
function placeBeside(column, row, width, left) {
  if (width < NARROW) return `x="${Math.max(column, LEFT + CROSS / 2)}" y="${row - 10}" text-anchor="middle"`;
  return left ? `x="${column - 10}" y="${row + 4}" text-anchor="end"` : `x="${column + 10}" y="${row + 4}"`;
}

/** Label the lines at their ends. Labels that are too close move apart, but not below the lowest place. */
function labels(lines, x, y, lowest) {
  const texts = lines
    .filter(({ label, points }) => label && points.length)
    .map(({ name, label, points }) => ({
      name,
      label,
      x: x(points.at(-1)[0]) + 8,
      y: y(points.at(-1)[1]) + 4,
    }))
    .sort((a, b) => a.y - b.y);
  texts.forEach((text, index) => {
    if (index) text.y = Math.max(text.y, texts[index - 1].y + GAP);
  });
  texts.forEach((text, index) => (text.y = Math.min(text.y, lowest - GAP * (texts.length - 1 - index))));
  return texts.map(({ name, label, ...at }) => `<text class="${name}" x="${at.x}" y="${at.y}">${label}</text>`);
}
