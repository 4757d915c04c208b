// A folder that is dropped becomes one OFF URL, a directory with all its files; a URL that is pasted
// is fetched.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ask, drop, files, here, stage, view } from './stage.mjs';

const folder = join(files, 'harbour');
// More than a browser hands out at a time.
const COUNT = 130;
mkdirSync(join(folder, 'sub', 'deep'), { recursive: true });
for (let i = 0; i < COUNT; i += 1) writeFileSync(join(folder, 'sub', `${i}.txt`), `file ${i}\n`);
writeFileSync(join(folder, 'sub', 'deep', 'über "quoted".txt'), 'deep\n');

await stage(async ({ page, context }) => {
	await drop(page, folder);
	const card = page.locator('.put-done');
	await card.getByText(`${COUNT + 1} files`).waitFor();
	const { urls: [item] } = await ask('GET', '/api/urls');
	assert.equal(item.directory, true);
	const tab = await context.newPage();
	const at = here(item.url);
	const member = (path) => at.replace(/(\?|$)/, `/${path.split('/').map(encodeURIComponent).join('/')}$1`);
	await tab.goto(member(`sub/${COUNT - 1}.txt`));
	assert.equal((await tab.locator('body').innerText()).trim(), `file ${COUNT - 1}`);
	await tab.goto(member('sub/deep/über "quoted".txt'));
	assert.equal((await tab.locator('body').innerText()).trim(), 'deep');
	await tab.goto(at);
	await tab.getByText('deep').first().waitFor();
	await tab.close();

	await page.locator('#get-url').fill('not a URL');
	await page.keyboard.press('Enter');
	await page.locator('#get-error', { hasText: 'neither an OFF URL' }).waitFor();
	await page.locator('#get-url').fill(item.url);
	await page.keyboard.press('Enter');
	await page.getByText('Fetching has begun').first().waitFor();
	await view(page, 'Transfers');
	const transfer = page.locator('.transfer', { hasText: 'get' }).filter({ hasText: 'done' });
	await transfer.first().waitFor();
	await page.getByRole('button', { name: 'Forget finished ones' }).click();
	await page.getByText('Nothing is on its way').waitFor();
});
