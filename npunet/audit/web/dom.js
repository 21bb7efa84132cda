// Elements made by script. Text is always set as text, so that no name from a model or a file becomes markup.

const MATHML = "http://www.w3.org/1998/Math/MathML";

// An element with children and properties: "on..." listeners, "aria-..." and "data-..." attributes, others as they are.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "for" || key === "list") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

// A MathML element; strings among the children become text.
export function math(tag, ...children) {
  const element = document.createElementNS(MATHML, tag);
  element.append(...children.flat());
  return element;
}

// Replace what stands in an element; what had the focus there has it again, by its place among the things to operate.
export function rebuild(element, ...children) {
  const operable = () => [...element.querySelectorAll("button, input, select, summary")];
  const at = operable().indexOf(document.activeElement);
  element.replaceChildren(...children.filter((child) => child !== null));
  if (at >= 0) operable()[Math.min(at, operable().length - 1)]?.focus({ preventScroll: true });
}

export function button(text, action, properties = {}) {
  return make("button", { type: "button", onclick: action, ...properties }, text);
}

// A labelled whole number.
export function numberField(label, value, least, most, change) {
  const field = make("input", {
    type: "number",
    value,
    min: least,
    max: most,
    step: 1,
    onchange: () => change(Math.max(least, Math.min(most, Math.round(Number(field.value)) || 0))),
  });
  return make("label", { className: "field" }, `${label} `, field);
}

export function details(summary, open, ...children) {
  return make("details", { open }, make("summary", {}, summary), ...children);
}

// Text that is said anew as numbers change, while what stands around it stays.
export class LiveTexts {
  constructor() {
    this.entries = [];
  }

  text(say) {
    const node = document.createTextNode(say());
    this.entries.push([node, say]);
    return node;
  }

  update() {
    for (const [node, say] of this.entries) {
      const now = say();
      if (node.data !== now) node.data = now;
    }
  }
}

// A table of rows under the names of its columns; it scrolls on its own where it is wide. A cell, or the name of a
// column, is text or elements; { n: ... } is a number, set to the right.
export function table(head, rows) {
  return make(
    "div",
    { className: "scroll" },
    make(
      "table",
      { className: "terms" },
      head.length
        ? make(
            "thead",
            {},
            make(
              "tr",
              {},
              head.map((name) => cell("th", name)),
            ),
          )
        : null,
      make("tbody", {}, rows),
    ),
  );
}

export function tableRow(cells, properties = {}) {
  return make(
    "tr",
    properties,
    cells.map((each) => cell("td", each)),
  );
}

function cell(tag, content) {
  return content?.n === undefined ? make(tag, {}, content) : make(tag, { className: "n" }, content.n);
}

// A table of [name, value] rows.
export function facts(rows) {
  return make(
    "table",
    { className: "facts" },
    make(
      "tbody",
      {},
      rows
        .filter(Boolean)
        .map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value))),
    ),
  );
}
