// How the page looks: pictures of every view, wide and narrow, light and dark, none of which axe-core
// finds serious fault with or which must be scrolled sideways.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { ask, axe, base, drop, files, output, row, stage, view } from './stage.mjs';

// Each view, and what is there once it has been told everything.
const VIEWS = {
	Home: '#figures dd', URLs: '#url-list > *', Transfers: '#transfer-list > *', Network: '#dht > *', Store: '#sharing > *', System: '#config > *',
};
const WIDTHS = [1280, 360];
const SCHEMES = ['light', 'dark'];
const source = readFileSync(axe, 'utf8');

async function check(page, what) {
	await page.evaluate(source);
	const { violations } = await page.evaluate(() => window.axe.run());
	const bad = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
	const found = bad.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
	assert.deepEqual(found, [], what);
	const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
	assert.ok(wide[0] <= wide[1], `${what} is ${wide[0]} wide in ${wide[1]}`);
}

/** Files of several kinds, one of them pinned, one published. */
async function furnish(page) {
	const put = join(files, 'looks');
	mkdirSync(join(put, 'field recordings'), { recursive: true });
	for (let i = 0; i < 5; i += 1) writeFileSync(join(put, 'field recordings', `crickets ${i}.txt`), 'chirp '.repeat(20000 * i));
	writeFileSync(join(put, 'notes on noise.md'), '# Noise\n');
	writeFileSync(join(put, 'A lecture on information theory that has a very long name, recorded in the winter of 1996, part 3.bin'), Buffer.alloc(3 << 20, 7));
	await drop(page, join(put, 'field recordings'));
	await drop(page, join(put, 'A lecture on information theory that has a very long name, recorded in the winter of 1996, part 3.bin'));
	await drop(page, join(put, 'notes on noise.md'));
	await page.waitForFunction(() => document.querySelectorAll('.put-done').length === 3);
	const { urls } = await ask('GET', '/api/urls');
	await ask('POST', '/api/urls/pin', { url: urls[0].url });
	await ask('POST', '/api/publish', { url: urls[1].url });
}

async function look(page, what) {
	await check(page, what);
	await page.screenshot({ path: join(output, `${what}.png`), fullPage: true });
}

await stage(async ({ page }) => {
	await page.emulateMedia({ reducedMotion: 'reduce' });
	for (const [name, last] of Object.entries(VIEWS)) {
		await view(page, name);
		await page.locator(last).first().waitFor();
		await look(page, `empty-${name.toLowerCase()}`);
	}
	await view(page, 'Home');
	await furnish(page);
	for (const width of WIDTHS) {
		for (const colorScheme of SCHEMES) {
			await page.setViewportSize({ width, height: 820 });
			await page.emulateMedia({ colorScheme });
			for (const [name, last] of Object.entries(VIEWS)) {
				await view(page, name);
				await page.locator(last).first().waitFor();
				await look(page, `${name.toLowerCase()}-${width}-${colorScheme}`);
			}
			await view(page, 'URLs');
			await row(page, 'notes on noise.md').getByRole('button', { name: 'notes on noise.md', exact: true }).click();
			await page.locator('#detail').getByText(/blocks? here/).first().waitFor();
			await look(page, `detail-${width}-${colorScheme}`);
			await page.keyboard.press('Escape');
			await row(page, 'notes on noise.md').getByRole('button', { name: 'Delete notes on noise.md' }).click();
			await look(page, `delete-${width}-${colorScheme}`);
			await page.keyboard.press('Escape');
		}
	}
	const theme = page.locator('#theme');
	await theme.click();
	assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), 'light');
	await theme.click();
	assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), 'dark');
	await page.reload();
	assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), 'dark', 'it is remembered');

	// Everything can be reached by the keyboard alone, and what has the focus is seen.
	await page.goto(new URL('#home', base).href);
	await page.reload();
	await page.locator('#recent button').first().waitFor();
	const reached = [];
	for (let i = 0; i < 40; i += 1) {
		await page.keyboard.press('Tab');
		const at = await page.evaluate(() => {
			const { id, textContent, tagName } = document.activeElement;
			return { id, text: textContent.trim(), tagName, outline: getComputedStyle(document.activeElement).outlineStyle };
		});
		if (at.tagName === 'BODY') break;
		assert.notEqual(at.outline, 'none', `the focus on ${at.id || at.text} is seen`);
		reached.push(at.id || at.text);
	}
	for (const want of ['Skip to the content', 'theme', 'pick-file', 'pick-folder', 'opt-publish', 'get-url', 'get-fetch']) {
		assert.ok(reached.includes(want), `${want} is among ${reached}`);
	}
});
