// Writes records to Kafka that no service would write: Produce version 3 with a record batch of version 2 (KIP-98).

import { connect } from "node:net";

function crc32c(data: Buffer): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** A zigzag varint. */
function varint(n: number): Buffer {
  const out: number[] = [];
  for (let rest = n < 0 ? -2 * n - 1 : 2 * n; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest]);
    out.push((rest % 128) + 128);
  }
}

function numbers(...parts: [bytes: 1 | 2 | 4 | 8, value: number][]): Buffer {
  return Buffer.concat(parts.map(([bytes, value]) => {
    const b = Buffer.alloc(bytes);
    if (bytes === 8) b.writeBigInt64BE(BigInt(value));
    else b.writeIntBE(value, 0, bytes);
    return b;
  }));
}

const text = (s: string) => Buffer.concat([numbers([2, Buffer.byteLength(s)]), Buffer.from(s)]);

/** A record: its key, its value and its headers. */
export interface Written {
  key: string;
  value: Uint8Array;
  headers?: Record<string, string>;
}

function batch(records: readonly Written[]): Buffer {
  const all = records.map(({ key, value, headers = {} }, i) => {
    const bytes = (b: Uint8Array) => [varint(b.length), b];
    const body = Buffer.concat([
      numbers([1, 0]), varint(0), varint(i), ...bytes(Buffer.from(key)), ...bytes(value), varint(Object.keys(headers).length),
      ...Object.entries(headers).flatMap(([name, v]) => [...bytes(Buffer.from(name)), ...bytes(Buffer.from(v))]),
    ]);
    return Buffer.concat([varint(body.length), body]);
  });
  const now = Date.now();
  const checked = Buffer.concat([
    numbers([2, 0], [4, records.length - 1], [8, now], [8, now], [8, -1], [2, -1], [4, -1], [4, records.length]), ...all,
  ]);
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32c(checked));
  return Buffer.concat([numbers([8, 0], [4, checked.length + 9], [4, -1], [1, 2]), crc, checked]);
}

/** The partition of a key by Kafka's default partitioner: murmur2, as the Java client has it. */
export function partitionOf(key: string, partitions: number): number {
  const data = Buffer.from(key);
  const mix = (k: number) => {
    const by = Math.imul(k, 0x5bd1e995);
    return Math.imul(by ^ (by >>> 24), 0x5bd1e995);
  };
  const whole = data.length & ~3;
  let h = 0x9747b28c ^ data.length;
  for (let i = 0; i < whole; i += 4) h = Math.imul(h, 0x5bd1e995) ^ mix(data.readInt32LE(i));
  for (let i = data.length - 1; i >= whole; i--) h ^= data[i]! << (8 * (i - whole));
  if (whole < data.length) h = Math.imul(h, 0x5bd1e995);
  h = Math.imul(h ^ (h >>> 13), 0x5bd1e995);
  return ((h ^ (h >>> 15)) & 0x7fffffff) % partitions;
}

/** Asks a broker something, without flexible headers, and returns the answer behind its correlation ID. */
async function ask(broker: string, api: number, version: number, body: Buffer): Promise<Buffer> {
  const request = Buffer.concat([numbers([2, api], [2, version], [4, 7]), text("test"), body]);
  const [host, port] = broker.split(":") as [string, string];
  const socket = connect(Number(port), host);
  try {
    socket.write(Buffer.concat([numbers([4, request.length]), request]));
    let answer = Buffer.alloc(0);
    for await (const chunk of socket) {
      answer = Buffer.concat([answer, chunk as Buffer]);
      if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) break;
    }
    return answer.subarray(8);
  } finally {
    socket.destroy();
  }
}

/** The topic and the partition in a request for one of each. */
const place = (topic: string, partition: number) => Buffer.concat([numbers([4, 1]), text(topic), numbers([4, 1], [4, partition])]);

/** Writes records to a partition of a topic, and waits until they are durable. Returns the offset of the first. */
export async function produce(broker: string, topic: string, partition: number, records: readonly Written[]): Promise<number> {
  const set = batch(records);
  const answer = await ask(broker, 0, 3, Buffer.concat([numbers([2, -1], [2, -1], [4, 10_000]), place(topic, partition), numbers([4, set.length]), set]));
  // One topic with its name, one partition, its number: then the error, and the offset.
  const at = 4 + 2 + Buffer.byteLength(topic) + 4 + 4;
  if (answer.length < at + 10 || answer.readInt16BE(at) !== 0) throw new Error(`produce: ${answer.toString("hex")}`);
  return Number(answer.readBigInt64BE(at + 2));
}

/** Deletes the records of a partition that lie before an offset (DeleteRecords version 0). */
export async function deleteBefore(broker: string, topic: string, partition: number, offset: number): Promise<void> {
  const answer = await ask(broker, 21, 0, Buffer.concat([place(topic, partition), numbers([8, offset], [4, 10_000])]));
  // The throttle, one topic with its name, one partition, its number, where it begins now: then the error.
  const at = 4 + 4 + 2 + Buffer.byteLength(topic) + 4 + 4 + 8;
  if (answer.length < at + 2 || answer.readInt16BE(at) !== 0) throw new Error(`delete records: ${answer.toString("hex")}`);
}
