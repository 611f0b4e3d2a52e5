
"use strict";
// The token leaves the address bar, and with it the history, before anything else happens.
const token = new URLSearchParams(location.search).get("token") || "";
history.replaceState(null, "", location.pathname);
const form = document.getElementById("form");
const button = document.getElementById("button");
const said = document.getElementById("said");
const password = document.getElementById("password");

function say(kind, text) {
  said.className = kind;
  said.textContent = text;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  say("", "");
  try {
    const body = password ? { token, password: password.value } : { token };
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(form.dataset.path, { method: "POST", headers, body: JSON.stringify(body) });
    const json = await answer.json();
    if (answer.ok) {
      form.hidden = true;
      say("good", json.message);
      return;
    }
    const first = json.error.details.errors && json.error.details.errors[0];
    say("bad", first ? first.message : json.error.message);
  } catch (error) {
    say("bad", "The server cannot be reached. Please try again.");
  }
  button.disabled = false;
});
