// The worker of Break it: it trains, so the page stays free for the reader.

import { trainRuns } from "./trainer.js";

const receive = trainRuns(postMessage);
onmessage = ({ data }) => receive(data);
