// What explorables share: mounting, controls, sharp canvases, colours, random numbers.
//
// An explorable is a function that fills an element: hvaeExplorables.NAME = (host) => { ... } fills every
// <div class="explorable" data-explorable="NAME">. What the element held before, a picture, stays where scripts do not
// run. The tools below are hvaeExplorables.kit. Classic scripts, in any order: they also work from file://.
(() => {
  "use strict";
  const explorables = (window.hvaeExplorables ??= {});

  /** An element with properties, attributes (aria-..., role) and children. */
  function element(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  /** A range input under its label and value. `show(position)` gives the value as text, `ticks` are labels below. */
  function slider({ label, max, position, show, ticks, input }) {
    const value = element("b", { "aria-hidden": "true" });
    const range = element("input", { type: "range", min: 0, max, value: position });
    const update = () => {
      value.textContent = show(range.valueAsNumber);
      range.setAttribute("aria-valuetext", value.textContent);
    };
    range.addEventListener("input", () => {
      update();
      input(range.valueAsNumber);
    });
    update();
    const scale = element("span", { className: "ticks", "aria-hidden": "true" });
    scale.append(...ticks.map((tick) => element("span", {}, tick)));
    return element("label", { className: "slider" }, element("span", {}, label, value), range, scale);
  }

  let groups = 0;

  /** Radio buttons in a fieldset. */
  function choice({ legend, options, texts = options, value, change }) {
    const name = `explorable-${groups++}`;
    const labels = options.map((option, i) => {
      const radio = element("input", { type: "radio", name, value: option, checked: option === value });
      radio.addEventListener("change", () => change(option));
      return element("label", {}, radio, element("span", {}, texts[i]));
    });
    const buttons = element("span", { className: "options" }, ...labels);
    return element("fieldset", {}, element("legend", {}, legend), buttons);
  }

  /** A line for screen readers. Call it with the text: it speaks when nothing has changed for a second. */
  function announcer(host) {
    const line = element("p", { className: "spoken", "aria-live": "polite" });
    let timer = 0;
    host.append(line);
    return (text) => {
      clearTimeout(timer);
      timer = setTimeout(() => (line.textContent = text), 1000);
    };
  }

  /** The context of a cleared canvas with as many pixels as the screen has, and its size in CSS pixels. */
  function surface(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas;
    const density = window.devicePixelRatio;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    const context = canvas.getContext("2d");
    context.scale(density, density);
    return { context, width, height };
  }

  /** CSS variables of the host, as an object: colours(host, "ink") is {ink: value of --ink}. */
  function colours(host, ...names) {
    const style = getComputedStyle(host);
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  /** A function that asks for `paint` before the next frame; it is also called when size or colours change. */
  function painter(host, paint) {
    let frame = 0;
    const request = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        if (host.isConnected) paint();
      });
    };
    new ResizeObserver(request).observe(host);
    const scheme = new MutationObserver(() => (host.isConnected ? request() : scheme.disconnect()));
    scheme.observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
    return request;
  }

  /** Uniform numbers in (0, 1): the generator mulberry32 (T. Ettinger, public domain), from a place in its stream. */
  function random(seed, place = 0) {
    let state = (seed + Math.imul(place, 0x6d2b79f5)) | 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
    };
  }

  explorables.kit = { element, slider, choice, announcer, surface, colours, painter, random };

  function mountAll() {
    for (const host of document.querySelectorAll(".explorable[data-explorable]:not(.live)")) {
      const mount = explorables[host.dataset.explorable];
      if (!mount) continue;
      host.replaceChildren();
      host.classList.add("live");
      mount(host);
    }
  }

  // Material's document$ speaks at every page, also when it replaces one without loading it.
  if (window.document$) window.document$.subscribe(mountAll);
  else if (document.readyState === "complete") mountAll();
  else document.addEventListener("DOMContentLoaded", mountAll);
})();
