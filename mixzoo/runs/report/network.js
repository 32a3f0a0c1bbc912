"use strict";
// Runs a network that was exported as a program (mixzoo/runs/report/program.py), one input at a time, and mixes codes.
(() => {
  // --- weights: one base64 text of little-endian numbers

  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  function unpack(packed) {
    const bytes = bytesOf(packed.numbers), view = new DataView(bytes.buffer);
    const wide = packed.dtype === "<f4", size = wide ? 4 : 2;
    const all = new Float32Array(bytes.length / size);
    for (let i = 0; i < all.length; i++) all[i] = wide ? view.getFloat32(4 * i, true) : half(view.getUint16(2 * i, true));
    return packed.ends.map((end, i) => all.subarray(i ? packed.ends[i - 1] : 0, end));
  }

  // --- the steps; s is the step, x the values that it reads, out the result; w, b and c are weights, or null

  // The image with a border, so that the loops of a convolution test no edges.
  function bordered(x, channels, height, width, [down, across], value = 0) {
    const tall = height + 2 * down, wide = width + 2 * across;
    const padded = new Float32Array(channels * tall * wide).fill(value);
    for (let c = 0; c < channels; c++)
      for (let y = 0; y < height; y++)
        padded.set(x.subarray((c * height + y) * width, (c * height + y + 1) * width), (c * tall + y + down) * wide + across);
    return [padded, tall, wide];
  }

  function conv(s, [x], out, w, b) {
    const [channels, height, width] = s.input, [maps, tall, wide] = s.shape, [kh, kw] = s.kernel;
    const [padded, rows, columns] = bordered(x, channels, height, width, s.padding);
    const area = tall * wide, each = channels / s.groups, mapsEach = maps / s.groups;
    const simple = kh === 3 && kw === 3 && [...s.stride, ...s.dilation].every((one) => one === 1);
    const sum = new Float64Array(area);
    for (let o = 0; o < maps; o++) {
      sum.fill(b ? b[o] : 0);
      const first = Math.floor(o / mapsEach) * each;
      for (let i = 0; i < each; i++) {
        const taps = w.subarray((o * each + i) * kh * kw, (o * each + i + 1) * kh * kw);
        const plane = padded.subarray((first + i) * rows * columns, (first + i + 1) * rows * columns);
        if (simple) nine(plane, columns, taps, sum, tall, wide);
        else anyTaps(plane, columns, taps, sum, tall, wide, s);
      }
      out.set(sum, o * area);
    }
  }

  function nine(plane, columns, taps, sum, tall, wide) {
    const [a, b, c, d, e, f, g, h, k] = taps;
    for (let y = 0, at = 0; y < tall; y++) {
      let p = y * columns, q = p + columns, r = q + columns;
      for (let x = 0; x < wide; x++, p++, q++, r++, at++) {
        sum[at] += a * plane[p] + b * plane[p + 1] + c * plane[p + 2] + d * plane[q] + e * plane[q + 1]
          + f * plane[q + 2] + g * plane[r] + h * plane[r + 1] + k * plane[r + 2];
      }
    }
  }

  function anyTaps(plane, columns, taps, sum, tall, wide, { kernel, stride, dilation }) {
    for (let ky = 0, tap = 0; ky < kernel[0]; ky++) {
      for (let kx = 0; kx < kernel[1]; kx++, tap++) {
        const weight = taps[tap];
        for (let y = 0, at = 0; y < tall; y++) {
          let from = (y * stride[0] + ky * dilation[0]) * columns + kx * dilation[1];
          for (let x = 0; x < wide; x++, from += stride[1], at++) sum[at] += weight * plane[from];
        }
      }
    }
  }

  // Each input pixel paints its kernel; what falls on the border is left out.
  function transposed(s, [x], out, w, b) {
    const [channels, height, width] = s.input, [maps, tall, wide] = s.shape, [kh, kw] = s.kernel;
    const each = channels / s.groups, mapsEach = maps / s.groups, area = tall * wide;
    const sum = new Float64Array(area);
    for (let o = 0; o < maps; o++) {
      sum.fill(b ? b[o] : 0);
      const group = Math.floor(o / mapsEach);
      for (let i = 0; i < each; i++) {
        const channel = group * each + i, taps = (channel * mapsEach + (o % mapsEach)) * kh * kw;
        for (let ky = 0; ky < kh; ky++) {
          for (let kx = 0; kx < kw; kx++) {
            const weight = w[taps + ky * kw + kx];
            for (let y = 0; y < height; y++) {
              const row = y * s.stride[0] + ky * s.dilation[0] - s.padding[0];
              if (row < 0 || row >= tall) continue;
              for (let c = 0; c < width; c++) {
                const column = c * s.stride[1] + kx * s.dilation[1] - s.padding[1];
                if (column >= 0 && column < wide) sum[row * wide + column] += weight * x[(channel * height + y) * width + c];
              }
            }
          }
        }
      }
      out.set(sum, o * area);
    }
  }

  function linear(s, [x], out, w, b) {
    const inputs = s.input.at(-1), outputs = s.shape.at(-1);
    for (let row = 0; row * outputs < out.length; row++) {
      const from = row * inputs;
      for (let o = 0; o < outputs; o++) {
        let sum = b ? b[o] : 0;
        for (let i = 0, at = o * inputs; i < inputs; i++, at++) sum += w[at] * x[from + i];
        out[row * outputs + o] = sum;
      }
    }
  }

  function norm(s, [x], out, w, b) {
    const size = x.length / s.groups, area = x.length / s.input[0];
    for (let group = 0; group < s.groups; group++) {
      const from = group * size, to = from + size;
      let mean = 0, variance = 0;
      for (let i = from; i < to; i++) mean += x[i];
      mean /= size;
      for (let i = from; i < to; i++) variance += (x[i] - mean) ** 2;
      const scale = 1 / Math.sqrt(variance / size + s.eps);
      for (let i = from; i < to; i++) {
        const channel = Math.floor(i / area);
        out[i] = (x[i] - mean) * scale * (w ? w[channel] : 1) + (b ? b[channel] : 0);
      }
    }
  }

  function scale(s, [x], out, w, b) {
    const area = x.length / s.input[0];
    for (let i = 0; i < x.length; i++) out[i] = x[i] * w[Math.floor(i / area)] + b[Math.floor(i / area)];
  }

  function upsample(s, [x], out) {
    const [channels, height, width] = s.input, [down, across] = s.by;
    for (let row = 0, at = 0; row < channels * height; row++)
      for (let copy = 0; copy < down; copy++)
        for (let column = 0; column < width; column++)
          for (let again = 0; again < across; again++) out[at++] = x[row * width + column];
  }

  const pool = (start, add, end) => (s, [x], out) => {
    const [channels, height, width] = s.input, [, tall, wide] = s.shape, [kh, kw] = s.kernel;
    for (let c = 0, at = 0; c < channels; c++) {
      for (let y = 0; y < tall; y++) {
        for (let z = 0; z < wide; z++, at++) {
          let value = start;
          for (let ky = 0; ky < kh; ky++)
            for (let kx = 0; kx < kw; kx++)
              value = add(value, x[(c * height + y * s.stride[0] + ky) * width + z * s.stride[1] + kx]);
          out[at] = end(value, kh * kw);
        }
      }
    }
  };

  // The index that a position outside 0 .. size-1 reads, or -1.
  function edge(index, size, mode) {
    if (index >= 0 && index < size) return index;
    if (mode === "constant") return -1;
    if (mode === "replicate") return index < 0 ? 0 : size - 1;
    return index < 0 ? -index : 2 * (size - 1) - index;
  }

  function pad(s, [x], out) {
    const [, height, width] = s.input, [channels, tall, wide] = s.shape, [left, , top] = s.sides;
    for (let c = 0, at = 0; c < channels; c++) {
      for (let y = 0; y < tall; y++) {
        const row = edge(y - top, height, s.mode);
        for (let z = 0; z < wide; z++, at++) {
          const column = edge(z - left, width, s.mode);
          out[at] = row < 0 || column < 0 ? s.value : x[(c * height + row) * width + column];
        }
      }
    }
  }

  const each = (f) => (s, [x], out) => {
    for (let i = 0; i < x.length; i++) out[i] = f(x[i], s);
  };

  const arithmetic = (f) => (s, x, out, w, b, c) => {
    const left = x[0], right = c || x[1], same = right.length === 1;
    for (let i = 0; i < left.length; i++) out[i] = s.turned ? f(right[same ? 0 : i], left[i]) : f(left[i], right[same ? 0 : i]);
  };

  function cat(s, x, out) {
    let at = 0;
    for (const one of x) {
      out.set(one, at);
      at += one.length;
    }
  }

  function permute(s, [x], out) {
    const strides = s.input.map((_, axis) => s.input.slice(axis + 1).reduce((a, b) => a * b, 1));
    const places = s.shape.map(() => 0);
    for (let i = 0; i < out.length; i++) {
      out[i] = x[places.reduce((sum, place, axis) => sum + place * strides[s.axes[axis]], 0)];
      for (let axis = places.length - 1; axis >= 0 && ++places[axis] === s.shape[axis]; axis--) places[axis] = 0;
    }
  }

  function cdist(s, [x], out, w) {
    const size = s.input.at(-1), rows = w.length / size;
    for (let i = 0; i < out.length; i++) {
      const from = Math.floor(i / rows) * size, to = (i % rows) * size;
      let sum = 0;
      for (let j = 0; j < size; j++) sum += (x[from + j] - w[to + j]) ** 2;
      out[i] = Math.sqrt(sum);
    }
  }

  function argmin(s, [x], out) {
    const size = s.input.at(-1);
    for (let i = 0; i < out.length; i++) {
      let best = 0;
      for (let j = 1; j < size; j++) if (x[i * size + j] < x[i * size + best]) best = j;
      out[i] = best;
    }
  }

  function rows(s, [x], out, w) {
    const size = out.length / x.length;
    x.forEach((row, i) => out.set(w.subarray(row * size, (row + 1) * size), i * size));
  }

  const OPERATIONS = {
    conv2d: conv, conv_transpose2d: transposed, linear, norm, scale, upsample, pad, cat, permute, cdist, argmin, rows,
    relu: each((x) => (x > 0 ? x : 0)),
    leaky_relu: each((x, s) => (x > 0 ? x : x * s.slope)),
    tanh: each(Math.tanh),
    sigmoid: each((x) => 1 / (1 + Math.exp(-x))),
    silu: each((x) => x / (1 + Math.exp(-x))),
    elu: each((x, s) => (x > 0 ? x : s.alpha * Math.expm1(x))),
    softplus: each((x) => (x > 20 ? x : Math.log1p(Math.exp(x)))),
    clamp: each((x, s) => Math.min(Math.max(x, s.low), s.high)),
    avg_pool2d: pool(0, (sum, x) => sum + x, (sum, count) => sum / count),
    max_pool2d: pool(-Infinity, Math.max, (value) => value),
    add: arithmetic((a, b) => a + b),
    sub: arithmetic((a, b) => a - b),
    mul: arithmetic((a, b) => a * b),
    div: arithmetic((a, b) => a / b),
    slice: (s, [x], out) => out.set(x.subarray(s.start, s.start + out.length)),
  };

  // The program's result for one input, a Float32Array.
  function run(program, weights, input) {
    const values = [input];
    for (const step of program.steps) {
      const out = new Float32Array(step.shape.reduce((a, b) => a * b, 1));
      const weight = (key) => (step[key] === undefined ? null : weights[step[key]]);
      OPERATIONS[step.op](step, step.from.map((i) => values[i]), out, weight("weight"), weight("bias"), weight("values"));
      values.push(out);
    }
    return values[program.result];
  }

  // --- mixes of codes at a point of the simplex, as the mixers' own `at` has them

  function weigh(codes, point) {
    const mixed = new Float32Array(codes[0].length);
    codes.forEach((code, i) => { for (let j = 0; j < mixed.length; j++) mixed[j] += point[i] * code[j]; });
    return mixed;
  }

  // Which source each place of the table is from: [0, 1) is divided into intervals as long as the weights.
  function sources(ranks, point) {
    let total = 0;
    const ends = Array.from(point.slice(0, -1), (weight) => Math.fround(total += Math.fround(weight)));
    return ranks.map((rank) => ends.filter((end) => Math.fround((rank + 0.5) / ranks.length) >= end).length);
  }

  // The table has the axes of a code, or 1 where all places along an axis have one source.
  function pick(codes, point, { ranks, axes }, shape) {
    const from = sources(ranks, point), mixed = new Float32Array(codes[0].length);
    for (let i = 0; i < mixed.length; i++) {
      let rest = i, place = 0, stride = 1;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        if (axes[axis] > 1) place += (rest % shape[axis]) * stride;
        rest = Math.floor(rest / shape[axis]);
        stride *= axes[axis];
      }
      mixed[i] = codes[from[place]][i];
    }
    return mixed;
  }

  // Spherical interpolation of two codes; a line where no arc is defined, or where it is one.
  function arc(codes, point) {
    const norms = codes.map((code) => Math.sqrt(code.reduce((sum, x) => sum + x * x, 0)));
    if (norms.some((norm) => norm * norm < 1.1e-19)) return weigh(codes, point);
    let along = 0;
    for (let i = 0; i < codes[0].length; i++) along += (codes[0][i] / norms[0] + codes[1][i] / norms[1]) ** 2;
    const apart = Math.max(4 - along, 0), eps = 1.1920929e-7;
    if (along < eps) return weigh(codes, point);
    const angle = 2 * Math.atan2(Math.sqrt(apart), Math.sqrt(along));
    const length = point[0] * norms[0] + point[1] * norms[1];
    return weigh(codes, point.map((share, i) => {
      const turned = apart < eps ? share : Math.sin(share * angle) / Math.sin(angle);
      return turned * length / norms[i];
    }));
  }

  function mix(mixer, codes, point, shape) {
    if (mixer.formula === "weigh") return weigh(codes, point);
    return mixer.formula === "arc" ? arc(codes, point) : pick(codes, point, mixer.table, shape);
  }

  const api = { bytesOf, unpack, run, mix, sources };
  if (typeof module !== "undefined") module.exports = api;
  else window.mixzooNetwork = api;
})();
