// Copy, reveal and rotate a session's token. A token is in the page only while it is revealed.

import { copyText } from "./code.js";
import { call } from "./http.js";
import { toast } from "./toast.js";

const MASK = "wams_••••••••••••";

export async function tokenOf(session) {
  return (await call("GET", `/api/sessions/${session.id}/token`)).token;
}

export async function copyToken(session) {
  await copyText(await tokenOf(session));
  toast("Token copied.");
}

export async function revealToken(session, button) {
  const hides = button.getAttribute("aria-pressed") === "true";
  show(session, hides ? null : await tokenOf(session));
}

export async function rotateToken(session) {
  const { token } = await call("POST", `/api/sessions/${session.id}/token`);
  show(session, token);
  toast("New token. The old one is refused from now on.");
}

function show(session, token) {
  for (const place of document.querySelectorAll(`[data-session="${session.id}"] .token`)) {
    const code = place.querySelector("[data-token]");
    code.textContent = token ?? MASK;
    code.classList.toggle("is-revealed", token !== null);
    const button = place.querySelector('[data-do="reveal-token"]');
    button.setAttribute("aria-pressed", String(token !== null));
    button.title = token === null ? "Reveal" : "Hide";
  }
}
