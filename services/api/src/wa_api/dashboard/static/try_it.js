// Sends a request from the reference page with the key that was given once, and shows the answer.

import { at, csrfToken } from "./http.js";

const SHOWN_CHARACTERS = 64 * 1024;
const TEXTUAL = /^(text\/|application\/(json|.*\+json))/;
const HEADERS_SHOWN = ["location", "retry-after", "idempotent-replayed", "www-authenticate"];

export function keepTryIt() {
  document.getElementById("authorize").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-try]")) return;
    event.preventDefault();
    send(event.target);
  });
}

async function send(form) {
  const button = form.querySelector(".primary");
  if (button.getAttribute("aria-busy") === "true") return;
  const stop = form.querySelector("[data-stop]");
  const ending = new AbortController();
  stop.onclick = () => ending.abort();
  button.setAttribute("aria-busy", "true");
  stop.hidden = false;
  clear(form);
  say(form, "busy", "Sending …");
  const began = performance.now();
  try {
    const answer = await fetch(address(form), { ...request(form), cache: "no-store", signal: ending.signal });
    const took = Math.round(performance.now() - began);
    say(form, answer.ok ? "good" : "bad", [`${answer.status} ${answer.statusText} in ${took} ms`, ...headers(answer)].join(" · "));
    await show(form, answer);
  } catch (error) {
    if (error.name !== "AbortError") say(form, "bad", "The gateway cannot be reached.");
  } finally {
    button.removeAttribute("aria-busy");
    stop.hidden = true;
  }
}

// The path with its parameters filled in; an empty query parameter is left out.
function address(form) {
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const { name, value, dataset } of form.querySelectorAll("[data-place]")) {
    if (dataset.place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value.trim()));
    else if (dataset.place === "query" && value.trim()) query.append(name, value.trim());
  }
  return at(query.size ? `${path}?${query}` : path);
}

function request(form) {
  const { method, type } = form.dataset;
  const key = document.getElementById("authorize-key").value.trim();
  const given = {};
  for (const { name, value } of form.querySelectorAll('[data-place="header"]')) {
    if (value.trim()) given[name] = value.trim();
  }
  if (key) given.Authorization = `Bearer ${key}`;
  else given["X-CSRF-Token"] = csrfToken;
  const { body, file } = form.elements;
  const content = body ? body.value : file?.files[0];
  if (content) given["Content-Type"] = file ? file.files[0].type || type : type;
  // With a key, the answer is the key's own: the dashboard's cookie stays away.
  return { method, headers: given, body: content || undefined, credentials: key ? "omit" : "same-origin" };
}

function headers(answer) {
  return HEADERS_SHOWN.filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
}

async function show(form, answer) {
  const type = answer.headers.get("content-type") ?? "";
  if (!answer.body || answer.status === 204) return;
  if (!TEXTUAL.test(type)) return offer(form, type, await answer.blob());
  const code = form.querySelector(".code code");
  form.querySelector(".code").hidden = false;
  let text = "";
  for await (const chunk of chunks(answer.body)) {
    text = (text + chunk).slice(-SHOWN_CHARACTERS);
    code.textContent = text;
  }
  code.textContent = pretty(text);
}

async function* chunks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

function offer(form, type, blob) {
  const place = form.querySelector("[data-download]");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "answer";
  link.textContent = `Save ${blob.size.toLocaleString()} bytes of ${type || "unknown type"}`;
  place.replaceChildren(link);
  place.hidden = false;
}

function clear(form) {
  const place = form.querySelector("[data-download]");
  const link = place.querySelector("a");
  if (link) URL.revokeObjectURL(link.href);
  place.hidden = true;
  form.querySelector(".code").hidden = true;
  form.querySelector(".code code").textContent = "";
}

function say(form, tone, text) {
  const result = form.querySelector(".result");
  result.className = `result tone-${tone}`;
  result.textContent = text;
  result.hidden = false;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
