// Plots of the last 15 minutes, drawn by hand.

import { get, on } from './api.js';
import { $, attempt, count, el, rate, span, svg } from './dom.js';

const SPAN = 15 * 60000;
const HIGH = 190;
const EDGE = { left: 76, right: 12, top: 12, bottom: 26 };
let samples = [];
const plots = [];

// The next round number above, in steps that read well for bytes (powers of two) or for counts.
function ceiling(most, binary) {
	if (binary) return 2 ** Math.max(10, Math.ceil(Math.log2(most || 1)));
	const step = 10 ** Math.floor(Math.log10(Math.max(4, most)));
	return [1, 2, 4, 6, 8, 10].map((times) => times * step).find((round) => round >= Math.max(4, most));
}

class Plot {
	constructor(box, label, series, write, binary) {
		Object.assign(this, { box, label, series, write, binary, at: null });
		this.said = el('div', { class: 'meta' });
		this.svg = svg('svg', { role: 'img' });
		box.className = 'plot';
		box.append(this.svg, this.said);
		this.svg.addEventListener('pointermove', (event) => {
			this.at = event.clientX - this.svg.getBoundingClientRect().left;
			this.draw();
		});
		this.svg.addEventListener('pointerleave', () => {
			this.at = null;
			this.draw();
		});
		new ResizeObserver(() => this.draw()).observe(box);
	}

	draw() {
		const wide = this.box.clientWidth;
		if (!wide) return;
		const now = Math.max(Date.now(), samples.at(-1)?.at_ms ?? 0);
		const most = ceiling(Math.max(0, ...samples.flatMap((sample) => this.series.map(({ key }) => sample[key] ?? 0))), this.binary);
		const x = (ms) => EDGE.left + (wide - EDGE.left - EDGE.right) * (1 - (now - ms) / SPAN);
		const y = (value) => HIGH - EDGE.bottom - (HIGH - EDGE.top - EDGE.bottom) * (value / most);
		this.svg.setAttribute('viewBox', `0 0 ${wide} ${HIGH}`);
		this.svg.replaceChildren(...this.grid(wide, most, y, x, now), ...this.lines(x, y), ...this.cross(x, wide));
		this.tell();
	}

	grid(wide, most, y, x, now) {
		const rows = [0, 0.5, 1].map((part) => [
			svg('line', { class: 'grid', x1: EDGE.left, x2: wide - EDGE.right, y1: y(part * most), y2: y(part * most) }),
			svg('text', { x: EDGE.left - 10, y: y(part * most) + 4, 'text-anchor': 'end' }, this.write(part * most)),
		]);
		const marks = (wide < 440 ? [15, 0] : [15, 10, 5, 0]).map((minutes) => svg('text', {
			x: x(now - minutes * 60000), y: HIGH - 6, 'text-anchor': minutes === 15 ? 'start' : minutes ? 'middle' : 'end',
		}, minutes ? `−${minutes} min` : 'now'));
		return [...rows.flat(), ...marks];
	}

	lines(x, y) {
		if (samples.length < 2) return [];
		return this.series.flatMap(({ key }, i) => {
			const line = samples.map((sample, j) => `${j ? 'L' : 'M'}${x(sample.at_ms).toFixed(1)} ${y(sample[key] ?? 0).toFixed(1)}`).join('');
			const area = `${line}L${x(samples.at(-1).at_ms).toFixed(1)} ${y(0)}L${x(samples[0].at_ms).toFixed(1)} ${y(0)}Z`;
			return [i === 0 && svg('path', { class: 'fill', d: area }), svg('path', { class: `s${i}`, d: line })].filter(Boolean);
		});
	}

	cross(x, wide) {
		this.sample = samples.at(-1);
		if (this.at === null || !samples.length) return [];
		this.sample = samples.reduce((best, sample) => (Math.abs(x(sample.at_ms) - this.at) < Math.abs(x(best.at_ms) - this.at) ? sample : best));
		const at = Math.min(x(this.sample.at_ms), wide);
		return [svg('line', { class: 'cross', x1: at, x2: at, y1: EDGE.top, y2: HIGH - EDGE.bottom })];
	}

	tell() {
		const { sample } = this;
		if (!sample) {
			this.said.replaceChildren('No samples yet: one comes every 5 seconds.');
			return this.svg.setAttribute('aria-label', `${this.label}: no samples yet`);
		}
		const when = this.at === null ? 'now' : `${span(Date.now() - sample.at_ms)} ago`;
		const parts = this.series.map(({ key, name }) => `${name} ${this.write(sample[key] ?? 0)}`);
		const keys = parts.map((part, i) => el('span', { class: i ? 'key b' : 'key' }, part));
		this.said.replaceChildren(...keys, el('span', null, when));
		const peaks = this.series.map(({ key, name }) => `${name} at most ${this.write(Math.max(...samples.map((each) => each[key] ?? 0)))}`);
		this.svg.setAttribute('aria-label', `${this.label}, the last 15 minutes: now ${parts.join(', ')}; ${peaks.join(', ')}`);
	}
}

const RATES = [{ key: 'received_per_second', name: 'received' }, { key: 'sent_per_second', name: 'sent' }];
const COUNTS = [{ key: 'peers', name: 'peers' }, { key: 'dht_nodes', name: 'DHT nodes' }];

const drawAll = () => plots.forEach((plot) => plot.draw());

on('sample', (sample) => {
	samples = [...samples, sample].filter(({ at_ms: at }) => at > Date.now() - SPAN);
	drawAll();
});
on('open', attempt(async () => {
	({ samples } = await get('/api/history'));
	drawAll();
}));

export function start() {
	const whole = (n) => count(Math.round(n));
	plots.push(
		new Plot($('plot-transfers'), 'Rates', RATES, rate, true),
		new Plot($('plot-rates'), 'Rates', RATES, rate, true),
		new Plot($('plot-peers'), 'Peers and DHT nodes', COUNTS, whole, false),
	);
}
