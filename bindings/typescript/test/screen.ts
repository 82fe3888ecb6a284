// A terminal as a person sees it: what the programs that tests drive have drawn, as rows of text.
import assert from "node:assert/strict";
import type { CommandHandle } from "@crownest/sdk";

type Handler = (screen: Screen, numbers: number[]) => void;

/** The screen of a command's terminal, which follows its output. */
export class Screen {
  readonly command: CommandHandle;
  rows: number;
  columns: number;
  #cells: string[][] = [];
  #row = 0;
  #column = 0;
  #top = 0;
  #bottom: number;
  #saved: [number, number] = [0, 0];
  #rest = "";
  #ended = false;
  #changed = () => {};
  readonly #done: Promise<void>;

  constructor(command: CommandHandle, rows: number, columns: number) {
    this.command = command;
    [this.rows, this.columns, this.#bottom] = [rows, columns, rows - 1];
    this.#clear(0, rows);
    this.#done = this.#follow();
  }

  /** The rows as text, without blanks at their ends. */
  lines(): string[] {
    return this.#cells.map((row) => row.join("").trimEnd());
  }

  /** Waits until the screen looks so. */
  async until(what: string, looks: (lines: string[]) => boolean): Promise<void> {
    while (!looks(this.lines())) {
      assert.ok(!this.#ended, `the command ended before ${what}:\n${this.lines().join("\n")}`);
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }

  /** As a window that is dragged: what is drawn stays where it is until the program draws again. */
  async resize(rows: number, columns: number): Promise<void> {
    const shown = this.#cells.map((row) => row.slice(0, columns));
    [this.rows, this.columns, this.#top, this.#bottom] = [rows, columns, 0, rows - 1];
    this.#clear(0, rows);
    shown.slice(0, rows).forEach((row, at) => this.#cells[at]?.splice(0, row.length, ...row));
    await this.command.resize({ rows, columns });
  }

  end(): Promise<void> {
    return this.#done;
  }

  async #follow(): Promise<void> {
    for await (const event of this.command.logs({ follow: true })) {
      if (event.type === "output") this.#draw(event.data.toString("latin1"));
      this.#changed();
    }
    this.#ended = true;
    this.#changed();
  }

  #draw(text: string): void {
    let rest = this.#rest + text;
    while (rest) {
      // One control sequence, whole; or one that may go on in the next piece; or one character.
      const sequence =
        /^\x1b(?:\[([?>!]?)([\d;]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()#].|[^[\]()#])/s.exec(
          rest,
        );
      if (rest[0] === "\x1b" && !sequence && rest.length < 4096) break;
      if (sequence) this.#control(sequence);
      else this.#put(rest[0] as string);
      rest = rest.slice(sequence ? sequence[0].length : 1);
    }
    this.#rest = rest;
  }

  #control([whole, mark, parameters = "", final]: RegExpExecArray): void {
    if (final === undefined) return ESCAPES[whole[1] as string]?.(this, []);
    if (mark) return;
    SEQUENCES[final]?.(this, parameters.split(";").map(Number));
  }

  #put(character: string): void {
    if (character < " ") return CONTROLS[character]?.(this, []);
    if (this.#column === this.columns) {
      this.#column = 0;
      this.feed();
    }
    const row = this.#cells[this.#row];
    if (row) row[this.#column++] = character;
  }

  #clear(from: number, to: number): void {
    for (let row = from; row < to; row++) this.#cells[row] = Array<string>(this.columns).fill(" ");
    this.#cells.length = this.rows;
  }

  move(row: number, column: number): void {
    this.#row = Math.max(0, Math.min(row, this.rows - 1));
    this.#column = Math.max(0, Math.min(column, this.columns - 1));
  }

  moveBy(rows: number, columns: number): void {
    this.move(this.#row + rows, this.#column + columns);
  }

  moveTo(row: number | null, column: number | null): void {
    this.move(row ?? this.#row, column ?? this.#column);
  }

  tab(): void {
    this.move(this.#row, (Math.floor(this.#column / 8) + 1) * 8);
  }

  feed(): void {
    if (this.#row === this.#bottom) this.scroll(this.#top, 1);
    else this.moveBy(1, 0);
  }

  feedBack(): void {
    if (this.#row === this.#top) this.scroll(this.#top, -1);
    else this.moveBy(-1, 0);
  }

  /** Rows from `from` to the region's end move up by `count`, or down. */
  scroll(from: number, count: number): void {
    const blank = () => Array<string>(this.columns).fill(" ");
    for (let n = 0; n < Math.abs(count); n++) {
      this.#cells.splice(count > 0 ? from : this.#bottom, 1);
      this.#cells.splice(count > 0 ? this.#bottom : from, 0, blank());
    }
  }

  scrollHere(count: number): void {
    this.scroll(this.#row, count);
  }

  region(top: number, bottom: number): void {
    [this.#top, this.#bottom] = [top, bottom];
    this.move(0, 0);
  }

  eraseScreen(how: number): void {
    this.eraseLine(how);
    if (how !== 1) this.#clear(how === 2 ? 0 : this.#row + 1, this.rows);
    if (how !== 0) this.#clear(0, how === 2 ? this.rows : this.#row);
  }

  eraseLine(how: number): void {
    const [from, to] = [how === 0 ? this.#column : 0, how === 1 ? this.#column + 1 : this.columns];
    this.#cells[this.#row]?.fill(" ", from, to);
  }

  /** Makes room at the cursor, or closes it. */
  shift(count: number): void {
    const row = this.#cells[this.#row] as string[];
    if (count < 0) row.splice(this.#column, -count);
    else row.splice(this.#column, 0, ...Array<string>(count).fill(" "));
    row.length = Math.min(row.length, this.columns);
    while (row.length < this.columns) row.push(" ");
  }

  save(): void {
    this.#saved = [this.#row, this.#column];
  }

  restore(): void {
    this.move(...this.#saved);
  }
}

const one = (numbers: number[]) => numbers[0] || 1;

// What changes nothing that is seen is left out.
const CONTROLS: Record<string, Handler> = {
  "\r": (screen) => screen.moveTo(null, 0),
  "\n": (screen) => screen.feed(),
  "\b": (screen) => screen.moveBy(0, -1),
  "\t": (screen) => screen.tab(),
};

const ESCAPES: Record<string, Handler> = {
  M: (screen) => screen.feedBack(),
  D: (screen) => screen.feed(),
  "7": (screen) => screen.save(),
  "8": (screen) => screen.restore(),
};

const SEQUENCES: Record<string, Handler> = {
  A: (screen, n) => screen.moveBy(-one(n), 0),
  B: (screen, n) => screen.moveBy(one(n), 0),
  C: (screen, n) => screen.moveBy(0, one(n)),
  D: (screen, n) => screen.moveBy(0, -one(n)),
  G: (screen, n) => screen.moveTo(null, one(n) - 1),
  d: (screen, n) => screen.moveTo(one(n) - 1, null),
  H: (screen, n) => screen.move(one(n) - 1, (n[1] || 1) - 1),
  J: (screen, n) => screen.eraseScreen(n[0] ?? 0),
  K: (screen, n) => screen.eraseLine(n[0] ?? 0),
  L: (screen, n) => screen.scrollHere(-one(n)),
  M: (screen, n) => screen.scrollHere(one(n)),
  "@": (screen, n) => screen.shift(one(n)),
  P: (screen, n) => screen.shift(-one(n)),
  r: (screen, n) => screen.region(one(n) - 1, (n[1] || screen.rows) - 1),
};
