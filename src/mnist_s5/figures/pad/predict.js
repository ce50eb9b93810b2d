// Predictions in the background.

import { inBackground } from "./background.js";
import { answerDrawings } from "./predictor.js";

/** Start a predictor. Returns { load, predict, stop }, where `predict` returns a promise. */
export function startPredictor(source) {
  const waiting = new Map();
  let count = 0;
  const { send, stop } = inBackground(source, answerDrawings, ({ id, reply }) => {
    waiting.get(id)?.(reply);
    waiting.delete(id);
  });
  const load = (data) => send({ data });
  const predict = (drawing) =>
    new Promise((resolve) => {
      waiting.set(++count, resolve);
      send({ id: count, drawing });
    });
  return { load, predict, stop };
}
