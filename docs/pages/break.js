// The page Break it: the reader breaks a line of the training loop, guesses the curve, and sees the run.

import { EVERY, FILTER, FILTERS, Network, STEPS, softmax, testLogits } from "./train.js";
import { LINES, MISTAKES, NAMES, alike, codeOf, percent, short } from "./mistakes.js";
import { trainRuns } from "./trainer.js";
import { inBackground } from "./background.js";
import { draw } from "./chart.js";
import { guess } from "./guess.js";
import { onlyShrink, toMnist } from "./prepare.js";
import { digitPad } from "./pad.js";

const SMOOTH = 10; // steps of a mean
const PACE = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 7; // milliseconds per step, at least
const LOSS_TICKS = [[0, "0"], [1, "1"], [Math.log(10), "ln 10"], [3, "3"], [4, "4"], [5, "5"]];
const ACCURACY_TICKS = [0, 25, 50, 75, 100].map((value) => [value, `${value}%`]);
const LEAD = "Click a line to break it. Guess what happens, then watch it train.";

const get = (id) => document.getElementById(id);
const code = (text) => `<code>${text}</code>`;

const state = {
  phase: "idle", // then "ask" for the guess, and "run"
  broken: "", // the name of the mistake
  run: null, // the last report of its run
  healthy: null, // that of the run without a mistake
  points: null, // the guess, in fractions
  game: null, // { names, round, right, picked }
  error: "", // why nothing can be trained
};
let [request, question] = [0, null];

const worker = inBackground(get("worker").textContent, trainRuns, (data) => {
  if (data.error) return fail(data.error);
  if (data.mistake && data.id !== request) return; // of an earlier run
  state[data.mistake ? "run" : "healthy"] = data;
  update(Boolean(data.done));
});

function fail(error) {
  state.error = error;
  update();
}

function train(points = null) {
  Object.assign(state, { phase: "run", run: null, points });
  worker.send({ id: ++request, mistake: state.broken, pace: PACE });
  const asked = get("ask").contains(document.activeElement);
  update(); // hides the question, and shows the chart
  if (asked) get("accuracies").focus({ preventScroll: true });
}

/** Break a line, or repair it if it is broken. Every page with a mistake has its address. */
function breakLine(name) {
  request++;
  worker.send({ stop: true });
  const broken = state.broken === name ? "" : name;
  Object.assign(state, { broken, run: null, points: null, game: null, phase: broken ? "ask" : "idle" });
  const address = location.href.split("#")[0] + (broken && `#${broken}`);
  if (address !== location.href) history.pushState(null, "", address);
  update();
  if (broken) ask();
}

/** Do what a button says, and move the focus, because the button will be hidden or disabled. */
const leaving = (action) => () => {
  action();
  get("code").focus({ preventScroll: true });
};

function openAddress() {
  const name = location.hash.slice(1);
  if (name && !NAMES.includes(name)) return;
  const leaves = Boolean(state.game);
  if (leaves) Object.assign(state, { game: null, broken: "" }); // the secret line may be that of the address
  if (leaves || name !== state.broken) breakLine(name || state.broken);
}

/** Ask for the curve. The widget of the notebooks gets no answer, because there is none yet. */
function ask() {
  const axes = { label: "test accuracy (%)", xlabel: "step", low: 0, high: 100, digits: 0, x: [0, STEPS], y: [0, 0], button: "Train" };
  question?.remove();
  question = guess(get("guess"), { title: "What will the test accuracy do? Draw your guess.", ...axes });
  question.toggle = () => train(question.points);
  const skip = Object.assign(document.createElement("button"), { type: "button", textContent: "Skip the guess" });
  skip.className = "again";
  skip.onclick = () => train();
  question.button.after(skip);
  showHealthy();
  get("ask").scrollIntoView({ block: "nearest" });
}

/** Draw the healthy run behind the guess. */
function showHealthy() {
  const answer = document.querySelector("#guess .chart > :last-child");
  if (!answer || !state.healthy?.done) return;
  const path = state.healthy.tests.map((value, test) => `${(test * EVERY) / STEPS} ${1 - value / 100}`).join("L");
  answer.parentElement.querySelector(".healthy")?.remove();
  const svg = `<svg class="healthy" viewBox="0 0 1 1" preserveAspectRatio="none"><path class="healthy" d="M${path}"/></svg>`;
  answer.insertAdjacentHTML("beforebegin", svg);
}

