// The drawn U: choosing a layer by pointer or keys, and colouring what a change reached.

import { button, make } from "./dom.js";

export class Diagram {
  // select(name) is called when somebody chooses a layer; showLayer() when they ask for its panel
  constructor(root, select, showLayer) {
    this.root = root;
    this.title = make("strong", {});
    root.append(
      make(
        "p",
        { className: "caption" },
        this.title,
        " ",
        button("what it computes ↓", showLayer, { className: "link" }),
      ),
    );
    this.groups = [...root.querySelectorAll(".layer")];
    this.byName = new Map(this.groups.map((group) => [group.dataset.layer, group]));
    for (const group of this.groups) {
      const title = group.querySelector("title").textContent;
      group.setAttribute("role", "button");
      group.setAttribute("aria-label", title);
      group.setAttribute("tabindex", "-1");
      group.addEventListener("click", () => select(group.dataset.layer));
    }
    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const at = this.groups.indexOf(document.activeElement);
      if (at < 0) return;
      if (step) {
        const next = this.groups[Math.max(0, Math.min(this.groups.length - 1, at + step))];
        select(next.dataset.layer);
        next.focus();
      } else if (event.key === "Enter" || event.key === " ") {
        select(this.groups[at].dataset.layer);
      } else return;
      event.preventDefault();
    });
  }

  show(name) {
    for (const group of this.groups) {
      const chosen = group.dataset.layer === name;
      group.classList.toggle("selected", chosen);
      group.setAttribute("tabindex", chosen ? "0" : "-1");
      group.setAttribute("aria-pressed", String(chosen));
      if (chosen) this.present(group);
    }
  }

  // Name the chosen layer under the drawing, and move it into sight where the drawing is wider than the screen.
  present(group) {
    this.title.textContent = group.querySelector("title").textContent;
    const [box, frame] = [group.getBoundingClientRect(), this.root.getBoundingClientRect()];
    if (box.left < frame.left || box.right > frame.right) {
      this.root.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
    }
  }

  // statuses: name -> "PASS", "FAIL", ... of a verification
  mark(statuses) {
    for (const [name, status] of statuses ?? []) this.byName.get(name)?.classList.add(`status-${status}`);
  }

  // shares: name -> 0 (as before) to 1 (most changed)
  colour(shares) {
    for (const [name, group] of this.byName) {
      const share = shares?.get(name) ?? 0;
      group.classList.toggle("changed", share > 0);
      group.style.setProperty("--share", String(share));
    }
  }
}
