// The gradient through a rejection sampler: samples that move as kappa moves, and three estimators of the derivative.
//
// Letters as in the course: w = mu.z, A = A_m(kappa) its mean, rho = sqrt((m - 1)^2 + 4 kappa^2), theta = arccos w.
// The derivative in question is that of E[w], which is A'. Nothing moves by itself.
(() => {
  "use strict";
  const explorables = window.hvaeExplorables;
  const { element, slider, choice, symbol, facts, announcer, painter, surface, colours, random } = explorables.kit;
  const { ratio, meanResultantLength, pen, disc, meanDirection, ball, grid } = explorables.kit;
  const { degrees, turned, rotate, handle } = explorables.kit;
  const TAU = 2 * Math.PI;

  // The law

  const rho = (m, kappa) => Math.hypot(m - 1, 2 * kappa);
  const x0 = (m, kappa) => (2 * kappa) / (m - 1 + rho(m, kappa));

  /** A' and what the incomplete estimator tends to, (m - 1) A / (kappa rho). */
  function slopes(m, kappa) {
    const A = meanResultantLength(m, kappa);
    const c = ratio(m, kappa);
    return { exact: 1 - A * A - (m - 1) * c, incomplete: ((m - 1) * c) / rho(m, kappa) };
  }

  /** The Gauss-Legendre rule on (0, 1): pairs of node and weight, by Newton's method. */
  function gauss(count) {
    return Array.from({ length: count }, (_, i) => {
      let x = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5));
      let slope;
      for (let round = 0; round < 6; round++) {
        let [before, now] = [1, x];
        for (let k = 2; k <= count; k++) [before, now] = [now, ((2 * k - 1) * x * now - (k - 1) * before) / k];
        slope = (count * (x * now - before)) / (x * x - 1);
        x -= now / slope;
      }
      return [(x + 1) / 2, 1 / ((1 - x * x) * slope * slope)];
    });
  }

  const RULE = gauss(64);

  /**
   * Three derivatives of one sample: implicit, dw/dkappa at fixed quantile, an integral of one sign over the nearer
   * tail; incomplete, dw/dkappa at fixed proposal; corrected, that plus w times the score of the accepted proposal.
   */
  function estimates(m, kappa, theta) {
    const w = Math.cos(theta);
    const sine = Math.sin(theta);
    const A = meanResultantLength(m, kappa);
    const width = 1 / Math.sqrt(Math.max(kappa * w, 0) + (m - 2) / sine ** 2);
    const length = Math.min(w > A ? theta : Math.PI - theta, 9 * width);
    const tail = (s) => Math.abs(Math.cos(s) - A) * Math.exp(kappa * (Math.cos(s) - w)) * (Math.sin(s) / sine) ** (m - 2);
    const side = w > A ? -length : length;
    const integral = length * RULE.reduce((sum, [node, weight]) => sum + weight * tail(theta + side * node), 0);
    const implicit = sine * integral;
    const incomplete = sine ** 2 / rho(m, kappa);
    const score = x0(m, kappa) - A - (kappa * (w - x0(m, kappa)) ** 2) / rho(m, kappa);
    return { implicit, incomplete, corrected: incomplete + w * score };
  }

  // The samples

  const COUNT = 1000;
  const arrows = (m) => (m === 2 ? 10 : 30); // samples that have them
  const PROPOSALS = 40; // more than any sample needs: the rate is above 0.65

  /** Angles of the samples with these quantiles, which grow with w. */
  function angles(m, kappa, quantiles) {
    const nodes = 8192;
    const table = new Float64Array(nodes + 1);
    const density = (s) => Math.exp(kappa * (Math.cos(s) - 1)) * Math.sin(s) ** (m - 2);
    let before = density(Math.PI);
    for (let i = 1; i <= nodes; i++) {
      const now = density(Math.PI * (1 - i / nodes));
      table[i] = table[i - 1] + (before + now) / 2;
      before = now;
    }
    return quantiles.map((u) => {
      const target = u * table[nodes];
      let [low, high] = [0, nodes];
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (table[middle] < target) low = middle;
        else high = middle;
      }
      return Math.PI * (1 - (low + (target - table[low]) / (table[high] - table[low])) / nodes);
    });
  }

  /** Angles of the samples that rejection returns when all its random numbers stay, and which proposal each was. */
  function accepted(m, kappa, seed) {
    const zoom = x0(m, kappa);
    return Array.from({ length: COUNT }, (_, i) => {
      const uniform = random(seed + 7, 3 * PROPOSALS * i);
      for (let index = 0; ; index++) {
        const x = Math.sqrt(1 - uniform() ** (2 / (m - 2))) * Math.cos(TAU * uniform());
        const c = 1 / (1 + zoom * x);
        if (Math.log(uniform()) < (m - 1) * (Math.log(c) + 1 - c)) return { theta: Math.acos((zoom + x) * c), index };
      }
    });
  }

  /** The slider: 20 steps a decade from 0.5 to 50, in two digits. */
  const kappaAt = (position) => Number((0.5 * 10 ** (position / 20)).toPrecision(2));

  // The pictures

  const RADIUS = 0.42;

  /** An arrow along a meridian, from a sample towards mu; drawn aside, where `lift` is not 1. */
  function paintArrow(context, point, sample, step, lift, style, alpha) {
    const at = (part) => point({ ...sample, theta: sample.theta - step * part }, lift);
    pen(context, style, 2.5, alpha);
    context.beginPath();
    for (let i = 0; i <= 24; i++) context.lineTo(...at(i / 24).slice(0, 2));
    context.stroke();
    const [end, back] = [at(1), at(0.9)];
    const [dx, dy] = [end[0] - back[0], end[1] - back[1]];
    const size = Math.hypot(dx, dy);
    if (size < 0.6) return; // too short for a head
    context.beginPath();
    context.moveTo(end[0] + (dx / size) * 5, end[1] + (dy / size) * 5);
    for (const side of [1, -1]) context.lineTo(end[0] - (side * dy * 4) / size, end[1] + (side * dx * 4) / size);
    context.fill();
  }

  /** Arrows: what kappa would do if it doubled at this speed, but not beyond mu or the other pole. */
  function paintSamples(canvas, colour, state, view, angle) {
    const { context, width } = surface(canvas);
    context.translate(width / 2, width / 2);
    const radius = RADIUS * width;
    const { m, kappa } = state;
    const point = ({ theta, around }, lift = 1) => {
      if (m === 2) {
        const t = angle + (around < Math.PI ? theta : -theta);
        return [Math.cos(t) * radius * lift, -Math.sin(t) * radius * lift, 1];
      }
      const [right, up, depth] = turned(view, [
        Math.cos(theta), Math.sin(theta) * Math.cos(around), Math.sin(theta) * Math.sin(around),
      ]);
      return [right * radius * lift, -up * radius * lift, depth];
    };

    if (m !== 2) ball(context, radius, colour);
    for (const front of m === 2 ? [true] : [false, true]) {
      if (m !== 2) grid(context, radius, colour, (p) => turned(view, p), front);
      pen(context, colour.ink, 1, front ? 0.45 : 0.12);
      for (const sample of state.samples) {
        const [x, y, depth] = point(sample);
        if (depth >= 0 === front) disc(context, x, y, 1.5);
      }
      for (const sample of state.samples.slice(0, arrows(m))) {
        const [x, y, depth] = point(sample);
        if (depth >= 0 !== front) continue;
        const alpha = front ? 1 : 0.25;
        for (const [name, style, lift] of [
          ["corrected", colour.third, 0.88], ["incomplete", colour.law, 0.94], ["implicit", colour.samples, m === 2 ? 1.06 : 1],
        ]) {
          const step = (kappa * sample[name]) / Math.sin(sample.theta);
          const within = Math.min(Math.max(step, sample.theta - Math.PI), sample.theta);
          paintArrow(context, point, sample, within, lift, style, alpha);
        }
        pen(context, colour.ground, 1, alpha);
        disc(context, x, y, 4.5);
        pen(context, colour.ink, 1, alpha);
        disc(context, x, y, 3.2);
      }
      context.setLineDash([2, 4]);
      for (const sample of state.samples) {
        if (sample.jumped === undefined) continue;
        const [here, there] = [point(sample), point({ ...sample, theta: sample.jumped })];
        if (here[2] >= 0 !== front) continue;
        pen(context, colour.ink, 1.2, front ? 0.8 : 0.25);
        context.beginPath();
        context.moveTo(...there.slice(0, 2));
        context.lineTo(...here.slice(0, 2));
        context.stroke();
      }
      context.setLineDash([]);
    }
    pen(context, colour.faint);
    disc(context, 0, 0, radius, "stroke");
    const [x, y] = point({ theta: 0, around: 0 }, 1.12);
    meanDirection(context, [x, y], colour);
  }

  /** The three derivatives of a sample against its w: curves, the samples on them, and the mean of each as a line. */
  function paintSlopes(canvas, colour, font, state) {
    const { context, width, height } = surface(canvas);
    const { m, kappa } = state;
    const base = height - 20;
    const curves = Array.from({ length: 199 }, (_, i) => {
      const theta = ((i + 1) * Math.PI) / 200;
      return { theta, ...estimates(m, kappa, theta) };
    });
    const values = curves.flatMap(({ implicit, incomplete, corrected }) => [implicit, incomplete, corrected]);
    const [low, high] = [Math.min(0, ...values), 1.08 * Math.max(...values)];
    const up = (value) => base - ((value - low) / (high - low)) * (base - 6);
    const place = (w) => ((w + 1) / 2) * width;
    pen(context, colour.faint);
    context.fillRect(0, up(0), width, 1);
    pen(context, colour.ink);
    context.font = `12px ${font}`;
    for (const [w, align] of [[-1, "left"], [0, "center"], [1, "right"]]) {
      context.textAlign = align;
      context.fillText(String(w).replace("-", "−"), place(w), height - 4);
    }
    context.font = "italic 15px Georgia, 'Liberation Serif', serif";
    context.textAlign = "right";
    context.fillText("w", width - 16, height - 4);
    for (const [name, style, dash] of [
      ["corrected", colour.third, [7, 4]], ["incomplete", colour.law, []], ["implicit", colour.samples, []],
    ]) {
      pen(context, style, 2);
      context.setLineDash(dash);
      context.beginPath();
      for (const at of curves) context.lineTo(place(Math.cos(at.theta)), up(at[name]));
      context.stroke();
      context.setLineDash([]);
      pen(context, style, 1, 0.35);
      for (const sample of state.samples.slice(0, 200)) disc(context, place(Math.cos(sample.theta)), up(sample[name]), 2.5);
    }
  }

  /** Mean slopes as bars from 0, with an interval of two standard errors, and the truth as a line. */
  function paintMeans(canvas, colour, font, state) {
    const { context, width, height } = surface(canvas);
    const { exact } = state.slopes;
    const rows = [["implicit", colour.samples], ["incomplete", colour.law], ["corrected", colour.third]];
    const scale = (0.8 * width) / exact;
    rows.forEach(([name, style], i) => {
      const { mean, error } = state.means[name];
      const y = 8 + i * 26;
      pen(context, style, 1, 0.75);
      context.fillRect(0, y, Math.max(0, mean * scale), 16);
      pen(context, colour.ink, 1.5);
      context.beginPath();
      context.moveTo((mean - 2 * error) * scale, y + 8);
      context.lineTo((mean + 2 * error) * scale, y + 8);
      context.stroke();
    });
    pen(context, colour.ink, 2);
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(exact * scale, 0);
    context.lineTo(exact * scale, height - 16);
    context.stroke();
    context.setLineDash([]);
    context.font = `12px ${font}`;
    context.textAlign = "center";
    context.fillText("the truth", exact * scale, height - 3);
  }

  // The whole

  function mount(host) {
    // Seed 15 has samples on all sides among the first, which have the arrows.
    const state = { m: 2, kappa: 2, held: "quantile", seed: 15, samples: [] };
    let angle = 0.6;
    let view = rotate([[1, 0, 0], [0, 1, 0], [0, 0, 1]], -0.85, 0.5);
    const picture = element("canvas", { className: "picture", tabIndex: 0, role: "img" });
    const graph = element("canvas", { className: "histogram graph", role: "img" });
    const bars = element("canvas", { className: "means", role: "img" });
    const again = element("button", { type: "button" }, "Draw again");
    const subscript = element("sub");
    const caption = element("p");
    const { list, cells, words } = facts(
      ["implicit", "Implicit, mean"],
      ["incomplete", "Incomplete, mean"],
      ["corrected", "Corrected, mean"],
      ["truth", "The truth: ", symbol("A"), subscript, "′(", symbol("κ"), ")"],
      ["limit", "Incomplete, exact mean"],
      ["lost", "Lost"]);
    host.append(element("div", { className: "parts" },
      element("div", {}, picture, caption),
      element("div", {},
        slider({
          label: element("span", {}, "Concentration ", symbol("κ")),
          max: 40,
          position: 12,
          show: kappaAt,
          ticks: [0.5, 5, 50],
          input: (position) => set({ kappa: kappaAt(position) }),
        }),
        choice({
          legend: element("span", {}, "Coordinates ", symbol("m")),
          options: [2, 3, 5, 10],
          value: 2,
          change: (m) => set({ m, samples: [] }),
        }),
        choice({
          legend: element("span", {}, "Held fixed while ", symbol("κ"), " moves"),
          options: ["quantile", "numbers"],
          texts: ["quantiles", "random numbers"],
          value: "quantile",
          change: (held) => set({ held, samples: [] }),
        }),
        again),
      element("div", {},
        element("p", {}, "Derivative of each sample’s ", symbol("w"), ": blue implicit, orange incomplete, green corrected"),
        graph,
        element("p", {}, "Their means over 1000 samples, ± 2 standard errors"),
        bars),
      list));
    again.addEventListener("click", () => set({ seed: state.seed + 1, samples: [] }));
    const announce = announcer(host);
    const paint = painter(host, () => {
      const colour = colours(host, "ink", "faint", "samples", "law", "third", "ground", "lit", "shade");
      const font = getComputedStyle(host).fontFamily;
      paintSamples(picture, colour, state, view, angle);
      paintSlopes(graph, colour, font, state);
      paintMeans(bars, colour, font, state);
      const { m, kappa } = state;
      const name = m === 2 ? "circle" : "sphere";
      const turnedTo = m === 2 ? degrees(angle) : view.map((line) => degrees(Math.asin(line[0]))).join(", ");
      picture.setAttribute("aria-label",
        `${COUNT} samples with m ${m} and kappa ${kappa} on the ${name}, mu at ${turnedTo}, with arrows on ${arrows(m)} ` +
        "of them. Arrow keys turn it.");
      graph.setAttribute("aria-label", `Three derivatives against w, for m ${m} and kappa ${kappa}.`);
      const { implicit, incomplete, corrected } = state.means;
      bars.setAttribute("aria-label",
        `Mean slopes: implicit ${implicit.mean.toFixed(3)}, incomplete ${incomplete.mean.toFixed(3)}, corrected ` +
        `${corrected.mean.toFixed(3)}; the truth is ${state.slopes.exact.toFixed(3)}.`);
    });

    function set(changes) {
      const first = !state.slopes;
      const before = "samples" in changes ? [] : state.samples;
      Object.assign(state, changes);
      const { m, kappa, held, seed } = state;
      const places = Array.from({ length: COUNT }, (_, i) => {
        const uniform = random(seed, 2 * i);
        return { u: uniform(), around: TAU * uniform() };
      });
      const found = held === "quantile"
        ? angles(m, kappa, places.map(({ u }) => u)).map((theta) => ({ theta }))
        : accepted(m, kappa, seed);
      state.samples = found.map(({ theta, index }, i) => ({
        theta, index, around: places[i].around, ...estimates(m, kappa, theta),
        jumped: before[i] && before[i].index !== index ? before[i].theta : undefined,
      }));
      state.slopes = slopes(m, kappa);
      state.means = Object.fromEntries(["implicit", "incomplete", "corrected"].map((name) => {
        const mean = state.samples.reduce((sum, sample) => sum + sample[name], 0) / COUNT;
        const square = state.samples.reduce((sum, sample) => sum + (sample[name] - mean) ** 2, 0) / (COUNT - 1);
        return [name, { mean, error: Math.sqrt(square / COUNT) }];
      }));
      const digits = Math.max(3, 3 - Math.floor(Math.log10(state.slopes.exact)));
      for (const [name, { mean, error }] of Object.entries(state.means))
        cells[name].textContent = `${mean.toFixed(digits)} ± ${error.toFixed(digits)}`;
      cells.truth.textContent = state.slopes.exact.toFixed(digits);
      cells.limit.textContent = state.slopes.incomplete.toFixed(digits);
      cells.lost.textContent = `${(100 * (1 - state.slopes.incomplete / state.slopes.exact)).toFixed(1)}%`;
      subscript.textContent = m;
      const jumps = state.samples.filter(({ jumped }) => jumped !== undefined).length;
      const moves = held === "quantile"
        ? "As κ moves, samples glide by the blue arrows."
        : `As κ moves, samples glide by the orange arrows, and some jump (dotted): ${jumps} of ${COUNT} at the last move.`;
      const on = m > 3 ? ` The sphere shows w and one of ${m - 2} angles around μ.` : "";
      caption.textContent = `Arrows: where κ, doubled at this speed, would take a sample. ${moves}${on}`;
      if (!first) announce(words());
      paint();
    }

    handle(picture, {
      key(right, up) {
        const [x, y] = [right, up].map((step) => (step * Math.PI) / 36);
        if (state.m === 2) angle += y - x;
        else view = rotate(view, x, y);
        paint();
      },
      drag(before, now) {
        const radius = RADIUS * picture.clientWidth;
        if (state.m === 2) angle += Math.atan2(now[1], now[0]) - Math.atan2(before[1], before[0]);
        else view = rotate(view, (now[0] - before[0]) / radius, (now[1] - before[1]) / radius);
        paint();
      },
    });
    set({});
  }

  explorables.add("lost-term", Object.assign(mount, { slopes, estimates, angles, accepted }));
})();
