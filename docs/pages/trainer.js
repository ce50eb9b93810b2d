// The training of Break it, in a worker or on the page. It reports about 20 times a second.

import { Run } from "./train.js";

const REPORT = 50; // milliseconds
const [TRAIN, TEST, PIXELS] = [2000, 500, 784];

/** Decode base64 of gzip of the images, two pixels in each byte, and then the labels. */
async function decode(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const pixels = (TRAIN + TEST) * PIXELS;
  const images = new Uint8Array(pixels).map((_, i) => 17 * ((packed[i >> 1] >> (i % 2 ? 0 : 4)) & 15));
  const labels = [...packed.subarray(pixels / 2)];
  const part = (first, end) => ({
    images: images.subarray(first * PIXELS, end * PIXELS),
    labels: labels.slice(first, end),
  });
  return { train: part(0, TRAIN), test: part(TRAIN, TRAIN + TEST) };
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Start to train. Returns what gets the messages of the page: { digits } once, { id, mistake, pace } for a run, which
 * ends an earlier one, and { stop }. The run without a mistake is never ended, and others wait for it.
 */
export function trainRuns(post) {
  let [wanted, healthy, give] = [0, Promise.resolve(), null];
  const digits = new Promise((resolve) => (give = resolve));

  function report(id, { mistake, losses, tests, start, network }, more = {}) {
    post({ id, mistake, losses, tests, start, parameters: network.parameters, ...more });
  }

  /** Train, in at least so many milliseconds per step, until it is done or another run is wanted. */
  async function train(id, mistake, pace) {
    const run = new Run(await digits, mistake);
    const started = performance.now();
    let reported = started;
    const stale = () => mistake && wanted !== id;
    while (!run.done) {
      run.advance();
      const now = performance.now();
      const early = started + pace * run.losses.length - now;
      if (wanted === id && early > 0) await pause(early);
      if (now - reported < REPORT) continue;
      await pause(0); // receives messages
      if (stale()) return;
      if (pace) report(id, run);
      reported = performance.now();
    }
    if (!stale()) report(id, run, { again: run.accuracy(), unseen: run.accuracy(run.unseen), done: true });
  }

  return (message) => {
    if (message.digits) give(decode(message.digits));
    if (message.stop) wanted = 0;
    if (!message.id) return;
    const { id, mistake, pace } = message;
    wanted = id;
    const failed = (error) => post({ error: `The training failed. ${error}` });
    if (mistake) healthy.then(() => wanted === id && train(id, mistake, pace)).catch(failed);
    else (healthy = train(id, "", pace)).catch(failed);
  };
}
