// SPDX-License-Identifier: Apache-2.0
// Spoils a good ELF file one field at a time. Offsets: elf(5), Elf64_Ehdr and Elf64_Phdr.

const PHOFF = 32;
const PHENTSIZE = 54;
const PHNUM = 56;
export const PT_LOAD = 1;
export const PT_INTERP = 3;

export interface ProgramHeader {
  readonly at: number;
  readonly type: number;
  readonly offset: bigint;
  readonly vaddr: bigint;
  readonly filesz: bigint;
  readonly memsz: bigint;
}

/** Where each field of a program header lies. */
const FIELDS = { type: 0, flags: 4, offset: 8, vaddr: 16, filesz: 32, memsz: 40, align: 48 } as const;

export class Elf {
  constructor(readonly bytes: Buffer) {}

  static copyOf(bytes: Buffer): Elf {
    return new Elf(Buffer.from(bytes));
  }

  headers(): ProgramHeader[] {
    const start = Number(this.bytes.readBigUInt64LE(PHOFF));
    const size = this.bytes.readUInt16LE(PHENTSIZE);
    return Array.from({ length: this.bytes.readUInt16LE(PHNUM) }, (_, i) => {
      const at = start + i * size;
      const word = (field: number) => this.bytes.readBigUInt64LE(at + field);
      return {
        at,
        type: this.bytes.readUInt32LE(at),
        offset: word(FIELDS.offset),
        vaddr: word(FIELDS.vaddr),
        filesz: word(FIELDS.filesz),
        memsz: word(FIELDS.memsz),
      };
    });
  }

  /** The `index`th program header of a type. */
  header(type: number, index = 0): ProgramHeader {
    const found = this.headers().filter((header) => header.type === type)[index];
    if (!found) throw new Error(`the file has no program header ${index} of type ${type}`);
    return found;
  }

  byte(at: number, value: number): this {
    this.bytes.writeUInt8(value, at);
    return this;
  }

  half(at: number, value: number): this {
    this.bytes.writeUInt16LE(value, at);
    return this;
  }

  long(at: number, value: bigint): this {
    this.bytes.writeBigUInt64LE(value, at);
    return this;
  }

  /** Sets a 64-bit field of a program header. */
  set(header: ProgramHeader, field: "offset" | "vaddr" | "filesz" | "memsz" | "align", value: bigint): this {
    return this.long(header.at + FIELDS[field], value);
  }
}
