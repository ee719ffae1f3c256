// The endpoints on a session's page: add, test, pause, resume, new secret, delete, redeliver.

import { confirm } from "./confirm.js";
import { copyText } from "./code.js";
import { call, Problem } from "./http.js";
import { toast } from "./toast.js";

const LOOK_EVERY_MS = 400;
const PATIENCE_MS = 25_000;
let changed = () => {};
let session = null;

const the = (id) => document.getElementById(id);

export const WEBHOOK_ACTIONS = {
  "add-webhook": openNew,
  "test-webhook": (_, button) => test(endpointOf(button)),
  "pause-webhook": (_, button) => setPaused(endpointOf(button), true),
  "resume-webhook": (_, button) => setPaused(endpointOf(button), false),
  "rotate-webhook": (_, button) => rotate(endpointOf(button)),
  "delete-webhook": (_, button) => remove(endpointOf(button)),
  "copy-webhook-secret": copySecret,
  redeliver,
};

export function keepWebhooks(onChange) {
  changed = onChange;
  the("webhook-form")?.addEventListener("submit", (event) => {
    event.preventDefault();
    create(event.target);
  });
  the("secret-dialog")?.addEventListener("close", () => the("webhook-secret").textContent = "");
}

function endpointOf(button) {
  const { webhook: id, called, waiting } = button.closest("[data-webhook]").dataset;
  return { id, called, waiting: Number(waiting), path: `/api/webhooks/${id}` };
}

function openNew(about) {
  session = about;
  the("webhook-form").reset();
  the("webhook-error").hidden = true;
  the("webhook-dialog").showModal();
  the("webhook-url").focus();
}

async function create(form) {
  const button = the("webhook-go");
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  the("webhook-error").hidden = true;
  const { url, events, headers, sessions, includeMedia } = form.elements;
  const names = events.value.split(/[\s,]+/).filter(Boolean);
  try {
    const made = await call("POST", "/api/webhooks", {
      url: url.value.trim(),
      events: names.length ? names : null,
      sessionId: sessions.value === "this" ? session.id : null,
      includeMedia: includeMedia.checked,
      headers: headersOf(headers.value),
    });
    the("webhook-dialog").close();
    showSecret(made.secret, "The endpoint gets what happens from now on.");
    changed();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    the("webhook-error").textContent = error.message;
    the("webhook-error").hidden = false;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

// "Name: value" lines as an object; a line without a colon is left to the server to refuse.
function headersOf(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  const pairs = lines.map((line) => {
    const [name, ...value] = line.split(":");
    return [name.trim(), value.join(":").trim()];
  });
  return pairs.length ? Object.fromEntries(pairs) : null;
}

function showSecret(secret, sentence) {
  the("secret-text").textContent = `${sentence} Its receiver checks each request with this secret, which is shown this once.`;
  the("webhook-secret").textContent = secret;
  the("secret-dialog").showModal();
}

async function copySecret() {
  await copyText(the("webhook-secret").textContent);
  toast("Secret copied.");
}

// The outcome is the delivering process's to tell: look for it until it is there.
async function test({ called, path }) {
  const { id } = await call("POST", `${path}/test`);
  changed();
  const patience = Date.now() + PATIENCE_MS;
  while (Date.now() < patience) {
    await new Promise((later) => setTimeout(later, LOOK_EVERY_MS));
    const { items } = await call("GET", `${path}/deliveries?limit=20`);
    const found = items.find((one) => one.id === id);
    if (!found) return;
    if (found.status === "waiting") continue;
    if (found.status === "delivered") toast(`${called} answered ${found.responseStatus} in ${found.durationMs} ms.`);
    else toast(`The test of ${called} failed. ${found.error ?? ""}`, "bad");
    return changed();
  }
  toast("The test waits still: does a process deliver webhooks?", "bad");
}

async function setPaused({ called, waiting, path }, paused) {
  await call("PATCH", path, { paused });
  if (paused) toast(`${called} is paused; what is meant for it waits.`);
  else toast(waiting ? `${called} gets what waited.` : `${called} is resumed.`);
  changed();
}

async function rotate({ called, path }) {
  const sure = await confirm({
    title: "Make a new secret?",
    text: `Requests to ${called} are signed by the new and by the old one for a while.`,
    losses: ["After that, the old one no longer fits: change it at the receiver."],
    action: "Make a new secret",
  });
  if (!sure) return;
  const { secret } = await call("POST", `${path}/secret`);
  showSecret(secret, "This is the new one.");
  changed();
}

async function remove({ called, waiting, path }) {
  const sure = await confirm({
    title: `Delete ${called}?`,
    text: "This cannot be taken back.",
    losses: ["Its deliveries disappear from here.", ...(waiting ? ["What waits for it is not delivered."] : [])],
    action: "Delete",
  });
  if (!sure) return;
  await call("DELETE", path);
  toast(`${called} is deleted.`);
  changed();
}

async function redeliver(_, button) {
  const { webhook, delivery } = button.closest("[data-delivery]").dataset;
  await call("POST", `/api/webhooks/${webhook}/deliveries/${delivery}/redeliver`);
  toast("It is delivered once more.");
  changed();
}
