// "Connect New Session": a name, then the QR code or a pairing code, until the number is linked.
// Closing it before that deletes the session that it made; an older one is left as it is.

import { call, part, Problem } from "./http.js";
import { countDown } from "./countdown.js";
import { morph } from "./morph.js";
import { select } from "./tabs.js";
import { digits } from "./test_message.js";
import { toast } from "./toast.js";

const LOOK_EVERY_MS = 1_000;
const NEEDS_START = ["logged_out", "failed", "stopped"];
const UNDER_WAY = ["connecting", "working"];
let changed = () => {};
let linking = null; // { id, mine, state, timer, looking }

const the = (id) => document.getElementById(id);

export function keepConnect(onChange) {
  changed = onChange;
  const dialog = the("connect-dialog");
  if (!dialog) return;
  the("connect")?.addEventListener("click", () => open());
  the("connect-name").addEventListener("submit", (event) => {
    event.preventDefault();
    create(event.target.elements.name.value.trim());
  });
  dialog.addEventListener("close", ended);
  dialog.addEventListener("submit", (event) => {
    if (event.target.id !== "pairing-form") return;
    event.preventDefault();
    askForPairingCode(event.target);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target.closest('[data-do="new-code"]')) startAnew();
  });
}

export async function openLinking(session) {
  open();
  follow(session.id, false);
  if (NEEDS_START.includes(session.state)) await startAnew();
}

// Something changed: look at once instead of at the next second.
export function lookAtLinking() {
  if (linking) look(linking);
}

function open() {
  the("connect-name").reset();
  the("connect-name").hidden = false;
  the("connect-error").hidden = true;
  the("linking").hidden = true;
  the("connect-dialog").showModal();
  the("name").focus();
}

async function create(name) {
  const button = the("connect-go");
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  the("connect-error").hidden = true;
  try {
    const made = await call("POST", "/api/sessions", name ? { name } : {});
    if (the("connect-dialog").open) follow(made.sessionId, true);
    else await forget(made.sessionId);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    the("connect-error").textContent = error.message;
    the("connect-error").hidden = false;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function follow(id, mine) {
  linking = { id, mine, state: "", looking: false };
  the("connect-name").hidden = true;
  const waiting = document.createElement("div");
  waiting.id = "linking";
  the("linking").replaceWith(waiting);
  the("connect-title").tabIndex = -1;
  the("connect-title").focus();
  look(linking);
}

async function look(mine) {
  if (mine.looking || linking !== mine) return;
  mine.looking = true;
  clearTimeout(mine.timer);
  try {
    show(mine, await part(`/dashboard/sessions/${mine.id}/linking`));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 404) gone(mine);
    else the("countdown")?.replaceChildren(`${error.message} Trying again …`);
  }
  mine.looking = false;
  if (linking === mine) mine.timer = setTimeout(() => look(mine), LOOK_EVERY_MS);
}

function show(mine, drawn) {
  if (linking !== mine) return;
  mine.state = drawn.dataset.state;
  if (mine.state === "working") return finish(`+${drawn.dataset.number} is linked.`);
  morph(the("linking"), drawn);
  const way = the("linking").querySelector('[role="tab"][aria-selected="true"]');
  if (way) select(way);
  const { expiresAt, now } = the("linking").dataset;
  if (expiresAt) countDown(the("countdown"), expiresAt, now, (left) =>
    left > 0 ? `Good for ${left} s, then the next code comes by itself` : "The next code is on its way …");
  else the("countdown")?.replaceChildren("\u00a0");
}

function finish(sentence) {
  linking = null;
  the("connect-dialog").close();
  toast(sentence);
  changed();
}

function gone(mine) {
  if (linking !== mine || mine.state === "") return; // created a moment ago, not projected yet
  finish("The session was deleted meanwhile.");
}

async function startAnew() {
  const mine = linking;
  if (!mine) return;
  try {
    await call("POST", `/api/sessions/${mine.id}/restart`);
    look(mine);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(error.message, "bad");
  }
}

async function askForPairingCode(form) {
  const error = the("pairing-error");
  error.hidden = true;
  the("pairing-go").setAttribute("aria-busy", "true");
  try {
    const number = digits(form.elements.phoneNumber.value);
    const made = await call("POST", `/api/sessions/${linking.id}/pairing-code`, { phoneNumber: number });
    the("pairing-code").textContent = made.pairingCode;
    the("pairing-result").hidden = false;
    countDown(the("pairing-countdown"), made.expiresAt, null, (left) =>
      left > 0 ? `Good for ${left} s` : "This code has expired. Get another one.");
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    error.textContent = problem.message;
    error.hidden = false;
  } finally {
    the("pairing-go")?.removeAttribute("aria-busy");
  }
}

async function ended() {
  const mine = linking;
  linking = null;
  if (!mine) return;
  clearTimeout(mine.timer);
  if (mine.mine && !UNDER_WAY.includes(mine.state)) await forget(mine.id);
}

async function forget(id) {
  try {
    await call("DELETE", `/api/sessions/${id}`);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(`The session could not be deleted: ${error.message}`, "bad");
  }
  changed();
}
