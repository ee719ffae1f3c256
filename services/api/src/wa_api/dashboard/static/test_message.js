// The dialog that sends a test message with a session's own token, as a program would.

import { call, Problem } from "./http.js";
import { tokenOf } from "./tokens.js";

let session = null;

export function keepTestMessage() {
  const form = document.getElementById("test-form");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = document.getElementById("test-go");
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    say("busy", "Sending …");
    try {
      const body = { to: digits(form.elements.to.value), type: "text", message: form.elements.message.value };
      const authorization = { Authorization: `Bearer ${await tokenOf(session)}` };
      const done = await call("POST", "/api/messages/send", body, authorization);
      if (done.status === "sent") say("good", `Sent. WhatsApp's id: ${done.messageId}`);
      else say("warn", "Queued: it is sent as soon as the session works.");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      say("bad", error.message);
    } finally {
      button.setAttribute("aria-busy", "false");
    }
  });
}

export function openTestMessage(about) {
  session = about;
  const form = document.getElementById("test-form");
  form.elements.to.value = "";
  document.getElementById("test-result").hidden = true;
  document.getElementById("test-from").textContent = `From ${about.called}`;
  document.getElementById("test-dialog").showModal();
  form.elements.to.focus();
}

// People write numbers with a plus and spaces; a full JID stays as it is.
export function digits(number) {
  return number.includes("@") ? number.trim() : number.replace(/[\s()+.-]/g, "");
}

function say(tone, text) {
  const result = document.getElementById("test-result");
  result.className = `result tone-${tone}`;
  result.textContent = text;
  result.hidden = false;
}
