// Opens the dialogs as modal ones. Without this script the links open them by a reload, and all works the same.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const open = (dialog) => {
    dialog.removeAttribute("open");
    dialog.showModal();
    dialog.querySelector("textarea[name=reason]")?.focus();
  };
  document.querySelectorAll("[data-dialog]").forEach((link) => {
    link.setAttribute("aria-haspopup", "dialog");
    link.addEventListener("click", (event) => {
      event.preventDefault();
      open(document.getElementById(link.dataset.dialog));
    });
  });
  document.querySelectorAll("[data-close]").forEach((link) => {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      link.closest("dialog").close();
    });
  });
  document.querySelectorAll("dialog.golive-dialog form").forEach((form) => {
    form.addEventListener("submit", () => {
      // One request for one click; the page comes anew either way.
      form.querySelectorAll("button[type=submit]").forEach((button) => (button.disabled = true));
    });
  });
  const returned = document.querySelector("dialog.golive-dialog[open]");
  if (returned) {
    open(returned);
    // The address took the change by POST; from here on a reload is to show the page, not to ask again.
    history.replaceState(null, "", document.querySelector("[data-page-url]").dataset.pageUrl);
  }
});
// A page that the browser kept may show a state that is long gone, and its buttons are spent.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    location.reload();
  }
});