/** Show all that the state says. `done` means that a run has ended. */
function update(done = true) {
  const { phase, game, healthy } = state;
  document.querySelector("main").dataset.phase = phase;
  get("ask").hidden = phase !== "ask";
  get("accuracies").hidden = phase === "ask";
  if (phase !== "ask") {
    question?.remove();
    question = null;
  }
  drawCharts();
  drawFilters();
  get("whose").textContent = state.run ? "The bars are those of the broken network." : "";
  if (!done) return;
  listing();
  if (phase === "ask") showHealthy();
  const verdict = state.error ? `<p>${state.error}</p>` : game ? gameText() : runText();
  if (get("verdict").innerHTML !== verdict) get("verdict").innerHTML = verdict;
  get("next").hidden = !game?.picked;
  get("next").textContent = game?.round + 1 === game?.names.length ? "Start over" : "Next mystery";
  get("repair").disabled = !state.broken || Boolean(game);
  get("again").disabled = phase !== "run" || Boolean(game);
  get("mystery").textContent = game ? "Leave the mystery" : "Mystery: find the mistake";
  get("lead").textContent = game ? "One line is broken, and hidden. Click the line that you suspect." : LEAD;
  get("score").textContent = game ? `Round ${game.round + 1} of ${NAMES.length}. Score: ${game.right}` : "";
  if (healthy) pad.refresh();
}

function listing() {
  const { game, broken } = state;
  const shown = game && !game.picked ? "" : broken;
  const rows = LINES.map(([text, name, wrong]) => {
    const row = document.createElement(name ? "button" : "div");
    row.className = "line";
    const indent = text.length - text.trimStart().length;
    row.style.setProperty("--indent", `${indent}ch`);
    const isBroken = Boolean(name) && name === shown;
    const [old, change] = [text, wrong ?? ""].map((each) => each.trim().replaceAll("(", "(<wbr>"));
    row.innerHTML = `<span>${isBroken ? `<del>${old}</del>` : old}</span>`;
    if (isBroken && change) row.innerHTML += `<span><ins>${change}</ins></span>`;
    if (!name) return row;
    Object.assign(row, { type: "button", onclick: () => (state.game ? suspect(name) : breakLine(name)) });
    row.dataset.name = name;
    row.classList.toggle("suspect", game?.picked === name && !isBroken);
    if (!game) row.setAttribute("aria-pressed", isBroken);
    row.title = game ? "Is this line broken?" : isBroken ? "Repair this line" : "Break this line";
    return row;
  });
  const focused = document.activeElement?.closest("#code .line")?.dataset.name;
  get("code").replaceChildren(...rows);
  if (focused) get("code").querySelector(`[data-name="${focused}"]`).focus({ preventScroll: true });
}

/** Return what the last run means. */
function runText() {
  const { phase, broken, healthy, points } = state;
  if (!healthy?.done && !broken) return "<p>The healthy network is training.</p>";
  if (!broken) {
    const result = `After ${STEPS} steps, it gets ${percent(healthy.tests.at(-1))} of 500 test digits right.`;
    return `<p>Nothing is broken. ${result} Now click a line.</p>`;
  }
  if (phase === "ask") {
    const wrong = LINES.find((line) => line[1] === broken)[2];
    const change = wrong ? `You changed ${code(codeOf(broken))}.` : `You removed ${code(codeOf(broken))}.`;
    return `<p>${change} What will the test accuracy do? Draw your guess, or skip it. Gray is the healthy run.</p>`;
  }
  const own = points ? `You guessed ${Math.round(100 * points.at(-1)[1])}% at the end.` : "";
  return explanation() + (own && state.run?.done ? `<p class="own">${own}</p>` : "");
}

function explanation() {
  const { broken, run, healthy } = state;
  const [mechanism, fingerprint] = MISTAKES[broken];
  const more = run?.done && healthy?.done ? fingerprint(run, healthy) : "…";
  return `<p>${mechanism} ${more}</p>`;
}

