// Puts the page together: views, drops, the get form, the state of the connection.

import { connect, emit, on, pathOf, post } from './api.js';
import { $, announce, bytes, count, figures, plural, rate, span, svg, text, toast } from './dom.js';
import { takeDrop, takeFiles, takeFolder } from './put.js';
import * as plots from './plots.js';
import * as system from './system.js';
import * as transfers from './transfers.js';
import * as urls from './urls.js';
import './network.js';
import './store.js';

const VIEWS = ['home', 'urls', 'transfers', 'network', 'store', 'system'];

function route(event) {
	const asked = location.hash.slice(1);
	if (asked === 'content') return $('content').focus();
	const view = VIEWS.includes(asked) ? asked : 'home';
	for (const name of VIEWS) $(`view-${name}`).hidden = name !== view;
	for (const link of document.querySelectorAll('nav a')) {
		if (link.hash === `#${view}`) link.setAttribute('aria-current', 'page');
		else link.removeAttribute('aria-current');
	}
	const title = $(`h-${view}`).textContent;
	document.title = view === 'home' ? 'offswarm' : `${title} · offswarm`;
	if (event) {
		scrollTo(0, 0);
		announce(title);
	}
	emit('view', view);
}

// Colours: as the system has them, or light, or dark.
const THEMES = { system: ['◐', 'as the system'], light: ['☀', 'light'], dark: ['☾', 'dark'] };
function theme(name) {
	const [sign, words] = THEMES[name];
	if (name === 'system') delete document.documentElement.dataset.theme;
	else document.documentElement.dataset.theme = name;
	text($('theme'), sign);
	$('theme').ariaLabel = $('theme').title = `Colours: ${words}`;
}
function remembered() {
	try {
		const name = localStorage.getItem('theme');
		return THEMES[name] ? name : 'system';
	} catch { return 'system'; }
}
function nextTheme() {
	const names = Object.keys(THEMES);
	const name = names[(names.indexOf(remembered()) + 1) % names.length];
	try { localStorage.setItem('theme', name); } catch { /* Then it holds for this visit only. */ }
	theme(name);
	announce(`Colours: ${THEMES[name][1]}`);
}

// Files can be dropped anywhere, and pasted.
function drops() {
	let depth = 0;
	const files = (event) => event.dataTransfer?.types.includes('Files');
	const veil = (shown) => { $('veil').hidden = !shown; };
	addEventListener('dragenter', (event) => {
		if (!files(event)) return;
		event.preventDefault();
		depth += 1;
		veil(true);
	});
	addEventListener('dragover', (event) => {
		if (!files(event)) return;
		event.preventDefault();
		event.dataTransfer.dropEffect = 'copy';
	});
	addEventListener('dragleave', (event) => {
		if (!files(event)) return;
		depth = Math.max(0, depth - 1);
		if (!depth) veil(false);
	});
	addEventListener('drop', (event) => {
		depth = 0;
		veil(false);
		if (!files(event)) return;
		event.preventDefault();
		takeDrop(event.dataTransfer);
	});
	addEventListener('paste', (event) => {
		if (event.target.closest?.('input, textarea')) return;
		if (event.clipboardData.files.length) return takeFiles(event.clipboardData.files);
		const words = event.clipboardData.getData('text').trim();
		if (!names(words)) return;
		location.hash = '#home';
		$('get-url').value = words;
		$('get-fetch').focus();
	});
	const chooser = (opener, input, take) => {
		$(opener).onclick = () => $(input).click();
		$(input).onchange = () => {
			take($(input).files);
			$(input).value = '';
		};
	};
	chooser('pick-file', 'file-input', takeFiles);
	chooser('pick-folder', 'folder-input', takeFolder);
}

const names = (words) => words.startsWith('magnet:?') || words.includes('/offsystem/');

