// Peers, swarms and the DHT.

import { get, on } from './api.js';
import { $, attempt, bytes, count, el, figures, percent, rate, table, visible } from './dom.js';

const EVERY = 3000;
const wrap = (words, mono) => el('span', { class: mono ? 'wrap mono' : 'wrap', dir: 'auto' }, visible(words));
const n = true;

const PEERS = [
	{ name: 'Peer', of: (peer) => wrap(peer.address, true) },
	{ name: 'Speaks', of: (peer) => (peer.kind === 'native' ? 'native protocol' : 'BitTorrent') },
	{ name: 'Receiving', n, of: (peer) => rate(peer.received_per_second) },
	{ name: 'Sending', n, of: (peer) => rate(peer.sent_per_second) },
	{ name: 'Received', n, of: (peer) => bytes(peer.received) },
	{ name: 'Sent', n, of: (peer) => bytes(peer.sent) },
	{ name: 'Pieces', n, of: (peer) => (peer.kind === 'native' ? '–' : count(peer.pieces)) },
	{ name: 'Standing', of: (peer) => [peer.interested && 'interested', peer.served && 'served', peer.hosts && 'hosts blocks'].filter(Boolean).join(', ') || '–' },
];
const SWARMS = [
	{ name: 'Swarm', of: (swarm) => wrap(swarm.url_name ?? swarm.name ?? swarm.infohash) },
	{ name: 'Here', n, of: (swarm) => `${count(swarm.have)} of ${count(swarm.blocks)} (${Math.floor(percent(swarm.have, swarm.blocks))} %)` },
	{ name: 'Peers', n, of: (swarm) => `${count(swarm.peers)} of ${count(swarm.known_peers)} known` },
	{ name: 'Received', n, of: (swarm) => bytes(swarm.received) },
	{ name: 'Sent', n, of: (swarm) => bytes(swarm.sent) },
	{ name: 'Infohash', of: (swarm) => el('span', { class: 'mono', title: swarm.infohash }, `${swarm.infohash.slice(0, 12)}…`) },
];

let timer;
const load = attempt(async () => {
	clearTimeout(timer);
	if ($('view-network').hidden) return;
	const [{ peers }, { swarms }, dht] = await Promise.all(['peers', 'swarms', 'dht'].map((name) => get(`/api/${name}`)));
	table($('peers'), PEERS, peers, 'No peer is connected. They come when you fetch something, or when somebody asks for what you have published.');
	table($('swarms'), SWARMS, swarms, 'In no swarm. Each URL that you publish, or fetch from BitTorrent peers, has a swarm of its own.');
	const off = 'The DHT is off, by the configuration. URLs need a hint, or peers that are named, to be found.';
	const rows = dht.enabled ? [['Nodes in the table', count(dht.nodes)], ['Our addresses', dht.addresses.join(', ') || 'not known yet'], ['Our node id', dht.node_id ?? 'not chosen yet']] : [];
	table($('dht'), [{ name: 'What', of: ([what]) => what }, { name: 'Value', of: ([, value]) => wrap(value, true) }], rows, off);
	timer = setTimeout(load, EVERY);
});

on('status', (status) => figures($('net-figures'), [
	['Receiving', rate(status.rates.received_per_second), `${bytes(status.totals.received)} in all`],
	['Sending', rate(status.rates.sent_per_second), `${bytes(status.totals.sent)} in all`],
	['BitTorrent peers', count(status.peers.bittorrent)],
	['Native peers', count(status.peers.native)],
	['DHT nodes', status.dht_nodes == null ? 'off' : count(status.dht_nodes)],
	['Peers reach us at', status.peers_listen ?? 'no port'],
]));
on('view', load);
on('open', load);
