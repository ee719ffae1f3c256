// Short notes that take no focus; screen readers hear them by the region that they stand in.

const SECONDS = 6;

export function toast(text, tone = "plain") {
  const region = document.getElementById("toasts");
  const note = document.createElement("div");
  note.className = tone === "bad" ? "toast toast-bad" : "toast";
  note.textContent = text;
  // Above an open dialog, which is in the browser's top layer.
  const top = [...document.querySelectorAll("dialog[open]")].at(-1);
  (top ?? document.body).append(region);
  region.append(note);
  while (region.children.length > 4) region.firstChild.remove();
  setTimeout(() => note.remove(), SECONDS * 1000);
}

export function homeToasts(dialog) {
  const region = document.getElementById("toasts");
  if (dialog.contains(region)) document.body.append(region);
}
