// What explorables share: mounting, controls, sharp canvases, colours, random numbers, spheres to draw and to turn.
//
// An explorable is a function that fills an element: hvaeExplorables.add("NAME", (host) => { ... }) in NAME.js fills every
// <div class="explorable" data-explorable="NAME">. NAME.js is loaded when the reader comes near such an element. What the
// element held before, a picture, stays where scripts do not run, and with data-press="..." until that button is pressed.
// The tools below are hvaeExplorables.kit. Classic scripts: they also work from file://.
(() => {
  "use strict";
  const explorables = (window.hvaeExplorables ??= {});
  const TAU = 2 * Math.PI;

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

  /** A letter of a formula. */
  const symbol = (text) => element("i", {}, text);

  /** Facts as a list, each a name and the parts of its title; the cells for the values, by name; all of it in words. */
  function facts(...rows) {
    const cells = Object.fromEntries(rows.map(([name]) => [name, element("dd")]));
    const lines = rows.map(([name, ...title]) => element("div", { className: name }, element("dt", {}, ...title), cells[name]));
    return { list: element("dl", {}, ...lines), cells, words: () => lines.map((line) => line.innerText).join("; ") };
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

  // The law

  /** A_m(kappa) / kappa, by the continued fraction 1 / (m + kappa^2 / (m + 2 + kappa^2 / (m + 4 + ...))). */
  function ratio(m, kappa) {
    const nu = m / 2 + 200; // errors of the start are squeezed by exp(-200^2 / kappa)
    let c = 1 / (nu - 0.5 + Math.hypot(nu + 0.5, kappa)); // a bound by Amos
    for (let k = m + 398; k >= m; k -= 2) c = 1 / (k + kappa * kappa * c);
    return c;
  }

  /** A_m(kappa), the mean of w. */
  const meanResultantLength = (m, kappa) => kappa * ratio(m, kappa);

  // Drawing

  function pen(context, colour, width = 1, alpha = 1) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = width;
    context.globalAlpha = alpha;
  }

  function disc(context, x, y, radius, paint = "fill") {
    context.beginPath();
    context.arc(x, y, radius, 0, TAU);
    context[paint]();
  }

  /** An arrow from the origin, with a halo so that it stands out from the points. */
  function arrow(context, [x, y], width, colour, halo) {
    const length = Math.hypot(x, y);
    const head = Math.min(2 + 3 * width, length);
    const neck = length - head;
    context.save();
    context.rotate(Math.atan2(y, x));
    context.beginPath();
    for (const [along, across] of [[0, 0], [neck, 0], [neck, -1], [length, 0], [neck, 1], [neck, 0]])
      context.lineTo(along, 0.4 * head * across);
    for (const [line, style] of [[width + 3, halo], [width, colour]]) {
      pen(context, style, line);
      context.stroke();
      context.fill();
    }
    context.restore();
  }

  /** Words about a point, with a halo. */
  function label(context, text, [x, y], font, colour, halo) {
    context.font = font;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const [method, style] of [["strokeText", halo], ["fillText", colour]]) {
      pen(context, style, 4);
      context[method](text, x, y);
    }
  }

  /** The vector mu, and its letter beside its head. */
  function meanDirection(context, [x, y], colour) {
    arrow(context, [x, y], 1.2, colour.ink, colour.ground);
    const side = 16 / (Math.hypot(x, y) || 1);
    const font = "italic 20px Georgia, 'Liberation Serif', serif";
    label(context, "μ", [0.95 * x + side * y, 0.95 * y - side * x], font, colour.ink, colour.ground);
  }

  /**
   * The part of a curve on the sphere that is in front, or behind. `at` gives its points by an angle, `turn` takes
   * them to right, up and towards the reader.
   */
  function trace(context, radius, turn, front, at) {
    context.beginPath();
    let before = false;
    for (let i = 0; i <= 120; i++) {
      const [x, y, depth] = turn(at((i / 120) * TAU));
      const now = depth >= 0 === front;
      if (now && before) context.lineTo(x * radius, -y * radius);
      else context.moveTo(x * radius, -y * radius);
      before = now;
    }
    context.stroke();
  }

  /** The points with first coordinate w, for `trace`. */
  const parallel = (w) => (t) => [w, Math.sqrt(1 - w * w) * Math.cos(t), Math.sqrt(1 - w * w) * Math.sin(t)];

  /** The body of a sphere about the origin of the canvas. */
  function ball(context, radius, colour) {
    const light = context.createRadialGradient(-radius / 2, -radius / 2, 0, 0, 0, radius);
    light.addColorStop(0, colour.lit);
    light.addColorStop(1, colour.shade);
    pen(context, light);
    disc(context, 0, 0, radius);
  }

  /** Parallels and meridians every 30 degrees, in front or behind. */
  function grid(context, radius, colour, turn, front) {
    const meridian = (a) => (t) => [Math.cos(t), Math.sin(t) * Math.cos(a), Math.sin(t) * Math.sin(a)];
    pen(context, colour.faint, 1, front ? 0.55 : 0.2);
    for (let i = 1; i < 6; i++) trace(context, radius, turn, front, parallel(Math.cos((i * Math.PI) / 6)));
    for (let i = 0; i < 6; i++) trace(context, radius, turn, front, meridian((i * Math.PI) / 6));
  }

  // Turning by hand. A view has the rows that take a point to right, up and towards the reader.

  const degrees = (radians) => `${Math.round((radians * 180) / Math.PI)}°`;
  const turned = (view, p) => view.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);

  /** The view after a turn to the right and up, in radians. */
  function rotate([x, y, z], right, up) {
    const mix = (angle, p, q) => p.map((value, i) => Math.cos(angle) * value + Math.sin(angle) * q[i]);
    const towards = mix(-right, z, x);
    return [mix(right, x, z), mix(up, y, towards), mix(-up, towards, y)];
  }

  /** `key(right, up)` for arrow keys, in steps; `drag(before, now)` for a pointer, in pixels from the middle, y upwards. */
  function handle(canvas, { key, drag }) {
    const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      key(...KEYS[event.key]);
    });
    let last = null; // where the pointer was
    const at = (event) => [event.offsetX - canvas.clientWidth / 2, canvas.clientHeight / 2 - event.offsetY];
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      last = at(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const now = at(event);
      drag(last, now);
      last = now;
    });
    canvas.addEventListener("lostpointercapture", () => (last = null));
  }

  explorables.kit = {
    element, slider, choice, symbol, facts, announcer, surface, colours, painter, random, // the page
    ratio, meanResultantLength, // the law
    pen, disc, arrow, label, meanDirection, trace, parallel, ball, grid, // drawing
    degrees, turned, rotate, handle, // turning by hand
  };

  const folder = document.currentScript.src.replace(/[^/]*$/, "");

  /** Fills what has its script, and has the script of anything else loaded when it is a screen away or less. */
  function mountAll() {
    for (const host of document.querySelectorAll(".explorable[data-explorable]:not(.live)")) {
      const mount = explorables[host.dataset.explorable];
      if (!mount) {
        near.observe(host);
        continue;
      }
      near.unobserve(host);
      host.classList.add("live");
      const start = () => {
        host.replaceChildren();
        mount(host);
      };
      if (host.dataset.press) wait(host, start);
      else start();
    }
  }

  const asked = new Set();
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        const name = target.dataset.explorable;
        if (!isIntersecting || asked.has(name)) continue;
        asked.add(name);
        document.head.append(element("script", { src: `${folder}${name}.js` }));
      }
    },
    { rootMargin: "100%" },
  );

  /** Keeps the picture, and fills the element at the press of a button; `data-press` is what it says. */
  function wait(host, start) {
    const button = element("button", { type: "button", className: "press" }, host.dataset.press);
    button.addEventListener("click", () => {
      start();
      host.querySelector("[tabindex='0'], input").focus();
    });
    host.append(button);
  }

  /** Gives a name to an explorable, and fills what waits for it. */
  explorables.add = (name, mount) => {
    explorables[name] = mount;
    mountAll();
  };

  // Material's document$ speaks at every page, also when it replaces one without loading it.
  if (window.document$) window.document$.subscribe(mountAll);
  else if (document.readyState === "complete") mountAll();
  else document.addEventListener("DOMContentLoaded", mountAll);
})();
