// A service that panics comes back, and the page shows it; a page whose connection breaks says so
// and connects again.

import assert from 'node:assert/strict';

import { ask, base, stage, view } from './stage.mjs';

await stage(async ({ page, context, storm }) => {
	await view(page, 'System');
	const line = (name) => page.locator(`#services > [data-service="${name}"]`);
	const names = await page.locator('#services > li').evaluateAll((all) => all.map((each) => each.dataset.service));
	const victim = names.find((name) => name !== 'http' && name !== 'store');
	await ask('POST', '/api/services/panic', { name: victim });
	await page.locator('.toast', { hasText: `The service ${victim}` }).first().waitFor();
	await line(victim).getByText(/running.*restarted once/).waitFor();
	assert.equal(await line(victim).getAttribute('data-state'), 'ok');
	await page.locator('#link-text', { hasText: 'all well' }).waitFor();

	await storm(async () => {
		// The answer may be lost with the service that gives it.
		await ask('POST', '/api/services/panic', { name: 'http' }).catch(() => {});
		await page.locator('#banner', { hasText: 'The connection to the client is lost' }).waitFor();
		await page.locator('#banner').waitFor({ state: 'hidden' });
		await page.getByText('Connected again').first().waitFor();
		await line('http').getByText(/restarted once/).waitFor();
	});

	await page.locator('#log-filter').fill('info,offswarm::krpc=debug');
	await page.getByRole('button', { name: 'Set' }).click();
	await page.getByText('The log level is now').first().waitFor();
	assert.match((await ask('GET', '/api/log')).filter, /krpc=debug/);
	await page.locator('#config').getByText('http.listen').waitFor();

	// More tabs than a browser makes connections: those that nobody looks at are in nobody's way.
	const look = (tab, isSeen) => tab.evaluate((hidden) => {
		Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
		document.dispatchEvent(new Event('visibilitychange'));
	}, !isSeen);
	await look(page, false);
	for (let i = 0; i < 8; i += 1) {
		const tab = await context.newPage();
		await tab.goto(base);
		await tab.locator('#link-text', { hasText: 'all well' }).waitFor();
		await look(tab, false);
	}
	await page.locator('#link-text').evaluate((it) => { it.textContent = ''; });
	await look(page, true);
	await page.locator('#link-text', { hasText: 'all well' }).waitFor();
});
