/** One control: a slider with a field beside it, a list, a switch, or a text. */

import { make, say } from "./dom.js";
import { fitted, nameOf, refusal, rounded, scaleOf, shown, unitOf } from "./units.js";
import type { ControlValueView, ControlView } from "./wire.js";
import { sentence } from "./words.js";

/** What shows a value, and lets it be changed. */
interface Widget {
  elements: HTMLElement[];
  show(view: ControlView): void;
}

let count = 0;

export class ControlRow {
  readonly element: HTMLElement;
  readonly #note = make("p", { className: "note" });
  readonly #value = make("output", { ariaLive: "off" }); // the slider says it, too
  readonly #widget: Widget;
  readonly #id = `control-${++count}`;

  /** `change` is called with what the person wants. */
  constructor(
    view: ControlView,
    readonly change: (value: ControlValueView) => void,
  ) {
    const label = make("label", { htmlFor: this.#id }, nameOf(view));
    this.#note.setAttribute("role", "status");
    this.#value.htmlFor.add(this.#id);
    this.#widget = this.#widgetFor(view);
    this.element = make(
      "div",
      { className: "control" },
      make("div", { className: "named" }, label, this.#value),
      make("div", { className: "widget" }, ...this.#widget.elements),
    );
    if (view.description !== "") {
      const hint = make("p", { className: "hint", id: `${this.#id}-hint` }, view.description);
      this.#widget.elements[0]?.setAttribute("aria-describedby", hint.id);
      this.element.append(hint);
    }
    this.element.append(this.#note);
    this.show(view);
  }

  /** Whether a person is at it. */
  get isHeld(): boolean {
    return this.element.matches(
      ":has(input:active, input[type=number]:focus, input[type=text]:focus, select:focus)",
    );
  }

  show(view: ControlView): void {
    this.#widget.show(view);
  }

  /** Says something about it, beside it. */
  say(text: string, isBad = false): void {
    say(this.#note, sentence(text));
    this.#note.classList.toggle("bad", isBad);
  }

  #widgetFor(view: ControlView): Widget {
    if (view.allowed.length > 0) return this.#list();
    if (view.type === "bool") return this.#switch();
    if (view.type !== "string" && scaleOf(view)) return this.#slider(view);
    if (!view.writable) return this.#reading();
    return view.type === "string" ? this.#text() : this.#number(view);
  }

  #slider(first: ControlView): Widget {
    const slider = make("input", { type: "range", id: this.#id, min: "0", step: "1" });
    const number = this.#number(first);
    number.elements[0]?.removeAttribute("id");
    let view = first;
    const print = (value: number) => {
      say(this.#value, shown(view, value));
      slider.setAttribute("aria-valuetext", shown(view, value));
    };
    slider.addEventListener("input", () => {
      const value = scaleOf(view)?.toValue(slider.valueAsNumber) ?? 0;
      print(value);
      this.change(value);
    });
    return {
      elements: [slider, ...number.elements],
      show: (now) => {
        view = now;
        const scale = scaleOf(view);
        slider.disabled = !view.writable;
        slider.max = String(scale?.steps ?? 1);
        number.show(view);
        if (typeof view.value !== "number") return;
        // Where the person has put it, if that is the same value.
        const place = scale?.toValue(slider.valueAsNumber) === view.value;
        if (!place) slider.value = String(scale?.toPlace(view.value) ?? 0);
        print(view.value);
      },
    };
  }

  #number(first: ControlView): Widget {
    const { word, factor, symbol } = unitOf(first);
    const field = make("input", { type: "number", id: this.#id, step: "any" });
    field.inputMode = "decimal";
    field.setAttribute("aria-label", `${nameOf(first)}${word && `, in ${word}`}`);
    let view = first;
    field.addEventListener("change", () => {
      const value = rounded(field.valueAsNumber * factor, 12);
      const why = Number.isNaN(value) ? "that is not a number" : refusal(view, value);
      if (why === undefined) return this.change(fitted(view, value));
      this.say(why, true);
      this.#widget.show(view);
    });
    return {
      elements: symbol ? [field, make("span", { className: "unit" }, symbol)] : [field],
      show: (now) => {
        view = now;
        field.disabled = !view.writable;
        field.value = typeof view.value === "number" ? String(rounded(view.value / factor)) : "";
      },
    };
  }

  #list(): Widget {
    const list = make("select", { id: this.#id });
    let allowed: ControlValueView[] = [];
    list.addEventListener("change", () => {
      const value = allowed[list.selectedIndex];
      if (value !== undefined) this.change(value);
    });
    return {
      elements: [list],
      show: (view) => {
        allowed = view.allowed;
        list.disabled = !view.writable;
        list.replaceChildren(...allowed.map((value) => make("option", {}, String(value))));
        list.selectedIndex = view.value === null ? -1 : allowed.indexOf(view.value);
      },
    };
  }

  #switch(): Widget {
    const box = make("input", { type: "checkbox", id: this.#id });
    box.addEventListener("change", () => this.change(box.checked));
    const show = (view: ControlView) => {
      box.checked = view.value === true;
      box.disabled = !view.writable;
    };
    return { elements: [box], show };
  }

  /** Only to be read. */
  #reading(): Widget {
    this.#value.id = this.#id; // what the label is of
    const show = (view: ControlView) => say(this.#value, shown(view, view.value ?? ""));
    return { elements: [], show };
  }

  #text(): Widget {
    const field = make("input", { type: "text", id: this.#id });
    field.addEventListener("change", () => this.change(field.value));
    const show = (view: ControlView) => (field.value = String(view.value ?? ""));
    return { elements: [field], show };
  }
}
