"use strict";
// The mixing explorer: images at the corners of a polygon, a point between them, and the decoded mix at that point.
(() => {
  const network = globalThis.mixzooNetwork, LETTERS = "ABCDE", MIDDLE = 160, RADIUS = 96, APART = 34, STEP = 4, FAR = 5;
  const FORMULAS = { weigh: "weighted sum", pick: "picks parts", arc: "along an arc" };
  const SVG = "http://www.w3.org/2000/svg";

  // --- the polygon: corners, the nearest point inside, and the weights of the corners at a point

  function cornersOf(k) {
    if (k === 2) return [[MIDDLE - RADIUS, MIDDLE], [MIDDLE + RADIUS, MIDDLE]];
    return Array.from({ length: k }, (_, i) => {
      const angle = 2 * Math.PI * i / k - Math.PI / 2;
      return [MIDDLE + RADIUS * Math.cos(angle), MIDDLE + RADIUS * Math.sin(angle)];
    });
  }

  function along(a, b, [x, y]) {
    const dx = b[0] - a[0], dy = b[1] - a[1];
    const t = Math.min(Math.max(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0), 1);
    const at = [a[0] + t * dx, a[1] + t * dy];
    return { t, at, distance: Math.hypot(x - at[0], y - at[1]), left: dx * (y - a[1]) - dy * (x - a[0]) };
  }

  // Mean value coordinates: barycentric in a triangle, and linear on every edge.
  function place(corners, wanted) {
    const k = corners.length, edges = corners.map((a, i) => ({ i, ...along(a, corners[(i + 1) % k], wanted) }));
    const near = edges.reduce((best, edge) => (edge.distance < best.distance ? edge : best));
    if (k === 2 || near.distance < 1e-3 || edges.some((edge) => edge.left < 0)) {
      const weights = new Array(k).fill(0);
      weights[near.i] = 1 - near.t;
      weights[(near.i + 1) % k] += near.t;
      return { at: near.at, weights };
    }
    const rays = corners.map(([x, y]) => [x - wanted[0], y - wanted[1]]);
    const tangents = rays.map(([x, y], i) => {
      const [u, v] = rays[(i + 1) % k];
      return Math.tan(Math.atan2(x * v - y * u, x * u + y * v) / 2);
    });
    const raw = rays.map(([x, y], i) => (tangents[(i + k - 1) % k] + tangents[i]) / Math.hypot(x, y));
    const total = raw.reduce((a, b) => a + b);
    return { at: wanted, weights: raw.map((one) => one / total) };
  }

  // --- pictures

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function paint(canvas, x, [channels, height, width]) {
    canvas.width = width;
    canvas.height = height;
    const pixels = new ImageData(width, height), area = height * width;
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round((x[(channels === 3 ? c : 0) * area + i] + 1) * 127.5);
      pixels.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  }

  const percent = (share) => `${Math.round(100 * share)} %`;

  // --- one explorer

  function start(section) {
    const data = JSON.parse(document.getElementById(`${section.dataset.explorer}-data`).textContent);
    const find = (name) => section.querySelector(`.explore-${name}`);
    const size = data.image.reduce((a, b) => a * b, 1), bytes = network.bytesOf(data.images.bytes);
    const images = data.images.labels.map((label, i) => ({
      label, x: Float32Array.from(bytes.subarray(i * size, (i + 1) * size), (byte) => byte / 127.5 - 1),
    }));
    const live = data.kind === "live" ? liveDecoder(data) : atlas(data);
    const simplex = find("simplex"), mixed = find("mixed");
    let chosen = live.first(images), corners = [], point = [MIDDLE, MIDDLE], weights = [], slot = 0, waiting = 0, telling = 0;

    // At most one picture for each frame of the screen, however fast the point moves.
    function later() {
      if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; show(); });
    }

    function show() {
      ({ at: point, weights } = place(corners, point));
      const dot = simplex.querySelector(".explore-point");
      dot.setAttribute("cx", point[0]);
      dot.setAttribute("cy", point[1]);
      const used = chosen.map((i) => images[i]);
      const { milliseconds, shares, note } = live.draw(mixed, used, weights);
      const lines = used.map((image, i) => {
        const taken = shares && Math.abs(shares[i] - weights[i]) > 0.005 ? ` (takes ${percent(shares[i])} of the code)` : "";
        return `${LETTERS[i]} (${image.label}): ${percent(weights[i])}${taken}`;
      });
      find("weights").textContent = lines.join("\n");
      find("speed").textContent = note || `decoded in ${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
      mixed.setAttribute("aria-label", `The decoded mix: ${lines.join(", ")}`);
      clearTimeout(telling);
      telling = setTimeout(() => { find("said").textContent = lines.join(", "); }, 500);
    }

    function layOut() {
      corners = cornersOf(chosen.length);
      const outline = corners.map(([x, y]) => `${x} ${y}`).join(" L ");
      simplex.querySelector(".explore-area").setAttribute("d", `M ${outline} Z`);
      const middles = corners.map((corner) => corner.map((at) => MIDDLE + (at - MIDDLE) * (1 + APART / RADIUS)));
      const heights = middles.map(([, y]) => y), top = Math.min(...heights) - 52;
      simplex.setAttribute("viewBox", `0 ${top} 320 ${Math.max(...heights) + 32 - top}`);
      const group = simplex.querySelector(".explore-corners");
      group.replaceChildren();
      middles.forEach(([cx, cy], i) => {
        const image = document.createElementNS(SVG, "image"), text = document.createElementNS(SVG, "text");
        const url = paint(document.createElement("canvas"), images[chosen[i]].x, data.image).toDataURL();
        for (const [key, value] of Object.entries({ href: url, x: cx - 23, y: cy - 23, width: 46, height: 46 })) image.setAttribute(key, value);
        text.setAttribute("x", cx);
        text.setAttribute("y", cy - 28);
        text.textContent = LETTERS[i];
        group.append(image, text);
      });
      live.listed?.(slots);
      later();
    }

    // --- the point: mouse, pen, finger and keys

    function moveTo(event) {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(simplex.getScreenCTM().inverse());
      point = [place.x, place.y];
      later();
    }
    simplex.addEventListener("pointerdown", (event) => {
      simplex.setPointerCapture(event.pointerId);
      simplex.focus({ preventScroll: true });
      event.preventDefault();
      moveTo(event);
    });
    simplex.addEventListener("pointermove", (event) => { if (simplex.hasPointerCapture(event.pointerId)) moveTo(event); });
    simplex.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const far = STEP * (event.shiftKey ? FAR : 1), number = Number(event.key);
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (moves[event.key]) point = point.map((at, i) => at + far * moves[event.key][i]);
      else if (event.key === "Home") point = [MIDDLE, MIDDLE];
      else if (number >= 1 && number <= corners.length) point = corners[number - 1];
      else return;
      event.preventDefault();
      later();
    });

    // --- which images are at the corners

    function slots() {
      find("slots").replaceChildren(...chosen.map((index, i) => {
        const button = element("button"), pair = element("span", "explore-pair");
        const again = live.reconstruction(images[index]);
        pair.append(paint(element("canvas"), images[index].x, data.image), paint(element("canvas"), again, data.image));
        button.type = "button";
        button.setAttribute("aria-pressed", String(i === slot));
        button.setAttribute("aria-label", `Image ${LETTERS[i]}: ${images[index].label}, with its reconstruction`);
        button.append(pair, element("span", "", `${LETTERS[i]}: ${images[index].label}`));
        button.addEventListener("click", () => { slot = i; slots(); find("slots").children[i].focus(); });
        return button;
      }));
      find("to").textContent = `Each with its reconstruction. The next test image that you choose becomes image ${LETTERS[slot]}.`;
    }

    function put(index) {
      chosen[slot] = index;
      layOut();
    }

    function palette() {
      find("palette").replaceChildren(...images.map((image, index) => {
        const button = element("button");
        button.type = "button";
        button.setAttribute("aria-label", `Use ${image.label}`);
        button.append(paint(element("canvas"), image.x, data.image), element("span", "", image.label));
        button.addEventListener("click", () => {
          put(index);
          slot = (slot + 1) % chosen.length;
          slots();
        });
        return button;
      }));
    }

    function choices(select, options, changed) {
      select.replaceChildren(...options.map(([value, text]) => {
        const option = element("option", "", text);
        option.value = value;
        return option;
      }));
      select.onchange = () => changed(Number(select.value));
    }

    if (data.kind === "live") {
      const mixers = () => {
        const fit = data.mixers.map((mixer, i) => [i, `${FORMULAS[mixer.formula]}: ${mixer.name}`]).filter(([i]) => data.mixers[i].ks.includes(chosen.length));
        choices(find("mixer"), fit, (i) => { live.mixer = data.mixers[i]; later(); });
        const kept = fit.find(([i]) => data.mixers[i] === live.mixer) || fit[0];
        live.mixer = data.mixers[kept[0]];
        find("mixer").value = kept[0];
      };
      const counts = [...new Set(data.mixers.flatMap((mixer) => mixer.ks))].sort().filter((k) => k <= images.length);
      choices(find("count"), counts.map((k) => [k, k]), (k) => {
        while (chosen.length < k) chosen.push(images.findIndex((_, i) => !chosen.includes(i)));
        chosen = chosen.slice(0, k);
        slot = Math.min(slot, k - 1);
        point = [MIDDLE, MIDDLE];
        mixers();
        layOut();
      });
      const k = counts.includes(3) ? 3 : counts[0];
      chosen = chosen.slice(0, k);
      while (chosen.length < k) chosen.push(chosen.length);
      find("count").value = k;
      mixers();
      palette();
      drawing(section, data, () => images[chosen[slot]], (x) => {
        if (images.at(-1).label !== "drawing") images.push({ label: "drawing", x });
        const own = images.at(-1);
        Object.assign(own, { x, code: null, again: null });
        palette();
        put(images.length - 1);
      });
    } else {
      const names = data.triples.map((triple, i) => [i, triple.images.map((index) => images[index].label).join(", ")]);
      choices(find("triple"), names, (i) => {
        chosen = live.take(i, later);
        layOut();
      });
      live.take(0, later);
    }
    section.querySelector(".explore").hidden = false;
    layOut();
  }

  // The run's networks; codes and reconstructions are kept until an image changes.
  function liveDecoder(data) {
    const weights = network.unpack(data.weights);
    const code = (image) => (image.code ||= network.run(data.encoder, weights, image.x));
    return {
      mixer: null,
      first: () => [0, 1, 2],
      listed: (slots) => slots(),
      reconstruction: (image) => (image.again ||= network.run(data.decoder, weights, code(image))),
      draw(canvas, images, point) {
        const begin = performance.now();
        const mixed = network.mix(this.mixer, images.map(code), point, data.latent);
        const picture = network.run(data.decoder, weights, mixed), milliseconds = performance.now() - begin;
        paint(canvas, picture, data.image);
        const from = this.mixer.formula === "pick" ? network.sources(this.mixer.table.ranks, point) : null;
        return { milliseconds, shares: from && point.map((_, i) => from.filter((one) => one === i).length / from.length) };
      },
    };
  }

  // Pictures that were drawn beforehand, as tiles of one picture for each triple.
  function atlas(data) {
    const sheet = new Image(), [height, width] = data.tile;
    return {
      first: () => data.triples[0].images.slice(),
      take(i, ready) {
        sheet.onload = ready;
        sheet.src = data.triples[i].sprite;
        return data.triples[i].images.slice();
      },
      draw(canvas, images, point) {
        const far = data.points.map((other) => other.reduce((sum, weight, i) => sum + (weight - point[i]) ** 2, 0));
        const tile = far.indexOf(Math.min(...far)), shares = data.points[tile];
        canvas.width = width;
        canvas.height = height;
        if (sheet.complete && sheet.naturalWidth) {
          const x = (tile % data.columns) * width, y = Math.floor(tile / data.columns) * height;
          canvas.getContext("2d").drawImage(sheet, x, y, width, height, 0, 0, width, height);
        }
        return { note: "drawn beforehand", shares: null, weights: shares };
      },
    };
  }

  // A canvas to draw on, several times as large as an image: each pixel of the image is the mean of a square.
  function drawing(section, data, chosenImage, changed) {
    const [channels, height, width] = data.image, scale = Math.max(1, Math.floor(272 / width));
    const find = (name) => section.querySelector(`.explore-${name}`);
    const pad = find("pad"), sheet = document.createElement("canvas"), colour = section.querySelector("input[type=color]");
    for (const canvas of [pad, sheet]) [canvas.width, canvas.height] = [width * scale, height * scale];
    const pen = sheet.getContext("2d", { willReadFrequently: true }), [top, left, bottom, right] = data.frame;
    const framed = (bottom - top) * (right - left) < 0.9 * height * width;
    find("framed").hidden = !framed;
    if (channels === 3) find("colour").hidden = false;
    let last = null, waiting = 0;

    function show() {
      const context = pad.getContext("2d");
      context.drawImage(sheet, 0, 0);
      if (!framed) return;
      context.setLineDash([4, 4]);
      context.strokeStyle = "#888";
      context.strokeRect(left * scale + 0.5, top * scale + 0.5, (right - left) * scale - 1, (bottom - top) * scale - 1);
    }

    function read() {
      const { data: pixels } = pen.getImageData(0, 0, width * scale, height * scale), x = new Float32Array(channels * height * width);
      for (let c = 0, at = 0; c < channels; c++) {
        for (let row = 0; row < height; row++) {
          for (let column = 0; column < width; column++, at++) {
            let sum = 0;
            for (let y = 0; y < scale; y++)
              for (let z = 0; z < scale; z++) sum += pixels[4 * ((row * scale + y) * width * scale + column * scale + z) + c];
            x[at] = Math.round(sum / (scale * scale)) / 127.5 - 1;
          }
        }
      }
      changed(x);
    }

    function later() {
      show();
      if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; read(); });
    }

    function blank() {
      pen.fillStyle = "#000";
      pen.fillRect(0, 0, width * scale, height * scale);
      show();
    }

    function at(event) {
      const box = pad.getBoundingClientRect();
      return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
    }

    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      event.preventDefault();
      last = at(event);
    });
    pad.addEventListener("pointermove", (event) => {
      if (!last || !pad.hasPointerCapture(event.pointerId)) return;
      const next = at(event);
      Object.assign(pen, { lineCap: "round", lineJoin: "round", lineWidth: width * scale * 0.085 });
      pen.strokeStyle = channels === 3 ? colour.value : "#fff";
      pen.beginPath();
      pen.moveTo(...last);
      pen.lineTo(...next);
      pen.stroke();
      last = next;
      later();
    });
    for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { last = null; });
    find("clear").addEventListener("click", () => { blank(); later(); });
    find("copy").addEventListener("click", () => {
      pen.imageSmoothingEnabled = false;
      pen.drawImage(paint(document.createElement("canvas"), chosenImage().x, data.image), 0, 0, width * scale, height * scale);
      later();
    });
    blank();
  }

  const geometry = { cornersOf, place };
  if (typeof module !== "undefined") module.exports = geometry;
  else for (const section of document.querySelectorAll("[data-explorer]")) if (section.querySelector(".explore")) start(section);
})();
