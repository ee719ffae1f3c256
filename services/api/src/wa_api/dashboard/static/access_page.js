// The page of API keys and the audit log: create a key, show it once, revoke it.

import { confirm } from "./confirm.js";
import { copyText } from "./code.js";
import { call, Problem } from "./http.js";
import { toast } from "./toast.js";

const DAY_MS = 86_400_000;
const the = (id) => document.getElementById(id);

export function keepAccess() {
  the("new-key").addEventListener("click", () => {
    the("key-form").reset();
    the("key-error").hidden = true;
    the("key-dialog").showModal();
  });
  the("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    create(event.target.elements);
  });
  the("copy-key").addEventListener("click", async () => {
    await copyText(the("made-key").textContent);
    toast("API key copied.");
  });
  the("made-dialog").addEventListener("close", () => {
    the("made-key").textContent = "";
    location.reload();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-revoke]");
    if (button) revoke(button.closest("[data-key]").dataset);
  });
}

async function create({ name, scopes, sessions, days }) {
  const button = the("key-go");
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  const chosen = [...sessions.selectedOptions].map((one) => one.value);
  try {
    const made = await call("POST", "/api/keys", {
      name: name.value.trim(),
      scopes: [...scopes].filter((one) => one.checked).map((one) => one.value),
      sessionIds: chosen.length ? chosen : null,
      expiresAt: days.value ? new Date(Date.now() + days.value * DAY_MS).toISOString() : null,
    });
    the("key-dialog").close();
    the("made-key").textContent = made.key;
    the("made-dialog").showModal();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    the("key-error").textContent = error.message;
    the("key-error").hidden = false;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

async function revoke({ key, name }) {
  const sure = await confirm({
    title: `Revoke ${name}?`,
    text: "This cannot be taken back.",
    losses: ["Programs that use the key get 401 at once.", "Their event streams end."],
    action: "Revoke",
  });
  if (!sure) return;
  try {
    await call("DELETE", `/api/keys/${key}`);
    location.reload();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(error.message, "bad");
  }
}
