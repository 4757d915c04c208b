// The card of an OFF URL: what it is, its text to copy, its QR code.

import { get, localPath } from './api.js';
import { blockMap, bytes, copy, count, el, glyph, plural, visible } from './dom.js';

function field(name, words, what) {
	const input = el('input', { readonly: true, value: words, 'aria-label': name, onfocus: (event) => event.target.select() });
	return el('div', { class: 'field' }, el('span', { 'aria-hidden': 'true' }, name),
		el('div', { class: 'copyable' }, input, el('button', { type: 'button', 'aria-label': `Copy the ${what}`, onclick: () => copy(words, what) }, 'Copy')));
}

function qr(words, what) {
	const image = el('img', { class: 'qr', width: 164, height: 164, alt: `QR code of the ${what}`, src: `/api/qr.svg?${new URLSearchParams({ text: words })}` });
	const box = el('div', { class: 'qr-box' }, image, el('span', null, `QR code of the ${what}`));
	image.onerror = () => box.replaceChildren(el('span', null, 'Too long for a QR code'));
	return box;
}

export function openLink(path, words = 'Open', kind = 'button small') {
	const local = localPath(path);
	return local && el('a', { class: kind, href: local, target: '_blank', rel: 'noopener' }, words);
}

// How large and of what kind. The length of a directory is that of its listing, which tells nobody
// anything; what it holds is known when it is put.
export function measures(item) {
	const size = item.directory ? item.bytes : item.length;
	return [size != null && el('b', null, bytes(size)), el('span', null, item.directory ? 'directory' : item.content_type || 'unknown type')];
}

// Title line of anything that has a name.
export function titleLine(name, seed, ...meta) {
	return el('div', { class: 'title' }, glyph(seed), el('div', null, el('span', { class: 'name', dir: 'auto' }, visible(name)), el('div', { class: 'meta' }, meta)));
}

// `note` says more about how it came here; `actions` are buttons.
export function resultCard(item, { note, actions = [] } = {}) {
	const magnet = item.magnet?.startsWith('magnet:?') ? item.magnet : null;
	const fields = el('div', { class: 'fields' },
		titleLine(item.name, item.url, measures(item),
			item.directory && item.files != null && el('span', null, plural(item.files, 'file')),
			item.new_blocks != null && el('span', null, plural(item.new_blocks, 'new block'))),
		note && el('p', { class: 'reason' }, note),
		field('OFF URL', item.url, 'OFF URL'),
		magnet ? field('Magnet link', magnet, 'magnet link')
			: el('p', { class: 'hint' }, 'Not published, so it has no magnet link and no peer can find its blocks.'),
		skipped(item.skipped),
		el('div', { class: 'row' }, openLink(item.path), actions));
	return el('article', { class: 'card result', 'aria-label': `OFF URL of ${visible(item.name)}` }, fields, qr(item.url, 'OFF URL'));
}

function skipped(list) {
	if (!list?.length) return null;
	return el('details', null, el('summary', null, `${plural(list.length, 'file')} left out`),
		el('ul', null, list.map((entry) => el('li', { class: 'reason' }, `${visible(entry.path)}: ${entry.why}`))));
}

// The block map of a URL, as far as it is here.
export async function presence(url) {
	const item = await get('/api/url', { url });
	const here = `${count(item.blocks_here)} of ${plural(item.blocks, 'block')} here`;
	return [item, el('div', { class: 'fields' },
		el('div', { class: 'meta' }, el('b', null, here),
			el('span', null, item.sealed ? 'sealed' : 'plain'), item.tuple && el('span', null, `tuples of ${item.tuple}`),
			item.damaged > 0 && el('span', { class: 'tag bad' }, `${count(item.damaged)} damaged`)),
		item.map?.length > 0 && blockMap(item.map, here))];
}
