// Services, log level, configuration.

import { get, on, post, replace } from './api.js';
import { $, attempt, button, count, el, figures, keyed, span, table, text, toast } from './dom.js';

const STATES = { running: 'running', starting: 'starting', backing_off: 'waiting to start again', stopped: 'stopped', failed: 'failed' };
const restart = attempt(post);
const known = new Map();
let config = [];

export const well = (service) => service.state === 'running' && service.health === 'ok';

function lookOf(service) {
	if (well(service)) return 'ok';
	return service.state === 'failed' || service.health === 'failed' ? 'bad' : 'warn';
}

function create(service) {
	const node = el('li', null, el('span', { class: 'dot' }), el('b', null, service.name), el('span', { class: 'reason' }),
		button('Restart', () => restart('/api/services/restart', { name: service.name }), 'small', `Restart the service ${service.name}`));
	node.dataset.service = service.name;
	return node;
}

function update(node, service) {
	node.dataset.state = lookOf(service);
	const words = [STATES[service.state] ?? service.state, service.since_ms && `for ${span(Date.now() - service.since_ms)}`];
	if (service.restarts) words.push(`restarted ${service.restarts === 1 ? 'once' : `${count(service.restarts)} times`}`);
	if (service.reason) words.push(service.reason);
	if (service.last_error) words.push(`last error: ${service.last_error}`);
	text(node.children[2], words.filter(Boolean).join(' · '));
}

// Says so when a service went down or came back, wherever the reader is.
function notice(service) {
	const before = known.get(service.name);
	known.set(service.name, service);
	if (!before) return false;
	const again = service.restarts > before.restarts;
	if (again) toast(`The service ${service.name} was restarted${service.last_error ? `: ${service.last_error}` : ''}`, true);
	else if (!well(before) && well(service)) toast(`The service ${service.name} is well again`);
	else if (well(before) && !well(service)) toast(`The service ${service.name} is ${STATES[service.state] ?? service.state}${service.reason ? `: ${service.reason}` : ''}`, true);
	return again || before.state !== service.state;
}

function services(list) {
	const changed = list.filter(notice).map((service) => service.name);
	keyed($('services'), list, (service) => service.name, create, update);
	for (const node of $('services').children) {
		if (changed.includes(node.dataset.service)) {
			node.classList.remove('changed');
			void node.offsetWidth;
			node.classList.add('changed');
		}
	}
}

function shown(value) {
	if (value === null || value === undefined) return 'not set';
	if (Array.isArray(value)) return value.length ? value.map(shown).join(', ') : 'none';
	return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

const CONFIG = [
	{ name: 'Key', of: (entry) => el('code', { title: [entry.flag, entry.environment].filter(Boolean).join(' or ') }, entry.key) },
	{ name: 'Value', of: (entry) => el('span', { class: 'wrap mono' }, shown(entry.value)) },
	{ name: 'From', of: (entry) => el('span', { class: entry.origin === 'default' ? 'tag' : 'tag on' }, entry.origin) },
	{ name: 'About', of: (entry) => el('span', { class: 'wrap hint' }, entry.about ?? '', entry.origin === 'default' ? '' : ` (default: ${shown(entry.default)})`) },
];

function drawConfig() {
	const only = $('config-set').checked;
	table($('config'), CONFIG, config.filter((entry) => !only || entry.origin !== 'default'), 'Everything is at its default.');
}

const load = attempt(async () => {
	if ($('view-system').hidden) return;
	const [said, log] = await Promise.all([get('/api/config'), get('/api/log')]);
	config = said.config;
	text($('config-file'), said.file ? `Flags come first, then the environment, then the file ${said.file}.` : 'Flags come first, then the environment; there is no file.');
	if (document.activeElement !== $('log-filter')) $('log-filter').value = log.filter;
	drawConfig();
});

on('status', (status) => {
	services(status.services);
	figures($('sys-figures'), [
		['Version', status.version],
		['Runs for', span(status.uptime_ms)],
		['Page', status.listen],
		['Home', status.home],
	]);
});
on('services', services);
on('view', load);
on('open', load);

export function start() {
	$('config-set').onchange = drawConfig;
	$('log-form').onsubmit = async (event) => {
		event.preventDefault();
		$('log-error').textContent = '';
		try {
			const { filter } = await replace('/api/log', { filter: $('log-filter').value.trim() });
			$('log-filter').value = filter;
			toast(`The log level is now ${filter}`);
		} catch (error) { $('log-error').textContent = error.message; }
	};
}
