import type { DiskLevel, DiskSpace } from '../../src/log/index.ts';

/** A disk with as much room as a test says. */
export class FakeDisk implements DiskSpace {
  level: DiskLevel = 'fine';
  /** What `look` finds. */
  next: DiskLevel = 'fine';
  spent = 0;
  exhaustions = 0;

  spend(bytes: number): boolean {
    this.spent += bytes;
    return false;
  }

  async look(): Promise<void> {
    this.level = this.next;
  }

  watch(): Promise<void> {
    return this.look();
  }

  async exhausted(): Promise<void> {
    this.exhaustions += 1;
    this.level = 'full';
  }
}