function startGame() {
  if (state.game) return breakLine(state.broken); // leaves it, with all lines repaired
  const names = [...NAMES];
  for (let last = names.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [names[last], names[other]] = [names[other], names[last]];
  }
  history.replaceState(null, "", location.href.split("#")[0]);
  state.game = { names, round: -1, right: 0 };
  nextRound();
}

function nextRound() {
  const { game } = state;
  if (game.round + 1 === game.names.length) {
    state.game = null;
    return startGame();
  }
  game.round++;
  game.picked = null;
  state.broken = game.names[game.round];
  train();
}

function suspect(name) {
  const { game } = state;
  if (game.picked) return;
  game.picked = name;
  game.right += alike(name, state.broken);
  update();
  get("next").focus({ preventScroll: true });
}

function gameText() {
  const { game, broken } = state;
  if (!game.picked) return "<p>Compare its curves with the gray ones, and its filters with those at the start.</p>";
  const right = alike(game.picked, broken);
  const answer = `${right ? "Right" : `No, it is not ${code(codeOf(game.picked))}`}: ${code(codeOf(broken))} is broken.`;
  const other = right && game.picked !== broken ? ` ${code(codeOf(game.picked))} counts, too.` : "";
  const ended = game.round + 1 === game.names.length;
  const score = ended ? `<p class="end">${finalText(game.right, game.names.length)}</p>` : "";
  return `<p><b class="${right ? "right" : "wrong"}">${answer}</b>${other}</p>${explanation()}${score}`;
}

function finalText(right, count) {
  const score = `${right} of ${count}.`;
  if (right === count) return `${score} You can debug a training run by its curves.`;
  if (right >= count / 2) return `${score} Break the lines that you missed, and compare their curves.`;
  return `${score} Break each line once, and look at its curves. Then try again.`;
}

/** Return the loss after each step as means of the last steps. It is nan from the first nan on. */
function smooth(losses) {
  return losses.map((_, step) => {
    const recent = losses.slice(Math.max(0, step + 1 - SMOOTH), step + 1);
    return [step + 1, recent.reduce((sum, loss) => sum + loss) / recent.length];
  });
}

function drawCharts() {
  const { healthy, run, points, game } = state;
  const own = game ? "secret" : "yours";
  const runs = [["healthy", "healthy", healthy], ["mine", own, run]].filter(([, , each]) => each);
  const accuracies = runs.map(([name, label, { tests }]) => ({
    name,
    points: tests.map((value, test) => [test * EVERY, value]),
    label: `${label} ${percent(tests.at(-1))}`,
    text: `${label}: ${tests.map((value, test) => `${percent(value)} at step ${test * EVERY}`).join(", ")}.`,
  }));
  if (points) {
    const mine = points.map(([x, y]) => [x * STEPS, 100 * y]);
    const text = `Your guess: from ${percent(mine[0][1])} to ${percent(mine.at(-1)[1])}.`;
    accuracies.splice(1, 0, { name: "guess", points: mine, label: "your guess", text });
  }
  const losses = runs.map(([name, label, { losses }]) => {
    const values = smooth(losses);
    const told = values.filter(([step]) => step === 1 || step % 50 === 0).map(([step, loss]) => `${short(loss)} at step ${step}`);
    const final = values.at(-1)?.[1] ?? 0;
    const shown = Number.isNaN(final) ? "" : `${label} ${short(final)}`; // the cross says nan
    return { name, points: values, label: shown, text: `${label}: ${told.join(", ")}.` };
  });
  const negative = runs.some(([, , { losses }]) => losses.some((loss) => loss < -1));
  const lossTicks = negative ? [[-2, "−2"], ...LOSS_TICKS] : LOSS_TICKS;
  const title = "Test accuracy over the steps";
  if (state.phase !== "ask") draw(get("accuracy"), { low: 0, high: 100, end: STEPS, ticks: ACCURACY_TICKS, lines: accuracies, title });
  draw(get("loss"), { low: negative ? -2 : 0, high: 5, end: STEPS, ticks: lossTicks, lines: losses, title: "Loss over the steps" });
  const twice = runs.filter(([, , each]) => each.done);
  const told = twice.map(([, label, each]) => `${label} ${percent(each.tests.at(-1))}, ${percent(each.again)}`);
  get("twice").textContent = told.length ? `Tested twice at the end: ${told.join("; ")}` : "";
}

