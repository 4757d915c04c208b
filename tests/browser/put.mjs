// A file that is dropped becomes an OFF URL; its progress is seen; in another tab the URL gives back
// the same bytes; it can be pinned, published and deleted.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ask, digest, drop, files, here, row, stage, view } from './stage.mjs';

const SIZE = 64 << 20;
// The link from the page to the client is as slow as a fast network's, so that there is something to see.
const PER_SECOND = 16 << 20;

const large = join(files, 'large file.bin');
const small = join(files, 'notes on noise.txt');
writeFileSync(large, randomBytes(SIZE));
writeFileSync(small, 'noise all the way down\n');

/** What a progress bar has shown, from now on. */
function watch(page) {
	return page.evaluate(() => {
		window.shown = [];
		new MutationObserver((changes) => {
			for (const { target } of changes) if (target.closest('.putting')) window.shown.push(Number(target.getAttribute('aria-valuenow')));
		}).observe(document.body, { subtree: true, attributeFilter: ['aria-valuenow'] });
	});
}

async function slowly(page, act) {
	const session = await page.context().newCDPSession(page);
	const limit = (uploadThroughput) => session.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
	await limit(PER_SECOND);
	await act();
	await limit(-1);
}

await stage(async ({ page, context }) => {
	await watch(page);
	let reason;
	await slowly(page, async () => {
		await drop(page, large);
		await page.locator('.putting').waitFor();
		reason = await page.locator('.putting .reason').textContent();
		await page.locator('.put-done').waitFor();
	});
	const shown = [...new Set(await page.evaluate(() => window.shown))];
	assert.ok(shown.filter((share) => share > 0 && share < 100).length >= 5, `progress moves: ${shown}`);
	assert.deepEqual(shown, [...shown].sort((a, b) => a - b), 'progress goes forward');
	assert.ok(reason, 'there is a reason while it waits');

	const card = page.locator('.put-done').first();
	await card.getByRole('button', { name: 'Copy the OFF URL' }).click();
	const url = await page.evaluate(() => navigator.clipboard.readText());
	assert.match(url, /\/offsystem\/v4\//);
	const image = card.locator('img.qr');
	await image.evaluate((it) => it.decode());
	assert.ok(await image.evaluate((it) => it.naturalWidth > 0), 'the QR code is drawn');

	const tab = await context.newPage();
	const began = tab.waitForEvent('download');
	// A download ends the navigation that began it.
	await tab.goto(here(url)).catch(() => {});
	const got = await (await began).path();
	assert.equal(await digest(got), await digest(large), 'the same bytes');

	await drop(page, small);
	await page.locator('.put-done', { hasText: 'notes on noise.txt' }).getByRole('button', { name: 'Copy the OFF URL' }).click();
	await tab.goto(here(await page.evaluate(() => navigator.clipboard.readText())));
	assert.equal(await tab.locator('body').innerText().then((text) => text.trim()), readFileSync(small, 'utf8').trim());
	await tab.close();

	await view(page, 'URLs');
	const listed = row(page, 'large file.bin');
	await listed.getByRole('button', { name: 'Pin large file.bin' }).click();
	await listed.getByText('pinned').waitFor();
	await listed.getByRole('button', { name: 'Unpin large file.bin' }).click();
	await listed.getByText('pinned').waitFor({ state: 'detached' });

	await listed.getByRole('button', { name: 'large file.bin', exact: true }).click();
	const detail = page.locator('#detail');
	await detail.getByText(/[\d,]+ of [\d,]+ blocks? here/).first().waitFor();
	await detail.getByRole('button', { name: 'Publish large file.bin' }).click();
	await detail.getByRole('button', { name: 'Copy the magnet link' }).click();
	assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^magnet:\?xt=urn:btih:/);
	await detail.getByRole('button', { name: 'Close' }).click();
	await listed.getByText('published').waitFor();

	await page.keyboard.press('/');
	await page.keyboard.type('large');
	await row(page, 'notes on noise.txt').waitFor({ state: 'detached' });
	await listed.getByRole('button', { name: 'Delete large file.bin' }).click();
	const confirm = page.locator('#confirm');
	assert.equal(await page.evaluate(() => document.activeElement.id), 'confirm-no', 'the harmless answer is the first');
	await page.keyboard.press('Escape');
	await confirm.waitFor({ state: 'hidden' });
	await listed.waitFor();
	await listed.getByRole('button', { name: 'Delete large file.bin' }).click();
	await confirm.getByRole('button', { name: 'Delete' }).click();
	await page.getByText(/“large file.bin” is deleted: [1-9][\d,]* blocks freed/).first().waitFor();
	await listed.waitFor({ state: 'detached' });
	const { urls } = await ask('GET', '/api/urls');
	assert.deepEqual(urls.map((each) => each.name), ['notes on noise.txt']);
});
