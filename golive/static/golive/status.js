// Keeps the page true: a page left open must not go on saying "allowed" after a stop.
"use strict";

(() => {
  const POLL_MS = 5000;
  const answer = document.querySelector("[data-status-url]");
  if (!answer) {
    return;
  }
  const showUnknown = () => {
    answer.dataset.code = "STATE_UNKNOWN";
    answer.querySelector(".code").textContent = "STATE_UNKNOWN";
    answer.querySelector("h1").textContent = "The go-live state cannot be known. Execution is not allowed.";
    document.title = "STATE_UNKNOWN · Valhalla status";
  };
  const check = async () => {
    try {
      const response = await fetch(answer.dataset.statusUrl, { cache: "no-cache", signal: AbortSignal.timeout(4000) });
      if (!response.ok) {
        throw new Error(String(response.status));
      }
      const status = await response.json();
      const revision = `${status.go_live.revision}.${status.system.revision}`;
      if (status.execution.code !== answer.dataset.code || revision !== answer.dataset.revision) {
        location.reload();
        return;
      }
      const now = new Date().toISOString();
      const checkedAt = document.getElementById("checked-at");
      checkedAt.dateTime = now;
      checkedAt.textContent = `${now.slice(0, 19).replace("T", " ")} UTC`;
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
