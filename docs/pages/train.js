// A small convolutional network, its gradients, its loss, and its training run. Nothing here knows of the page.
// 8 filters of 5 × 5, max pooling of 3 × 3, ReLU, dropout, and a linear layer: 5,338 parameters.

const [SIDE, KERNEL, POOL] = [28, 5, 3];
const PIXELS = SIDE * SIDE;
const MAP = SIDE - KERNEL + 1; // 24
const POOLED = MAP / POOL; // 8
export const FILTERS = 8;
export const FILTER = KERNEL * KERNEL;
export const CLASSES = 10;
const HIDDEN = FILTERS * POOLED * POOLED; // 512

export const STEPS = 400;
export const EVERY = 25; // steps between two tests
const SETTINGS = { rate: 0.02, momentum: 0.9, batch: 32, drop: 0.5 };
const FACTOR = 30; // of the learning rate that is too large

/** Return a random number generator that gives numbers from 0 to 1: mulberry32 by Tommy Ettinger. */
function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Return a Float32Array: value(index). Faster than Float32Array.from. */
function floats(length, value) {
  const values = new Float32Array(length);
  for (let index = 0; index < length; index++) values[index] = value(index);
  return values;
}

/** Shuffle a list in place. */
function shuffle(list, random) {
  for (let last = list.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [list[last], list[other]] = [list[other], list[last]];
  }
  return list;
}

export const normalize = (pixel) => (pixel / 255 - 0.1307) / 0.3081;
const scale = (pixel) => pixel / 255; // what is left if one forgets to normalize

/** Return the index of the largest value. As in PyTorch, nan counts as the largest. */
function argmax(values) {
  const nan = values.findIndex(Number.isNaN);
  return nan < 0 ? values.indexOf(Math.max(...values)) : nan;
}

export class Network {
  /** Initialize as PyTorch does: uniform up to 1 / √inputs in either direction. */
  constructor(seed) {
    const random = generator(seed);
    const uniform = (length, inputs) => floats(length, () => (2 * random() - 1) / Math.sqrt(inputs));
    this.parameters = {
      filters: uniform(FILTERS * FILTER, FILTER), // [8, 5, 5]
      filterBias: uniform(FILTERS, FILTER),
      weight: uniform(CLASSES * HIDDEN, HIDDEN), // [10, 512]
      bias: uniform(CLASSES, HIDDEN),
    };
    this.gradients = this.zeros();
    this.momentumBuffer = this.zeros();
  }

  zeros() {
    const pairs = Object.entries(this.parameters).map(([name, { length }]) => [name, new Float32Array(length)]);
    return Object.fromEntries(pairs);
  }

  /**
   * Return the logits of images, [N, 784], and all that `backward` needs.
   *
   * A mask, [N, 512], multiplies the inputs of the linear layer.
   */
  forward(x, mask = null) {
    const count = x.length / PIXELS;
    const hidden = new Float32Array(count * HIDDEN);
    const indices = new Int32Array(count * HIDDEN); // for each maximum, the upper left pixel of its window in x
    const [image, maps] = [new Float64Array(PIXELS), [0, 1].map(() => new Float64Array(MAP * MAP))]; // no conversions
    for (let n = 0; n < count; n++) {
      image.set(x.subarray(n * PIXELS, (n + 1) * PIXELS));
      for (let filter = 0; filter < FILTERS; filter++) {
        if (filter % 2 === 0) this.convolve(image, filter, ...maps);
        pool(maps[filter % 2], n * PIXELS, hidden, indices, n * HIDDEN + filter * POOLED * POOLED);
      }
    }
    if (mask) hidden.forEach((value, index) => (hidden[index] = value * mask[index]));
    return { x, mask, hidden, indices, logits: this.linear(hidden, count) };
  }

  /** Write the feature maps of a filter and of the next one. Two at a time read the image half as often. */
  convolve(image, filter, map, next) {
    const { filters, filterBias } = this.parameters;
    map.fill(filterBias[filter]);
    next.fill(filterBias[filter + 1]);
    for (let line = 0; line < KERNEL; line++) {
      const start = filter * FILTER + line * KERNEL;
      const [v0, v1, v2, v3, v4] = filters.subarray(start, start + KERNEL);
      const [w0, w1, w2, w3, w4] = filters.subarray(start + FILTER, start + FILTER + KERNEL);
      for (let row = 0, out = 0; row < MAP; row++)
        for (let p = (row + line) * SIDE, end = p + MAP; p < end; p++, out++) {
          const a = image[p], b = image[p + 1], c = image[p + 2], d = image[p + 3], e = image[p + 4];
          map[out] += v0 * a + v1 * b + v2 * c + v3 * d + v4 * e;
          next[out] += w0 * a + w1 * b + w2 * c + w3 * d + w4 * e;
        }
    }
  }

