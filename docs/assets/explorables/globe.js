// Latent spaces of MNIST to walk in: the sphere of an S-VAE and the plane of an N-VAE, with d = 2 each. The decoder draws
// what is under the needle.
//
// tools/globe.py makes the data, globe-s.js and globe-n.js. Each is loaded when it is shown.
(() => {
  "use strict";
  const explorables = window.hvaeExplorables;
  const { element, choice, facts, announcer, painter, surface, colours } = explorables.kit;
  const { pen, disc, label, ball, grid, turned, rotate, handle } = explorables.kit;
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const SIDE = 28;
  const PALETTE = [
    "#4e79a7", "#f28e2b", "#e15759", "#499894", "#59a14f", "#b6992d", "#b07aa1", "#d37295", "#9d7660", "#79706e",
  ];

  // The model

  /** Data as tools/globe.py writes it, with numbers in place of characters. */
  function unpacked(data, coordinates) {
    const layers = data.layers.map(({ scale, bias, weights }) => {
      const inputs = weights.length / scale.length;
      const rows = Float64Array.from(weights, (letter, i) => {
        const code = letter.charCodeAt(0) - 79;
        return (code > 127 ? code - 256 : code) * scale[Math.floor(i / inputs)];
      });
      return { inputs, bias, rows };
    });
    const points = data.points.flatMap((text, digit) =>
      Array.from({ length: text.length / coordinates }, (_, i) => {
        const z = [...text.slice(i * coordinates, (i + 1) * coordinates)];
        return { digit, z: z.map((letter) => ((letter.charCodeAt(0) - 1090) * data.reach) / 900) };
      }));
    return { ...data, layers, points };
  }

  /** Means of the pixels at z. */
  function decode({ layers }, z) {
    let values = z;
    layers.forEach(({ inputs, bias, rows }, depth) => {
      values = Float64Array.from(bias, (start, row) => {
        let sum = start;
        for (let i = 0; i < inputs; i++) sum += rows[row * inputs + i] * values[i];
        return depth < layers.length - 1 ? Math.max(0, sum) : sum;
      });
    });
    return values.map((logit) => 1 / (1 + Math.exp(-logit)));
  }

  /** The place of each class: the point with the most of its class nearby. */
  function landmarks({ points }, near) {
    return PALETTE.map((_, digit) => {
      const own = points.filter((point) => point.digit === digit);
      const close = ({ z }) => own.filter((other) => distance(other.z, z) < near).length;
      return own.reduce((best, point) => {
        const count = close(point);
        return count > best.count ? { count, digit, z: point.z } : best;
      }, { count: 0 });
    });
  }

  const distance = (p, q) => Math.hypot(...p.map((value, i) => value - q[i]));

  /** The test image whose posterior's mode is nearest. */
  const nearest = ({ points }, z) =>
    points.reduce((best, { digit, z: other }) => {
      const away = distance(other, z);
      return away < best.away ? { digit, away } : best;
    }, { away: Infinity });

  /** The largest angle, in degrees, from a place on the sphere to the nearest test image: over a spiral of places. */
  function remotest({ points }) {
    const places = 2000;
    let least = 1;
    for (let i = 0; i < places; i++) {
      const height = 1 - (2 * i + 1) / places;
      const round = Math.sqrt(1 - height * height);
      const turns = i * Math.PI * (3 - Math.sqrt(5));
      const [x, y, z] = [round * Math.cos(turns), round * Math.sin(turns), height];
      let most = -1;
      for (const { z: other } of points) most = Math.max(most, x * other[0] + y * other[1] + z * other[2]);
      least = Math.min(least, most);
    }
    return (Math.acos(least) * 180) / Math.PI;
  }

  // The pictures

  const nameClass = (context, digit, place, colour) =>
    label(context, String(digit), place, "bold 17px sans-serif", colour.ink, colour.ground);

  /** A ring with a cross: what the decoder is asked about is in its middle. */
  function paintNeedle(context, colour) {
    for (const [style, width] of [[colour.ground, 5], [colour.ink, 2]]) {
      pen(context, style, width);
      disc(context, 0, 0, 10, "stroke");
      context.beginPath();
      for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(10 * x, 10 * y);
        context.lineTo(17 * x, 17 * y);
      }
      context.stroke();
    }
  }

  const RADIUS = 0.46;

  function paintSphere(context, size, colour, model, view) {
    const radius = RADIUS * size;
    const turn = (p) => turned(view, p);
    ball(context, radius, colour);
    for (const front of [false, true]) {
      grid(context, radius, colour, turn, front);
      for (const { digit, z } of model.points) {
        const [x, y, depth] = turn(z);
        if (depth >= 0 !== front) continue;
        pen(context, PALETTE[digit], 1, front ? 0.85 : 0.12);
        disc(context, x * radius, -y * radius, 2.2);
      }
    }
    pen(context, colour.faint);
    disc(context, 0, 0, radius, "stroke");
    for (const { digit, z } of model.landmarks) {
      const [x, y, depth] = turn(z);
      if (depth > 0.15) nameClass(context, digit, [x * radius, -y * radius], colour);
    }
  }

  /** The plane around `centre`, `span` wide; the circle holds 95% of the prior. */
  function paintPlane(context, size, colour, model, centre, span) {
    const scale = size / span;
    const place = (z) => [(z[0] - centre[0]) * scale, (centre[1] - z[1]) * scale];
    context.save();
    context.beginPath();
    context.rect(-size / 2, -size / 2, size, size);
    context.clip();
    pen(context, colour.ground);
    context.fillRect(-size / 2, -size / 2, size, size);
    const step = span < 15 ? 1 : 10;
    pen(context, colour.faint, 1, 0.35);
    context.beginPath();
    for (const axis of [0, 1]) {
      const from = Math.ceil((centre[axis] - span / 2) / step);
      for (let tick = from; tick * step < centre[axis] + span / 2; tick++) {
        const at = (tick * step - centre[axis]) * scale * (axis ? -1 : 1);
        context.moveTo(axis ? -size / 2 : at, axis ? at : -size / 2);
        context.lineTo(axis ? size / 2 : at, axis ? at : size / 2);
      }
    }
    context.stroke();
    for (const { digit, z } of model.points) {
      pen(context, PALETTE[digit], 1, 0.85);
      disc(context, ...place(z), 2.2);
    }
    pen(context, colour.law, 2);
    disc(context, ...place([0, 0]), Math.sqrt(-2 * Math.log(0.05)) * scale, "stroke");
    disc(context, ...place([0, 0]), 3);
    if (span < 15)
      for (const { digit, z } of model.landmarks) nameClass(context, digit, place(z), colour);
    context.restore();
    pen(context, colour.faint);
    context.strokeRect(-size / 2 + 0.5, -size / 2 + 0.5, size - 1, size - 1);
  }

  function paintDigit(canvas, colour, pixels) {
    const { context, width } = surface(canvas);
    context.fillStyle = colour.ground;
    context.fillRect(0, 0, width, width);
    context.fillStyle = colour.ink;
    const edge = (i) => Math.round((i * width) / SIDE);
    pixels.forEach((value, i) => {
      const [row, column] = [Math.floor(i / SIDE), i % SIDE];
      context.globalAlpha = value;
      context.fillRect(edge(column), edge(row), edge(column + 1) - edge(column), edge(row + 1) - edge(row));
    });
    pen(context, colour.faint);
    context.strokeRect(0.5, 0.5, width - 1, width - 1);
  }

  // The whole

  const MODELS = {
    s: { name: "S-VAE", space: "sphere", coordinates: 3, near: 0.25 },
    n: { name: "N-VAE", space: "plane", coordinates: 2, near: 0.4 },
  };

  const loaded = {};

  /** A promise of a model. Its data are a script: that also works from file://. */
  function load(kind) {
    loaded[kind] ??= new Promise((done, failed) => {
      const ready = () => {
        const { coordinates, near } = MODELS[kind];
        const model = unpacked(explorables.globeData[kind], coordinates);
        model.landmarks = landmarks(model, near);
        if (kind === "s") model.remotest = remotest(model);
        done(model);
      };
      const script = element("script", { src: `${folder}globe-${kind}.js`, charset: "utf-8" });
      script.addEventListener("load", ready);
      script.addEventListener("error", () => {
        delete loaded[kind];
        failed(new Error(`globe-${kind}.js cannot be loaded`));
      });
      document.head.append(script);
    });
    return loaded[kind];
  }

  function mount(host) {
    const state = { kind: "s", span: 9, centre: [0, 0], model: null };
    let view = rotate([[1, 0, 0], [0, 1, 0], [0, 0, 1]], -0.85, 0.5);
    const picture = element("canvas", { className: "picture", tabIndex: 0, role: "img" });
    const digit = element("canvas", { className: "digit", role: "img" });
    const caption = element("p");
    const origin = element("p", { className: "origin" });
    const { list, cells } = facts(
      ["place", "Under the needle"], ["nearest", "Nearest test image"], ["away", "It is away by"]);
    const width = choice({
      legend: "Width of the view",
      options: [9, 20, 60],
      value: 9,
      change: (span) => {
        state.span = span;
        show();
      },
    });
    host.append(element("div", { className: "parts" },
      element("div", {}, picture, caption),
      element("div", {},
        digit,
        choice({
          legend: "Latent space",
          options: ["s", "n"],
          texts: ["sphere (S-VAE)", "plane (N-VAE)"],
          value: "s",
          change: (kind) => set(kind),
        }),
        width,
        list,
        origin)));
    const announce = announcer(host);
    const needle = () => (state.kind === "s" ? view[2] : state.centre);
    const paint = painter(host, () => {
      if (!state.model) return;
      const colour = colours(host, "ink", "faint", "law", "ground", "lit", "shade");
      const { context, width: size } = surface(picture);
      context.translate(size / 2, size / 2);
      if (state.kind === "s") paintSphere(context, size, colour, state.model, view);
      else paintPlane(context, size, colour, state.model, state.centre, state.span);
      paintNeedle(context, colour);
      paintDigit(digit, colour, decode(state.model, needle()));
    });

    function show() {
      const { kind, model } = state;
      const z = needle();
      const { digit: closest, away } = nearest(model, z);
      const words = z.map((value) => value.toFixed(2).replace("-", "−")).join(", ");
      cells.place.textContent = `(${words})`;
      cells.nearest.textContent = `a ${closest}`;
      const degrees = (2 * Math.asin(Math.min(1, away / 2)) * 180) / Math.PI;
      cells.away.textContent = kind === "s" ? `${degrees.toFixed(1)}°` : away.toFixed(2);
      const { name, space } = MODELS[kind];
      picture.setAttribute("aria-label",
        `The latent ${space} of the ${name}, with ${model.points.length} test images as dots; needle at (${words}). ` +
        `Arrow keys turn the sphere, or move the plane.`);
      digit.setAttribute("aria-label", `What the decoder draws there. The nearest test image is a ${closest}.`);
      paint();
    }

    /** After a move: show it, and say it when it is over. */
    function moved() {
      show();
      announce(`Needle at ${cells.place.textContent}; nearest test image ${cells.nearest.textContent}, away by ` +
        `${cells.away.textContent}`);
    }

    async function set(kind) {
      Object.assign(state, { kind, model: null });
      width.hidden = kind === "s";
      caption.textContent = "Loading the decoder.";
      let model;
      try {
        model = await load(kind);
      } catch ({ message }) {
        caption.textContent = `${message}.`;
        return;
      }
      if (state.kind !== kind) return; // another was chosen meanwhile
      state.model = model;
      const { recorded, float32, int8 } = model.elbo;
      const nats = (value) => value.toFixed(2).replace("-", "−");
      caption.textContent = kind === "s"
        ? "Drag the globe, or use arrow keys: the decoder draws what is under the needle. Dots: test images, coloured " +
          `by class. No place is farther than ${Math.ceil(model.remotest)}° from one of them.`
        : "Drag the plane, or use arrow keys. Dots: test images, coloured by class. The orange circle about 0 holds " +
          "95% of the prior. Widen the view: what does the decoder draw far out?";
      const unfinished = Math.abs(recorded - float32) > 0.05;
      const whose = unfinished ? "by these weights, from a repeat that was stopped early" : "by these weights";
      origin.textContent =
        `${MODELS[kind].name}, d = 2, MNIST, seed 0: record ${model.record}, commit ${model.commit}. Test ELBO ` +
        `${nats(recorded)} in the record, ${nats(float32)} ${whose}, ${nats(int8)} with the decoder in 8 bits.`;
      show();
    }

    handle(picture, {
      key(right, up) {
        if (!state.model) return;
        if (state.kind === "s") view = rotate(view, (right * Math.PI) / 36, (up * Math.PI) / 36);
        else state.centre = [state.centre[0] + (right * state.span) / 40, state.centre[1] + (up * state.span) / 40];
        moved();
      },
      drag(before, now) {
        if (!state.model) return;
        const [right, up] = [now[0] - before[0], now[1] - before[1]];
        const size = picture.clientWidth;
        if (state.kind === "s") view = rotate(view, right / (RADIUS * size), up / (RADIUS * size));
        else state.centre = [state.centre[0] - (right * state.span) / size, state.centre[1] - (up * state.span) / size];
        moved();
      },
    });

    // The decoder is loaded when the reader comes near.
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      set("s");
    }, { rootMargin: "200px" }).observe(host);
  }

  explorables.add("globe", Object.assign(mount, { load, decode, nearest }));
})();
