// Keeps a page true: one left open must not go on saying "allowed" after a stop. For the public page and the
// operator's room; both mark what they say with the same attributes.
"use strict";

(() => {
  const POLL_MS = 5000;
  const ANSWER_MS = 4000;
  const answer = document.querySelector("[data-status-url]");
  if (!answer) {
    return;
  }
  const UNKNOWN = "STATE_UNKNOWN";
  const showUnknown = () => {
    if (answer.dataset.code === UNKNOWN) {
      return;
    }
    answer.dataset.code = UNKNOWN;
    answer.querySelector("[data-part=code]").textContent = UNKNOWN;
    answer.querySelector("[data-part=message]").textContent = answer.dataset.unknown;
    document.title = document.title.replace(/^[A-Z_]+(?= · )/, UNKNOWN);
    // What else is on the page was true once.
    document.querySelectorAll("[data-part=stale]").forEach((remark) => (remark.hidden = false));
  };
  const showChecked = () => {
    const now = new Date().toISOString();
    document.querySelectorAll("[data-part=checked]").forEach((time) => {
      time.dateTime = now;
      time.textContent = `${now.slice(0, 19).replace("T", " ")} UTC`;
    });
  };
  const check = async () => {
    try {
      const response = await fetch(answer.dataset.statusUrl, { cache: "no-cache", signal: AbortSignal.timeout(ANSWER_MS) });
      if (!response.ok) {
        throw new Error(String(response.status));
      }
      const status = await response.json();
      const revision = `${status.go_live.revision}.${status.system.revision}`;
      if (status.execution.code === answer.dataset.code && revision === answer.dataset.revision) {
        showChecked();
      } else if (!document.querySelector("dialog[open]")) {
        // Not while somebody writes a reason: that change is refused if it would overwrite another's.
        location.replace(location.pathname);
      }
    } catch {
      showUnknown();
    }
  };
  setInterval(check, POLL_MS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      check();
    }
  });
})();
