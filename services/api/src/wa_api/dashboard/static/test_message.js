// The dialog that sends a test message of any type with a session's own token, as a program would.

import { call, Problem, upload } from "./http.js";
import { tokenOf } from "./tokens.js";

let session = null;

export function keepTestMessage() {
  const form = document.getElementById("test-form");
  form?.elements.type.addEventListener("change", () => showFieldsOf(form));
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = document.getElementById("test-go");
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    say("busy", "Sending …");
    try {
      const authorization = { Authorization: `Bearer ${await tokenOf(session)}` };
      const body = { ...content(form.elements), ...(await media(form.elements, authorization)) };
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
  form.reset();
  showFieldsOf(form);
  document.getElementById("test-result").hidden = true;
  document.getElementById("test-from").textContent = `From ${about.called}`;
  document.getElementById("test-dialog").showModal();
  form.elements.to.focus();
}

// A disabled field is neither required nor checked.
function showFieldsOf(form) {
  const type = form.elements.type.value;
  for (const fields of form.querySelectorAll("[data-for]")) {
    fields.disabled = fields.hidden = !fields.dataset.for.split(" ").includes(type);
  }
}

// The file is uploaded first; the message names it.
async function media(fields, authorization) {
  if (fields.file.matches(":disabled")) return {};
  const [file] = fields.file.files;
  if (!file) return { mediaUrl: fields.mediaUrl.value.trim() };
  const query = new URLSearchParams({ fileName: file.name });
  const { mediaId } = await upload(`/api/media?${query}`, file, authorization);
  return { mediaId };
}

function content(fields) {
  const value = (name) => fields[name].value.trim() || undefined;
  const lines = (name) => fields[name].value.split("\n").map((line) => line.trim()).filter(Boolean);
  const parts = {
    text: () => ({ message: fields.message.value, linkPreview: fields.linkPreview.checked || undefined }),
    document: () => ({ fileName: value("fileName") }),
    location: () => ({
      location: { latitude: Number(value("latitude")), longitude: Number(value("longitude")), name: value("place"), address: value("address") },
    }),
    contact: () => ({
      contacts: [{ name: value("contact"), phoneNumber: digits(value("number")), organization: value("organization") }],
    }),
    poll: () => ({ poll: { question: value("question"), options: lines("options"), selectable: Number(value("selectable")) } }),
    reaction: () => ({ reaction: { messageId: value("reacted"), emoji: value("emoji") ?? "" } }),
  };
  const used = (name) => !fields[name].matches(":disabled");
  return {
    to: digits(fields.to.value),
    type: fields.type.value,
    ...parts[fields.type.value]?.(),
    ...(used("caption") && { message: value("caption") }),
    ...(used("viewOnce") && { viewOnce: fields.viewOnce.checked || undefined }),
    ...(used("replyTo") && { replyTo: value("replyTo"), mentions: value("mentions")?.split(/[\s,]+/) }),
  };
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
