// Programs that run in a worker; or on the page itself, if it may not start workers.

/**
 * Start a program. Returns { send, stop }.
 *
 * source is the program as a script for a worker. program(post) starts the same program on the page, and returns what
 * gets its messages. receive(message) gets what the program posts.
 */
export function inBackground(source, program, receive) {
  let [sent, here] = [[], null]; // sent: until the worker has answered once
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  let worker = null;
  const onPage = () => {
    if (!sent) return; // an error of a worker that has started
    worker?.terminate();
    here = program(receive);
    sent.forEach(here);
    sent = null;
  };
  try {
    worker = new Worker(address);
    worker.onmessage = ({ data }) => {
      sent = null;
      receive(data);
    };
    worker.onerror = onPage; // such as a page whose security policy forbids workers
  } catch {
    onPage();
  }
  return {
    send(message) {
      sent?.push(message);
      if (here) here(message);
      else worker.postMessage(message);
    },
    stop() {
      worker?.terminate();
      URL.revokeObjectURL(address);
    },
  };
}
