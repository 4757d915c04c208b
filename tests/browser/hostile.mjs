// Names that somebody else has chosen are text, wherever they are shown.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { drop, files, stage, view } from './stage.mjs';

// A file's name, and how the page shows it.
const NAMES = [
	['<img src=x onerror=window.hurt=1>.txt'],
	['"><svg onload=window.hurt=1>.txt'],
	["' autofocus onfocus='window.hurt=1.txt"],
	['<script>window.hurt=1<script>.html'],
	['${window.hurt=1} & &lt;b&gt; %3Cb%3E.txt'],
	['javascript:window.hurt=1'],
	['invoice_\u202Etxt.exe', 'invoice_⟨U+202E⟩txt.exe'],
	['one\r\nSet-Cookie: hurt=1.txt', 'one⟨U+000D⟩⟨U+000A⟩Set-Cookie: hurt=1.txt'],
];

await stage(async ({ page }) => {
	const marks = () => page.evaluate(() => ({
		scripts: document.scripts.length,
		images: document.querySelectorAll('img[src="x"], svg[onload], [autofocus]:not(dialog *), [onerror], [onfocus]').length,
		hurt: window.hurt,
		cookie: document.cookie,
	}));
	const before = await marks();
	for (const [name] of NAMES) {
		const path = join(files, name);
		writeFileSync(path, `<script>document.title = 'hurt'</script>${name}`);
		await drop(page, path);
	}
	for (const [name, shown = name] of NAMES) {
		await page.locator('.put-done .name').getByText(shown, { exact: true }).waitFor();
	}
	assert.deepEqual(await marks(), before, 'on the cards');
	await view(page, 'URLs');
	for (const [name, shown = name] of NAMES) {
		await page.locator('#url-list').getByRole('button', { name: shown, exact: true }).click();
		await page.locator('#detail .name').getByText(shown, { exact: true }).waitFor();
		await page.locator('#detail').getByText(/blocks? here/).first().waitFor();
		await page.locator('#detail').getByRole('button', { name: 'Close' }).click();
		await page.locator('#url-list').getByRole('button', { name: `Delete ${shown}`, exact: true }).click();
		await page.locator('#confirm-title').getByText(`Delete “${shown}”?`, { exact: true }).waitFor();
		await page.keyboard.press('Escape');
	}
	assert.deepEqual(await marks(), before, 'in the list and the dialogs');
	await view(page, 'Transfers');
	for (const [name, shown = name] of NAMES) {
		await page.locator('#transfer-list .name').getByText(shown, { exact: true }).waitFor();
	}
	assert.deepEqual(await marks(), before, 'in the transfers');
	assert.equal(await page.title(), 'Transfers · offswarm');
});
