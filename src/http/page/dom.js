// Making elements. Text from outside becomes text nodes and attribute values only, never markup.

const SVG = 'http://www.w3.org/2000/svg';
export const $ = (id) => document.getElementById(id);

function fill(node, attributes, children) {
	for (const [name, value] of Object.entries(attributes ?? {})) {
		if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
		else if (value === true) node.setAttribute(name, '');
		else if (value !== false && value != null) node.setAttribute(name, value);
	}
	node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
	return node;
}
export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
export const button = (text, onclick, kind = 'small', label) => el('button', { type: 'button', class: kind, onclick, 'aria-label': label }, text);

// Sets text only where it differs, so that selections and live regions are left in peace.
export function text(node, value) {
	if (node.textContent !== String(value)) node.textContent = value;
}

// Makes the children of a container those of `items`, and keeps the elements of those that stay.
export function keyed(container, items, key, create, update) {
	const before = container.kept ?? new Map();
	const kept = new Map();
	let at = container.firstElementChild;
	for (const item of items) {
		const id = key(item);
		const node = before.get(id) ?? create(item);
		before.delete(id);
		kept.set(id, node);
		update?.(node, item);
		if (node === at) at = at.nextElementSibling;
		else container.insertBefore(node, at);
	}
	container.kept = kept;
	for (const node of before.values()) node.remove();
}

// An empty state, said in place of a list.
export function empty(container, words) {
	container.kept = undefined;
	container.replaceChildren(el('p', { class: 'empty' }, words));
}

export function table(container, columns, rows, none) {
	if (!rows.length) return empty(container, none);
	const kind = (column) => ({ class: column.n && 'n' });
	const head = el('tr', null, columns.map((column) => el('th', { scope: 'col', ...kind(column) }, column.name)));
	const body = rows.map((row) => el('tr', null, columns.map((column) => el('td', kind(column), column.of(row) ?? '–'))));
	const scroll = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': columns[0].name }, el('table', null, el('thead', null, head), el('tbody', null, body)));
	const [left, had] = [container.firstElementChild?.scrollLeft ?? 0, container.firstElementChild === document.activeElement];
	container.replaceChildren(scroll);
	scroll.scrollLeft = left;
	if (had) scroll.focus({ preventScroll: true });
}

export function figures(list, pairs) {
	keyed(list, pairs, ([name]) => name, ([name]) => el('div', null, el('dt', null, name), el('dd')), (node, [, value, small]) => {
		const said = `${value}${small ?? ''}`;
		if (node.said === said) return;
		node.said = said;
		node.lastChild.className = String(value).length > 13 ? 'long' : '';
		node.lastChild.replaceChildren(String(value), small ? el('small', null, small) : '');
	});
}

// A name from outside, with nothing in it that hides or turns round what one reads.
export const visible = (name) => (name || '(no name)').replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (sign) => `⟨U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`);

export function bytes(n) {
	if (n == null) return '–';
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
	let unit = 0;
	for (; n >= 1024 && unit < units.length - 1; unit += 1) n /= 1024;
	return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}
export const rate = (n) => `${bytes(n ?? 0)}/s`;
export const count = (n) => (n == null ? '–' : Number(n).toLocaleString('en'));
export const plural = (n, one) => `${count(n)} ${one}${n === 1 ? '' : 's'}`;
export const percent = (part, all) => (all > 0 ? Math.min(100, (100 * part) / all) : 0);

export function span(ms) {
	const s = Math.max(0, Math.round(ms / 1000));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min`;
	if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
	return plural(Math.floor(s / 86400), 'day');
}
export const ago = (ms) => (Date.now() - ms < 5000 ? 'just now' : `${span(Date.now() - ms)} ago`);

// Says something to who listens to the page instead of looking at it.
export const announce = (words) => { $('live').textContent = words; };

export function toast(words, bad = false) {
	const node = el('div', { class: bad ? 'toast bad' : 'toast', role: bad ? 'alert' : null }, words);
	if (!bad) announce(words);
	$('toasts').append(node);
	while ($('toasts').children.length > 4) $('toasts').firstChild.remove();
	setTimeout(() => node.remove(), bad ? 9000 : 4000);
}
export const failed = (error) => toast(error.message, true);
// The same function, whose errors are shown.
export const attempt = (run) => (...what) => run(...what).catch(failed);

export async function copy(words, what) {
	try {
		await navigator.clipboard.writeText(words);
	} catch {
		// No clipboard outside of a secure context: the old way still works there.
		const area = el('textarea', { readonly: true, class: 'sr' });
		area.value = words;
		(document.querySelector('dialog[open]') ?? document.body).append(area);
		area.select();
		const done = document.execCommand('copy');
		area.remove();
		if (!done) return toast(`The browser does not let this page copy the ${what}`, true);
	}
	toast(`The ${what} is copied`);
}

// A small drawing that tells one URL from another at a glance: noise, but always the same.
export function glyph(seed) {
	let state = 2166136261;
	for (const letter of String(seed)) state = Math.imul(state ^ letter.charCodeAt(0), 16777619);
	const next = () => {
		state = Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9 | 0;
		return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
	};
	const kind = ['', ' b', ' c', ' d'][Math.floor(next() * 4)];
	const cells = Array.from({ length: 16 }, (_, i) => svg('rect', {
		x: (i % 4) * 5, y: Math.floor(i / 4) * 5, width: 4.4, height: 4.4, rx: 0.9, 'fill-opacity': [0.12, 0.4, 0.7, 1][Math.floor(next() * 4)],
	}));
	return svg('svg', { class: `glyph${kind}`, viewBox: '0 0 19.4 19.4', 'aria-hidden': 'true' }, cells);
}

// Which of its blocks are here: a cell for each, or for as many neighbours.
export function blockMap(map, label) {
	const wide = Math.min(64, Math.max(24, map.length));
	const high = Math.ceil(map.length / wide);
	const cells = map.map((share, i) => svg('rect', {
		x: (i % wide) + 0.07, y: Math.floor(i / wide) + 0.07, width: 0.86, height: 0.86, rx: 0.18,
		class: share ? null : 'lack', 'fill-opacity': share ? (0.3 + (0.7 * share) / 255).toFixed(2) : null,
	}));
	return svg('svg', { class: 'map', viewBox: `0 0 ${wide} ${high}`, role: 'img', 'aria-label': label }, cells);
}

export function bar(label) {
	const inner = el('i');
	const node = el('div', { class: 'bar', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 }, inner);
	node.set = (share) => {
		inner.style.width = `${share}%`;
		node.setAttribute('aria-valuenow', Math.round(share));
	};
	node.set(0);
	return node;
}
