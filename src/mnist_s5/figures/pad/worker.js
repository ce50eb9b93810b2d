// The worker: it answers each drawing, so the page stays free for the strokes.

import { answerDrawings } from "./predictor.js";

const receive = answerDrawings(postMessage);
onmessage = ({ data }) => receive(data);
