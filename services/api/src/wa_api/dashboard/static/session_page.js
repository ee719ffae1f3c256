// A session's page: its state, messages and history kept true, and what happens shown as it does.

import { lookAtLinking } from "./connect.js";
import { at, part, Problem } from "./http.js";
import { listen, steadily } from "./live.js";
import { refreshMenu } from "./menu.js";
import { morph } from "./morph.js";
import { showTimes } from "./times.js";

const CHANGES = ["echoed", "reacted", "voted", "edited", "revoked"];
const TYPES = [
  ...["created", "updated", "starting", "qr_issued", "qr_expired", "connecting", "connected", "disconnected", "restricted"],
  ...["logged_out", "banned", "stopped", "failed", "deleted"],
].map((name) => `session.${name}`).concat(
  ["scheduled", "queued", "sent", "delivered", "read", "played", "retry_requested", "failed", "unknown", "cancelled", "received", ...CHANGES].map((name) => `message.${name}`),
  ["call.received", "call.ended"],
);
const LOOK_EVERY_MS = 1_500; // a host that falls silent makes no event
const SHOWN = 100;
const id = location.pathname.split("/").at(-1);
const wanted = new URLSearchParams(location.search);
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

const refresh = steadily(async () => {
  try {
    const drawn = await part(`/dashboard/sessions/${id}?${wanted}`);
    showTimes(drawn);
    morph(document.getElementById("session-live"), drawn);
    refreshMenu();
  } catch (error) {
    if (error instanceof Problem && error.status === 404) location.assign(at("/"));
    throw error;
  }
});

export function keepSession() {
  const state = document.getElementById("live-state");
  listen(
    `/api/events?sessionId=${id}`,
    TYPES,
    (event) => {
      if (event) add(JSON.parse(event.data));
      else state.textContent = "Reconnecting …";
      refresh();
      lookAtLinking();
    },
    () => {
      state.textContent = "Listening";
      refresh();
    },
  );
  setInterval(() => document.hidden || refresh(), LOOK_EVERY_MS);
  document.addEventListener("change", (event) => {
    if (event.target.id === "message-status") want({ status: event.target.value, cursor: "" });
  });
  document.addEventListener("click", (event) => {
    const page = event.target.closest("[data-cursor]");
    if (page) want({ cursor: page.dataset.cursor });
  });
  return refresh;
}

function want(changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value) wanted.set(name, value);
    else wanted.delete(name);
  }
  history.replaceState(null, "", wanted.size ? `?${wanted}` : location.pathname);
  refresh();
}

function add(event) {
  const list = document.getElementById("live");
  const item = document.createElement("li");
  const facts = Object.entries(event.data).filter(([, value]) => value !== null && typeof value !== "object");
  const parts = [
    ["time", clock.format(new Date(event.occurredAt))],
    ["strong", event.type],
    ["code", facts.map(([name, value]) => `${name}: ${value}`).join("  ")],
  ];
  for (const [name, text] of parts) {
    const part = document.createElement(name);
    part.textContent = text;
    item.append(part);
  }
  list.prepend(item);
  while (list.children.length > SHOWN) list.lastChild.remove();
}
