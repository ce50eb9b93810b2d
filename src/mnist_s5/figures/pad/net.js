// The network of mnist_s5/model.py in plain JavaScript: four convolutions and two linear layers.

const LAYERS = {
  // numbers of outputs and inputs, and of weights for each pair of them
  conv1: [32, 1, 9],
  conv2: [64, 32, 9],
  conv3: [128, 64, 9],
  conv4: [256, 128, 9],
  fc1: [50, 4096, 1],
  fc2: [10, 50, 1],
};
// The receptive field of a value, in pixels of the digit: its side, and how far it moves from one value to the next.
const FIELDS = { conv1: [3, 1], conv2: [5, 1], conv3: [10, 2], conv4: [14, 2] };
const MEAN = 0.1307;
const STD = 0.3081;

/**
 * Return { bias, weight } of each layer from the bytes of `encode_weights` in in_browser.py.
 *
 * First come all biases, as 32-bit floats, and then all weights, also as 32-bit floats. Or the biases are followed by
 * one scale for each output, and the weights are 8-bit integers.
 */
export function decodeWeights(buffer) {
  const layers = Object.entries(LAYERS);
  const outputs = layers.reduce((sum, [, [to]]) => sum + to, 0);
  const all = layers.reduce((sum, [, [to, from, size]]) => sum + to * from * size, 0);
  const whole = buffer.byteLength === 4 * (outputs + all);
  const [biases, scales] = [new Float32Array(buffer, 0, outputs), whole ? null : new Float32Array(buffer, 4 * outputs, outputs)];
  const weights = whole ? new Float32Array(buffer, 4 * outputs) : new Int8Array(buffer, 8 * outputs);
  let [output, start] = [0, 0];
  const read = ([name, [to, from, size]]) => {
    const each = from * size;
    const weight = Float32Array.from(weights.subarray(start, start + to * each));
    if (scales) weight.forEach((value, index) => (weight[index] = value * scales[output + Math.floor(index / each)]));
    const layer = { bias: biases.subarray(output, output + to), weight };
    output += to;
    start += to * each;
    return [name, layer];
  };
  return Object.fromEntries(layers.map(read));
}

/**
 * Convolve maps [from, side, side] with 3 × 3 kernels, without padding, and return maps [to, side - 2, side - 2] after
 * a ReLU. Two outputs at a time share what is read from the input.
 */
function convolve(input, side, { bias, weight }) {
  const [to, out] = [bias.length, side - 2];
  const [size, from] = [out * out, weight.length / bias.length / 9];
  const result = new Float32Array(to * size);
  for (let map = 0; map < to; map++) result.fill(bias[map], map * size, (map + 1) * size);
  for (let map = 0; map < to; map += 2) {
    const [first, second] = [map * size, (map + 1) * size];
    for (let channel = 0; channel < from; channel++) {
      const k = 9 * (map * from + channel);
      const l = k + 9 * from;
      const k0 = weight[k], k1 = weight[k + 1], k2 = weight[k + 2];
      const k3 = weight[k + 3], k4 = weight[k + 4], k5 = weight[k + 5];
      const k6 = weight[k + 6], k7 = weight[k + 7], k8 = weight[k + 8];
      const l0 = weight[l], l1 = weight[l + 1], l2 = weight[l + 2];
      const l3 = weight[l + 3], l4 = weight[l + 4], l5 = weight[l + 5];
      const l6 = weight[l + 6], l7 = weight[l + 7], l8 = weight[l + 8];
      for (let row = 0; row < out; row++) {
        let x = (channel * side + row) * side; // the window's upper left corner
        let y = x + side, z = x + 2 * side; // the row below it, and the next one
        for (let at = row * out, end = at + out; at < end; at++, x++, y++, z++) {
          const a = input[x], b = input[x + 1], c = input[x + 2];
          const d = input[y], e = input[y + 1], f = input[y + 2];
          const g = input[z], h = input[z + 1], i = input[z + 2];
          result[first + at] += k0 * a + k1 * b + k2 * c + k3 * d + k4 * e + k5 * f + k6 * g + k7 * h + k8 * i;
          result[second + at] += l0 * a + l1 * b + l2 * c + l3 * d + l4 * e + l5 * f + l6 * g + l7 * h + l8 * i;
        }
      }
    }
  }
  return relu(result);
}

/** Return the maximum of each square of 2 × 2 values of maps [N, side, side]. */
function maxPool(input, side) {
  const half = side / 2;
  return Float32Array.from({ length: input.length / 4 }, (_, index) => {
    const at = 2 * side * Math.floor(index / half) + 2 * (index % half);
    return Math.max(input[at], input[at + 1], input[at + side], input[at + side + 1]);
  });
}

function linear(input, { bias, weight }) {
  return Float32Array.from(bias, (start, output) => {
    let sum = start;
    for (let i = 0, w = output * input.length; i < input.length; i++, w++) sum += weight[w] * input[i];
    return sum;
  });
}

function relu(values) {
  for (let i = 0; i < values.length; i++) if (values[i] < 0) values[i] = 0; // NaN stays
  return values;
}

export function logSoftmax(logits) {
  const most = Math.max(...logits);
  const logSum = Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return Array.from(logits, (value) => value - most - logSum);
}

/**
 * Run the network on a digit, Uint8Array(784).
 *
 * Returns its log-probabilities, and the outputs of its layers after a ReLU: [{ name, count, height, width, values,
 * field }], where `field` is the side and the step of the receptive fields. `conv1` also has its bias and weights.
 */
export function forward(weights, image) {
  const layers = [];
  const keep = (name, side, values) => {
    layers.push({ name, count: LAYERS[name][0], height: side, width: side, values, field: FIELDS[name] });
    return values;
  };
  const x = Float32Array.from(image, normalizePixel);
  const first = keep("conv1", 26, convolve(x, 28, weights.conv1));
  Object.assign(layers[0], weights.conv1);
  const second = maxPool(keep("conv2", 24, convolve(first, 26, weights.conv2)), 24); // pooling and ReLU commute
  const third = keep("conv3", 10, convolve(second, 12, weights.conv3));
  const fourth = maxPool(keep("conv4", 8, convolve(third, 10, weights.conv4)), 8);
  const hidden = keep("fc1", 1, relu(linear(fourth, weights.fc1)));
  return { logProbs: logSoftmax(linear(hidden, weights.fc2)), layers };
}

/** Return the value of a pixel as the network gets it. */
export function normalizePixel(value) {
  return (value / 255 - MEAN) / STD;
}
