// The list of OFF URLs that are known here.

import { emit, get, on, post } from './api.js';
import { measures, openLink, presence, resultCard } from './card.js';
import { $, ago, attempt, button, bytes, copy, el, empty, glyph, keyed, plural, toast, visible } from './dom.js';

const PAGE = 200;
let items = [];
let cursor = null;
let turn = 0;

const load = attempt(async (more = false) => {
	turn += 1;
	const mine = turn;
	const query = { order: 'latest', limit: more ? PAGE : Math.min(1000, Math.max(PAGE, items.length)) };
	const q = $('search').value.trim();
	if (q) query.q = q;
	if (more) query.after = cursor;
	const page = await get('/api/urls', query);
	// An answer that a later question overtook is dropped.
	if (mine !== turn) return;
	items = more ? [...items, ...page.urls] : page.urls;
	cursor = page.next;
	draw(page.total, q);
});

function draw(total, q) {
	$('urls-count').textContent = q ? `${plural(total, 'URL')} with “${q}”` : plural(total, 'URL');
	$('more').hidden = !cursor;
	if (items.length) {
		$('url-list').querySelector(':scope > .empty')?.remove();
		keyed($('url-list'), items, (item) => item.url, () => el('li'), row);
	} else {
		empty($('url-list'), q ? 'No URL here has such a name.' : 'No URLs yet. Put a file, or fetch what somebody gave you: each OFF URL you meet is kept here, with its key.');
		$('url-list').firstChild.setAttribute('role', 'listitem');
	}
	if (!q) recent();
}

function tags(item) {
	return [
		item.pinned && el('span', { class: 'tag warn' }, 'pinned'),
		item.infohash && el('span', { class: 'tag on' }, 'published'),
	].filter(Boolean);
}

function row(node, item) {
	const said = JSON.stringify(item);
	if (node.said === said) return;
	node.said = said;
	const focus = node.contains(document.activeElement) ? document.activeElement.dataset.act : null;
	const act = (name, words, label, run, look = 'small') => {
		const made = button(words, run, look, `${label} ${visible(item.name)}`);
		made.dataset.act = name;
		return made;
	};
	const pin = act('pin', item.pinned ? 'Unpin' : 'Pin', item.pinned ? 'Unpin' : 'Pin', () => change(item, item.pinned ? 'unpin' : 'pin'));
	node.replaceChildren(
		el('div', { class: 'title' }, glyph(item.url), el('div', null,
			el('button', { type: 'button', class: 'plain', dir: 'auto', 'data-act': 'detail', onclick: () => detail(item) }, visible(item.name)),
			el('div', { class: 'meta' }, measures(item), item.added_ms && el('span', { title: new Date(item.added_ms).toLocaleString() }, `${item.origin === 'put' ? 'put' : 'got'} ${ago(item.added_ms)}`), tags(item)))),
		el('div', { class: 'row' }, openLink(item.path), act('copy', 'Copy', 'Copy the OFF URL of', () => copy(item.url, 'OFF URL')), pin, act('delete', 'Delete', 'Delete', () => remove(item), 'small quiet')),
	);
	if (focus) node.querySelector(`[data-act="${focus}"]`)?.focus();
}

function recent() {
	const last = items.slice(0, 5);
	if (!last.length) {
		$('recent').kept = undefined;
		return $('recent').replaceChildren(el('li', { class: 'empty' }, 'What you put or get is listed here.'));
	}
	$('recent').querySelector(':scope > .empty')?.remove();
	keyed($('recent'), last, (item) => item.url, (item) => el('li', { class: 'title' }, glyph(item.url), el('div', null,
		el('button', { type: 'button', class: 'plain name', dir: 'auto', onclick: () => detail(item) }, visible(item.name)),
		el('div', { class: 'meta' }, measures(item)))));
}

const change = attempt(async (item, verb) => {
	await post(`/api/urls/${verb}`, { url: item.url });
	toast(verb === 'pin' ? `“${visible(item.name)}” is pinned: it is never evicted` : `“${visible(item.name)}” is not pinned any more`);
	load();
});

// Asks in the dialog; resolves to whether it was confirmed.
function confirmed(title, words) {
	const dialog = $('confirm');
	$('confirm-title').textContent = title;
	$('confirm-text').textContent = words;
	dialog.returnValue = 'no';
	dialog.showModal();
	return new Promise((resolve) => { dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }); });
}

const remove = attempt(async (item) => {
	const words = 'Its OFF URL is forgotten here, and its blocks go unless another URL uses them. Peers that have its blocks keep them. Who has not written the URL down cannot get the file back.';
	if (!await confirmed(`Delete “${visible(item.name)}”?`, words)) return;
	const freed = await post('/api/urls/delete', { url: item.url });
	$('detail').close();
	toast(`“${visible(item.name)}” is deleted: ${plural(freed.freed_blocks, 'block')} freed, ${bytes(freed.freed_bytes)}`);
	emit('urls', { reason: 'removed' });
	$('search').focus({ preventScroll: true });
});

export async function detail(item) {
	const show = (now, extra) => {
		const publish = button(now.infohash ? 'Publish again' : 'Publish', () => publishNow(now), 'small', `Publish ${visible(now.name)}`);
		$('detail-in').replaceChildren(resultCard(now, { actions: [publish, button('Delete', () => remove(now), 'small quiet', `Delete ${visible(now.name)}`)] }), extra);
	};
	const publishNow = attempt(async (now) => {
		const made = await post('/api/publish', { url: now.url });
		toast(`“${visible(now.name)}” is published: peers can find its ${plural(made.blocks, 'block')}`);
		show({ ...now, magnet: made.magnet, infohash: made.infohash }, el('p', { class: 'hint' }, 'With hints for who gets it, the URL is:'));
		$('detail-in').append(el('code', { class: 'reason' }, made.url));
		load();
	});
	show(item, el('p', { class: 'hint' }, 'Looking which blocks are here …'));
	if (!$('detail').open) $('detail').showModal();
	try {
		const [fresh, extra] = await presence(item.url);
		if (fresh.url === item.url) show({ ...item, ...fresh }, extra);
	} catch (error) { $('detail-in').append(el('p', { class: 'error' }, error.message)); }
}

let timer;
on('urls', () => {
	clearTimeout(timer);
	timer = setTimeout(load, 200);
});
on('open', () => load());

export function start() {
	let typing;
	$('search').oninput = () => {
		clearTimeout(typing);
		typing = setTimeout(() => { items = []; load(); }, 150);
	};
	$('more').onclick = () => load(true);
}
