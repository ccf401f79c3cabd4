"use strict";
// Pages work without this file. It keeps the live part of a page up to date, and takes prompt files.

const POLL_MS = 10000; // between two looks where the stream does not come through
const SAY_MS = 10000; // a screen reader is told at most this often

(() => {
  const address = document.body.dataset.live;
  const live = document.getElementById("live");
  if (!address || !live) return;
  const away = document.getElementById("away");
  let source = null, timer = 0, stored = headline(live)?.dataset.stored, said = 0;

  function headline(root) { return root.querySelector(".headline"); }

  // What has the focus keeps it: the same link or field in the new part.
  function keyOf(element) { return element.getAttribute("href") || element.id || element.getAttribute("aria-label"); }

  function show(html) {
    away.hidden = true;
    const focused = live.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    const offsets = new Map([...live.querySelectorAll(".scroll")].map((box) => [keyOf(box), box.scrollLeft]));
    const opened = new Set([...live.querySelectorAll("details[open]")].map(keyOf));
    live.innerHTML = html;
    for (const one of live.querySelectorAll("details")) one.open = opened.has(keyOf(one));
    for (const box of live.querySelectorAll(".scroll")) box.scrollLeft = offsets.get(keyOf(box)) || 0;
    if (focused) [...live.querySelectorAll("a, button, input, summary, [tabindex]")].find((one) => keyOf(one) === focused)?.focus();
    tell();
  }

  function tell() {
    const line = headline(live);
    if (line && line.dataset.stored !== stored) document.getElementById("fresh")?.removeAttribute("hidden");
    if (Date.now() - said < SAY_MS) return;
    said = Date.now();
    document.getElementById("said").textContent = line ? line.textContent : "";
  }

  function complain(text) { away.textContent = `✕ This page is not live: ${text}`; away.hidden = false; }

  async function look() {
    try {
      const answer = await fetch(`${address}&once=1`);
      if (answer.ok) show(await answer.text());
      else complain(answer.status === 403 ? "sign in again" : "the server refuses");
    } catch { complain("the server does not answer"); }
  }

  function poll() { clearInterval(timer); timer = setInterval(look, POLL_MS); }

  function open() {
    close();
    source = new EventSource(address);
    source.addEventListener("part", (event) => { clearInterval(timer); show(JSON.parse(event.data)); });
    source.addEventListener("away", (event) => complain(event.data));
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) { close(); setTimeout(open, 3000 + Math.random() * 5000); }
    };
    poll(); // until the first event shows that the stream comes through
  }

  function close() { clearInterval(timer); if (source) source.close(); source = null; }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
})();

// A prompt file goes as it is, with the form's other fields in the address. Without this, its text is pasted.
(() => {
  const form = document.getElementById("new");
  if (!form) return;
  const input = document.getElementById("file"), drop = document.getElementById("drop");

  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) input.files = event.dataTransfer.files;
    });
  }

  form.addEventListener("submit", async (event) => {
    const file = input.files[0];
    if (!file) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form));
    fields.delete("text");
    fields.set("file", file.name);
    const answer = await fetch(`${form.action}?${fields}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    if (answer.redirected) location.assign(answer.url);
    else document.getElementById("main").innerHTML = new DOMParser()
      .parseFromString(await answer.text(), "text/html").getElementById("main").innerHTML;
  });
})();
