// Warns before the session of this page ends, and says when it is over. The server decides; this script asks it again
// at the time that it named, once a minute, when the page comes into sight, and when another tab has used the session.
"use strict";

const ownSession = document.body.dataset.session;
const tabs = new BroadcastChannel("session");
const dialogs = [...document.querySelectorAll("dialog")];
const longestWait = 60_000;
let timer;
let checks = 0;

// Opens one dialog, or none. A modal dialog keeps the focus, and gives it back when it closes.
function show(id) {
  for (const dialog of dialogs) {
    if (dialog.open && dialog.id !== id) dialog.close();
    if (!dialog.open && dialog.id === id) dialog.showModal();
  }
}

// Shows what the server answers, and returns when to ask again, in milliseconds.
function apply({ session, left, warn_in: warnIn, is_final: isFinal, ended }) {
  if (session !== ownSession) {
    // Another user is signed in, or an administrator has begun or stopped to act as a user.
    if (session) return show("changed"), null;
    if (ended) document.querySelector("#ended-text").textContent = ended;
    show("ended");
    return null;
  }
  // The page to sign in again needs no dialog that leads to it.
  const isOnWay = isFinal && location.pathname === "/confirm";
  show(warnIn > 0 || isOnWay ? null : isFinal ? "final" : "ending");
  return warnIn || left;
}

async function check() {
  clearTimeout(timer);
  const turn = ++checks;
  let wait = longestWait;
  try {
    const response = await fetch("/session", { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(`the shop answered ${response.status}`);
    const answer = await response.json();
    // A later answer is newer, in whatever order they come.
    if (turn !== checks) return;
    wait = apply(answer);
  } catch {
    // Without an answer, nothing is known about the session.
  }
  if (wait !== null && turn === checks) timer = setTimeout(check, Math.min(wait, longestWait));
}

// Tells the other tabs that the session was used, or that it has changed.
function used() {
  tabs.postMessage("used");
  return check();
}

async function stay() {
  await fetch("/session", { method: "POST", headers: { Accept: "application/json" } }).catch(() => {});
  await used();
}

tabs.postMessage("used");
if (ownSession) {
  document.addEventListener("session-used", used);
  document.addEventListener("visibilitychange", () => document.hidden || check());
  tabs.addEventListener("message", check);
  document.querySelector("#stay").addEventListener("click", stay);
  // The Escape key stays signed in where that is possible, and leaves a page whose session is over.
  document.querySelector("#ending").addEventListener("cancel", stay);
  for (const id of ["#changed", "#ended"]) {
    document.querySelector(id).addEventListener("cancel", () => document.querySelector(`${id} a`).click());
  }
  check();
}
