import { afterEach, describe, expect, it } from 'vitest';
import { readAll } from '../log/support.ts';
import { type LocalGateway, startLocalGateway } from '../support/local-gateway.ts';
import { Wire } from './wire.ts';

const gateways: LocalGateway[] = [];

afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.stop();
});

async function started(): Promise<LocalGateway> {
  const gateway = await startLocalGateway();
  gateways.push(gateway);
  return gateway;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setImmediate(resolve));
}

async function logged(gateway: LocalGateway): Promise<string[]> {
  return (await readAll(gateway.log, 0n)).messages.map(({ payload }) => `${payload}`);
}

describe('a PUBLISH of QoS 2', () => {
  it('that comes again by another connection while the first waits for the disk is logged once', async () => {
    const gateway = await started();
    const { wire: first } = await Wire.open(gateway, 'p');
    gateway.store.held = true;
    first.publish('a', 'x', 2, 7);
    await until(() => gateway.log.commitStalledFor > 0);
    await first.vanish();
    const { wire: second } = await Wire.open(gateway, 'p');
    second.publish('a', 'x', 2, 7, true);
    second.publish('a', 'y', 2, 8);
    await second.settled();
    expect(second.got).toEqual([]);
    gateway.store.release();
    const ids = [(await second.next('pubrec')).messageId, (await second.next('pubrec')).messageId];
    expect(ids.sort()).toEqual([7, 8]);
    expect(await logged(gateway)).toEqual(['x', 'y']);
    for (const messageId of [7, 8]) second.send({ cmd: 'pubrel', messageId });
    await second.next('pubcomp');
    await second.next('pubcomp');
    second.publish('a', 'z', 2, 7);
    await second.next('pubrec');
    expect(await logged(gateway)).toEqual(['x', 'y', 'z']);
  });

  it.each([false, true])('beyond the limit of those not released is not logged, clean session %s', async (clean) => {
    const gateway = await started();
    const { wire } = await Wire.open(gateway, 'p', clean);
    const ids = Array.from({ length: 101 }, (_, at) => at + 1);
    for (const id of ids) wire.publish('a', `${id}`, 2, id);
    await expect(wire.next('pubcomp')).rejects.toThrow('the connection ended');
    const { wire: watcher } = await Wire.open(gateway, 'w');
    await watcher.settled();
    expect(await logged(gateway)).toEqual(ids.slice(0, 100).map(String));
  });

  it('keeps its place among those of QoS 1 that come with it', async () => {
    const gateway = await started();
    const { wire } = await Wire.open(gateway, 'p');
    for (let n = 1; n <= 20; n++) wire.publish('a', `${n}`, n % 2 === 0 ? 1 : 2, n);
    for (let n = 1; n <= 10; n++) {
      await wire.next('puback');
      await wire.next('pubrec');
    }
    expect(await logged(gateway)).toEqual(Array.from({ length: 20 }, (_, at) => `${at + 1}`));
  });
});
