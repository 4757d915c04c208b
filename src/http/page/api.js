// The client's API and its stream of events.

const listeners = new Map();
export function on(name, listener) {
	if (!listeners.has(name)) listeners.set(name, []);
	listeners.get(name).push(listener);
}
export function emit(name, value) {
	for (const listener of listeners.get(name) ?? []) listener(value);
}

// What went wrong, in words for people.
export function problem(status, body) {
	try {
		const { error } = JSON.parse(body);
		return [error.message, ...(error.hints ?? [])].join('. ');
	} catch {
		return body?.trim().slice(0, 300) || `The client answered with status ${status}`;
	}
}

async function ask(method, path, body) {
	const headers = { Accept: 'application/json' };
	if (method !== 'GET') headers['Offswarm-Request'] = '1';
	if (body !== undefined) headers['Content-Type'] = 'application/json';
	let answer;
	try {
		answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store' });
	} catch {
		throw new Error('The client does not answer. Is it still running?');
	}
	const said = await answer.text();
	if (!answer.ok) throw new Error(problem(answer.status, said));
	return said ? JSON.parse(said) : null;
}
export const get = (path, query) => ask('GET', query ? `${path}?${new URLSearchParams(query)}` : path);
export const post = (path, body) => ask('POST', path, body ?? {});
export const replace = (path, body) => ask('PUT', path, body);

// A path of this gateway, or null: nothing else becomes a link.
export const localPath = (path) => (typeof path === 'string' && path.startsWith('/offsystem/') ? path : null);
export function pathOf(url) {
	const at = url.indexOf('/offsystem/');
	return at < 0 ? null : url.slice(at).trim();
}

const EVENTS = ['status', 'transfer', 'urls', 'services', 'sample'];
// The client speaks at least every 5 seconds; after this long the stream is taken for dead.
const SILENCE = 20000;
let source;
let tries = 0;
let heard = 0;
let again;

export function connect() {
	clearTimeout(again);
	source?.close();
	heard = Date.now();
	const mine = new EventSource('/api/events');
	source = mine;
	mine.onopen = () => {
		tries = 0;
		emit('open');
	};
	mine.onerror = () => source === mine && retry();
	for (const name of EVENTS) {
		mine.addEventListener(name, (event) => {
			heard = Date.now();
			emit(name, JSON.parse(event.data));
		});
	}
}

function retry() {
	source.close();
	const wait = Math.min(15, 2 ** tries) * 1000;
	tries += 1;
	emit('lost', Date.now() + wait);
	again = setTimeout(connect, wait);
}

// A browser makes six connections to one host, so a tab that nobody looks at gives up its own.
document.onvisibilitychange = () => {
	if (!document.hidden) return connect();
	clearTimeout(again);
	source?.close();
};

setInterval(() => {
	if (source && source.readyState !== 2 && Date.now() - heard > SILENCE) retry();
}, 5000);
