// The dialog with a session's options: it sends what was changed, and nothing else.

import { call, Problem } from "./http.js";
import { toast } from "./toast.js";

const KINDS = ["groups", "stories", "channels", "calls", "echoes"];
let session = null;
let shown = null;

export function keepOptions(onChange) {
  const form = document.getElementById("options-form");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = document.getElementById("options-go");
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await call("PATCH", `/api/sessions/${session.id}`, changes(shown, read(form)));
      document.getElementById("options-dialog").close();
      toast(`The options of ${session.called} are changed.`);
      onChange();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      say(error.message);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}

export async function openOptions(about) {
  session = about;
  const form = document.getElementById("options-form");
  fill(form, await call("GET", `/api/sessions/${about.id}`));
  shown = read(form);
  say("");
  document.getElementById("options-dialog").showModal();
  form.elements.name.focus();
}

function fill(form, options) {
  const fields = form.elements;
  fields.name.value = options.name ?? "";
  fields.metadata.value = Object.entries(options.metadata).map(([name, value]) => `${name}: ${value}`).join("\n");
  for (const kind of KINDS) fields[kind].checked = options.receive[kind];
  fields.proxy.value = options.proxy ?? "";
  fields.deviceName.value = options.deviceName ?? "";
  fields.presence.value = options.presence;
  fields.keepMedia.checked = options.keepMedia;
  fields.perMinute.value = options.pacing?.perMinute ?? "";
  fields.perDay.value = options.pacing?.perDay ?? "";
}

function read(form) {
  const fields = form.elements;
  const limit = (field) => (field.value === "" ? null : Number(field.value));
  const pacing = { perMinute: limit(fields.perMinute), perDay: limit(fields.perDay) };
  return {
    name: fields.name.value.trim() || null,
    metadata: metadata(fields.metadata.value),
    receive: Object.fromEntries(KINDS.map((kind) => [kind, fields[kind].checked])),
    proxy: fields.proxy.value.trim() || null,
    deviceName: fields.deviceName.value.trim() || null,
    presence: fields.presence.value,
    keepMedia: fields.keepMedia.checked,
    pacing: pacing.perMinute === null && pacing.perDay === null ? null : pacing,
  };
}

// One entry a line; only the first colon separates.
function metadata(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  return Object.fromEntries(lines.map((line) => {
    const [name, ...value] = line.split(":");
    return [name.trim(), value.join(":").trim()];
  }));
}

function changes(before, after) {
  return Object.fromEntries(
    Object.entries(after).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])),
  );
}

function say(problem) {
  const place = document.getElementById("options-error");
  place.textContent = problem;
  place.hidden = !problem;
}
