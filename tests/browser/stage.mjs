// What every browser test does: starts Debian's Chromium, opens the page, watches what it says and
// whom it asks, and ends everything.
//
// Arguments: the address of the page, a folder for what is worth keeping, a folder for files.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

// The packages are where the test was started, not beside this file.
const require = createRequire(join(process.cwd(), 'here.js'));
const { chromium } = require('playwright-core');
export const axe = require.resolve('axe-core/axe.min.js');

export const [base, output, files] = process.argv.slice(2);
const name = basename(process.argv[1], '.mjs');

// Headless, without what a browser says to its maker.
const FLAGS = [
	'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
	'--disable-component-update', '--disable-sync', '--disable-default-apps', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];

export const DEADLINE = 120000;

/** Runs a test on a page that is open, and checks that nothing went wrong or elsewhere meanwhile. */
export async function stage(test, settings = {}) {
	const profile = mkdtempSync(join(tmpdir(), 'offswarm-browser-'));
	const context = await chromium.launchPersistentContext(profile, {
		executablePath: '/usr/bin/chromium', headless: true, args: FLAGS, viewport: { width: 1280, height: 820 }, ...settings,
	});
	context.setDefaultTimeout(DEADLINE);
	await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(base).origin });
	const complaints = [];
	const asked = new Set();
	let isCalm = true;
	context.on('request', (request) => asked.add(new URL(request.url()).host || new URL(request.url()).protocol));
	context.on('console', (message) => {
		// A tab with stored bytes is of no origin, so the browser does not get our icon for it.
		const isIcon = message.location().url.endsWith('/favicon.ico');
		if (isCalm && !isIcon && ['error', 'warning'].includes(message.type())) complaints.push(`${message.text()} ${message.location().url}`);
	});
	context.on('weberror', (error) => complaints.push(String(error.error())));
	const page = context.pages()[0] ?? await context.newPage();
	try {
		await page.goto(base);
		await page.locator('#link-text', { hasText: 'all well' }).waitFor();
		// While the client is away, the browser itself complains of what it cannot reach.
		const storm = async (during) => {
			isCalm = false;
			await during();
			isCalm = true;
		};
		await test({ page, context, storm });
		assert.deepEqual(complaints, [], 'nothing is said on the console');
		assert.deepEqual([...asked].filter((host) => host !== new URL(base).host && !['data:', 'blob:'].includes(host)), [], 'nobody else is asked');
		console.log(`${name}: ok`);
	} catch (error) {
		await page.screenshot({ path: join(output, `failure-${name}.png`), fullPage: true }).catch(() => {});
		console.log(`${name}: the console said`, complaints);
		console.log(error);
		process.exitCode = 1;
	} finally {
		await context.close();
		rmSync(profile, { recursive: true, force: true });
	}
}

/**
 * Drops files or folders onto the page, as somebody would from a desktop. A browser that is busy may
 * find at the drop that nothing was dragged over the page yet, and let it go by; then it is done again,
 * as somebody would.
 */
export async function drop(page, ...paths) {
	const cards = () => page.locator('#puts article').count();
	const before = await cards();
	const session = await page.context().newCDPSession(page);
	const data = { items: [], files: paths, dragOperationsMask: 1 };
	for (let attempt = 0; attempt < 5; attempt += 1) {
		for (const type of ['dragEnter', 'dragOver', 'dragOver', 'drop']) {
			await session.send('Input.dispatchDragEvent', { type, x: 640, y: 500, data });
		}
		const seen = async () => (await cards()) > before;
		if (await within(10_000, seen)) break;
	}
	await session.detach();
}

/** Whether something becomes so in so many milliseconds. */
async function within(most, isSo) {
	for (const began = Date.now(); Date.now() - began < most;) {
		if (await isSo()) return true;
		await new Promise((resolve) => { setTimeout(resolve, 50); });
	}
	return false;
}

export async function digest(path) {
	const hash = createHash('sha256');
	for await (const part of createReadStream(path)) hash.update(part);
	return hash.digest('hex');
}

/** Where this client has what a URL names. The host in an OFF URL says nothing. */
export function here(url) {
	const at = new URL(url);
	return new URL(at.pathname + at.search, base).href;
}

/** Asks the API as the page does. */
export async function ask(method, path, body) {
	const answer = await fetch(new URL(path, base), {
		method, headers: { 'Offswarm-Request': '1', 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
	});
	assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
	return answer.json();
}

export const view = (page, which) => page.locator('nav a', { hasText: which }).click();

/** The row of the list of URLs that shows a name. */
export const row = (page, shown) => page.locator('#url-list > li').filter({ has: page.getByRole('button', { name: shown, exact: true }) });