/** Draw the filters of one network in one canvas, each scaled by the largest weight of all. */
function drawWeights(canvas, weights) {
  const side = Math.sqrt(FILTER);
  const context = canvas.getContext("2d");
  const most = weights.reduce((largest, weight) => Math.max(largest, Math.abs(weight)), 0);
  weights.forEach((weight, index) => {
    const [filter, row, column] = [Math.floor(index / FILTER), Math.floor((index % FILTER) / side), index % side];
    const part = weight / most;
    const fade = (color) => color.map((value) => Math.round(value * Math.abs(part) + 245 * (1 - Math.abs(part))));
    context.fillStyle = Number.isNaN(part) ? "#888" : `rgb(${fade(part > 0 ? [200, 80, 0] : [0, 95, 160])})`;
    context.fillRect(filter * (side + 1) + column, row, 1, 1);
  });
}

function drawFilters() {
  const { healthy, run, game } = state;
  if (!healthy) return;
  const own = game ? "secret" : "yours";
  const rows = [["at the start", healthy.start], ["healthy", healthy.parameters.filters]];
  if (run) rows.push([own, run.parameters.filters]);
  while (get("filters").children.length < rows.length) {
    get("filters").insertAdjacentHTML("beforeend", `<div><span></span><canvas width="${6 * FILTERS - 1}" height="5"></canvas></div>`);
  }
  [...get("filters").children].forEach((row, index) => {
    row.hidden = !rows[index];
    if (!rows[index]) return;
    row.firstElementChild.textContent = rows[index][0] + (rows[index][1].some(Number.isNaN) ? ": nan" : "");
    drawWeights(row.lastElementChild, rows[index][1]);
  });
  const told = rows.slice(1).map(([name, weights]) => {
    const change = weights.reduce((sum, weight, index) => sum + Math.abs(weight - healthy.start[index]), 0) / weights.length;
    return `${name}: ${change === 0 ? "as at the start" : `mean change of a weight ${short(change)}`}`;
  });
  get("filters").setAttribute("aria-label", `The filters. ${told.join(". ")}.`);
}

function classify({ parameters, mistake }, image) {
  const network = Object.assign(new Network(0), { parameters });
  return softmax([...testLogits(network, image, mistake)]);
}

function predict({ prepared = true, ...drawing }) {
  const { image, error } = (prepared ? toMnist : onlyShrink)(drawing);
  get("healthy").textContent = "";
  if (error) return Promise.resolve({ error });
  if (!state.healthy) return Promise.resolve({ error: "The network has not been trained yet." });
  const other = classify(state.healthy, image);
  const best = other.indexOf(Math.max(...other));
  get("healthy").textContent = `The healthy network: ${best} (${percent(100 * other[best])})`;
  const probabilities = classify(state.run ?? state.healthy, image);
  if (probabilities.some(Number.isNaN)) return Promise.resolve({ error: "The broken network returns nan for every digit." });
  return Promise.resolve({ image, probabilities, layers: [] });
}

const drawn = (image) => image ?? (get("healthy").textContent = "");
const pad = digitPad(get("pad"), predict, { live: true, drawn });

get("repair").onclick = leaving(() => breakLine(state.broken));
get("again").onclick = () => train(state.points);
get("mystery").onclick = startGame;
get("next").onclick = leaving(nextRound);
addEventListener("popstate", openAddress);
new ResizeObserver(drawCharts).observe(get("loss"));

worker.send({ id: ++request, mistake: "", pace: PACE });
update();
openAddress();
document.head.append(
  Object.assign(document.createElement("script"), {
    src: "digits.js",
    onload: () => worker.send({ digits: window.digits }),
    onerror: () => fail("The digits could not be loaded. Reload the page."),
  }),
);
