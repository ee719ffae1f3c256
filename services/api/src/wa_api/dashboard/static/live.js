// Keeps a part of the page true: asks for it anew when the gateway rings, at times by itself, and
// says so when the gateway cannot be reached. Comes back without a reload.

import { at, Problem } from "./http.js";

const REOPEN_MS = 1_500;
const LEAST_MS_BETWEEN = 200;

// Calls refresh once at a time: again after the present one if it was asked for meanwhile.
export function steadily(refresh) {
  let running = false;
  let asked = false;
  return async function ask() {
    asked = true;
    if (running) return;
    running = true;
    try {
      while (asked) {
        asked = false;
        await attempt(refresh);
        await new Promise((done) => setTimeout(done, LEAST_MS_BETWEEN));
      }
    } finally {
      running = false;
    }
  };
}

async function attempt(refresh) {
  try {
    await refresh();
    connected();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 0) lost();
    else if (error.status >= 500) lost(error.message);
  }
}

// Listens to a stream of the gateway for as long as the page is seen.
export function listen(address, types, heard, opened = () => {}) {
  let source = null;
  let waiting = null;
  const open = () => {
    clearTimeout(waiting);
    source?.close();
    source = new EventSource(at(address));
    for (const type of types) source.addEventListener(type, heard);
    source.addEventListener("open", () => {
      connected();
      opened();
    });
    source.addEventListener("error", () => {
      lost();
      heard(null); // a refused sign-in shows itself by this
      if (source.readyState === EventSource.CLOSED) waiting = setTimeout(open, REOPEN_MS);
    });
  };
  const close = () => {
    clearTimeout(waiting);
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  addEventListener("offline", () => lost());
  addEventListener("online", open);
  if (!document.hidden) open();
}

function lost(sentence = "The connection to the gateway is lost.") {
  const note = document.getElementById("connection");
  note.textContent = `${sentence} Trying again … What you see may be out of date.`;
  note.hidden = false;
}

function connected() {
  document.getElementById("connection").hidden = true;
}