function getForm() {
	const said = () => $('get-url').value.trim();
	const wrong = (words) => {
		$('get-error').textContent = words;
		$('get-url').setAttribute('aria-invalid', Boolean(words));
		if (words) $('get-url').focus();
	};
	const usable = () => {
		wrong(names(said()) ? '' : said() ? 'This is neither an OFF URL (it has “/offsystem/” in it) nor a magnet link' : 'Paste an OFF URL or a magnet link first');
		return names(said());
	};
	$('get-form').onsubmit = async (event) => {
		event.preventDefault();
		if (!usable()) return;
		const peers = $('get-peers').value.split(/[\s,]+/).filter(Boolean);
		try {
			$('get-fetch').disabled = true;
			await post('/api/fetch', peers.length ? { url: said(), peers } : { url: said() });
			$('get-url').value = '';
			toast('Fetching has begun');
		} catch (error) { wrong(error.message); } finally { $('get-fetch').disabled = false; }
	};
	$('get-url').onkeydown = (event) => {
		if (event.key !== 'Enter' || event.shiftKey) return;
		event.preventDefault();
		$('get-form').requestSubmit();
	};
	$('get-open').onclick = () => {
		if (!usable()) return;
		const magnet = said().startsWith('magnet:?') ? new URLSearchParams(said().slice(8)).get('x.off') : null;
		const path = pathOf(magnet ?? said());
		if (path) open(path, '_blank', 'noopener');
		else wrong('This magnet link does not carry an OFF URL, so there is nothing to open');
	};
}

// Says at the top whether the page hears from the client, and whether all is well there.
let lost = null;
function link() {
	let ticking;
	const again = () => text($('again'), `Trying again ${lost > Date.now() ? `in ${span(lost - Date.now())}` : 'now'}.`);
	on('open', () => {
		clearInterval(ticking);
		$('banner').hidden = true;
		if (lost) toast('Connected again');
		lost = null;
	});
	on('lost', (until) => {
		clearInterval(ticking);
		lost = until;
		again();
		$('banner').hidden = false;
		ticking = setInterval(again, 1000);
		$('link-state').dataset.state = 'bad';
		text($('link-text'), 'not connected');
	});
	const look = (services) => {
		if (lost) return;
		const ill = services.filter((service) => !system.well(service));
		$('link-state').dataset.state = ill.length ? 'warn' : 'ok';
		text($('link-text'), ill.length ? `${ill.map((service) => service.name).slice(0, 2).join(', ')} not well` : 'all well');
	};
	on('services', look);
	on('status', (status) => {
		look(status.services);
		const { store } = status;
		figures($('figures'), [
			['receiving', rate(status.rates.received_per_second)],
			['sending', rate(status.rates.sent_per_second)],
			['peers', count(status.peers.bittorrent + status.peers.native)],
			['DHT nodes', status.dht_nodes == null ? 'off' : count(status.dht_nodes)],
			['kept', bytes(store.bytes), store.limit ? `limit ${bytes(store.limit)}` : plural(store.blocks, 'block')],
			['up for', span(status.uptime_ms)],
		]);
	});
}

// The drop field's ground: blocks of noise that shift now and then.
function noise() {
	const [wide, high] = [46, 18];
	const cells = Array.from({ length: wide * high }, (_, i) => svg('rect', { x: (i % wide) + 0.1, y: Math.floor(i / wide) + 0.1, width: 0.8, height: 0.8, rx: 0.14, 'fill-opacity': shade(), class: Math.random() < 0.02 ? 'gold' : null }));
	$('noise').append(svg('svg', { viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: 'xMaxYMid slice' }, cells));
	if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
	setInterval(() => {
		if (document.hidden || $('view-home').hidden) return;
		for (let i = 0; i < 24; i += 1) cells[Math.floor(Math.random() * cells.length)].setAttribute('fill-opacity', shade());
	}, 1200);
}
const shade = () => (Math.random() ** 3 * 0.7).toFixed(2);

theme(remembered());
$('theme').onclick = nextTheme;
addEventListener('hashchange', route);
addEventListener('keydown', (event) => {
	if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, textarea, dialog')) return;
	event.preventDefault();
	location.hash = '#urls';
	route();
	$('search').focus();
});
for (const module of [plots, system, transfers, urls]) module.start();
drops();
getForm();
link();
noise();
route();
connect();
