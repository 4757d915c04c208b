// Putting: files and folders that were dropped, chosen or pasted go up one after the other.

import { emit, on, post, problem } from './api.js';
import { resultCard, titleLine } from './card.js';
import { $, announce, attempt, bar, button, bytes, el, percent, plural, text, toast, visible } from './dom.js';
import { detail } from './urls.js';

const queue = [];
let current = null;
export const ours = new Set();

// Everything below a dropped folder, with paths that begin below it.
async function walk(folder, path, found) {
	const reader = folder.createReader();
	for (;;) {
		// A reader gives at most 100 entries at a time, and none at the end.
		const entries = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
		if (!entries.length) return;
		for (const entry of entries) {
			if (entry.isDirectory) await walk(entry, `${path}${entry.name}/`, found);
			else found.push({ file: await fileOf(entry), path: path + entry.name });
		}
	}
}
const fileOf = (entry) => new Promise((resolve, reject) => { entry.file(resolve, reject); });

// A drop's items die with its event, so all are looked at before anything is waited for.
export async function takeDrop(transfer) {
	const items = [...transfer.items].filter((item) => item.kind === 'file');
	const seen = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
	for (const { entry, file } of seen) {
		try {
			if (entry?.isDirectory) {
				const files = [];
				await walk(entry, '', files);
				add(entry.name, files, true);
			} else if (file) add(file.name, [{ file, path: file.name }], false);
		} catch (error) {
			toast(`Cannot read ${visible(entry?.name)}: ${error.message}`, true);
		}
	}
}

export function takeFiles(list) {
	for (const file of list) add(file.name, [{ file, path: file.name }], false);
}

// What a folder input gives: paths begin with the folder's own name.
export function takeFolder(list) {
	const files = [...list].map((file) => ({ file, path: file.webkitRelativePath.split('/').slice(1).join('/') }));
	if (files.length) add(list[0].webkitRelativePath.split('/')[0], files, true);
}

function add(name, files, folder) {
	if (!files.length) return toast(`“${visible(name)}” holds no files, so there is nothing to put`, true);
	// A URL path cannot end in these.
	const called = ['', '.', '..'].includes(name) ? 'file' : name;
	const job = { id: `page-${crypto.getRandomValues(new Uint32Array(4)).join('-')}`, name: called, files, folder, publish: $('opt-publish').checked, plain: $('opt-plain').checked };
	const shown = visible(called);
	ours.add(job.id);
	job.size = files.reduce((sum, { file }) => sum + file.size, 0);
	job.bar = bar(`Progress of ${shown}`);
	job.reason = el('p', { class: 'reason' }, 'Waiting until the one before is done');
	job.figure = el('span');
	job.cancel = button('Cancel', () => cancel(job), 'small', `Cancel putting ${shown}`);
	job.card = el('article', { class: 'card putting', 'aria-label': `Putting ${shown}` },
		titleLine(called, job.id, el('span', null, folder ? plural(files.length, 'file') : bytes(job.size)), job.figure),
		job.bar, el('div', { class: 'head' }, job.reason, job.cancel));
	$('puts').hidden = false;
	$('puts').prepend(job.card);
	queue.push(job);
	location.hash = '#home';
	job.card.scrollIntoView({ block: 'nearest' });
	next();
}

function next() {
	if (current || !queue.length) return;
	current = queue.shift();
	send(current);
}

function send(job) {
	const request = new XMLHttpRequest();
	job.request = request;
	const query = new URLSearchParams();
	if (job.plain) query.set('plain', '1');
	if (job.publish) query.set('publish', '1');
	let body;
	if (job.folder) {
		query.set('name', job.name);
		body = new FormData();
		for (const { file, path } of job.files) body.append('file', file, path);
		request.open('POST', `/api/put?${query}`);
	} else {
		[{ file: body }] = job.files;
		if (body.type) query.set('type', body.type);
		request.open('PUT', `/v4/${encodeURIComponent(job.name.toWellFormed?.() ?? job.name)}?${query}`);
		request.setRequestHeader('Content-Type', body.type || 'application/octet-stream');
	}
	request.setRequestHeader('Accept', 'application/json');
	request.setRequestHeader('Offswarm-Request', '1');
	request.setRequestHeader('Offswarm-Transfer', job.id);
	// Only until the client speaks: what is on its way there is not stored yet.
	request.upload.onprogress = (event) => {
		if (job.number === undefined) show(job, event.loaded, event.total || job.size);
	};
	request.upload.onload = () => { job.handed = true; };
	request.onload = () => (request.status === 201 ? done(job, JSON.parse(request.responseText)) : fail(job, problem(request.status, request.responseText)));
	request.onerror = () => fail(job, job.error ?? 'The connection broke before the client had everything');
	request.onabort = () => fail(job, 'Cancelled; blocks that nothing else uses go with the next clean-up');
	text(job.reason, 'Handing over');
	request.send(body);
}

function show(job, part, all) {
	// Nothing is taken back when the count goes over to the client.
	job.part = Math.max(job.part ?? 0, part);
	const share = percent(job.part, all || 1);
	job.bar.set(share);
	text(job.figure, `${bytes(job.part)} of ${bytes(all)}, ${Math.floor(share)} %`);
	if (!job.told) text(job.reason, job.handed ? 'Waiting until the last blocks are safe on disk' : 'Cut into blocks, mixed and stored as it arrives');
}

// What the client says of a put: its own count and reason are better than ours.
on('transfer', (transfer) => {
	const job = current;
	if (!job || job.id !== transfer.tag) return;
	job.number = transfer.id;
	job.error = transfer.error;
	if (transfer.state !== 'running') return;
	job.told = Boolean(transfer.reason);
	if (transfer.reason) text(job.reason, transfer.reason);
	const all = transfer.bytes_total ?? job.size;
	if (all > 0) show(job, transfer.bytes_done, all);
});

function done(job, item) {
	const dismiss = button('Dismiss', () => away(card), 'small', `Dismiss ${visible(item.name)}`);
	const card = resultCard(item, { note: 'Stored. Whoever has this URL can read it, so give it to those who may.', actions: [button('Details', () => detail(item), 'small', `Details of ${visible(item.name)}`), dismiss] });
	card.classList.add('put-done');
	job.card.replaceWith(card);
	announce(`${visible(item.name)} is stored. Its OFF URL is on the page.`);
	emit('urls', { reason: 'added' });
	end();
}

function fail(job, why) {
	job.card.classList.add('put-failed');
	job.bar.remove();
	text(job.reason, why);
	job.reason.className = 'error';
	job.reason.setAttribute('role', 'alert');
	job.cancel.replaceWith(button('Dismiss', () => away(job.card), 'small', `Dismiss ${visible(job.name)}`));
	if (job === current) end();
}

function end() {
	current = null;
	next();
}

function away(card) {
	card.remove();
	$('puts').hidden = !$('puts').children.length;
	$('pick-file').focus();
}

function cancel(job) {
	const at = queue.indexOf(job);
	if (at >= 0) {
		queue.splice(at, 1);
		return fail(job, 'Cancelled before it began');
	}
	job.request.abort();
	if (job.number !== undefined) attempt(post)('/api/transfers/cancel', { id: job.number });
}

// Leaving the page would stop the upload.
addEventListener('beforeunload', (event) => { if (current) event.preventDefault(); });
