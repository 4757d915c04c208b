// The store: how full it is, and with what.

import { get, on } from './api.js';
import { $, attempt, bytes, count, el, empty, figures, percent, plural, svg } from './dom.js';

const WIDE = 32;
const EVERY = 5000;
const of = (value) => Math.max(0, Math.min(1, value || 0));

// A cell fills from below with what is used; pinned and shared blocks, which are among those, take
// the left and the right half.
function cell({ used, pinned, shared }, i) {
	const [x, y] = [(i % WIDE) + 0.06, Math.floor(i / WIDE) + 0.06];
	const level = (look, share, dx, wide) => of(share) > 0 && svg('rect', { class: look, x: x + dx, y: y + 0.88 * (1 - of(share)), width: wide, height: 0.88 * of(share) });
	return [svg('rect', { class: 'free', x, y, width: 0.88, height: 0.88, rx: 0.12 }), level('used', used, 0, 0.88), level('pinned', pinned, 0, 0.44), level('shared', shared, 0.44, 0.44)].filter(Boolean);
}

function drawMap(map) {
	if (!map.length) return empty($('store-map'), 'The store is empty. Its slots show here as soon as something is put or fetched.');
	const mean = (name) => Math.round(100 * map.reduce((sum, each) => sum + of(each[name]), 0) / map.length);
	const label = `Of all slots ${mean('used')} % are used, ${mean('pinned')} % pinned, ${mean('shared')} % shared, ${mean('free')} % free`;
	const high = Math.ceil(map.length / WIDE);
	$('store-map').replaceChildren(svg('svg', { class: 'storemap', viewBox: `0 0 ${WIDE} ${high}`, role: 'img', 'aria-label': label }, map.flatMap(cell)));
}

function drawSharing(sharing) {
	const all = sharing.reduce((sum, [, blocks]) => sum + blocks, 0);
	if (!all) return empty($('sharing'), 'No blocks, so none is shared. A block that hides several files is stored once and counts for each.');
	const most = Math.max(...sharing.map(([, blocks]) => blocks));
	$('sharing').replaceChildren(el('ul', { class: 'hbars' }, sharing.map(([uses, blocks]) => {
		const inner = el('i', { class: uses > 1 ? 'b' : '' });
		inner.style.width = `${percent(blocks, most)}%`;
		return el('li', null, el('span', null, uses ? plural(uses, 'URL') : 'none'), el('div', { class: 'bar', 'aria-hidden': 'true' }, inner), el('span', null, plural(blocks, 'block')));
	})));
}

let timer;
const load = attempt(async () => {
	clearTimeout(timer);
	if ($('view-store').hidden) return;
	const store = await get('/api/store');
	figures($('store-figures'), [
		['Kept', bytes(store.bytes), store.limit ? `limit ${bytes(store.limit)}` : 'no limit is set'],
		['Blocks', count(store.blocks), store.damaged ? `${count(store.damaged)} damaged` : 'none damaged'],
		['URLs', count(store.urls), plural(store.torrents, 'torrent')],
		['Pinned blocks', count(store.pinned_blocks), 'never evicted'],
		['Shared blocks', count(store.shared_blocks), 'by several URLs'],
		['Kept for others', bytes(store.hosted_bytes), plural(store.hosted_blocks, 'block')],
		['Stored per byte', store.stored_per_byte == null ? '–' : store.stored_per_byte.toFixed(2), 'of the files'],
	]);
	drawMap(store.map ?? []);
	drawSharing(store.sharing ?? []);
	timer = setTimeout(load, EVERY);
});
on('view', load);
on('urls', load);
on('open', load);
