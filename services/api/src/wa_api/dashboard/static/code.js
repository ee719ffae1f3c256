// The examples: coloured, copied with a button, with the address that the page was opened on.

import { at } from "./http.js";

const WORDS = {
  javascript: "const|let|async|await|function|return|new|import|from",
  python: "import|from|def|return|print|as|with",
  shell: "curl",
  json: "true|false|null",
  http: "Bearer",
};
const COMMENT = { javascript: "//[^\\n]*", python: "#[^\\n]*", shell: "^#[^\\n]*" };
const STRING = "f?'(?:\\\\.|[^'\\\\])*'|\"(?:\\\\.|[^\"\\\\])*\"|`(?:\\\\.|[^`\\\\])*`";

export function keepCode() {
  for (const code of document.querySelectorAll("code[data-language]")) {
    useThisAddress(code);
    colour(code);
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await copyText(document.getElementById(button.dataset.copy).textContent);
    button.classList.add("is-done");
    setTimeout(() => button.classList.remove("is-done"), 1500);
  });
  followContents();
}

// Where the page is not served to this address or is seen without TLS at its end, a fallback.
export async function copyText(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

// Behind a proxy the server may have seen another address than the reader did.
function useThisAddress(code) {
  const drawn = document.getElementById("documentation")?.dataset.origin;
  const here = location.origin + at("");
  if (drawn && drawn !== here) code.textContent = code.textContent.replaceAll(drawn, here);
}

function colour(code) {
  const language = code.dataset.language;
  const kinds = [["c", COMMENT[language] ?? "$^"], ["s", STRING], ["k", `\\b(?:${WORDS[language]})\\b`], ["n", "\\b\\d+\\b"]];
  const pattern = new RegExp(kinds.map(([name, source]) => `(?<${name}>${source})`).join("|"), "gm");
  const text = code.textContent;
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(pattern)) {
    parts.push(text.slice(end, found.index));
    const piece = document.createElement("span");
    piece.className = Object.keys(found.groups).find((name) => found.groups[name] !== undefined);
    piece.textContent = found[0];
    parts.push(piece);
    end = found.index + found[0].length;
  }
  code.replaceChildren(...parts, text.slice(end));
}

function followContents() {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  if (links.size === 0) return;
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-80px 0px -75% 0px" },
  );
  for (const id of links.keys()) {
    const article = document.getElementById(id);
    if (article) observer.observe(article);
  }
}
