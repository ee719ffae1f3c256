// What can be done with a session or message, from the table, its menu and its page.

import { openLinking } from "./connect.js";
import { confirm } from "./confirm.js";
import { at, call, Problem } from "./http.js";
import { keepMenu, openMenu } from "./menu.js";
import { openOptions } from "./options.js";
import { openTestMessage } from "./test_message.js";
import { toast } from "./toast.js";
import { copyToken, revealToken, rotateToken } from "./tokens.js";
import { WEBHOOK_ACTIONS } from "./webhooks.js";

let changed = () => {};

const ACTIONS = {
  "copy-token": copyToken,
  "reveal-token": revealToken,
  "rotate-token": rotateToken,
  link: openLinking,
  test: openTestMessage,
  menu: openMenu,
  options: openOptions,
  open: (session) => location.assign(at(`/sessions/${session.id}`)),
  restart: (session) => command(session, "restart", "is being restarted"),
  stop: (session) => command(session, "stop", "is stopped; its link is kept"),
  logout: logOut,
  delete: remove,
  "cancel-message": (_, button) => message(button, "cancel", "The message is cancelled."),
  "resend-message": resend,
  ...WEBHOOK_ACTIONS,
};

export function keepActions(onChange) {
  changed = onChange;
  keepMenu();
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-do]");
    const act = button && ACTIONS[button.dataset.do];
    if (!act || button.getAttribute("aria-busy") === "true") return;
    const session = sessionOf(button);
    button.setAttribute("aria-busy", "true");
    try {
      await act(session, button);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      toast(error.message, "bad");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}

function sessionOf(button) {
  const { session: id, name, number, state } = button.closest("[data-session]")?.dataset ?? {};
  return { id, name, number, state, called: name || (number ? `+${number}` : "the session") };
}

async function command(session, verb, sentence) {
  await call("POST", `/api/sessions/${session.id}/${verb}`);
  toast(`${capital(session.called)} ${sentence}.`);
  changed();
}

async function logOut(session) {
  const sure = await confirm({
    title: `Log out ${session.called}?`,
    text: "The number is unlinked at WhatsApp.",
    losses: ["Queued messages fail.", "To send again, link it with a new QR code.", "Its token and history stay."],
    action: "Log out",
  });
  if (sure) await command(session, "logout", "is logged out");
}

async function remove(session) {
  const sure = await confirm({
    title: `Delete ${session.called}?`,
    text: "This cannot be taken back.",
    losses: [
      session.number ? `+${session.number} is unlinked at WhatsApp.` : "Its QR code can no longer be scanned.",
      "Its token is refused at once: programs that use it get 401.",
      "Queued messages are not sent.",
      "Its messages and history disappear from here.",
    ],
    action: "Delete",
  });
  if (!sure) return;
  await call("DELETE", `/api/sessions/${session.id}`);
  if (document.body.dataset.page === "session") return location.assign(at("/"));
  toast(`${capital(session.called)} is deleted.`);
  changed();
}

async function resend(_, button) {
  const { status, with: number } = button.closest("[data-message]").dataset;
  const sure = status !== "unknown" || await confirm({
    title: "Send it once more?",
    text: `Nobody knows whether the message to ${number} arrived: WhatsApp did not answer in time.`,
    losses: ["If it did, its reader gets it twice."],
    action: "Send again",
  });
  if (sure) await message(button, "resend", "The message is sent again.");
}

async function message(button, verb, sentence) {
  await call("POST", `/api/messages/${button.closest("[data-message]").dataset.message}/${verb}`);
  toast(sentence);
  changed();
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
