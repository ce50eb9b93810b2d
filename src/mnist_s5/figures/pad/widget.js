// The drawing pad in a notebook. The network runs in the browser if Python sent its weights, and otherwise in the kernel.

import { startPredictor } from "./predict.js";
import { digitPad } from "./pad.js";

const FROM_KERNEL = ["weights", "pretrained", "known"];

const bytesOf = ({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength);

export function render({ model, el }) {
  const [waiting, background] = [new Map(), startPredictor(WORKER)];
  const load = (name) => {
    const view = model.get(name); // a DataView. It is empty for weights that only the kernel can use.
    if (view) background.load({ [name]: bytesOf(view) });
  };
  const live = () => Boolean(model.get("weights")?.byteLength);
  const reload = () => {
    load("weights");
    pad.options.live = live();
    pad.refresh();
  };
  const receive = ({ id, layers, error, ...reply }, buffers) => {
    const values = (view) => new Float32Array(bytesOf(view));
    waiting.get(id)?.({ ...reply, error, layers: layers?.map((layer, n) => ({ ...layer, values: values(buffers[n]) })) });
    if (!waiting.delete(id) && error && id === 0) pad.show({ error });
  };
  const send = (content, image) => model.send(content, undefined, image ? [image] : []);
  const ask = (content, image) =>
    new Promise((resolve) => {
      const id = Math.random(); // not a counter, because every view of this pad gets every reply
      waiting.set(id, resolve);
      send({ ...content, id }, image);
    });
  const predict = async (drawing) => {
    const result = await background.predict(drawing);
    if (!result.image || result.probabilities) return result;
    return { ...result, ...(await ask({ kind: "predict" }, result.image)) };
  };
  const pad = digitPad(el, predict, {
    keep: ({ image, label }) => ask({ kind: "keep", label }, image),
    undoKeep: ({ name }) => ask({ kind: "undo_keep", name }),
    drawn(image) {
      try {
        send({ kind: "drawn", id: 0 }, image);
      } catch {
        // The kernel is gone. The network in the browser does not need it.
      }
    },
    live: live(),
    no_answer: "The kernel does not answer. It may be busy. If it was restarted, run this cell again.",
  });
  FROM_KERNEL.forEach(load);
  model.on("msg:custom", receive);
  model.on("change:weights", reload);
  return () => {
    model.off("msg:custom", receive);
    model.off("change:weights", reload);
    background.stop();
    pad.remove();
  };
}