  linear(hidden, count) {
    const { weight, bias } = this.parameters;
    const logits = new Float32Array(count * CLASSES);
    for (let n = 0; n < count; n++)
      for (let c = 0; c < CLASSES; c++) {
        let sum = bias[c];
        for (let j = 0; j < HIDDEN; j++) sum += weight[c * HIDDEN + j] * hidden[n * HIDDEN + j];
        logits[n * CLASSES + c] = sum;
      }
    return logits;
  }

  /** Add the gradients of all parameters, given those of the logits. */
  backward(pass, gradOutput) {
    const { hidden } = pass;
    const { weight } = this.parameters;
    const [weightGradient, biasGradient] = [this.gradients.weight, this.gradients.bias];
    const delta = new Float32Array(HIDDEN);
    for (let n = 0; n < gradOutput.length / CLASSES; n++) {
      delta.fill(0);
      for (let c = 0; c < CLASSES; c++) {
        const grad = gradOutput[n * CLASSES + c];
        biasGradient[c] += grad;
        for (let j = 0, w = c * HIDDEN; j < HIDDEN; j++, w++) {
          weightGradient[w] += grad * hidden[n * HIDDEN + j];
          delta[j] += grad * weight[w];
        }
      }
      this.backwardFilters(pass, n * HIDDEN, delta);
    }
  }

  /** Add the gradients of the filters. Only what won the max pooling, and is not 0 after ReLU and dropout, has one. */
  backwardFilters({ x, mask, hidden, indices }, start, delta) {
    const { filters, filterBias } = this.gradients;
    for (let j = 0; j < HIDDEN; j++) {
      if (hidden[start + j] <= 0) continue;
      const grad = delta[j] * (mask?.[start + j] ?? 1);
      const filter = Math.floor(j / (POOLED * POOLED));
      filterBias[filter] += grad;
      for (let line = 0, w = filter * FILTER, p = indices[start + j]; line < KERNEL; line++, p += SIDE - KERNEL)
        for (let column = 0; column < KERNEL; column++, w++, p++) filters[w] += grad * x[p];
    }
  }

  zeroGrad() {
    this.gradients = this.zeros();
  }

  /** SGD with momentum, as torch.optim.SGD. */
  step(rate, momentum) {
    for (const [name, values] of Object.entries(this.parameters)) {
      const [gradient, buffer] = [this.gradients[name], this.momentumBuffer[name]];
      for (let i = 0; i < values.length; i++) {
        buffer[i] = momentum * buffer[i] + gradient[i];
        values[i] -= rate * buffer[i];
      }
    }
  }
}

/** Write max pooling and ReLU of a feature map. Of equal maxima, the first one wins, as in PyTorch. */
function pool(map, image, hidden, indices, start) {
  for (let row = 0, out = start; row < MAP; row += POOL)
    for (let column = 0; column < MAP; column += POOL, out++) {
      let best = row * MAP + column;
      for (let down = 0; down < POOL; down++)
        for (let right = 0, at = (row + down) * MAP + column; right < POOL; right++, at++)
          if (map[at] > map[best] || Number.isNaN(map[at])) best = at;
      hidden[out] = Math.max(map[best], 0);
      indices[out] = image + Math.floor(best / MAP) * SIDE + (best % MAP);
    }
}

/** Return log_softmax of values that are `stride` apart. */
function logSoftmax(logits, start, stride, count) {
  const values = Array.from({ length: count }, (_, index) => logits[start + index * stride]);
  const most = Math.max(...values);
  const sum = values.reduce((total, value) => total + Math.exp(value - most), 0);
  return values.map((value) => value - most - Math.log(sum));
}

export const softmax = (logits) => logSoftmax(logits, 0, 1, logits.length).map(Math.exp);

