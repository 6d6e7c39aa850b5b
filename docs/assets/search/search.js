// The worker of the search, in place of the theme's: it loads that, and the documents, when the first word is typed.
//
// The index that a page loads by itself has no documents in it (tools/hooks.py). It runs as a worker on a server and, from
// file://, in a frame (iframe-worker), where importScripts returns a promise. Messages as the theme has them, by type:
// 0 an index to set up, 1 ready, 2 a query, 3 its results.
(() => {
  "use strict";
  const here = self.document?.currentScript?.src ?? self.location.href;
  let setup; // the message with the index
  let waiting; // the last query, while the documents are loaded

  const tell = (data) => dispatchEvent(new MessageEvent("message", { data }));

  async function load() {
    await importScripts(...["documents.js", "worker.js"].map((name) => new URL(name, here).href));
    removeEventListener("message", hear);
    const post = self.postMessage;
    self.postMessage = (message) => {
      self.postMessage = post;
      tell(waiting); // the theme's worker is ready
    };
    tell({ ...setup, data: { ...setup.data, docs: hvaeDocuments } });
  }

  function hear({ data: message }) {
    if (message.type === 0) {
      setup = message;
      postMessage({ type: 1 });
    } else if (message.data) {
      if (!waiting) load();
      waiting = message;
    } else {
      postMessage({ type: 3, data: { items: [] } });
    }
  }

  addEventListener("message", hear);
})();
