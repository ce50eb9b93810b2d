// The training loop of Break it, the ten mistakes, and what each one does.

/** Return a loss as a short text, such as 2.31, 4e14, or nan. */
export function short(value) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "−inf" : "inf";
  const text = Math.abs(value) < 1e5 ? value.toFixed(2) : value.toExponential(0).replace("e+", "e");
  return text.replace("-", "−");
}

export const percent = (value) => `${value.toFixed(1)}%`;
const last = (run) => percent(run.tests.at(-1));
const mean = (values) => values.reduce((sum, value) => sum + value) / values.length;
const meanLoss = (run) => mean(run.losses.slice(-40)).toFixed(2);
const nanStep = (run) => run.losses.findIndex(Number.isNaN) + 1;

/** The lines: the code, and for those that can be broken, the name of the mistake, and the wrong code (or nothing). */
export const LINES = [
  ['images, labels = load_digits("train")', "leak", 'images, labels = load_digits("test")'],
  ['test_images, test_labels = load_digits("test")'],
  ["model = SmallNet()"],
  ["optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)", "lr", "optimizer = SGD(model.parameters(), lr=0.6, momentum=0.9)"],
  ["for step in range(400):"],
  ["    batch = torch.randint(len(images), (32,))"],
  ["    x, y = normalize(images[batch]), labels[batch]", "labels", "    x, y = normalize(images[batch]), labels[batch][torch.randperm(32)]"],
  ["    model.train()"],
  ["    optimizer.zero_grad()", "zero_grad", ""],
  ["    log_probs = F.log_softmax(model(x), dim=1)", "dim", "    log_probs = F.log_softmax(model(x), dim=0)"],
  ["    loss = F.nll_loss(log_probs, y)", "logits", "    loss = F.nll_loss(model(x), y)"],
  ["    loss.backward()", "backward", ""],
  ["    optimizer.step()", "step", ""],
  ["    if step % 25 == 24:"],
  ["        model.eval()", "eval", ""],
  ["        logits = model(normalize(test_images))", "normalize", "        logits = model(test_images / 255)"],
  ["        right = logits.argmax(dim=1) == test_labels"],
  ["        accuracy = right.float().mean()"],
];

export const NAMES = LINES.flatMap(([, name]) => name ?? []);
export const codeOf = (name) => LINES.find((line) => line[1] === name)[0].trim();

/** Return whether no curve tells two mistakes apart: without gradients and without steps, nothing changes. */
export const alike = (one, other) => one === other || [one, other].sort().join() === "backward,step";

const SAME = "From its curves, nobody can tell a missing backward from a missing step: in both, no weight ever changes.";

/** For each mistake, its mechanism, and its fingerprint in a finished run. */
export const MISTAKES = {
  leak: [
    "The network trains on the digits that it is tested on.",
    (run, healthy) =>
      `So its test accuracy is better than the healthy one, ${last(run)} instead of ${last(healthy)}, and says nothing ` +
      `about other digits: of 2,000 that it has not seen, it gets ${percent(run.unseen)} right.`,
  ],
  lr: [
    "A learning rate of 0.6 instead of 0.02 makes each step jump far over the minimum.",
    (run) =>
      `The loss explodes at once, and is nan from step ${nanStep(run)} on. A network that returns nan always ` +
      `predicts 0, so its accuracy is ${last(run)}: there are 50 zeros among the 500 test digits.`,
  ],
  labels: [
    "The labels are shuffled inside each batch, so they do not belong to the images, and there is nothing to learn.",
    (run) =>
      `The loss falls to ln 10 = 2.30, which is that of giving each class the same probability, and stays there ` +
      `(mean of the last 40 steps: ${meanLoss(run)}). The accuracy stays near the 10% of guessing.`,
  ],
  zero_grad: [
    "backward adds to the gradients that are there, so without zero_grad, each step uses the sum of all gradients so far.",
    (run) =>
      `The steps become longer and longer, the loss swings and grows, and it is nan from step ${nanStep(run)} on. ` +
      "With a learning rate that is too large, this happens within the first 50 steps.",
  ],
  dim: [
    "dim=0 normalizes over the 32 images of the batch instead of the 10 classes.",
    (run) =>
      `So the loss starts near ln 32 = 3.47 instead of ln 10 = 2.30, and cannot get near 0, because the images of a ` +
      `class share a probability of 1. The accuracy still rises, to ${last(run)}.`,
  ],
  logits: [
    "nll_loss expects log-probabilities, which are never above 0. Logits have no such limit.",
    (run) =>
      "So the loss starts near 0, and falls below 0, which a negative log likelihood cannot. The logits grow without " +
      `end, until they are nan at step ${nanStep(run)}.`,
  ],
  backward: [
    "Without backward, there are no gradients, so optimizer.step() has nothing to do.",
    (run) =>
      `The filters stay as they were, the accuracy stays at ${last(run)}, and the loss only varies with the batch. ` + SAME,
  ],
  step: [
    "backward computes the gradients, but without step, nothing uses them.",
    (run) =>
      `The filters stay as they were, the accuracy stays at ${last(run)}, and the loss only varies with the batch. ` + SAME,
  ],
  eval: [
    "Without eval, dropout is still active in the test: it sets half of the values at random to 0.",
    (run) =>
      "The loss is exactly the healthy one, but the accuracy is lower, and two tests of the same network differ: " +
      `${last(run)} and ${percent(run.again)}.`,
  ],
  normalize: [
    "The test images are scaled to 0 to 1, but the network was trained on normalized ones, from −0.42 to 2.82.",
    (run, healthy) => {
      const gap = Math.max(...run.tests.map((accuracy, test) => healthy.tests[test] - accuracy));
      return (
        "The loss is exactly the healthy one, but the accuracy jumps from test to test, and is up to " +
        `${gap.toFixed(1)} percentage points lower. Unlike without eval, a second test gives the same result.`
      );
    },
  ],
};