/**
 * Return nll_loss(log_softmax(logits, dim), labels), the mean over the batch, and its gradient for the logits.
 *
 * With dim null, the logits take the place of the log-probabilities.
 */
export function lossOf(logits, labels, dim = 1) {
  const count = labels.length;
  const gradient = new Float32Array(logits.length); // of the log-probabilities, and then of the logits
  labels.forEach((label, n) => (gradient[n * CLASSES + label] = -1 / count));
  const logProbs = Float32Array.from(logits);
  const [groups, size, stride] = dim === 1 ? [count, CLASSES, 1] : [CLASSES, count, CLASSES];
  for (let group = 0; dim !== null && group < groups; group++) {
    const start = dim === 1 ? group * CLASSES : group;
    const values = logSoftmax(logits, start, stride, size);
    const total = values.reduce((sum, _, index) => sum + gradient[start + index * stride], 0);
    values.forEach((value, index) => {
      logProbs[start + index * stride] = value;
      gradient[start + index * stride] -= Math.exp(value) * total;
    });
  }
  const loss = labels.reduce((sum, label, n) => sum - logProbs[n * CLASSES + label] / count, 0);
  return { loss, gradient };
}

/** Return a mask for dropout: 0, or 1 / (1 - drop), so that the mean stays the same. */
function dropout(count, random) {
  const { drop } = SETTINGS;
  return floats(count * HIDDEN, () => (random() < drop ? 0 : 1 / (1 - drop)));
}

/** Return the logits of images, Uint8Array [N, 784], in a test: without dropout, and normalized as in the training. */
export function testLogits(network, images, mistake, random = Math.random) {
  const change = mistake === "normalize" ? scale : normalize;
  const levels = floats(256, change);
  const x = floats(images.length, (index) => levels[images[index]]);
  return network.forward(x, mistake === "eval" ? dropout(images.length / PIXELS, random) : null).logits;
}

/** A training run with at most one mistake. `digits` has train and test, each { images: Uint8Array, labels }. */
export class Run {
  constructor(digits, mistake = "", seed = 1) {
    const [seen, other] = mistake === "leak" ? [digits.test, digits.train] : [digits.train, digits.test];
    Object.assign(this, { mistake, train: seen, unseen: other, test: digits.test, losses: [], tests: [] });
    this.network = new Network(seed);
    this.start = this.network.parameters.filters.slice();
    this.random = generator(seed + 1000); // of the training
    this.testRandom = generator(seed + 2000); // of a test with dropout
  }

  /** Choose a batch at random. The labels belong to the images, unless that is the mistake. */
  batch() {
    const { images, labels } = this.train;
    const chosen = Array.from({ length: SETTINGS.batch }, () => Math.floor(this.random() * labels.length));
    const x = floats(chosen.length * PIXELS, (index) =>
      normalize(images[chosen[Math.floor(index / PIXELS)] * PIXELS + (index % PIXELS)]),
    );
    const y = chosen.map((digit) => labels[digit]);
    return { chosen, x, y: this.mistake === "labels" ? shuffle(y, this.random) : y };
  }

  /** Take one step, and return what was random in it, and its loss. */
  step() {
    const { network, mistake } = this;
    const { chosen, x, y } = this.batch();
    const mask = dropout(y.length, this.random);
    if (mistake !== "zero_grad") network.zeroGrad();
    const pass = network.forward(x, mask);
    const { loss, gradient } = lossOf(pass.logits, y, { dim: 0, logits: null }[mistake]);
    if (mistake !== "backward") network.backward(pass, gradient);
    if (mistake !== "step") network.step(SETTINGS.rate * (mistake === "lr" ? FACTOR : 1), SETTINGS.momentum);
    this.losses.push(loss);
    return { chosen, mask, loss };
  }

  /** Return the accuracy in percent, by default on the test digits. */
  accuracy({ images, labels } = this.test) {
    const logits = testLogits(this.network, images, this.mistake, this.testRandom);
    const right = labels.filter((label, n) => argmax(logits.subarray(n * CLASSES, (n + 1) * CLASSES)) === label);
    return (100 * right.length) / labels.length;
  }

  /** Do what comes next: a step, or a test at the start and after every 25 steps. */
  advance() {
    if (this.losses.length === this.tests.length * EVERY) this.tests.push(this.accuracy());
    else this.step();
  }

  get done() {
    return this.tests.length > STEPS / EVERY;
  }
}
