// Transfers: what is on its way, why it waits, where its blocks come from.

import { get, on, post } from './api.js';
import { openLink, titleLine } from './card.js';
import { $, ago, announce, attempt, bar, blockMap, button, bytes, copy, count, el, empty, keyed, percent, plural, rate, span, text, visible } from './dom.js';
import { ours } from './put.js';

const all = new Map();
let drawing = false;

const say = attempt(post);
const running = (transfer) => transfer.state === 'running';
const STATES = { running: ['under way', 'on'], done: ['done', ''], failed: ['failed', 'bad'], stopped: ['stopped', 'warn'] };

function create(transfer) {
	const name = visible(transfer.name);
	const parts = {
		state: el('span', { class: 'tag' }), since: el('span'), size: el('b'), bar: bar(`Progress of ${name}`), reason: el('p'),
		map: el('div'), sources: el('div', { class: 'fields' }), rates: el('div', { class: 'meta' }), row: el('div', { class: 'row' }),
	};
	const node = el('article', { class: 'card transfer', 'aria-label': `${transfer.kind === 'put' ? 'Putting' : 'Getting'} ${name}` },
		titleLine(name, transfer.url ?? transfer.id, el('span', { class: 'tag' }, transfer.kind), parts.state, parts.size, parts.since),
		parts.bar, parts.reason, parts.map, parts.sources, el('div', { class: 'head' }, parts.rates, parts.row));
	node.parts = parts;
	return node;
}

function update(node, transfer) {
	const { parts } = node;
	const [state, look] = STATES[transfer.state] ?? [transfer.state, ''];
	text(parts.state, state);
	parts.state.className = `tag ${look}`;
	text(parts.size, transfer.bytes_total == null ? bytes(transfer.bytes_done) : `${bytes(transfer.bytes_done)} of ${bytes(transfer.bytes_total)}`);
	text(parts.since, running(transfer) ? `for ${span(Date.now() - transfer.started_ms)}` : ago(transfer.ended_ms ?? transfer.started_ms));
	parts.bar.hidden = !running(transfer);
	const share = transfer.bytes_total > 0 ? percent(transfer.bytes_done, transfer.bytes_total) : percent(transfer.blocks - transfer.missing, transfer.blocks);
	parts.bar.set(share);
	text(parts.reason, transfer.error ?? (transfer.state === 'done' ? transfer.kind === 'put' ? 'Stored.' : 'Everything is here.' : transfer.reason ?? ''));
	parts.reason.className = transfer.error ? 'error' : 'reason';
	const map = transfer.map?.length ? transfer.map.join() : '';
	if (node.map !== map) {
		node.map = map;
		const label = `${count(transfer.blocks - transfer.missing)} of ${plural(transfer.blocks, 'block')} here, ${count(transfer.missing)} needed`;
		parts.map.replaceChildren(...(map ? [el('div', { class: 'meta' }, el('span', null, label)), blockMap(transfer.map, label)] : []));
	}
	sources(node, transfer);
	parts.rates.hidden = !running(transfer) || transfer.kind === 'put';
	text(parts.rates, `${rate(transfer.received_per_second)} from ${plural(transfer.native_peers ?? 0, 'native peer')} and ${plural(transfer.swarm_peers ?? 0, 'swarm peer')}`);
	actions(node, transfer);
}

// Where the blocks came from.
function sources(node, transfer) {
	const from = [['the own store', transfer.blocks_local, ''], ['native peers', transfer.blocks_native, ' b'], ['the swarm', transfer.blocks_swarm, ' c'], ['js-offs', transfer.blocks_legacy, ' d']];
	const seen = from.map(([, blocks]) => blocks).join();
	if (node.seen === seen) return;
	node.seen = seen;
	const sum = from.reduce((before, [, blocks]) => before + (blocks ?? 0), 0);
	if (!sum || transfer.kind === 'put') return node.parts.sources.replaceChildren();
	const strip = el('div', { class: 'bar split', 'aria-hidden': 'true' }, from.map(([, blocks, look]) => {
		const piece = el('i', { class: look.trim() });
		piece.style.width = `${percent(blocks ?? 0, sum)}%`;
		return piece;
	}));
	const keys = from.map(([name, blocks, look]) => el('span', { class: `key${look}` }, `${count(blocks ?? 0)} from ${name}`));
	node.parts.sources.replaceChildren(strip, el('div', { class: 'meta' }, keys));
}

function actions(node, transfer) {
	const want = `${transfer.state}|${transfer.path}|${transfer.url}`;
	if (node.actions === want) return;
	node.actions = want;
	const name = visible(transfer.name);
	node.parts.row.replaceChildren(...[
		transfer.path && transfer.state !== 'failed' && openLink(transfer.path),
		transfer.url && button('Copy URL', () => copy(transfer.url, 'OFF URL'), 'small', `Copy URL of ${name}`),
		transfer.url && transfer.kind === 'get' && ['failed', 'stopped'].includes(transfer.state)
			&& button('Try again', () => say('/api/fetch', { url: transfer.url }).then(load), 'small', `Try again to fetch ${name}`),
		running(transfer) && button('Cancel', () => say('/api/transfers/cancel', { id: transfer.id }), 'small quiet', `Cancel ${name}`),
	].filter(Boolean));
}

function draw() {
	drawing = false;
	const order = [...all.values()].sort((a, b) => running(b) - running(a) || b.started_ms - a.started_ms);
	const now = order.filter(running);
	$('running-count').hidden = !now.length;
	if (now.length) $('running-count').replaceChildren(String(now.length), el('span', { class: 'sr' }, ' under way'));
	$('clear').hidden = now.length === order.length;
	const home = now.filter((transfer) => !ours.has(transfer.tag));
	$('home-running').hidden = !home.length;
	if (!$('view-home').hidden) keyed($('home-transfers'), home, (transfer) => transfer.id, create, update);
	if ($('view-transfers').hidden) return;
	if (order.length) {
		$('transfer-list').querySelector(':scope > .empty')?.remove();
		keyed($('transfer-list'), order, (transfer) => transfer.id, create, update);
	} else empty($('transfer-list'), 'Nothing is on its way. What you put or fetch shows up here, with where its blocks come from and what it waits for.');
}

function soon() {
	if (drawing) return;
	drawing = true;
	setTimeout(draw, 100);
}

on('transfer', (transfer) => {
	const before = all.get(transfer.id);
	all.set(transfer.id, transfer);
	if (before && running(before) && !running(transfer) && !ours.has(transfer.tag)) announce(`${visible(transfer.name)}: ${STATES[transfer.state]?.[0] ?? ''}`);
	soon();
});

const load = attempt(async () => {
	const { transfers } = await get('/api/transfers');
	all.clear();
	for (const transfer of transfers) all.set(transfer.id, transfer);
	soon();
});
on('open', load);
on('view', soon);

export function start() {
	$('clear').onclick = () => say('/api/transfers/clear').then(load);
}
