// The shop works without this script. With it, a tea goes into the cart without leaving the page, and one of each can
// be added at once: as many requests as there are teas, all in one session, and not one of them is lost.
"use strict";

const messages = document.querySelector("#messages");
const inCart = document.querySelector("#in-cart");
const forms = [...document.querySelectorAll("form.add")];
const oneOfEach = document.querySelector("#one-of-each");

function say(text, level) {
  const line = document.createElement("p");
  line.className = `flash ${level}`;
  line.textContent = text;
  messages.replaceChildren(line);
}

let first = null;

// Until the browser has a cookie, each request begins a session of its own: so the first one goes alone.
async function add(form) {
  if (first === null) {
    first = send(form);
    return first;
  }
  await first.catch(() => {});
  return send(form);
}

// Answers how many packets the cart holds with this one.
async function send(form) {
  const body = new URLSearchParams(new FormData(form));
  const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
  if (!response.ok) {
    throw new Error(`the shop answered ${response.status}`);
  }
  const { count } = await response.json();
  // The answers may come in any order.
  inCart.textContent = Math.max(count, Number(inCart.textContent));
  return count;
}

async function attempt(work) {
  try {
    await work();
  } catch {
    say("That did not work. Please load the page anew.", "error");
  }
  // The other script looks whether the session of this page has ended.
  document.dispatchEvent(new Event("session-used"));
}

for (const form of forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      await add(form);
      say(`${form.closest("li").querySelector("h2").textContent} is in your cart.`, "success");
    });
  });
}

if (oneOfEach) {
  oneOfEach.hidden = false;
  oneOfEach.addEventListener("click", () =>
    attempt(async () => {
      const counts = await Promise.all(forms.map(add));
      say(`${counts.length} requests, all at once: your cart holds ${Math.max(...counts)} packets.`, "success");
    }),
  );
}
