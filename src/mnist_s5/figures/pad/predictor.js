// What answers a drawing: the network, its preparation, and the distance to the training digits.

import { decodeWeights, forward } from "./net.js";
import { onlyShrink, toMnist } from "./prepare.js";

const HIDDEN = 50; // values of fc1

const decode = (bytes) => (bytes.byteLength ? decodeWeights(bytes) : null);

export class Predictor {
  /**
   * Set what is given: the weights of the network, those of the pretrained one if it is another network, and the
   * training digits as the pretrained network describes them. See in_browser.py for the bytes. Without weights, only
   * the image and the distance are computed.
   */
  load({ weights, pretrained, known }) {
    if (weights) this.weights = decode(weights);
    if (pretrained) this.pretrained = decode(pretrained);
    if (known?.byteLength) {
      const [scale, limit] = new Float32Array(known, 0, 2);
      this.known = { scale, limit, values: new Uint8Array(known, 8) };
    }
  }

  /** Return what `digitPad` wants of a drawing. */
  predict({ prepared = true, ...drawing }) {
    const started = performance.now();
    const { image, error } = (prepared ? toMnist : onlyShrink)(drawing);
    if (error) return { error };
    const own = this.weights && forward(this.weights, image);
    if (own && !own.logProbs.every(Number.isFinite))
      return { error: "The network returns NaN. Build and train it again, with a lower learning rate." };
    const { layers } = this.pretrained ? forward(this.pretrained, image) : (own ?? {});
    const distance = this.known && layers && this.distance(layers.at(-1).values);
    const prediction = own && { probabilities: own.logProbs.map(Math.exp), layers: own.layers };
    return { image, distance, ...prediction, milliseconds: performance.now() - started };
  }

  /** Return the distance to the nearest training digit, relative to the limit that 99% of other digits are within. */
  distance(hidden) {
    const { scale, limit, values } = this.known;
    let nearest = Infinity;
    for (let start = 0; start < values.length; start += HIDDEN) {
      let sum = 0;
      for (let i = 0; i < HIDDEN && sum < nearest; i++) sum += (hidden[i] - scale * values[start + i]) ** 2;
      if (sum < nearest) nearest = sum;
    }
    return Math.sqrt(nearest) / limit;
  }
}

/** Start to answer drawings, in a worker or on the page. Returns what gets { data } to load, or { id, drawing }. */
export function answerDrawings(post) {
  const predictor = new Predictor();
  return ({ id, data, drawing }) => {
    if (data) return predictor.load(data);
    let reply;
    try {
      reply = predictor.predict(drawing);
    } catch (error) {
      reply = { error: `The network failed in the browser. ${error}` };
    }
    post({ id, reply }, (reply.layers ?? []).map(({ values }) => values.buffer));
  };
}
