"use strict";
{
  const graph = document.getElementById("graph");
  const tools = document.querySelector(".tools");
  if (graph) {
    const names = [...graph.querySelectorAll(".row > .name")];
    const texts = names.map((name) => name.parentElement.textContent.toLowerCase());
    const runs = [...graph.querySelectorAll("details")];
    const search = document.getElementById("search");
    const output = tools.querySelector("output");
    const best = graph.querySelector("[data-best] > .name") || graph.querySelector(".defect > .name");
    const unfold = tools.querySelector("[data-do=unfold]");
    let found = [];
    let at = -1;
    let current = best || names[0];

    const pick = (name, isFocused) => {
      const run = name.closest("details");
      if (run) {
        run.open = true;
      }
      for (const row of graph.querySelectorAll(".picked")) {
        row.classList.remove("picked");
      }
      current.tabIndex = -1;
      current = name;
      current.tabIndex = 0;
      name.parentElement.classList.add("picked");
      centre(name);
      graph.scrollIntoView({ block: "nearest" });
      if (isFocused) {
        name.focus({ preventScroll: true });
      }
    };
    const centre = (name) => {
      const row = name.parentElement.getBoundingClientRect();
      const frame = graph.getBoundingClientRect();
      graph.scrollTop += row.top - frame.top - (frame.height - row.height) / 2;
    };
    const look = () => {
      const wanted = search.value.trim().toLowerCase();
      found = wanted ? names.filter((_, index) => texts[index].includes(wanted)) : [];
      at = -1;
      if (found.length) {
        step(1);
      } else {
        output.textContent = wanted ? "Nothing found" : "";
      }
    };
    const step = (by) => {
      if (found.length) {
        at = (at + by + found.length) % found.length;
        output.textContent = `${at + 1} of ${found.length}`;
        pick(found[at], false);
      }
    };
    const move = (by) => {
      // What is folded away is passed over; a step onto a run opens nothing.
      for (let index = names.indexOf(current) + by; index >= 0 && index < names.length; index += by) {
        const run = names[index].closest("details");
        if (!run || run.open) {
          pick(names[index], true);
          return;
        }
      }
    };
    const toggle = () => {
      const isOpen = !runs.every((run) => run.open);
      for (const run of runs) {
        run.open = isOpen;
      }
      unfold.textContent = isOpen ? "Fold all" : "Unfold all";
      centre(current);
    };
    const showDefect = () => best && pick(best, true);
    const actions = { previous: () => step(-1), next: () => step(1), defect: showDefect, unfold: toggle };

    for (const name of names) {
      name.tabIndex = -1;
    }
    current.tabIndex = 0;
    tools.hidden = false;
    tools.querySelector("[data-do=defect]").hidden = !best;
    unfold.hidden = !runs.length;
    tools.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) {
        actions[button.dataset.do]();
      }
    });
    search.addEventListener("input", look);
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        step(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape") {
        search.value = "";
        look();
        current.focus({ preventScroll: true });
      }
    });
    graph.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) {
        event.preventDefault();
        pick(row.querySelector(".name"), true);
      }
    });
    const keys = {
      "/": () => search.focus(),
      d: showDefect,
      u: toggle,
      j: () => move(1),
      k: () => move(-1),
    };
    document.addEventListener("keydown", (event) => {
      if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) {
        return;
      }
      const isInGraph = graph.contains(event.target) && event.target.matches(".name");
      const arrows = { ArrowDown: () => move(1), ArrowUp: () => move(-1) };
      const action = keys[event.key] || (isInGraph && arrows[event.key]);
      if (action) {
        event.preventDefault();
        action();
      }
    });
    if (location.hash.startsWith("#row-")) {
      const target = document.getElementById(location.hash.slice(1));
      if (target && graph.contains(target)) {
        pick(target, false);
      }
    } else if (best) {
      centre(best);
    }
  }
}
